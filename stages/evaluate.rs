//! evaluate: what base, student and teacher solve on problems that nothing was trained on, and at what cost.
//!
//! Models answer greedily (sample 0) and then with `samples` draws for pass@k and maj@k. The teacher is
//! policy and search together: it counts a problem as solved if its search reaches a verified answer, which
//! is the signal it has in training too. Its cost is all it generated, dead ends included.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use datasets::answer;
use datasets::domains::{self, Domains};
use datasets::table::Evaluation;
use datasets::types::{Problem, Solution, Split, Step, Verdict};
use serde::{Deserialize, Serialize};

use crate::events::Events;
use crate::policy::{Ask, Horizon, Policy, Proposal, Sampling, completion};
use crate::search::value::Values;
use crate::search::{Algorithm, Draws, Scope, SearchConfig, Searching, TreeConfig, search};
use crate::verify::{case, judge};

pub mod choices;
pub mod statistics;

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 6;

/// `[evaluate]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    pub split: Split,
    /// How many problems of the split; 0 for all.
    pub problems: usize,
    /// Draws per problem for pass@k and maj@k (k is this number); 0 for greedy answers only.
    pub samples: usize,
    pub temperature: f64,
    pub max_tokens: usize,
    pub calculator: bool,
    /// Measure the teacher too.
    pub teacher: bool,
}

/// Problems per call to a model.
const CHUNK: usize = 64;

/// A model that is measured, and how.
#[derive(Clone, Copy)]
pub struct ModelRun<'a> {
    /// `base`, `student` or the like: the column `model`.
    pub name: &'a str,
    pub config: &'a EvaluateConfig,
    pub draws: Draws,
    /// Who judges its answers.
    pub domains: &'a Domains,
}

/// Measures a model without search.
///
/// # Errors
/// Those of the policy, and [`crate::Cancelled`].
pub fn model(
    problems: &[Problem],
    run: ModelRun<'_>,
    policy: &mut dyn Policy,
    events: &dyn Events,
) -> Result<Vec<Evaluation>> {
    let ModelRun { name, config, draws, domains } = run;
    let measured = Measured { name, round: draws.round, domains };
    let greedy = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        max_tokens: config.max_tokens,
        calculator: config.calculator,
    };
    let sampled = Sampling { temperature: config.temperature as f32, ..greedy.clone() };
    let mut rows = Vec::new();
    for chunk in problems.chunks(CHUNK) {
        events.check()?;
        for (sampling, first, count) in [(&greedy, 0, 1), (&sampled, 1, config.samples)] {
            let seeds: Vec<Vec<u64>> =
                chunk.iter().map(|p| (first..first + count).map(|i| draws.sample(p, i)).collect()).collect();
            let asks: Vec<Ask<'_>> =
                chunk.iter().zip(&seeds).map(|(problem, seeds)| Ask { problem, steps: &[], seeds }).collect();
            let proposals = if count == 0 {
                Vec::new()
            } else {
                policy.propose(&asks, Horizon::Path, sampling, events)?
            };
            domains.foresee(|| {
                let of = chunk.iter().zip(&proposals);
                of.flat_map(|(problem, some)| some.iter().map(|proposal| case(problem, &[], proposal)))
            });
            events.check()?;
            for ((problem, seeds), proposals) in chunk.iter().zip(&seeds).zip(proposals) {
                for (i, (proposal, seed)) in proposals.into_iter().zip(seeds).enumerate() {
                    rows.push(measured.row(problem, (first + i) as u32, *seed, &proposal));
                }
            }
        }
        let new = &rows[rows.len() - chunk.len() * (1 + config.samples)..];
        events.advance(chunk.len() as u64, 0, new.iter().map(|r| u64::from(r.tokens)).sum());
    }
    rows.sort_by_key(|r| r.sample > 0);
    Ok(rows)
}

/// Whose answers rows are of.
struct Measured<'a> {
    name: &'a str,
    round: u32,
    domains: &'a Domains,
}

impl Measured<'_> {
    fn row(&self, problem: &Problem, sample: u32, seed: u64, proposal: &Proposal) -> Evaluation {
        let steps: Vec<String> = proposal.steps.iter().map(|s| s.text.clone()).collect();
        let judgement = judge(self.domains, problem, &steps, &proposal.final_answer);
        Evaluation {
            round: self.round,
            model: self.name.to_owned(),
            split: problem.split,
            problem_id: problem.problem_id.clone(),
            sample,
            seed,
            correct: judgement.verdict == Verdict::Correct,
            verdict: judgement.verdict,
            reason: judgement.reason,
            completion: completion(&steps, &proposal.final_answer),
            final_answer: proposal.final_answer.clone(),
            answer_logprob: proposal.answer_logprob,
            tokens: proposal.tokens,
            model_tokens: proposal.tokens,
            expansions: 0,
        }
    }
}

/// How policy and search are measured.
#[derive(Clone, Copy)]
pub struct TeacherRun<'a> {
    pub config: &'a SearchConfig,
    pub tree: &'a TreeConfig,
    pub draws: Draws,
    /// Tokens of a step that the rules wrote, as the student would have to write it.
    pub count: &'a dyn Fn(&str) -> u32,
    /// Who judges its paths.
    pub domains: &'a Domains,
}

/// Measures policy and search. Sample 0 of a problem is the search's outcome and its whole cost; the
/// samples that the policy drew follow, for pass@k and maj@k.
///
/// # Errors
/// Those of the search.
pub fn teacher(
    problems: &[Problem],
    run: TeacherRun<'_>,
    mut policy: Option<&mut dyn Policy>,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<Vec<Evaluation>> {
    let TeacherRun { config, tree, draws, count, domains } = run;
    let searching = Searching { config, tree, scope: &Scope::ALL, draws, domains };
    let measured = Measured { name: "teacher", round: draws.round, domains };
    // What a tree search hands out are the ends that it looked for, and no draws of their own.
    let independent = Algorithm::BestOfN.name();
    let mut rows = Vec::new();
    for chunk in problems.chunks(CHUNK) {
        events.check()?;
        let policy = policy.as_mut().map(|p| &mut **p as &mut dyn Policy);
        let searched = search(chunk, &searching, policy, values, events)?;
        let found = &searched.found;
        let mut cost: HashMap<&str, (u32, u32, u32)> = HashMap::new();
        for (problem, outcome) in chunk
            .iter()
            .enumerate()
            .flat_map(|(i, problem)| searched.of(i).map(move |outcome| (problem, outcome)))
        {
            let (tokens, model_tokens, expansions) = cost.entry(&problem.problem_id).or_default();
            *tokens += outcome.spent.tokens as u32;
            *model_tokens += outcome.spent.tokens as u32;
            *expansions += outcome.spent.expansions as u32;
        }
        for node in found.nodes.iter().filter(|node| node.tokens == 0) {
            cost.entry(&node.problem_id).or_default().0 += count(&node.step);
        }
        for problem in chunk {
            let of_problem: Vec<&Solution> =
                found.solutions.iter().filter(|s| s.problem_id == problem.problem_id).collect();
            let judged: Vec<Evaluation> =
                of_problem.iter().map(|s| measured.row(problem, 0, s.seed, &as_proposal(s))).collect();
            let (tokens, model_tokens, expansions) =
                cost.get(problem.problem_id.as_str()).copied().unwrap_or_default();
            let best = judged.iter().find(|r| r.correct).or(judged.first()).cloned();
            let outcome = best.unwrap_or_else(|| measured.row(problem, 0, 0, &Proposal::default()));
            // The search has told of its tokens.
            events.advance(1, 0, 0);
            rows.push(Evaluation { tokens, model_tokens, expansions, ..outcome });
            let drawn = judged
                .into_iter()
                .zip(&of_problem)
                .filter(|(_, s)| s.sampled() && s.algorithm == independent);
            rows.extend(drawn.enumerate().map(|(i, (r, _))| Evaluation { sample: i as u32 + 1, ..r }));
        }
    }
    rows.sort_by_key(|r| r.sample > 0);
    Ok(rows)
}

fn as_proposal(solution: &Solution) -> Proposal {
    let steps = solution.steps.iter().map(|s| Step { text: s.text.clone(), ..Step::default() }).collect();
    let (final_answer, end) = (solution.final_answer.clone(), solution.end);
    Proposal { steps, final_answer, end, tokens: solution.tokens, ..Proposal::default() }
}

/// One line of `evaluation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub round: u32,
    /// `base`, `student` or `teacher`.
    pub model: String,
    pub split: String,
    pub problems: usize,
    pub solved: usize,
    /// Problems whose answer could not be judged; they count as unsolved.
    #[serde(default)]
    pub undecidable: usize,
    /// Share solved: greedily for a model, by its search for the teacher.
    pub pass_at_1: f64,
    /// Wilson interval of `pass_at_1`, 95%.
    pub ci_low: f64,
    pub ci_high: f64,
    /// Number of draws behind the next two; 0 if there were none.
    pub k: usize,
    /// Unbiased pass@k of the draws.
    pub pass_at_k: Option<f64>,
    /// Share of problems whose most frequent answer is correct; ties count in part.
    pub maj_at_k: Option<f64>,
    /// Tokens written for the answers counted in `solved`: a search's dead ends and rule steps included.
    pub tokens: u64,
    /// Those of them that a language model generated.
    pub model_tokens: u64,
    /// Nodes that searches expanded.
    pub expansions: u64,
    pub tokens_per_problem: f64,
    /// None if nothing was solved.
    pub tokens_per_solved: Option<f64>,
    pub seconds: f64,
    /// Share solved by difficulty, where the source knows it: difficulty, solved, problems.
    pub by_difficulty: Vec<(u32, usize, usize)>,
    /// Of multiple choice: by letters, and how good the probability of the letter is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<choices::Choices>,
}

/// Sums up the rows of one measured model.
pub fn summarise(rows: &[Evaluation], problems: &HashMap<String, Problem>, seconds: f64) -> Option<Summary> {
    let head = rows.first()?;
    let first: Vec<&Evaluation> = rows.iter().filter(|r| r.sample == 0).collect();
    let solved = first.iter().filter(|r| r.correct).count();
    let (low, high) = statistics::wilson(solved, first.len());
    let mut draws: BTreeMap<&str, Vec<&Evaluation>> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.sample > 0) {
        draws.entry(&row.problem_id).or_default().push(row);
    }
    let k = draws.values().map(Vec::len).min().unwrap_or(0);
    let mean = |f: &dyn Fn(&[&Evaluation]) -> f64| {
        (k > 0).then(|| draws.values().map(|d| f(d)).sum::<f64>() / draws.len() as f64)
    };
    let pass_at_k = mean(&|d| statistics::pass_at_k(d.len(), d.iter().filter(|r| r.correct).count(), k));
    let reading = |row: &Evaluation| match problems.get(&row.problem_id) {
        Some(problem) => domains::reading(problem, &row.final_answer),
        None => answer::compare("0", &row.final_answer).predicted_read,
    };
    let maj_at_k = mean(&|d| {
        let votes: Vec<(String, bool)> = d.iter().map(|r| (reading(r), r.correct)).collect();
        statistics::majority(&votes)
    });
    let tokens: u64 = first.iter().map(|r| u64::from(r.tokens)).sum();
    let mut by_difficulty: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for row in &first {
        if let Some(problem) = problems.get(&row.problem_id).filter(|p| p.difficulty > 0) {
            let entry = by_difficulty.entry(problem.difficulty).or_default();
            entry.0 += usize::from(row.correct);
            entry.1 += 1;
        }
    }
    Some(Summary {
        round: head.round,
        model: head.model.clone(),
        split: head.split.name().into(),
        problems: first.len(),
        solved,
        undecidable: first.iter().filter(|r| r.verdict == Verdict::Undecidable).count(),
        pass_at_1: solved as f64 / first.len().max(1) as f64,
        ci_low: low,
        ci_high: high,
        k,
        pass_at_k,
        maj_at_k,
        tokens,
        model_tokens: first.iter().map(|r| u64::from(r.model_tokens)).sum(),
        expansions: first.iter().map(|r| u64::from(r.expansions)).sum(),
        tokens_per_problem: tokens as f64 / first.len().max(1) as f64,
        tokens_per_solved: (solved > 0).then(|| tokens as f64 / solved as f64),
        seconds,
        by_difficulty: by_difficulty.into_iter().map(|(d, (s, n))| (d, s, n)).collect(),
        choices: choices::Choices::of(&first, problems),
    })
}

/// Problems that only one of two models solves greedily, and McNemar's exact p-value.
pub fn paired(a: &[Evaluation], b: &[Evaluation]) -> (usize, usize, f64) {
    let first = |rows: &[Evaluation]| -> HashMap<String, bool> {
        rows.iter().filter(|r| r.sample == 0).map(|r| (r.problem_id.clone(), r.correct)).collect()
    };
    let (a, b) = (first(a), first(b));
    let lost = a.iter().filter(|(id, correct)| **correct && b.get(*id) == Some(&false)).count();
    let won = b.iter().filter(|(id, correct)| **correct && a.get(*id) == Some(&false)).count();
    (won, lost, statistics::mcnemar(won, lost))
}
