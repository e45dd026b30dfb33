//! `qstill bench curate`: solutions curated per second, and the memory that it takes.
//!
//! Word problems and solutions of all kinds (right, reordered, in prose, wrong, looping) are made and
//! verified a shard at a time and written as a run writes them; then they are surveyed and curated from disk
//! as a run does it, and the tables written out. Only the second part is timed. The peak of memory is that of
//! the whole process.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use datasets::sources::words;
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution};
use serde_json::{Value, json};
use stages::curate::{CurateConfig, Survey, curate};
use stages::events::Silent;

use super::solutions::{DIAL, Made, get, make, put};
use crate::terminal::console::Console;

/// Held-out questions.
const HELD_OUT: u64 = 1_000;

/// Makes and curates about `solutions` solutions in a folder under `parent`, which is removed afterwards.
///
/// # Errors
/// Failed reads and writes.
pub fn bench(solutions: u64, parent: Option<&Path>, console: &Console) -> Result<Value> {
    let clock = Instant::now();
    let Made { folder, shards, size, bytes } = make(solutions, parent, console)?;
    let made = clock.elapsed().as_secs_f64();

    let config = CurateConfig::default();
    let clock = Instant::now();
    let progress = console.stage("survey and curate", "shards", shards * 2, 0);
    let mut survey = Survey::new(&config);
    for at in 0..HELD_OUT {
        survey.hold(format!("held-out question {at}"), &words::generate(2, at, &DIAL).question);
    }
    for shard in 0..shards {
        survey.shard(&get(&folder.0, shard)?, &get(&folder.0, shard)?, &get(&folder.0, shard)?)?;
        stages::Events::advance(&progress, 1, 0, 0);
    }
    let ground = survey.finish();
    let surveyed = clock.elapsed().as_secs_f64();
    let mut rows: [usize; 5] = [0; 5];
    for shard in 0..shards {
        let problems: Vec<Problem> = get(&folder.0, shard)?;
        let solutions: Vec<Solution> = get(&folder.0, shard)?;
        let verdicts: Vec<VerdictRow> = get(&folder.0, shard)?;
        let curated = curate(&problems, &solutions, &verdicts, &ground, &Silent)?;
        let (kept, dropped) = (curated.kept.len(), curated.dropped.len());
        let more = [solutions.len(), kept, dropped, curated.step_labels.len(), curated.preferences.len()];
        rows.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        put(&folder.0, shard, curated.kept)?;
        put(&folder.0, shard, curated.dropped)?;
        put(&folder.0, shard, curated.step_labels)?;
        put(&folder.0, shard, curated.preferences)?;
        stages::Events::advance(&progress, 1, 0, 0);
    }
    progress.finish();
    let seconds = clock.elapsed().as_secs_f64();
    let [solutions, kept, dropped, step_labels, preferences] = rows;
    anyhow::ensure!(
        kept + dropped == solutions,
        "{kept} kept and {dropped} dropped are not {solutions} solutions"
    );
    Ok(json!({
        "solutions": solutions, "problems": shards * size, "shards": shards,
        "threads": rayon::current_num_threads(), "input_bytes": bytes,
        "kept": kept, "dropped": dropped, "step_labels": step_labels, "preferences": preferences,
        "seconds": seconds, "survey_seconds": surveyed,
        "solutions_per_second": solutions as f64 / seconds, "peak_bytes": super::memory::peak(),
        "made_in_seconds": made,
    }))
}
