//! What each side solves of the problems that both have: measured models on held-out problems, and search
//! and curation on train problems.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use datasets::table::{Evaluation, Node, VerdictRow};
use datasets::types::{Kept, Problem, Verdict};
use serde::Serialize;
use stages::evaluate::statistics::mcnemar;
use stages::evaluate::{Summary, summarise};

use super::Sides;
use crate::command::report::rounds::Proportion;
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::committed;
use crate::stage::evaluation::shown_name;

/// One thing that both sides did on some of the same problems.
#[derive(Serialize)]
pub struct Arm {
    /// What is compared: a measured model, or `search` and `curate` on train problems.
    pub model: String,
    pub rounds: (u32, u32),
    /// Problems that A has, that B has, and that both have: all else is about these.
    pub problems: (usize, usize, usize),
    /// None if there are no problems that both have.
    pub a: Option<Solved>,
    pub b: Option<Solved>,
    /// How many only B solves and only A does, and some of each.
    pub won_count: usize,
    pub lost_count: usize,
    pub won: Vec<Moved>,
    pub lost: Vec<Moved>,
    /// Exact, two-sided.
    pub mcnemar_p: f64,
}

/// What one side solves of the problems that both have.
#[derive(Serialize)]
pub struct Solved {
    pub solved: Proportion,
    /// Of measured models: samples beside the greedy answer, and what they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Summary>,
}

/// A problem that only one side solves.
#[derive(Clone, Serialize)]
pub struct Moved {
    pub problem_id: String,
    pub difficulty: u32,
    pub question: String,
    /// Final answers, where there is one a side.
    pub a: Option<String>,
    pub b: Option<String>,
}

/// By problem, whether it is solved and with which answer.
type Outcomes = BTreeMap<String, (bool, Option<String>)>;

/// A side of an arm.
struct Part {
    outcomes: Outcomes,
    rows: Vec<Evaluation>,
}

/// All arms of all rounds, with lists of at most `most` problems, and what is to be said of arms that are
/// not there.
///
/// # Errors
/// Failed reads.
pub fn arms(sides: &Sides, most: usize) -> Result<(Vec<Arm>, Vec<String>)> {
    let (mut arms, mut notes) = (Vec::new(), Vec::new());
    for rounds @ (a, b) in sides.rounds.iter().copied() {
        let (mut of_a, mut of_b) = (measured(&sides.a, a)?, measured(&sides.b, b)?);
        if sides.one
            && let Some(student) = of_b.get("student")
            && let Some(base) = measured(&sides.a, 1)?.get("base")
        {
            arms.push(arm("base to student", (1, b), base, student));
        }
        if sides.alike(rounds) {
            continue;
        }
        for model in ["base", "student", "teacher"] {
            let name = shown_name(model);
            match (of_a.remove(model), of_b.remove(model)) {
                (Some(a), Some(b)) => arms.push(arm(name, rounds, &a, &b)),
                // The base is measured in round 1 alone.
                (None, None) => {}
                _ if model == "base" && a != b => {}
                (there, _) => {
                    let (lacks, round) = if there.is_none() { ("A", a) } else { ("B", b) };
                    notes.push(format!("{lacks} has no answers of {name} in round {round}"));
                }
            }
        }
        match searched(sides, rounds) {
            Ok(more) => arms.extend(more),
            // An older run may have tables of another version; what is held out is compared all the same.
            Err(error) => {
                let why = format!("{error:#}");
                notes.push(format!("search and curation of rounds {a} and {b} are not compared: {why}"));
            }
        }
    }
    shorten(sides, &mut arms, most)?;
    Ok((arms, notes))
}

/// What search found and curation kept of train problems, where both sides have it.
fn searched(sides: &Sides, rounds: (u32, u32)) -> Result<Vec<Arm>> {
    let mut arms = Vec::new();
    if let (Some(found_a), Some(found_b)) = (found(&sides.a, rounds.0)?, found(&sides.b, rounds.1)?) {
        arms.push(arm("search", rounds, &found_a, &found_b));
        let kept = (kept(&sides.a, rounds.0, &found_a)?, kept(&sides.b, rounds.1, &found_b)?);
        if let (Some(a), Some(b)) = kept {
            arms.push(arm("curate", rounds, &a, &b));
        }
    }
    Ok(arms)
}

/// The answers of a round's measured models.
fn measured(run: &RunDir, round: u32) -> Result<HashMap<String, Part>> {
    let mut models: HashMap<String, Part> = HashMap::new();
    for row in committed(run, round, Stage::Evaluate)?.read::<Evaluation>()? {
        let of = models.entry(row.model.clone());
        let part = of.or_insert_with(|| Part { outcomes: Outcomes::new(), rows: Vec::new() });
        if row.sample == 0 {
            let said = (row.correct, Some(row.final_answer.clone()));
            part.outcomes.insert(row.problem_id.clone(), said);
        }
        part.rows.push(row);
    }
    Ok(models)
}

/// The train problems that a round searched, and whether it has a right solution of each; None if nothing is
/// verified.
fn found(run: &RunDir, round: u32) -> Result<Option<Part>> {
    let (search, verify) = (committed(run, round, Stage::Search)?, committed(run, round, Stage::Verify)?);
    if verify.commits.is_empty() {
        return Ok(None);
    }
    let mut outcomes = Outcomes::new();
    for commit in &verify.commits {
        let shard = commit.shard;
        if search.has(shard) {
            for id in search.column::<Node>(shard, "problem_id")? {
                outcomes.entry(id).or_default();
            }
        }
        let ids = verify.column::<VerdictRow>(shard, "problem_id")?;
        for (id, verdict) in ids.into_iter().zip(verify.column::<VerdictRow>(shard, "verdict")?) {
            outcomes.entry(id).or_default().0 |= verdict == Verdict::Correct.name();
        }
    }
    Ok(Some(Part { outcomes, rows: Vec::new() }))
}

/// The same problems, and whether a row of each was kept; None if nothing is curated.
fn kept(run: &RunDir, round: u32, found: &Part) -> Result<Option<Part>> {
    let curate = committed(run, round, Stage::Curate)?;
    let mut kept = HashSet::new();
    for commit in &curate.commits {
        kept.extend(curate.column::<Kept>(commit.shard, "problem_id")?);
    }
    let outcomes = found.outcomes.keys().map(|id| (id.clone(), (kept.contains(id), None))).collect();
    Ok((!curate.commits.is_empty()).then_some(Part { outcomes, rows: Vec::new() }))
}

/// Compares two parts on the problems that both have. The lists have ids and answers alone.
fn arm(model: &str, rounds: (u32, u32), a: &Part, b: &Part) -> Arm {
    let both: HashSet<&String> = a.outcomes.keys().filter(|id| b.outcomes.contains_key(*id)).collect();
    let only = |solves: &Outcomes, misses: &Outcomes| -> Vec<Moved> {
        let ids = solves.iter().filter(|(_, (solved, _))| *solved).map(|(id, _)| id);
        let moved = ids.filter(|id| misses.get(*id).is_some_and(|(solved, _)| !solved));
        let answer = |of: &Outcomes, id: &String| of.get(id).and_then(|(_, answer)| answer.clone());
        let of = |id: &String| Moved {
            a: answer(&a.outcomes, id),
            b: answer(&b.outcomes, id),
            problem_id: id.clone(),
            difficulty: 0,
            question: String::new(),
        };
        moved.map(of).collect()
    };
    let solved = |part: &Part| {
        let count = both.iter().filter(|id| part.outcomes[**id].0).count();
        let rows: Vec<Evaluation> =
            part.rows.iter().filter(|row| both.contains(&row.problem_id)).cloned().collect();
        let measured = summarise(&rows, &HashMap::new(), 0.0);
        Some(Solved { solved: Proportion::new(count, both.len())?, measured })
    };
    let (won, lost) = (only(&b.outcomes, &a.outcomes), only(&a.outcomes, &b.outcomes));
    Arm {
        model: model.to_owned(),
        rounds,
        problems: (a.outcomes.len(), b.outcomes.len(), both.len()),
        a: solved(a),
        b: solved(b),
        won_count: won.len(),
        lost_count: lost.len(),
        mcnemar_p: mcnemar(won.len(), lost.len()),
        won,
        lost,
    }
}

/// Cuts the lists, and says what each problem asks.
fn shorten(sides: &Sides, arms: &mut [Arm], most: usize) -> Result<()> {
    let mut ids = HashSet::new();
    for list in arms.iter_mut().flat_map(|arm| [&mut arm.won, &mut arm.lost]) {
        list.truncate(most);
        ids.extend(list.iter().map(|moved| moved.problem_id.clone()));
    }
    if ids.is_empty() {
        return Ok(());
    }
    let problems = committed(&sides.b, 0, Stage::Problems)?.of_problems::<Problem>(None, &ids)?;
    let asked: HashMap<String, Problem> =
        problems.into_iter().map(|problem| (problem.problem_id.clone(), problem)).collect();
    for moved in arms.iter_mut().flat_map(|arm| arm.won.iter_mut().chain(&mut arm.lost)) {
        if let Some(problem) = asked.get(&moved.problem_id) {
            moved.difficulty = problem.difficulty;
            moved.question.clone_from(&problem.question);
        }
    }
    Ok(())
}
