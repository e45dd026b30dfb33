//! What a bakeoff found, as numbers: each search at each budget, searches against best-of-N, and judges of
//! samples. Rows are JSON, as `plot.json` holds them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use datasets::key;
use datasets::table::{Match, Selection};
use serde_json::{Value, json};

use crate::bakeoff::{Entrant, Guide};
use crate::evaluate::statistics::{mcnemar, pass_at_k, wilson};
use crate::search::budget::Unit;
use crate::search::{Aggregate, Algorithm, Goal};
use crate::value::metrics::{Scored, best_of_k, bootstrap, vote_of_k};

fn cost(row: &Match, unit: Unit) -> u64 {
    match unit {
        Unit::Tokens => row.tokens,
        Unit::Calls => row.calls,
        Unit::Expansions => row.expansions,
    }
}

/// Draws for intervals.
const DRAWS: usize = 1000;

/// Sum over sum of a resample of the problems, and its 95% interval.
fn ratio(pairs: &[(f64, f64)], seed: u64) -> (Option<f64>, f64, f64) {
    let over = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
    };
    let (top, bottom) = over(&mut pairs.iter().copied());
    if bottom == 0.0 {
        return (None, f64::NAN, f64::NAN);
    }
    let mut rng = key::rng(&["bakeoff ratio".into(), seed.into()]);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| over(&mut (0..pairs.len()).map(|_| pairs[key::below(&mut rng, pairs.len())])))
        // Without a bound where a draw has solved nothing.
        .map(|(top, bottom)| if bottom > 0.0 { top / bottom } else { f64::INFINITY })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((DRAWS - 1) as f64 * share) as usize];
    (Some(top / bottom), at(0.025), at(0.975))
}

/// A search of some problems at a budget.
pub struct Contested<'a> {
    pub entrant: Entrant,
    pub budget: u64,
    pub rows: &'a [Match],
    pub seconds: f64,
}

/// How a search fared at a budget: shares, costs per solved problem, lengths.
pub fn entry(of: &Contested<'_>, unit: Unit, goal: Goal) -> Value {
    let Contested { entrant, budget, rows, seconds } = *of;
    let n = rows.len().max(1) as f64;
    let solved = rows.iter().filter(|r| r.solved).count();
    let (low, high) = wilson(solved, rows.len());
    let pairs: Vec<(f64, f64)> =
        rows.iter().map(|r| (cost(r, unit) as f64, f64::from(u8::from(r.solved)))).collect();
    let (per, per_low, per_high) = ratio(&pairs, budget);
    let sum = |f: &dyn Fn(&Match) -> f64| rows.iter().map(f).sum::<f64>();
    let per_solved = |x: f64| (solved > 0).then(|| x / solved as f64);
    let known: Vec<&Match> = rows.iter().filter(|r| r.shortest.is_some() && r.optimum.is_some()).collect();
    let best = known.iter().filter(|r| r.shortest == r.optimum).count();
    let chosen = |f: &dyn Fn(&Match) -> f32| (goal == Goal::Chosen).then(|| sum(&|r| f64::from(f(r))) / n);
    json!({
        "search": entrant.name(), "budget": budget, "problems": rows.len(), "solved": solved,
        "share": solved as f64 / n, "low": low, "high": high,
        "majority": chosen(&|r| r.majority), "weighted": chosen(&|r| r.weighted), "best": chosen(&|r| r.best),
        "distinct": sum(&|r| f64::from(r.solutions)),
        "cost_per_solved": per, "cost_low": per.map(|_| per_low), "cost_high": per.map(|_| per_high),
        "tokens_per_solved": per_solved(sum(&|r| r.tokens as f64)),
        "expansions_per_solved": per_solved(sum(&|r| r.expansions as f64)),
        "policy_gflop_per_solved": per_solved(sum(&|r| r.policy_flops as f64) / 1e9),
        "value_gflop_per_solved": per_solved(sum(&|r| r.value_flops as f64) / 1e9),
        "seconds": seconds, "seconds_per_solved": per_solved(seconds),
        "shortest": per_solved(sum(&|r| f64::from(r.shortest.unwrap_or(0)))),
        "optimal": (!known.is_empty()).then(|| best as f64 / known.len() as f64),
    })
}

/// What each search does against best-of-N at the same budget, by exact McNemar tests: problems won and lost,
/// p, and in a word whether it `beats`, `loses to` or `does not differ from` it.
pub fn against_best_of_n(all: &[Contested<'_>], goal: Goal) -> Vec<Value> {
    // Best-of-N's answer is that of the majority, a guided search's the one of the largest sum of scores.
    let right = |m: &Match, plain: bool| match goal {
        Goal::Verified => m.solved,
        Goal::Chosen if plain => m.majority > 0.5,
        Goal::Chosen => m.weighted > 0.5,
    };
    let mut out = Vec::new();
    let mut baseline: &[Match] = &[];
    for Contested { entrant, budget, rows, .. } in all {
        if entrant.algorithm == Algorithm::BestOfN && entrant.guide == Guide::Learned {
            baseline = rows;
            continue;
        }
        let before: HashMap<&str, bool> =
            baseline.iter().map(|m| (m.problem_id.as_str(), right(m, true))).collect();
        let solved = |m: &Match| before.get(m.problem_id.as_str()).copied();
        let won = rows.iter().filter(|m| right(m, false) && solved(m) == Some(false)).count();
        let lost = rows.iter().filter(|m| !right(m, false) && solved(m) == Some(true)).count();
        let p = mcnemar(won, lost);
        let verdict = match (won.cmp(&lost), p < 0.05) {
            (Ordering::Greater, true) => "beats",
            (Ordering::Less, true) => "loses to",
            _ => "does not differ from",
        };
        out.push(json!({
            "search": entrant.name(), "budget": budget, "won": won, "lost": lost, "mcnemar_p": p,
            "verdict": verdict,
        }));
    }
    out
}

/// A judge's name, what it says of a sample, and whether it weighs votes or takes the best.
type Judge = (String, Box<dyn Fn(&Selection) -> f32>, bool);

/// How well each judge chooses among N samples: expected accuracy with its 95% interval by bootstrap over
/// problems. The flags say whether there is a process and an outcome reward model.
pub fn choices(rows: &[Selection], sizes: &[usize], (steps, outcome): (bool, bool), seed: u64) -> Vec<Value> {
    let mut problems: BTreeMap<&str, Vec<&Selection>> = BTreeMap::new();
    for row in rows {
        problems.entry(&row.problem_id).or_default().push(row);
    }
    let mut judges: Vec<Judge> = Vec::new();
    if steps {
        for (aggregate, name) in [
            (Aggregate::Last, "last"),
            (Aggregate::Min, "min"),
            (Aggregate::Product, "product"),
            (Aggregate::Mean, "mean"),
        ] {
            judges.push((format!("PRM {name}, best"), Box::new(move |row| aggregate.of(&row.values)), false));
            judges.push((
                format!("PRM {name}, weighted vote"),
                Box::new(move |row| aggregate.of(&row.values)),
                true,
            ));
        }
    }
    if outcome {
        judges.push(("ORM, best".into(), Box::new(|row| row.outcome.unwrap_or(0.0)), false));
        judges.push(("ORM, weighted vote".into(), Box::new(|row| row.outcome.unwrap_or(0.0)), true));
    }
    let mut out = Vec::new();
    for n in sizes {
        let mut add = |judge: &str, per_problem: Vec<f64>| {
            let mut rng = key::rng(&["selection interval".into(), seed.into()]);
            let (low, high) = bootstrap(&per_problem, DRAWS, &mut |n| key::below(&mut rng, n));
            let accuracy = per_problem.iter().sum::<f64>() / per_problem.len().max(1) as f64;
            out.push(json!({"n": n, "judge": judge, "accuracy": accuracy, "low": low, "high": high}));
        };
        let scored = |of: &[&Selection], score: &dyn Fn(&Selection) -> f32| -> Vec<Scored> {
            of.iter()
                .map(|row| Scored { answer: row.answer.clone(), correct: row.correct, score: score(row) })
                .collect()
        };
        let vote = |of: &[&Selection], score: &dyn Fn(&Selection) -> f32, weighted: bool| {
            let mut rng = key::rng(&["votes".into(), seed.into(), (*n as u64).into()]);
            vote_of_k(&scored(of, score), *n, weighted, 200, &mut |n| key::below(&mut rng, n))
        };
        let correct = |of: &[&Selection]| of.iter().filter(|row| row.correct).count();
        add("majority", problems.values().map(|of| vote(of, &|_| 1.0, false)).collect());
        for (name, score, weighted) in &judges {
            let of = |of: &Vec<&Selection>| {
                if *weighted { vote(of, score, true) } else { best_of_k(&scored(of, score), *n) }
            };
            add(name, problems.values().map(of).collect());
        }
        add("random", problems.values().map(|of| correct(of) as f64 / of.len().max(1) as f64).collect());
        add("oracle", problems.values().map(|of| pass_at_k(of.len(), correct(of), *n)).collect());
    }
    out
}
