//! `qstill bench search`: states per second of every search, over rules without a model (what the search
//! itself costs) and with the demo's decoder as policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use datasets::domains::Domains;
use datasets::types::Problem;
use serde_json::{Value, json};
use stages::events::Silent;
use stages::policy::model::ModelPolicy;
use stages::policy::rules::Rules;
use stages::policy::{Policy, Prompt};
use stages::problems;
use stages::search::budget::Unit;
use stages::search::grow;
use stages::search::value::Values;
use stages::search::{Algorithm, Draws, Goal, Plan, TreeConfig};

use crate::config::Config;
use crate::config::presets::preset;

/// Problems of a preset, as many as are searched together.
fn drawn(config: &Config, count: usize) -> Result<Vec<Problem>> {
    let settings =
        problems::ProblemsConfig { train: count, validation: 0, test: 0, ..config.problems.clone() };
    let mut all = Vec::new();
    problems::problems(&settings, 1, &Silent, &mut |problem| {
        all.push(problem);
        Ok(())
    })?;
    Ok(all)
}

/// What is drawn.
const DRAWS: Draws = Draws { seed: 1, round: 1, purpose: "bench" };

/// Searches again and again for as long as is asked.
fn measure(
    name: &str,
    problems: &[Problem],
    plan: &Plan,
    policy: &mut dyn Policy,
    time: Duration,
) -> Result<Value> {
    let (mut nodes, mut expansions, mut tokens, mut solved, mut searched) = (0, 0, 0, 0, 0);
    let start = Instant::now();
    while searched == 0 || start.elapsed() < time {
        let outcomes = grow::run(problems, plan, policy, &mut Values::None, &Silent)?;
        for outcome in &outcomes {
            nodes += outcome.spent.nodes;
            expansions += outcome.spent.expansions;
            tokens += outcome.spent.tokens;
            solved += usize::from(!outcome.solutions.is_empty());
        }
        searched += outcomes.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = |count: u64| count as f64 / seconds;
    Ok(json!({
        "bench": "search", "policy": name, "search": plan.algorithm.name(),
        "threads": rayon::current_num_threads(),
        "problems": searched, "solved": solved, "expansions_per_second": rate(expansions),
        "nodes_per_second": rate(nodes), "tokens_per_second": rate(tokens),
    }))
}

/// Every search over the rules of Countdown with four numbers on one thread, then over the demo's decoder,
/// which is untrained.
///
/// # Errors
/// Those of the searches.
pub fn search(time: Duration) -> Result<Value> {
    let of = |name: &str| {
        Config::resolve(&[(name.to_owned(), preset(name)?.to_owned())], &[]).map(|(config, _)| config)
    };
    let countdown = of("countdown4")?;
    let mut all = Vec::new();
    // With an answer that no path reaches, a tree is searched to its end and no time goes into the verifier.
    let problems: Vec<Problem> =
        drawn(&countdown, 100)?.into_iter().map(|p| Problem { answer: "1000003".into(), ..p }).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().context("failed to start a thread")?;
    for algorithm in Algorithm::ALL {
        let tree = TreeConfig {
            unit: Unit::Expansions,
            budget: 2000,
            goal: Goal::Verified,
            depth: 8,
            ..countdown.tree.clone()
        };
        let plan = Plan {
            algorithm,
            tree,
            samples: 2000,
            aim: None,
            siblings: None,
            sampling: countdown.search.sampling(),
            name: algorithm.name(),
            draws: DRAWS,
            domains: Domains::default(),
        };
        all.push(one.install(|| measure("rules", &problems, &plan, &mut Rules::default(), time))?);
    }
    let demo = of("demo")?;
    let problems = drawn(&demo, 64)?;
    let texts = || Ok(problems.iter().map(|problem| problem.question.clone()).collect());
    let device = stages::model::device::choose(&stages::model::DeviceSetting::Cpu)?;
    let model = Arc::new(stages::train::base(&demo.model, texts, 1, &device)?);
    for algorithm in Algorithm::ALL {
        let tree = TreeConfig { unit: Unit::Tokens, budget: 256, goal: Goal::Verified, ..demo.tree.clone() };
        let plan = Plan {
            algorithm,
            tree,
            samples: 1000,
            aim: None,
            siblings: None,
            sampling: demo.search.sampling(),
            name: algorithm.name(),
            draws: DRAWS,
            domains: Domains::default(),
        };
        let mut policy = ModelPolicy::new(Arc::clone(&model), Prompt::default(), demo.model.limits());
        all.push(measure("demo", &problems, &plan, &mut policy, time)?);
    }
    Ok(Value::Array(all))
}
