//! Searches of the same problems at equal budgets, a shard for each search and budget.

use std::time::Instant;

use anyhow::Result;
use datasets::table::Match;
use datasets::types::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use stages::bakeoff::statistics::{Contested, against_best_of_n, entry};
use stages::bakeoff::{self, Contest, Entrant, Guide};
use stages::policy::Policy;
use stages::search::budget::Unit;
use stages::search::value::Values;
use stages::search::{self, Algorithm, Draws, Goal, SearchConfig, TreeConfig};

use super::arguments::Bakeoff;
use super::comparison::Comparison;
use super::table::contests;
use crate::disk::layout::Stage;
use crate::run::fingerprint::Fingerprint;
use crate::run::inputs::Tables;
use crate::run::rows::{Counts, StageOutput, write};
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::policy::SamplingPolicy;
use crate::stage::searching::{self, as_values, with_threshold};
use crate::stage::verifier::Verifier;
use crate::terminal::exit::Failure;
use crate::terminal::text::p_value;

/// What a contest depends on.
#[derive(Serialize)]
struct Inputs {
    code: u32,
    searches: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    split: &'static str,
    count: usize,
    search: SearchConfig,
    /// With the unit and the goal of the contest.
    tree: TreeConfig,
    policy: SamplingPolicy,
    value: Option<searching::Guide>,
    rules: String,
    verifier: Verifier,
    entrants: Vec<String>,
    budgets: Vec<u64>,
    #[serde(skip)]
    plan: Vec<(Entrant, u64)>,
    #[serde(skip)]
    asked: Vec<Problem>,
}

/// Runs the contest and shows it.
///
/// # Errors
/// A search, unit or goal that does not exist; those of the searches; failed reads and writes.
pub fn run(comparison: &Comparison<'_>, args: &Bakeoff) -> Result<()> {
    let Comparison { session, round, split, asked, .. } = comparison;
    let c = &session.config;
    let (mut policy, own) = comparison.open()?;
    let values = comparison.values(c.value.levels[0]);
    let entrants = entrants(args, *round, values.is_some() || own)?;
    let unit = unit(args, policy.enumerates())?;
    let goal = goal(args)?;
    let mut budgets = args.budgets.clone();
    budgets.sort_unstable();
    budgets.dedup();
    let verifier = Verifier::of(session)?;
    let inputs = Inputs {
        code: bakeoff::VERSION,
        searches: search::VERSION,
        tables: Tables::default().with::<Match>(),
        seed: c.run.seed,
        round: *round,
        problems: comparison.problems.clone(),
        split: split.name(),
        count: asked.len(),
        search: c.search.clone(),
        tree: TreeConfig { unit, goal, ..c.tree.clone() },
        policy: comparison.policy.clone(),
        value: values.map(|values| searching::Guide { values, prune: c.value.prune }),
        rules: verifier.rules(),
        verifier,
        entrants: entrants.iter().map(|entrant| entrant.name()).collect(),
        plan: budgets.iter().flat_map(|budget| entrants.iter().map(|e| (*e, *budget))).collect(),
        budgets,
        asked: asked.clone(),
    };
    let at = (Stage::Bakeoff, *round);
    let fingerprint = Fingerprint::of(Stage::Bakeoff, &inputs)?;
    let opened = session.workspace.open(at, &fingerprint, Some(inputs.plan.len() as u32))?;
    let output = work(&session.workspace, &opened, &inputs, &mut *policy, own)?;
    show(comparison, args, &opened, &inputs, (&output, policy.kind()))
}

fn entrants(args: &Bakeoff, round: u32, guided: bool) -> Result<Vec<Entrant>> {
    let mut entrants = Vec::new();
    for text in std::iter::once("best-of-n").chain(args.search.iter().map(String::as_str)) {
        let unknown = || {
            let hint = "best-of-n, beam, dvts, mcts or astar; each may be followed by /effort or /none";
            Failure::usage(format!("there is no search `{text}`"), hint)
        };
        let entrant = Entrant::parse(text.trim()).ok_or_else(unknown)?;
        if entrant.guide == Guide::Learned && !guided && entrant.algorithm != Algorithm::BestOfN {
            let hint =
                "run with --set value.model=features (trunk, decoder), or write astar/effort or astar/none";
            let what = format!("round {round} has no value model to guide {text}");
            return Err(Failure::usage(what, hint).into());
        }
        if !entrants.contains(&entrant) {
            entrants.push(entrant);
        }
    }
    Ok(entrants)
}

fn unit(args: &Bakeoff, rules: bool) -> Result<Unit> {
    match args.unit.as_deref() {
        None => Ok(if rules { Unit::Expansions } else { Unit::Tokens }),
        Some("tokens") => Ok(Unit::Tokens),
        Some("calls") => Ok(Unit::Calls),
        Some("expansions") => Ok(Unit::Expansions),
        Some(other) => {
            Err(Failure::usage(format!("there is no unit `{other}`"), "tokens, calls or expansions").into())
        }
    }
}

fn goal(args: &Bakeoff) -> Result<Goal> {
    match args.goal.as_str() {
        "verified" => Ok(Goal::Verified),
        "chosen" => Ok(Goal::Chosen),
        other => Err(Failure::usage(format!("there is no goal `{other}`"), "verified or chosen").into()),
    }
}

fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Tokens => "tokens",
        Unit::Calls => "calls",
        Unit::Expansions => "expansions",
    }
}

/// Runs each search at each budget; `own` says whether the policy says values itself.
fn work(
    workspace: &Workspace,
    opened: &Opened,
    inputs: &Inputs,
    policy: &mut dyn Policy,
    own: bool,
) -> Result<StageOutput> {
    let (plan, asked, goal) = (&inputs.plan, &inputs.asked, inputs.tree.goal);
    let mut guide = inputs.value.as_ref().map(|guide| guide.values.load(workspace)).transpose()?;
    let prune = inputs.value.as_ref().is_some_and(|guide| guide.prune);
    let threshold = guide.as_ref().map(|(_, measured)| measured.threshold).filter(|_| prune);
    let tree = with_threshold(&inputs.tree, threshold);
    // Rules have paths of their own length.
    let depth = if policy.enumerates() { inputs.search.rule_steps as u32 } else { tree.depth };
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "bakeoff" };
    let sampling = inputs.search.sampling();
    let domains = inputs.verifier.open(workspace)?;
    let units = (plan.len() * asked.len()) as u64;
    let size = Size { shards: plan.len() as u32, unit: "searches", units };
    workspace.shards(opened, &size, |shard, attempt, progress| {
        let (entrant, budget) = plan[shard as usize];
        let unit = name(tree.unit);
        stages::Events::state(progress, &format!("{} with {budget} {unit}", entrant.name()));
        let tree = TreeConfig { budget, depth, ..tree.clone() };
        let contest = Contest { entrant, tree, sampling: sampling.clone(), draws, domains: domains.clone() };
        let mut values = match entrant.guide {
            Guide::None => Values::None,
            // It has nothing to choose between until the end.
            Guide::Learned if entrant.algorithm == Algorithm::BestOfN && goal == Goal::Verified => {
                Values::None
            }
            Guide::Effort => Values::Effort,
            Guide::Learned if own => Values::Own,
            Guide::Learned => as_values(guide.as_mut().map(|(trained, _)| trained)),
        };
        let clock = Instant::now();
        let rows = contest.run(asked, policy, &mut values, progress)?;
        let milliseconds = clock.elapsed().as_millis() as i64;
        write(attempt, rows)?;
        let units = ("units".to_owned(), asked.len() as i64);
        Ok(Counts::from([units, ("milliseconds".to_owned(), milliseconds)]))
    })
}

fn show(
    comparison: &Comparison<'_>,
    args: &Bakeoff,
    opened: &Opened,
    inputs: &Inputs,
    (output, proposer): (&StageOutput, &str),
) -> Result<()> {
    let (unit, goal) = (inputs.tree.unit, inputs.tree.goal);
    let mut rows: Vec<Vec<Match>> = Vec::new();
    for commit in &output.commits {
        rows.push(output.shard(commit.shard)?);
    }
    let seconds =
        |i: usize| output.commits[i].counts.get("milliseconds").copied().unwrap_or(0) as f64 / 1000.0;
    let contested: Vec<Contested<'_>> = inputs
        .plan
        .iter()
        .zip(&rows)
        .enumerate()
        .map(|(i, ((entrant, budget), rows))| Contested {
            entrant: *entrant,
            budget: *budget,
            rows,
            seconds: seconds(i),
        })
        .collect();
    let lines: Vec<Value> = contested.iter().map(|of| entry(of, unit, goal)).collect();
    let against = against_best_of_n(&contested, goal);
    let (unit, split, count) = (name(unit), inputs.split, inputs.count);
    let plot = json!({
        "round": inputs.round, "split": split, "problems": count, "policy": proposer, "unit": unit,
        "goal": args.goal, "rows": lines, "against_best_of_n": against,
    });
    comparison.publish(opened, &plot, args.json, || {
        let mut out = contests(&lines, unit, goal);
        out.push_str(&format!(
            "\n{count} {split} problems; {proposer} proposes steps; the budget is in {unit} per problem. \
             cost: {unit} per solved problem, over all problems;\n\
             GFLOP: of policy and value model per solved problem, 2 for each parameter and token; steps: of \
             the shortest path found.\n"
        ));
        for of in &against {
            let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
            out.push_str(&format!(
                "at {}: {} {} best-of-n: solves {} that it does not, and misses {} (exact McNemar p = {})\n",
                of["budget"],
                text("search"),
                text("verdict"),
                of["won"],
                of["lost"],
                p_value(of["mcnemar_p"].as_f64().unwrap_or(1.0))
            ));
        }
        out
    })
}
