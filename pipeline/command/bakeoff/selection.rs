//! Answers chosen among the same samples, by majority and by reward models.

use anyhow::Result;
use datasets::table::Selection;
use datasets::types::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use stages::bakeoff::statistics::choices;
use stages::bakeoff::{self, SampleScoring};
use stages::search::{Draws, SearchConfig};
use stages::value::targets::Level;

use super::arguments::Bakeoff;
use super::comparison::Comparison;
use crate::disk::layout::Stage;
use crate::run::fingerprint::Fingerprint;
use crate::run::inputs::Tables;
use crate::run::rows::{Counts, StageOutput, write};
use crate::run::workspace::Size;
use crate::stage::policy::SamplingPolicy;
use crate::stage::searching::ValueModel;
use crate::stage::verifier::Verifier;
use crate::terminal::exit::Failure;
use crate::terminal::text::{self, interval, percent};

/// What the samples and their scores depend on.
#[derive(Serialize)]
struct Inputs {
    code: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    split: &'static str,
    count: usize,
    shard_size: usize,
    samples: usize,
    search: SearchConfig,
    policy: SamplingPolicy,
    steps: Option<ValueModel>,
    outcome: Option<ValueModel>,
    verifier: Verifier,
}

/// Draws and scores the samples, and shows how well each judge chooses among them.
///
/// # Errors
/// Rules as policy; those of policy and values; failed reads and writes.
pub fn run(comparison: &Comparison<'_>, args: &Bakeoff) -> Result<()> {
    let Comparison { session, round, asked, .. } = comparison;
    let (c, workspace) = (&session.config, &session.workspace);
    if comparison.policy.is_rules() {
        return Err(Failure::usage(
            "rules draw no samples to choose among",
            "choose a round whose policy is a model, with search.policy = \"model\"",
        )
        .into());
    }
    let most = args.select.iter().copied().max().unwrap_or(0);
    let inputs = Inputs {
        code: bakeoff::VERSION,
        tables: Tables::default().with::<Selection>(),
        seed: c.run.seed,
        round: *round,
        problems: comparison.problems.clone(),
        split: comparison.split.name(),
        count: asked.len(),
        shard_size: c.run.shard_size,
        samples: most,
        search: c.search.clone(),
        policy: comparison.policy.clone(),
        steps: comparison.values(Level::Steps),
        outcome: comparison.values(Level::Outcome),
        verifier: Verifier::of(session)?,
    };
    let shards: Vec<&[Problem]> = asked.chunks(inputs.shard_size).collect();
    let at = (Stage::Selection, *round);
    let fingerprint = Fingerprint::of(Stage::Selection, &inputs)?;
    let opened = workspace.open(at, &fingerprint, Some(shards.len() as u32))?;
    let (mut policy, _) = comparison.open()?;
    let load = |model: &Option<ValueModel>| {
        Ok::<_, anyhow::Error>(model.as_ref().map(|model| model.load(workspace)).transpose()?.map(|m| m.0))
    };
    let (mut steps, mut outcome) = (load(&inputs.steps)?, load(&inputs.outcome)?);
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "selection" };
    let domains = inputs.verifier.open(workspace)?;
    let sampling = inputs.search.sampling();
    let size = Size { shards: shards.len() as u32, unit: "problems", units: asked.len() as u64 };
    let output = workspace.shards(&opened, &size, |shard, attempt, progress| {
        let problems = shards[shard as usize];
        let rows = bakeoff::select(
            problems,
            SampleScoring {
                samples: most,
                sampling: &sampling,
                draws,
                domains: &domains,
                steps: steps.as_mut(),
                outcome: outcome.as_mut(),
            },
            &mut *policy,
            progress,
        )?;
        write(attempt, rows)?;
        Ok(Counts::from([("units".to_owned(), problems.len() as i64)]))
    })?;
    let rows: Vec<Selection> = output.read()?;
    let lines = choices(&rows, &args.select, (steps.is_some(), outcome.is_some()), inputs.seed);
    let (split, count) = (inputs.split, inputs.count);
    let plot = json!({"round": inputs.round, "split": split, "problems": count, "rows": lines});
    comparison.publish(&opened, &plot, args.json, || {
        format!(
            "{}\n\
             {count} {split} problems, {most} samples each; expected accuracy of the answer chosen among N \
             of them, intervals by bootstrap over problems.\n\
             oracle: any of the N is correct; random: one of them.\n",
            table(&lines)
        )
    })
}

fn table(lines: &[Value]) -> String {
    let cells: Vec<Vec<String>> = lines
        .iter()
        .map(|l| {
            let number = |key: &str| l[key].as_f64().unwrap_or(f64::NAN);
            let judge = l["judge"].as_str().unwrap_or("-").to_owned();
            let range = interval(number("low"), number("high"));
            vec![l["n"].to_string(), judge, percent(number("accuracy")), range]
        })
        .collect();
    text::table(&["N", "judge", "accuracy", "95% interval"], &cells, &[0, 2])
}
