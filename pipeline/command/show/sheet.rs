//! What the tables of a run say of one problem.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use datasets::table::{Dropped, Evaluation, Node, Retired, VerdictRow};
use datasets::types::{Judgement, Kept, Problem, Solution, Step};
use serde::Serialize;

use super::find::Found;
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::{StageOutput, committed};

/// All of it.
#[derive(Serialize)]
pub struct Sheet {
    pub problem_id: String,
    /// Its place in the table of problems, from 1.
    pub number: usize,
    pub split: &'static str,
    pub domain: String,
    pub source: String,
    pub difficulty: u32,
    pub question: String,
    pub answer: String,
    pub rounds: Vec<RoundSheet>,
    /// Of models that were measured, by the gate and at the end of rounds.
    pub answers: Vec<AnswerSheet>,
}

/// What a round did with it.
#[derive(Serialize)]
pub struct RoundSheet {
    pub round: u32,
    /// Whether the problem's shard is there.
    pub searched: bool,
    pub verified: bool,
    pub curated: bool,
    pub trees: Vec<TreeSheet>,
    pub solutions: Vec<SolutionSheet>,
}

#[derive(Serialize)]
pub struct TreeSheet {
    pub tree_id: String,
    pub nodes: Vec<NodeSheet>,
}

#[derive(Clone, Serialize)]
pub struct NodeSheet {
    pub node_id: u32,
    pub parent_id: Option<u32>,
    pub step: String,
    pub logprob: Option<f32>,
    pub prior: Option<f32>,
    pub value: Option<f32>,
    pub q: Option<f32>,
    pub visits: u32,
    pub status: String,
    /// Why the search did not go on here; empty if it did, or if it is a solution.
    pub why: &'static str,
    pub tokens: u32,
    pub expansion_order: Option<u32>,
}

#[derive(Serialize)]
pub struct SolutionSheet {
    pub solution_id: String,
    pub algorithm: String,
    pub policy: String,
    pub steps: Vec<StepSheet>,
    pub final_answer: String,
    pub end: &'static str,
    pub tokens: u32,
    pub thought: String,
    /// None while it is not verified.
    pub verdict: Option<&'static str>,
    pub verdict_reason: String,
    /// Faults of the path as a whole.
    pub faults: Vec<String>,
    #[serde(flatten)]
    pub fate: FateSheet,
}

#[derive(Serialize)]
pub struct StepSheet {
    pub text: String,
    pub value: Option<f32>,
    pub logprob: Option<f32>,
    pub check: &'static str,
    pub faults: Vec<String>,
}

/// What became of a solution.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum FateSheet {
    #[default]
    NotCurated,
    Kept {
        weight: f32,
        /// The round that gave it up, why, and what shows it.
        retired: Option<(u32, String, String)>,
    },
    Dropped {
        reason: String,
        evidence: String,
    },
}

/// An answer of a measured model.
#[derive(Serialize)]
pub struct AnswerSheet {
    pub round: u32,
    /// `gate` or `evaluate`.
    pub stage: &'static str,
    pub model: String,
    pub sample: u32,
    pub correct: bool,
    pub reason: String,
    pub completion: String,
    pub final_answer: String,
    pub tokens: u32,
    pub expansions: u32,
}

impl Sheet {
    /// # Errors
    /// Failed reads.
    pub fn of(run: &RunDir, found: Found, wanted: &[u32]) -> Result<Self> {
        let Found { problem, number, shard, .. } = found;
        let ids = HashSet::from([problem.problem_id.clone()]);
        let mut answers = Vec::new();
        for round in wanted {
            for stage in [Stage::Gate, Stage::Evaluate] {
                let rows: Vec<Evaluation> = committed(run, *round, stage)?.of_problems(None, &ids)?;
                answers.extend(rows.into_iter().map(|row| AnswerSheet::of(stage, row)));
            }
        }
        let rounds = match shard {
            Some(shard) => {
                let mut sheets = round_sheets(&Outputs::all(run)?, wanted, shard, &ids)?;
                sheets.remove(&problem.problem_id).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let Problem { problem_id, domain, source, split, question, answer, difficulty, .. } = problem;
        let split = split.name();
        Ok(Self { problem_id, number, split, domain, source, difficulty, question, answer, rounds, answers })
    }
}

/// The stages of a round that have rows of every train problem.
pub struct Outputs {
    pub round: u32,
    pub search: StageOutput,
    pub verify: StageOutput,
    pub curate: StageOutput,
}

impl Outputs {
    /// Those of all rounds, in order.
    ///
    /// # Errors
    /// Failed reads.
    pub fn all(run: &RunDir) -> Result<Vec<Self>> {
        let of = |round: u32| {
            let stage = |stage| committed(run, round, stage);
            let (search, verify) = (stage(Stage::Search)?, stage(Stage::Verify)?);
            Ok(Self { round, search, verify, curate: stage(Stage::Curate)? })
        };
        run.rounds()?.into_iter().map(of).collect()
    }
}

/// What the wanted rounds did with some train problems of a shard: by problem, the rounds in order.
///
/// # Errors
/// Failed reads.
pub fn round_sheets(
    outputs: &[Outputs],
    wanted: &[u32],
    shard: u32,
    ids: &HashSet<String>,
) -> Result<HashMap<String, Vec<RoundSheet>>> {
    let mut sheets: HashMap<String, Vec<RoundSheet>> = HashMap::new();
    for output in outputs.iter().filter(|output| wanted.contains(&output.round)) {
        for (id, sheet) in RoundSheet::of(output, shard, ids)? {
            sheets.entry(id).or_default().push(sheet);
        }
    }
    for output in outputs {
        let rows: Vec<Retired> = output.curate.of_problems(Some(shard), ids)?;
        for row in rows {
            retire(sheets.entry(row.problem_id.clone()).or_default(), output.round, &row);
        }
    }
    Ok(sheets)
}

/// Notes of a kept row that a later round gave it up. A row that was kept again is another one.
fn retire(sheets: &mut [RoundSheet], round: u32, row: &Retired) {
    let kept = sheets.iter_mut().filter(|sheet| sheet.round < round).flat_map(|s| &mut s.solutions);
    for solution in kept.filter(|solution| solution.solution_id == row.solution_id) {
        if let FateSheet::Kept { retired, .. } = &mut solution.fate {
            *retired = Some((round, row.reason.clone(), row.evidence.clone()));
        }
    }
}

impl RoundSheet {
    fn of(output: &Outputs, shard: u32, ids: &HashSet<String>) -> Result<HashMap<String, Self>> {
        let Outputs { round, search, verify, curate } = output;
        let at = Some(shard);
        let verdicts: Vec<VerdictRow> = verify.of_problems(at, ids)?;
        let (kept, dropped): (Vec<Kept>, Vec<Dropped>) =
            (curate.of_problems(at, ids)?, curate.of_problems(at, ids)?);
        let judged: HashMap<String, Judgement> =
            verdicts.into_iter().map(|row| (row.solution_id, row.judgement)).collect();
        let mut fates: HashMap<String, FateSheet> = HashMap::new();
        for Kept { solution_id, weight, .. } in kept {
            fates.insert(solution_id, FateSheet::Kept { weight, retired: None });
        }
        for Dropped { solution_id, reason, evidence, .. } in dropped {
            fates.insert(solution_id, FateSheet::Dropped { reason, evidence });
        }
        let mut nodes: HashMap<String, Vec<Node>> = HashMap::new();
        for node in search.of_problems::<Node>(at, ids)? {
            nodes.entry(node.problem_id.clone()).or_default().push(node);
        }
        let mut solutions: HashMap<String, Vec<SolutionSheet>> = HashMap::new();
        for solution in search.of_problems::<Solution>(at, ids)? {
            let (id, fate) = (solution.problem_id.clone(), fates.remove(&solution.solution_id));
            let sheet =
                SolutionSheet::of(judged.get(&solution.solution_id), solution, fate.unwrap_or_default());
            solutions.entry(id).or_default().push(sheet);
        }
        let sheet = |id: &String| Self {
            round: *round,
            searched: search.has(shard),
            verified: verify.has(shard),
            curated: curate.has(shard),
            trees: trees(nodes.remove(id).unwrap_or_default()),
            solutions: solutions.remove(id).unwrap_or_default(),
        };
        Ok(ids.iter().cloned().zip(ids.iter().map(sheet)).collect())
    }
}

fn trees(nodes: Vec<Node>) -> Vec<TreeSheet> {
    let mut trees: BTreeMap<String, Vec<NodeSheet>> = BTreeMap::new();
    for node in nodes {
        let why = why(&node.status);
        let Node { tree_id, node_id, parent_id, step, logprob, prior, value, q, visits, .. } = node;
        let Node { status, tokens, expansion_order, .. } = node;
        trees.entry(tree_id).or_default().push(NodeSheet {
            node_id,
            parent_id,
            step,
            logprob,
            prior,
            value,
            q,
            visits,
            status,
            why,
            tokens,
            expansion_order,
        });
    }
    trees.into_iter().map(|(tree_id, nodes)| TreeSheet { tree_id, nodes }).collect()
}

/// Why a search does not go on from a node of that status.
fn why(status: &str) -> &'static str {
    match status {
        "pruned" => "its value is below the threshold",
        "false" => "its equation is false",
        "dead" => "nothing can follow, or the path is as long as allowed",
        "duplicate" => "the same state or solution was there already",
        "wrong" => "the path ends here and is not correct",
        "undecided" => "the path ends here and cannot be judged",
        "open" => "never expanded",
        _ => "",
    }
}

impl SolutionSheet {
    fn of(judgement: Option<&Judgement>, solution: Solution, fate: FateSheet) -> Self {
        let faults = |at: Option<u32>| {
            let of = judgement.into_iter().flat_map(|judgement| &judgement.faults);
            of.filter(|fault| fault.step == at)
                .map(|fault| format!("{}: {}", fault.kind.name(), fault.evidence))
                .collect::<Vec<_>>()
        };
        let check = |at: usize| judgement.and_then(|j| j.checks.get(at)).map_or("", |check| check.name());
        let known = |number: f32| Some(number).filter(|number| number.is_finite());
        let step = |(at, step): (usize, &Step)| StepSheet {
            text: step.text.clone(),
            value: known(step.value),
            logprob: known(step.logprob),
            check: check(at),
            faults: faults(Some(at as u32)),
        };
        let steps = solution.steps.iter().enumerate().map(step).collect();
        let Solution { solution_id, algorithm, policy, final_answer, end, tokens, thought, .. } = solution;
        Self {
            solution_id,
            algorithm,
            policy,
            steps,
            final_answer,
            end: end.name(),
            tokens,
            thought,
            verdict: judgement.map(|judgement| judgement.verdict.name()),
            verdict_reason: judgement.map(|judgement| judgement.reason.clone()).unwrap_or_default(),
            faults: faults(None),
            fate,
        }
    }
}

impl AnswerSheet {
    fn of(stage: Stage, row: Evaluation) -> Self {
        let Evaluation { round, model, sample, correct, reason, completion, final_answer, .. } = row;
        let Evaluation { tokens, expansions, .. } = row;
        let stage = stage.name();
        Self { round, stage, model, sample, correct, reason, completion, final_answer, tokens, expansions }
    }
}
