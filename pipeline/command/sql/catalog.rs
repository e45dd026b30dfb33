//! The tables of a run for SQL: all rounds of a table in one, from the files that commit records name.

use std::collections::BTreeMap;

use anyhow::Result;
use datasets::table::{Key, TABLES, TableInfo};

use crate::disk::layout::{RunDir, Stage};
use crate::query::source::{Column, Kind, Part, Source};
use crate::run::rows::committed;

/// The group of the tables that the arms of ablations have.
const ARMS: &str = "arms";
/// The table of another command, of which runs have none.
const NOT_OF_RUNS: &str = "grades";

/// Where some files of a table are from.
struct Origin {
    arm: Option<(String, Option<u64>)>,
    /// 0 for what all rounds share.
    round: u32,
    stage: Stage,
}

/// The tables of a run, and those of its ablations if it has any. A table without rows is there too.
///
/// # Errors
/// Failed reads.
pub fn sources(run: &RunDir) -> Result<Vec<Source>> {
    let mut sources = of(run, |round, stage| Origin { arm: None, round, stage }, None)?;
    let mut arms: Vec<Source> = Vec::new();
    for (place, dir) in run.ablations()? {
        let mut parts = place.split('/').skip(1);
        let arm = parts.next().unwrap_or_default().to_owned();
        let seed = parts.next().and_then(|part| part.strip_prefix("seed-")?.parse().ok());
        let origin = |round, stage| Origin { arm: Some((arm.clone(), seed)), round, stage };
        let more = of(&dir, origin, Some(ARMS))?;
        if arms.is_empty() {
            arms = more;
        } else {
            for (all, more) in arms.iter_mut().zip(more) {
                all.parts.extend(more.parts);
            }
        }
    }
    arms.retain(|source| !source.parts.is_empty());
    sources.extend(arms);
    Ok(sources)
}

fn of(
    run: &RunDir,
    origin: impl Fn(u32, Stage) -> Origin,
    group: Option<&'static str>,
) -> Result<Vec<Source>> {
    let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    let shared = [(0, Stage::Problems)];
    let stages = || Stage::ALL.into_iter().chain(Stage::BESIDE).filter(|stage| *stage != Stage::Problems);
    let rounds = run.rounds()?.into_iter().flat_map(|round| stages().map(move |stage| (round, stage)));
    for (round, stage) in shared.into_iter().chain(rounds) {
        let output = committed(run, round, stage)?;
        let origin = origin(round, stage);
        for info in TABLES {
            let constants: Vec<Option<Key>> =
                extra(info, group.is_some()).iter().map(|column| origin.value(&column.name)).collect();
            let of_table = output.files(info.name).into_iter();
            parts.entry(info.name).or_default().extend(of_table.map(|(path, rows)| Part {
                path,
                rows,
                constants: constants.clone(),
            }));
        }
    }
    let source = |info: &'static TableInfo| {
        let schema = (info.schema)();
        let own = schema.fields().iter().map(|field| Column::of(field));
        Source {
            group,
            name: info.name.to_owned(),
            about: info.description.to_owned(),
            columns: extra(info, group.is_some()).into_iter().chain(own).collect(),
            parts: parts.remove(info.name).unwrap_or_default(),
            info: Some(info),
        }
    };
    Ok(TABLES.iter().filter(|info| info.name != NOT_OF_RUNS).map(source).collect())
}

impl Origin {
    /// What a column that the files lack says of rows from here.
    fn value(&self, column: &str) -> Option<Key> {
        let arm = self.arm.as_ref();
        match column {
            "arm" => arm.map(|(arm, _)| Key::Text(arm.clone())),
            "arm_seed" => arm.and_then(|(_, seed)| *seed).map(|seed| Key::Int(seed as i64)),
            "round" => Some(Key::Int(self.round.into())),
            _ => Some(Key::Text(self.stage.name().to_owned())),
        }
    }
}

/// Columns that tell rows of different origin apart where the table does not.
fn extra(info: &TableInfo, arms: bool) -> Vec<Column> {
    let mut columns = Vec::new();
    if arms {
        columns.push(Column::constant("arm", Kind::Text, false, "name of the arm"));
        let about = "seed of the student's training; null for what the students of an arm share";
        columns.push(Column::constant("arm_seed", Kind::Integer, true, about));
    }
    let of_rounds = !["problems", "examples"].contains(&info.name);
    if of_rounds && (info.schema)().column_with_name("round").is_none() {
        columns.push(Column::constant("round", Kind::Integer, false, "round of the run"));
    }
    // Two stages write these.
    let stages = match info.name {
        "evaluation" => "gate (answers to validation problems) or evaluate (the final table's answers)",
        "step_labels" => "curate, or value (found by bisection)",
        _ => return columns,
    };
    columns.push(Column::constant("stage", Kind::Text, false, stages));
    columns
}
