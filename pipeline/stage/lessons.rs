//! What a round's student learns from: kept rows as `train.targets` writes them, and the weight of each by
//! `train.select`.

use std::collections::HashMap;

use anyhow::Result;
use datasets::answer::UNDO;
use datasets::domains::Domains;
use datasets::table::{Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution};
use stages::Events;
use stages::curate::{self, Rate};
use stages::model::Model;
use stages::train::TrainConfig;
use stages::train::select::{self, Share, Targets};
use stages::train::stream;

use crate::run::rows::{Rounds, StageOutput, train_shards};
use crate::terminal::console::Console;

/// Rows of searches that targets and selections read beside kept rows.
pub struct Material<'a> {
    pub console: &'a Console,
    /// Name of the stage, for notes.
    pub label: &'a str,
    pub problems: &'a StageOutput,
    pub searches: &'a Rounds,
    pub verdicts: &'a Rounds,
    /// Who judges paths of searches.
    pub domains: &'a Domains,
}

/// Words of targets that are in no kept row, for a tokenizer from scratch: as often as there are other texts.
pub fn words(texts: usize) -> Vec<String> {
    vec![format!("{UNDO}\n"); texts]
}

impl Material<'_> {
    /// The rows as the student is to write them.
    ///
    /// # Errors
    /// Failed reads; [`stages::Cancelled`].
    pub fn targets(&self, config: &TrainConfig, rows: Vec<Kept>, model: &Model) -> Result<Vec<Kept>> {
        match config.targets {
            Targets::All => Ok(rows),
            Targets::Shortest => {
                let all = rows.len();
                let rows = select::shortest(rows, &|text| model.tokenizer.encode(text).len());
                let (label, count) = (self.label, rows.len());
                self.console.say(&format!(
                    "{label}: the shortest of each problem's solutions, {count} of {all} rows"
                ));
                Ok(rows)
            }
            Targets::Search => self.streams(config, rows),
        }
    }

    /// Each row as the search that found it.
    fn streams(&self, config: &TrainConfig, mut rows: Vec<Kept>) -> Result<Vec<Kept>> {
        let shards = train_shards(self.problems);
        let (label, total) = (self.label, (shards.len() * self.searches.0.len()) as u64);
        let events = self.console.stage(&format!("{label} searches"), "shards", total, 0);
        let mut of: HashMap<(u32, String), Vec<usize>> = HashMap::new();
        for (i, row) in rows.iter().enumerate() {
            of.entry((row.round, row.problem_id.clone())).or_default().push(i);
        }
        let (mut with, mut steps) = (0, 0);
        for (shard, of_problems) in (0..).zip(shards) {
            let problems: Vec<Problem> = self.problems.shard(of_problems)?;
            for (search, of_round) in self.searches.0.iter().zip(1..) {
                events.check()?;
                let ids = problems.iter().map(|problem| (of_round, problem.problem_id.clone()));
                let places: Vec<usize> = ids.filter_map(|id| of.get(&id)).flatten().copied().collect();
                if !places.is_empty() {
                    let nodes: Vec<Node> = search.shard(shard)?;
                    let here: Vec<&Kept> = places.iter().map(|i| &rows[*i]).collect();
                    let streams = stream::tell(self.domains, &problems, &nodes, &here, config.dead_ends)?;
                    for (i, stream) in places.iter().zip(streams) {
                        with += usize::from(stream.dead_ends > 0);
                        steps += stream.dead_ends;
                        rows[*i].completion = stream.completion;
                    }
                }
                events.advance(1, 0, 0);
            }
        }
        events.finish();
        let all = rows.len();
        self.console.say(&format!("{label}: {with} of {all} rows include {steps} steps of dead ends"));
        Ok(rows)
    }

    /// How often each row comes, and its weight.
    ///
    /// # Errors
    /// Failed reads; a solution without a verdict.
    pub fn shares(&self, config: &TrainConfig, rows: &[Kept]) -> Result<Vec<Share>> {
        let mut rates: Vec<HashMap<String, Rate>> = Vec::new();
        if config.select.asks_samples() {
            for (search, verdicts) in self.searches.0.iter().zip(&self.verdicts.0) {
                let mut of_round = HashMap::new();
                for commit in &search.commits {
                    let solutions: Vec<Solution> = search.shard(commit.shard)?;
                    let verdicts: Vec<VerdictRow> = verdicts.shard(commit.shard)?;
                    of_round.extend(curate::rates(&solutions, &verdicts)?);
                }
                rates.push(of_round);
            }
            if !rates.iter().flat_map(HashMap::values).any(|rate| rate.sampled) {
                let label = self.label;
                self.console.say(&format!("{label}: nothing was sampled yet, so train.select has no effect"));
            }
        }
        let shares = select::shares(rows, &rates, config);
        if config.select.asks_samples() {
            let said = select::describe(rows, &shares, config);
            self.console.say(&format!("{}: {said}", self.label));
        }
        Ok(shares)
    }
}
