//! What two runs were told and what they did: settings, rows of tables, counts of stages, and differences
//! that make their verdicts less comparable.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Result;
use datasets::types::{Problem, Split};
use serde::Serialize;

use super::Sides;
use crate::config::Config;
use crate::config::resolve::file;
use crate::disk::layout::{RunDir, Stage};
use crate::run::fingerprint::Fingerprint;
use crate::run::rows::{StageOutput, committed};

/// A key of the configuration with its two values, as TOML; None where a side has no such key.
#[derive(Serialize)]
pub struct Setting {
    pub key: String,
    pub a: Option<String>,
    pub b: Option<String>,
}

/// Something that both sides count; None where a side has nothing of the stage.
#[derive(Serialize)]
pub struct Count {
    /// Rounds of A and B; 0 for what all rounds share.
    pub rounds: (u32, u32),
    pub stage: &'static str,
    /// A table's name, for its rows; else what the stage counts.
    pub what: String,
    /// Whether it is the rows of a table.
    pub table: bool,
    pub a: Option<i64>,
    pub b: Option<i64>,
}

/// Counts that say nothing of what was made.
const PASSED_OVER: [&str; 2] = ["units", "milliseconds"];

/// The keys that differ, in the order of the configuration, and how many do not.
///
/// # Errors
/// A configuration that cannot be read.
pub fn settings(sides: &Sides) -> Result<(Vec<Setting>, usize)> {
    let of = |run: &RunDir| -> Result<Vec<(String, String)>> {
        let (_, table) = Config::resolve(&[file(&run.config())?], &[])?;
        let mut all = Vec::new();
        lay("", &table, &mut all);
        Ok(all)
    };
    if sides.one {
        return Ok((Vec::new(), of(&sides.a)?.len()));
    }
    let (a, b) = (of(&sides.a)?, of(&sides.b)?);
    let value = |all: &[(String, String)], key: &str| {
        all.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let extra = b.iter().filter(|(key, _)| value(&a, key).is_none());
    let keys: Vec<&String> = a.iter().chain(extra).map(|(key, _)| key).collect();
    let all = keys.iter().map(|key| Setting { a: value(&a, key), b: value(&b, key), key: (*key).clone() });
    let differing: Vec<Setting> = all.filter(|setting| setting.a != setting.b).collect();
    let same = keys.len() - differing.len();
    Ok((differing, same))
}

fn lay(prefix: &str, table: &toml::Table, all: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => lay(&key, inner, all),
            value => all.push((key, value.to_string())),
        }
    }
}

/// Rows and counts of all stages, by round: of two runs those of every round that one of them has.
///
/// # Errors
/// Failed reads.
pub fn counts(sides: &Sides) -> Result<Vec<Count>> {
    let mut all = Vec::new();
    if !sides.one {
        add(sides, (0, 0), Stage::Problems, &mut all)?;
    }
    for rounds in all_rounds(sides)?.into_iter().filter(|rounds| !sides.alike(*rounds)) {
        for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Problems) {
            add(sides, rounds, stage, &mut all)?;
        }
    }
    Ok(all)
}

fn all_rounds(sides: &Sides) -> Result<Vec<(u32, u32)>> {
    if sides.one || sides.named {
        return Ok(sides.rounds.clone());
    }
    let rounds: BTreeSet<u32> = sides.a.rounds()?.into_iter().chain(sides.b.rounds()?).collect();
    Ok(rounds.into_iter().map(|round| (round, round)).collect())
}

fn add(sides: &Sides, rounds: (u32, u32), stage: Stage, all: &mut Vec<Count>) -> Result<()> {
    let of = |run: &RunDir, round| -> Result<Option<BTreeMap<(bool, String), i64>>> {
        let output = committed(run, round, stage)?;
        if output.commits.is_empty() {
            return Ok(None);
        }
        let mut found: BTreeMap<(bool, String), i64> = BTreeMap::new();
        for file in output.commits.iter().flat_map(|commit| &commit.files) {
            // Tables first.
            *found.entry((false, file.table.clone())).or_default() += file.rows as i64;
        }
        let counted = output.counted("").into_iter();
        let counted = counted.filter(|(what, _)| !PASSED_OVER.contains(&what.as_str()));
        found.extend(counted.map(|(what, n)| ((true, what), n)));
        // The rows of a table say as much.
        let tables: HashSet<String> =
            found.keys().filter(|(count, _)| !count).map(|(_, what)| what.clone()).collect();
        found.retain(|(count, what), _| !count || !tables.contains(what));
        Ok(Some(found))
    };
    let (a, b) = (of(&sides.a, rounds.0)?, of(&sides.b, rounds.1)?);
    let keys: BTreeSet<&(bool, String)> = a.iter().chain(&b).flat_map(BTreeMap::keys).collect();
    for key in keys {
        // A stage that is there and does not count it has none of it.
        let n = |side: &Option<BTreeMap<(bool, String), i64>>| {
            side.as_ref().map(|found| found.get(key).copied().unwrap_or(0))
        };
        let (count, what) = key;
        let (a, b) = (n(&a), n(&b));
        if a.unwrap_or(0) != 0 || b.unwrap_or(0) != 0 {
            all.push(Count { rounds, stage: stage.name(), what: what.clone(), table: !count, a, b });
        }
    }
    Ok(())
}

/// What makes the sides less comparable: other problems, other versions of verifier or code, answers that
/// were asked for in another way.
///
/// # Errors
/// Failed reads.
pub fn notes(sides: &Sides) -> Result<Vec<String>> {
    let mut notes = if sides.one { Vec::new() } else { problems(sides)? };
    for (a, b) in sides.rounds.iter().filter(|rounds| !sides.alike(**rounds)) {
        for stage in [Stage::Search, Stage::Verify, Stage::Curate, Stage::Train, Stage::Evaluate] {
            let load = |run: &RunDir, round| Fingerprint::load(&run.stage(round, stage));
            let (Some(old), Some(new)) = (load(&sides.a, *a)?, load(&sides.b, *b)?) else { continue };
            for change in new.changes_from(&old) {
                let field = change.field.as_str();
                let version = ["code", "verifier", "format"].contains(&field) || field.starts_with("tables.");
                let asked = stage == Stage::Evaluate && field.starts_with("evaluate.");
                let why = match (version, field) {
                    (true, "verifier") => "verdicts may differ for that alone",
                    (true, _) => "rows may differ for that alone",
                    _ if asked => "answers were asked for in another way",
                    _ => continue,
                };
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
                let (a, b) = (shown(&change.from), shown(&change.to));
                let what = if field == "code" { "version of the code" } else { field };
                let note = format!("{}: {what} is {a} in A and {b} in B: {why}", stage.name());
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
    }
    Ok(notes)
}

/// How the problems of two runs differ, by split.
fn problems(sides: &Sides) -> Result<Vec<String>> {
    let (a, b) = (committed(&sides.a, 0, Stage::Problems)?, committed(&sides.b, 0, Stage::Problems)?);
    if a.hash() == b.hash() {
        return Ok(Vec::new());
    }
    let ids = |output: &StageOutput, split: Split| -> Result<HashSet<String>> {
        let mut ids = HashSet::new();
        for commit in output.commits.iter().filter(|c| c.counts.contains_key(split.name())) {
            ids.extend(output.column::<Problem>(commit.shard, "problem_id")?);
        }
        Ok(ids)
    };
    let mut notes = Vec::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let (a, b) = (ids(&a, split)?, ids(&b, split)?);
        if a != b {
            let (name, both) = (split.name(), a.intersection(&b).count());
            let (a, b) = (a.len(), b.len());
            notes.push(format!("the {name} problems are not the same: {a} in A, {b} in B, {both} in both"));
        }
    }
    Ok(notes)
}
