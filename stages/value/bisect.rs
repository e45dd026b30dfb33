//! Where wrong solutions go wrong, by bisection with rollouts (OmegaPRM, arXiv 2406.06592): the policy
//! completes a solution from its middle; if any completion is correct the fault lies behind, else before.
//! log2 of its length instead of every step is asked for.
//!
//! The first wrong step is the first after which no rollout was correct: with few rollouts that is an
//! estimate, and a step that makes things merely harder can be taken for it.

use anyhow::Result;
use datasets::domains::Domains;
use datasets::key;
use datasets::types::{Problem, Solution, Verdict};

use super::known_domain;
use super::targets::Observed;
use crate::events::{Events, Part};
use crate::policy::{Ask, Horizon, Policy, Sampling};
use crate::verify::case;

/// A wrong solution, and what rollouts said of its beginnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    pub problem_id: String,
    pub solution_id: String,
    pub steps: Vec<String>,
    /// Index of the first wrong step.
    pub first_wrong: usize,
    /// By number of steps kept: share of rollouts that were correct, of those that could be judged.
    pub shares: Vec<Option<f32>>,
    pub rollouts: u32,
    /// Tokens that the rollouts took.
    pub tokens: u64,
}

/// The wrong solutions worth a bisection, at most so many a problem: sampled, of two steps or more, of
/// problems that have a correct sample too, so that the policy can solve them from their beginning. What
/// cannot be judged is neither.
///
/// # Errors
/// A domain that nobody knows.
pub fn wanted<'a>(
    problems: &'a [Problem],
    solutions: &'a [Solution],
    domains: &Domains,
    most: usize,
) -> Result<Vec<(&'a Problem, &'a Solution)>> {
    let mut out = Vec::new();
    for problem in problems {
        let domain = known_domain(domains, problem)?;
        let of_problem = solutions.iter().filter(|s| s.problem_id == problem.problem_id && s.sampled());
        let judged: Vec<(&Solution, Verdict)> =
            of_problem.map(|s| (s, domain.verify(problem, &texts(s), &s.final_answer).verdict)).collect();
        if judged.iter().any(|(_, verdict)| *verdict == Verdict::Correct) {
            let wrong = judged.into_iter().filter(|(_, verdict)| *verdict == Verdict::Wrong);
            let long = wrong
                .map(|(solution, _)| solution)
                .filter(|s| s.steps.len() > 1 && !s.final_answer.is_empty());
            out.extend(long.take(most).map(|solution| (problem, solution)));
        }
    }
    Ok(out)
}

fn texts(solution: &Solution) -> Vec<String> {
    solution.steps.iter().map(|step| step.text.clone()).collect()
}

/// How beginnings are probed.
#[derive(Clone, Copy)]
pub struct Probing<'a> {
    pub sampling: &'a Sampling,
    /// Of a probe.
    pub rollouts: usize,
    pub seed: u64,
    /// Who judges completions.
    pub domains: &'a Domains,
}

/// Finds the first wrong step of each solution, by rollouts. All solutions are probed together.
///
/// # Errors
/// Those of the policy; [`crate::Cancelled`].
pub fn locate(
    wrong: &[(&Problem, &Solution)],
    policy: &mut dyn Policy,
    probing: Probing<'_>,
    events: &dyn Events,
) -> Result<Vec<Located>> {
    let Probing { sampling, rollouts, seed, domains } = probing;
    // Correct completions are known from `good` steps on, and none from `bad` steps on.
    let mut found: Vec<(Located, usize, usize)> = wrong
        .iter()
        .map(|(problem, solution)| {
            let steps = texts(solution);
            let count = steps.len();
            let located = Located {
                problem_id: problem.problem_id.clone(),
                solution_id: solution.solution_id.clone(),
                shares: vec![None; count + 1],
                steps,
                first_wrong: 0,
                rollouts: rollouts as u32,
                tokens: 0,
            };
            (located, 0, count)
        })
        .collect();
    loop {
        events.check()?;
        let open: Vec<usize> = (0..found.len()).filter(|i| found[*i].2 - found[*i].1 > 1).collect();
        if open.is_empty() {
            break;
        }
        let middle = |i: usize| usize::midpoint(found[i].1, found[i].2);
        let seeds: Vec<Vec<u64>> = open
            .iter()
            .map(|i| {
                let id = &found[*i].0.solution_id;
                (0..rollouts)
                    .map(|k| {
                        key::seed(&[
                            "rollout".into(),
                            seed.into(),
                            id.into(),
                            (middle(*i) as u64).into(),
                            (k as u64).into(),
                        ])
                    })
                    .collect()
            })
            .collect();
        let asks: Vec<Ask<'_>> = open
            .iter()
            .zip(&seeds)
            .map(|(i, seeds)| Ask { problem: wrong[*i].0, steps: &found[*i].0.steps[..middle(*i)], seeds })
            .collect();
        let answers = policy.propose(&asks, Horizon::Path, sampling, &Part::new(events, None))?;
        domains.foresee(|| {
            asks.iter().zip(&answers).flat_map(|(ask, some)| {
                some.iter().map(move |proposal| case(ask.problem, ask.steps, proposal))
            })
        });
        events.check()?;
        let middles: Vec<usize> = open.iter().map(|i| middle(*i)).collect();
        for ((i, at), proposals) in open.into_iter().zip(middles).zip(answers) {
            let (problem, (located, good, bad)) = (wrong[i].0, &mut found[i]);
            let domain = known_domain(domains, problem)?;
            let verdicts = proposals.iter().map(|proposal| {
                let rest = proposal.steps.iter().map(|step| step.text.clone());
                let steps: Vec<String> = located.steps[..at].iter().cloned().chain(rest).collect();
                domain.verify(problem, &steps, &proposal.final_answer).verdict
            });
            let judged: Vec<Verdict> = verdicts.filter(|verdict| *verdict != Verdict::Undecidable).collect();
            let correct = judged.iter().filter(|verdict| **verdict == Verdict::Correct).count();
            located.tokens += proposals.iter().map(|proposal| u64::from(proposal.tokens)).sum::<u64>();
            located.shares[at] = (!judged.is_empty()).then(|| correct as f32 / judged.len() as f32);
            if correct > 0 { *good = at } else { *bad = at }
        }
    }
    Ok(found.into_iter().map(|(located, good, _)| Located { first_wrong: good, ..located }).collect())
}

impl Located {
    /// What was learned of its beginnings, as states to learn from: the probed ones, and the whole, of which
    /// nothing comes.
    pub fn observed(&self) -> Vec<Observed> {
        let state = |kept: usize, share: f32| Observed {
            steps: self.steps[..kept].to_vec(),
            answer: None,
            target: share,
            weight: 1.0,
            tries: self.rollouts,
            whole: false,
            path: 0,
        };
        let probed =
            self.shares.iter().enumerate().skip(1).filter_map(|(kept, share)| Some(state(kept, (*share)?)));
        probed.chain(self.shares[self.steps.len()].is_none().then(|| state(self.steps.len(), 0.0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;
    use crate::policy::Proposal;
    use datasets::types::{End, Split, Step};

    /// Completes correctly as long as none of the steps is the fault, and counts what it is asked.
    struct Fixer {
        asked: usize,
    }

    impl Policy for Fixer {
        fn kind(&self) -> &'static str {
            "model"
        }
        fn fingerprint(&self) -> String {
            "fixer".into()
        }
        fn propose(
            &mut self,
            asks: &[Ask<'_>],
            _: Horizon,
            _: &Sampling,
            _: &dyn Events,
        ) -> Result<Vec<Vec<Proposal>>> {
            self.asked += asks.len();
            let answer =
                |ask: &Ask<'_>| if ask.steps.iter().any(|step| step == "4+6=11") { "0" } else { "64" };
            let proposal = |ask: &Ask<'_>| Proposal {
                steps: Vec::new(),
                final_answer: answer(ask).into(),
                tokens: 3,
                ..Proposal::default()
            };
            Ok(asks.iter().map(|ask| ask.seeds.iter().map(|_| proposal(ask)).collect()).collect())
        }
    }

    #[test]
    fn the_first_wrong_step_is_found_in_few_probes() {
        let problem = Problem {
            problem_id: "p".into(),
            domain: "math".into(),
            source: "t".into(),
            split: Split::Train,
            question: "Add 1, 2, 4, 6, 8 and so on.".into(),
            answer: "64".into(),
            difficulty: 0,
            meta: String::new(),
        };
        let texts = ["1+2=3", "2+4=6", "1+6=7", "2+8=10", "4+6=11", "11+8=19", "19+1=20", "20+2=22"];
        let solution = Solution {
            solution_id: "s".into(),
            problem_id: "p".into(),
            round: 1,
            algorithm: "best-of-n".into(),
            policy: "model".into(),
            policy_fingerprint: String::new(),
            seed: 0,
            steps: texts.iter().map(|text| Step { text: (*text).into(), ..Step::default() }).collect(),
            final_answer: "22".into(),
            end: End::Complete,
            thought: String::new(),
            thought_tokens: 0,
            tokens: 0,
            search_tokens: 0.0,
            search_expansions: 0.0,
        };
        let right = Solution {
            solution_id: "r".into(),
            steps: Vec::new(),
            final_answer: "64".into(),
            ..solution.clone()
        };
        let unread =
            Solution { solution_id: "u".into(), final_answer: "a great many".into(), ..solution.clone() };
        let (problems, solutions) = ([problem], [right, solution, unread]);
        let domains = Domains::default();
        let wrong = wanted(&problems, &solutions, &domains, 3).unwrap();
        assert_eq!(wrong.len(), 1);
        assert!(
            wanted(&problems, &solutions[1..], &domains, 3).unwrap().is_empty(),
            "what is never solved cannot be bisected"
        );
        let mut policy = Fixer { asked: 0 };
        let sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, max_tokens: 8, calculator: false };
        let located = locate(
            &wrong,
            &mut policy,
            Probing { sampling: &sampling, rollouts: 4, seed: 7, domains: &domains },
            &Silent,
        )
        .unwrap();
        assert_eq!((located[0].first_wrong, policy.asked, located[0].tokens), (4, 3, 36));
        let states: Vec<(usize, f32)> =
            located[0].observed().iter().map(|o| (o.steps.len(), o.target)).collect();
        assert_eq!(states, [(4, 1.0), (5, 0.0), (6, 0.0), (8, 0.0)]);
    }
}
