//! What a round's student learns from: kept rows as `train.targets` writes them, and what each counts by
//! `train.select`.

use std::collections::HashMap;

use anyhow::Result;
use datasets::answer::UNDO;
use datasets::table::{Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution};
use stages::Events;
use stages::curate::{self, Rate};
use stages::model::Model;
use stages::train::select::{self, Share, Targets};
use stages::train::stream;

use crate::disk::layout::Stage;
use crate::run::plan::Fingerprint;
use crate::run::rows::Done;
use crate::run::session::{Session, name};
use crate::run::work::Past;

/// Adds what training reads beside kept rows to its fingerprint: searches and verdicts of rounds 1 to K.
pub fn inputs(session: &Session, mut fingerprint: Fingerprint, past: &Past) -> Fingerprint {
    let train = &session.config.train;
    let samples = train.select.asks_samples();
    if samples || train.targets == Targets::Search || train.value_weight > 0.0 {
        for (i, done) in past.searches.iter().enumerate() {
            fingerprint = fingerprint.with(&format!("search of round {}", i + 1), done.hash());
        }
    }
    if samples {
        for (i, done) in past.verdicts.iter().enumerate() {
            fingerprint = fingerprint.with(&format!("verdicts of round {}", i + 1), done.hash());
        }
    }
    fingerprint
}

/// Words of targets that are in no kept row, for a tokenizer from scratch: as often as there are other texts.
pub fn words(session: &Session, texts: usize) -> Vec<String> {
    if session.config.train.targets == Targets::Search {
        vec![format!("{UNDO}\n"); texts]
    } else {
        Vec::new()
    }
}

/// The rows as the student is to write them.
///
/// # Errors
/// Failed reads; [`stages::Cancelled`].
pub fn targets(
    session: &Session,
    round: u32,
    problems: &Done,
    past: &Past,
    mut rows: Vec<Kept>,
    model: &Model,
) -> Result<Vec<Kept>> {
    let config = &session.config.train;
    let label = name(Stage::Train, round);
    match config.targets {
        Targets::All => Ok(rows),
        Targets::Shortest => {
            let all = rows.len();
            let rows = select::shortest(rows, &|text| model.tokenizer.encode(text).len());
            session.console.say(&format!(
                "{label}: the shortest of each problem's solutions, {} of {all} rows",
                rows.len()
            ));
            Ok(rows)
        }
        Targets::Search => {
            let shards = Session::train_shards(problems);
            let events = session.console.stage(
                &format!("{label} searches"),
                "shards",
                (shards.len() * past.searches.len()) as u64,
                0,
            );
            let mut of: HashMap<(u32, String), Vec<usize>> = HashMap::new();
            for (i, row) in rows.iter().enumerate() {
                of.entry((row.round, row.problem_id.clone())).or_default().push(i);
            }
            let (mut with, mut steps) = (0, 0);
            for (shard, of_problems) in (0..).zip(shards) {
                let problems: Vec<Problem> = problems.shard(of_problems)?;
                for (search, of_round) in past.searches.iter().zip(1..) {
                    events.check()?;
                    let ids = problems.iter().map(|problem| (of_round, problem.problem_id.clone()));
                    let places: Vec<usize> = ids.filter_map(|id| of.get(&id)).flatten().copied().collect();
                    if !places.is_empty() {
                        let nodes: Vec<Node> = search.shard(shard)?;
                        let here: Vec<&Kept> = places.iter().map(|i| &rows[*i]).collect();
                        for (i, told) in
                            places.iter().zip(stream::tell(&problems, &nodes, &here, config.dead_ends)?)
                        {
                            with += usize::from(told.dead_ends > 0);
                            steps += told.dead_ends;
                            rows[*i].completion = told.completion;
                        }
                    }
                    events.advance(1, 0, 0);
                }
            }
            events.finish();
            session
                .console
                .say(&format!("{label}: {with} of {} rows tell {steps} steps of dead ends", rows.len()));
            Ok(rows)
        }
    }
}

/// What each row counts.
///
/// # Errors
/// Failed reads; a solution without a verdict.
pub fn shares(session: &Session, round: u32, past: &Past, rows: &[Kept]) -> Result<Vec<Share>> {
    let config = &session.config.train;
    let mut rates: Vec<HashMap<String, Rate>> = Vec::new();
    if config.select.asks_samples() {
        for (search, verdicts) in past.searches.iter().zip(&past.verdicts) {
            let mut of_round = HashMap::new();
            for commit in &search.commits {
                let solutions: Vec<Solution> = search.shard(commit.shard)?;
                let verdicts: Vec<VerdictRow> = verdicts.shard(commit.shard)?;
                of_round.extend(curate::rates(&solutions, &verdicts)?);
            }
            rates.push(of_round);
        }
        if !rates.iter().flat_map(HashMap::values).any(|rate| rate.sampled) {
            session.console.say(&format!(
                "{}: nothing was sampled yet: train.select has nothing to go by",
                name(Stage::Train, round)
            ));
        }
    }
    let shares = select::shares(rows, &rates, config);
    if config.select.asks_samples() {
        session.console.say(&format!(
            "{}: {}",
            name(Stage::Train, round),
            select::describe(rows, &shares, config)
        ));
    }
    Ok(shares)
}
