//! `step_labels` for verifiers of steps, and `preferences` for learning from comparisons.
//!
//! - **Labels.** A step is wrong if it is the first with a false equation or a fault that counts. In a wrong
//!   solution without one, it is the first step through which no solution of the problem comes right, if
//!   others do (hard Monte-Carlo labels, arXiv:2312.08935): with few samples a guess, which `tries` lets a
//!   reader leave out. The list ends with it.
//! - **Values.** Of the problem's judged solutions in this round with the same steps up to here, the share
//!   whose answer is correct and whose steps have no fault that counts. Steps are the same if they calculate
//!   the same and say the same result.
//! - **Pairs.** A kept solution and one with a wrong answer (margin 1) or wrong steps (margin 0.5), those
//!   that part latest first: there the comparison says where the mistake is. A rejected text is used once.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use datasets::expr::canonical_path;
use datasets::table::{Preference, StepLabels};
use datasets::types::{FaultKind, Judgement, Problem, Solution, Verdict};

use super::CurateConfig;
use super::choose::step_text;
use super::contamination::hash;
use super::subject::Fate;

/// Reasons for which a text is degenerate.
const DEGENERATE: [&str; 3] = ["repetition", "compressible", "low_entropy"];

/// Margin of a pair whose rejected answer is wrong, and of one where only its steps are.
pub const MARGINS: (f32, f32) = (1.0, 0.5);

type Row<'a> = (&'a Solution, &'a Judgement);

/// For each step of each solution, a hash of all steps up to it.
pub fn prefixes(rows: &[Row<'_>]) -> Vec<Vec<u64>> {
    // Samples share steps, and reading equations is what takes time.
    let mut read: HashMap<&str, u64> = HashMap::new();
    let mut all = Vec::with_capacity(rows.len());
    for (solution, _) in rows {
        let mut prefixes: Vec<u64> = Vec::with_capacity(solution.steps.len());
        for step in &solution.steps {
            let step = *read.entry(step.text.as_str()).or_insert_with(|| meaning(&step.text));
            prefixes.push(hash((prefixes.last().copied().unwrap_or(0), step)));
        }
        all.push(prefixes);
    }
    all
}

/// What a step calculates and says.
fn meaning(step: &str) -> u64 {
    let text = step_text(step);
    hash((canonical_path(&[step]), text.rsplit_once('=').map_or("", |(_, said)| said)))
}

/// Whether an answer is right and no fault that counts is in its steps.
fn sound(judgement: &Judgement, counting: &[FaultKind]) -> bool {
    judgement.verdict == Verdict::Correct
        && !judgement.faults.iter().any(|fault| counting.contains(&fault.kind))
}

/// The first step that is known to be wrong.
fn first_wrong(judgement: &Judgement, counting: &[FaultKind]) -> Option<usize> {
    let faults =
        judgement.faults.iter().filter(|fault| counting.contains(&fault.kind)).filter_map(|fault| fault.step);
    faults.chain(judgement.first_wrong).min().map(|step| step as usize)
}

/// Labels of a problem's solutions, one row for each distinct list of steps. Left out: solutions that could
/// not be judged, degenerate text, and what is wrong where no step can be blamed.
pub fn step_labels(
    problem: &Problem,
    rows: &[Row<'_>],
    fates: &[Fate],
    prefixes: &[Vec<u64>],
    counting: &[FaultKind],
) -> Vec<StepLabels> {
    let judged: Vec<usize> =
        (0..rows.len()).filter(|at| rows[*at].1.verdict != Verdict::Undecidable).collect();
    let solved = judged.iter().any(|at| sound(rows[*at].1, counting));
    let mut tally: HashMap<u64, (u32, u32)> = HashMap::new();
    for at in &judged {
        for prefix in &prefixes[*at] {
            let (right, tries) = tally.entry(*prefix).or_default();
            *tries += 1;
            *right += u32::from(sound(rows[*at].1, counting));
        }
    }
    let mut seen = HashSet::new();
    let mut labels = Vec::new();
    for at in judged {
        let ((solution, judgement), prefixes) = (rows[at], &prefixes[at]);
        let degenerate = matches!(&fates[at], Fate::Dropped { reason, .. } if DEGENERATE.contains(reason));
        let known = first_wrong(judgement, counting);
        let blamed =
            known.is_some() || sound(judgement, counting) || (solved && judgement.verdict == Verdict::Wrong);
        if prefixes.is_empty() || degenerate || !blamed {
            continue;
        }
        let hopeless = || prefixes.iter().position(|prefix| tally[prefix].0 == 0);
        let wrong = known.or_else(hopeless).filter(|step| *step < prefixes.len());
        let end = wrong.map_or(prefixes.len(), |step| step + 1);
        if !seen.insert((prefixes[end - 1], wrong.is_some())) {
            continue;
        }
        labels.push(StepLabels {
            problem_id: problem.problem_id.clone(),
            solution_id: solution.solution_id.clone(),
            round: solution.round,
            prompt: problem.question.clone(),
            completions: solution.steps[..end].iter().map(|s| s.text.clone()).collect(),
            labels: (0..end).map(|step| wrong != Some(step)).collect(),
            values: prefixes[..end]
                .iter()
                .map(|prefix| tally[prefix].0 as f32 / tally[prefix].1 as f32)
                .collect(),
            tries: prefixes[..end].iter().map(|prefix| tally[prefix].1).collect(),
        });
    }
    labels
}

/// Pairs of a problem's solutions, at most `curate.preferences`.
pub fn preferences(
    problem: &Problem,
    rows: &[Row<'_>],
    fates: &[Fate],
    prefixes: &[Vec<u64>],
    config: &CurateConfig,
) -> Vec<Preference> {
    let margin = |at: usize| match (&fates[at], rows[at].1.verdict) {
        // With `curate.keep = "all"` a wrong answer may be kept, or dropped for its steps.
        (Fate::Kept | Fate::Dropped { reason: "not_correct" | "wrong_steps", .. }, Verdict::Wrong) => {
            Some((MARGINS.0, "not_correct"))
        }
        (Fate::Dropped { reason: reason @ "wrong_steps", .. }, _) => Some((MARGINS.1, *reason)),
        _ => None,
    };
    let right = |at: &usize| fates[*at] == Fate::Kept && rows[*at].1.verdict == Verdict::Correct;
    let chosen: Vec<usize> = (0..rows.len()).filter(right).collect();
    if config.preferences == 0 || chosen.is_empty() {
        return Vec::new();
    }
    let mut texts = HashSet::new();
    let rejected: Vec<(usize, String)> = (0..rows.len())
        .filter(|at| margin(*at).is_some() && !rows[*at].0.steps.is_empty())
        .map(|at| (at, config.written(rows[at].0)))
        .filter(|(_, text)| texts.insert(text.clone()))
        .collect();
    let mut pairs: Vec<(Reverse<usize>, usize, usize)> = Vec::new();
    for (r, (at, _)) in rejected.iter().enumerate() {
        for (c, kept) in chosen.iter().enumerate() {
            let common = prefixes[*kept].iter().zip(&prefixes[*at]).take_while(|(a, b)| a == b).count();
            pairs.push((Reverse(common), c, r));
        }
    }
    pairs.sort_unstable();
    let mut used = HashSet::new();
    let pairs = pairs.into_iter().filter(|(_, _, r)| used.insert(*r)).take(config.preferences);
    pairs
        .filter_map(|(_, c, r)| {
            let (chosen, (rejected, text)) = (rows[chosen[c]].0, &rejected[r]);
            let (margin, reason) = margin(*rejected)?;
            Some(Preference {
                problem_id: problem.problem_id.clone(),
                round: chosen.round,
                prompt: problem.question.clone().into(),
                chosen: config.written(chosen).into(),
                rejected: text.clone().into(),
                chosen_id: chosen.solution_id.clone(),
                rejected_id: rows[*rejected].0.solution_id.clone(),
                margin,
                reason: reason.to_owned(),
            })
        })
        .collect()
}
