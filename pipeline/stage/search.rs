//! The search stage: solution paths of the train problems.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use datasets::table::Node;
use datasets::types::{End, Problem, Solution, Split};
use serde::Serialize;
use stages::Events;
use stages::policy::Policy;
use stages::search::{self, Draws, RulesOn, Scope};

use crate::run::inputs::Tables;
use crate::run::rows::{Counts, Rounds, StageOutput, counts, pool, siblings, train_shards, write};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::searching::Searching;

/// What a round's search depends on.
#[derive(Serialize)]
pub struct Inputs {
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    #[serde(flatten)]
    searching: Searching,
    siblings: Option<SiblingGoal>,
}

/// With `search.rules_on = "siblings"`: how many of them confirm a path, and what has a row already.
#[derive(Serialize)]
struct SiblingGoal {
    least: usize,
    kept: Rounds,
}

impl Inputs {
    /// Number of shards.
    pub fn shards(&self) -> u32 {
        train_shards(&self.problems).len() as u32
    }
}

/// # Errors
/// A model directory that cannot be read.
pub fn inputs(
    session: &Session,
    round: u32,
    problems: &StageOutput,
    earlier: &EarlierRounds,
) -> Result<Inputs> {
    let c = &session.config;
    // What has a row is left to those who ask whether it is right.
    let goal = || SiblingGoal { least: c.curate.min_siblings, kept: earlier.kept.clone() };
    Ok(Inputs {
        tables: Tables::default().with::<Node>().with::<Solution>(),
        seed: c.run.seed,
        round,
        problems: problems.clone(),
        searching: Searching::of(session, problems, earlier)?,
        siblings: (c.search.rules_on == RulesOn::Siblings).then(goal),
    })
}

/// Searches the train problems.
///
/// # Errors
/// Those of the policy and of the value model; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let Inputs { problems, searching, round, .. } = inputs;
    let shards = train_shards(problems);
    let mut open = searching.open(workspace)?;
    let tree = open.tree.clone();
    let (mut policy, mut values) = open.parts();
    let draws = Draws { seed: inputs.seed, round: *round, purpose: "search" };
    let judges = match &inputs.siblings {
        Some(goal) => Some((Arc::new(siblings(problems)?), goal.least)),
        None => None,
    };
    let solved: HashSet<String> = match &inputs.siblings {
        Some(goal) => pool(&goal.kept, None)?.into_iter().map(|row| row.problem_id).collect(),
        None => HashSet::new(),
    };
    let looks_at = |problem: &Problem| draws.looks_at(problem, searching.search.slices);
    let enumerates = |problem: &Problem| match &judges {
        Some((all, _)) => !solved.contains(&problem.problem_id) && all.has(problem),
        None => looks_at(problem),
    };
    let scope = Scope { rules: &enumerates, policy: &looks_at, siblings: judges.clone() };
    let domains = searching.verifier.open(workspace)?;
    let config = &searching.search;
    let settings = search::Searching { config, tree: &tree, scope: &scope, draws, domains: &domains };
    let units = problems.count(Split::Train.name()) as u64;
    let size = Size { shards: inputs.shards(), unit: "problems", units };
    let mut begun = Begun::default();
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let rows: Vec<Problem> = problems.shard(shards[shard as usize])?;
        let mut policy = policy.as_mut().map(|p| &mut **p as &mut dyn Policy);
        if let Some(policy) = policy.as_deref_mut() {
            let outstanding = |next: &u32| {
                // What is left of another worker's part is not begun early: it may be doing it.
                let own = workspace.owns(shard) && workspace.owns(*next);
                own && opened.commits.iter().all(|commit| commit.shard != *next)
            };
            let read = |next: u32| problems.shard::<Problem>(shards[next as usize]);
            let name = |shard: u32| format!("search-{round}-{shard:05}");
            begun.upto(shard, policy.ahead(), (0..inputs.shards()).filter(outstanding), |next| {
                let rows = read(next)?;
                policy.belongs(&name(next));
                search::expect(&rows, &settings, policy);
                Ok(rows.len())
            })?;
            policy.belongs(&name(shard));
        }
        let searched = search::search(&rows, &settings, policy, &mut values, progress)?;
        let solved = searched.solved();
        progress.advance(rows.len() as u64, solved as u64, 0);
        let spent = || (0..rows.len()).flat_map(|i| searched.of(i)).map(|outcome| outcome.spent);
        let tokens: u64 = spent().map(|s| s.tokens).sum();
        let expansions: u64 = spent().map(|s| s.expansions).sum();
        let looked_at = (0..rows.len()).filter(|i| searched.of(*i).next().is_some()).count();
        let found = searched.found;
        let count = found.solutions.len();
        let mut ends = Counts::default();
        for end in found.solutions.iter().map(|row| row.end).filter(|end| *end != End::Complete) {
            *ends.entry(format!("end {}", end.name())).or_default() += 1;
        }
        write::<Node>(attempt, found.nodes)?;
        write::<Solution>(attempt, found.solutions)?;
        ends.extend(counts(&[
            ("units", rows.len()),
            ("looked_at", looked_at),
            ("solved", solved),
            ("solutions", count),
            ("tokens", tokens as usize),
            ("expansions", expansions as usize),
        ]));
        Ok(ends)
    })?;
    workspace.console.say(&format!(
        "{}: {} solutions; {} of {} problems have a correct one; {} tokens, {} expansions",
        opened.name(),
        output.count("solutions"),
        output.count("solved"),
        output.count("looked_at"),
        output.count("tokens"),
        output.count("expansions")
    ));
    let ends = output.reasons("end ");
    if ends != "none" {
        workspace.console.say(&format!("{}: samples that did not end by themselves: {ends}", opened.name()));
    }
    Ok(output)
}

/// Shards that a policy has been told of.
#[derive(Default)]
struct Begun(BTreeMap<u32, usize>);

impl Begun {
    /// Tells it of this shard, and of later ones until there are `ahead` problems in them.
    fn upto(
        &mut self,
        shard: u32,
        ahead: usize,
        outstanding: impl Iterator<Item = u32>,
        mut tell: impl FnMut(u32) -> Result<usize>,
    ) -> Result<()> {
        if ahead == 0 {
            return Ok(());
        }
        // Its own come first.
        if self.0.remove(&shard).is_none() {
            tell(shard)?;
        }
        let mut waiting = 0;
        for next in outstanding.filter(|next| *next > shard) {
            if waiting >= ahead {
                break;
            }
            waiting += match self.0.get(&next) {
                Some(problems) => *problems,
                None => {
                    let problems = tell(next)?;
                    self.0.insert(next, problems);
                    problems
                }
            };
        }
        Ok(())
    }
}
