//! Best-of-N: independent samples of whole paths. The mandatory baseline of any search.

use anyhow::Result;
use datasets::table::Node;
use datasets::types::{Problem, Solution, Verdict};

use super::{Draws, Found, SearchConfig, solution_id};
use crate::events::Events;
use crate::policy::{Ask, Horizon, Policy};

/// Draws `config.samples` paths for each problem, all problems in one call to the policy.
///
/// # Errors
/// Those of the policy.
pub fn search(problems: &[Problem], config: &SearchConfig, policy: &mut dyn Policy, draws: Draws, events: &dyn Events) -> Result<Found> {
    let seeds: Vec<Vec<u64>> = problems.iter().map(|p| (0..config.samples).map(|i| draws.sample(p, i)).collect()).collect();
    let asks: Vec<Ask<'_>> = problems.iter().zip(&seeds).map(|(problem, seeds)| Ask { problem, steps: &[], seeds }).collect();
    let proposals = policy.propose(&asks, Horizon::Path, &config.sampling(), events)?;
    let (kind, fingerprint) = (policy.kind(), policy.fingerprint());
    let mut found = Found::default();
    for ((problem, seeds), samples) in problems.iter().zip(&seeds).zip(proposals) {
        let tree_id = format!("{}-{kind}", draws.round);
        let total: u32 = samples.iter().map(|s| s.tokens).sum();
        let steps_total: usize = samples.iter().map(|s| s.steps.len()).sum();
        let count = samples.len();
        let mut node_id = 0;
        let mut node = |parent: Option<u32>, depth: usize| {
            let node = Node {
                problem_id: problem.problem_id.clone(),
                tree_id: tree_id.clone(),
                node_id,
                parent_id: parent,
                depth: depth as u32,
                visits: 1,
                expansion_order: Some(node_id),
                ..Node::default()
            };
            node_id += 1;
            node
        };
        let mut nodes = vec![Node { visits: count as u32, status: "expanded".into(), ..node(None, 0) }];
        for (ordinal, (sample, seed)) in samples.into_iter().zip(seeds).enumerate() {
            let texts: Vec<String> = sample.steps.iter().map(|s| s.text.clone()).collect();
            let verdict = crate::verify::judge(problem, &texts, &sample.final_answer).verdict;
            let mut parent = 0;
            for (i, step) in sample.steps.iter().enumerate() {
                let last = i + 1 == sample.steps.len();
                let status = match (last, verdict) {
                    (false, _) => "expanded",
                    (true, Verdict::Correct) => "solution",
                    (true, _) => "wrong",
                };
                let known = |x: f32| Some(x).filter(|x| x.is_finite());
                let new = Node {
                    step: step.text.clone(),
                    logprob: known(step.logprob),
                    tokens: step.tokens,
                    status: status.into(),
                    ..node(Some(parent), i + 1)
                };
                parent = new.node_id;
                nodes.push(new);
            }
            events.advance(0, 0, u64::from(sample.tokens));
            found.solutions.push(Solution {
                solution_id: solution_id(problem, "best-of-n", &fingerprint, draws, ordinal),
                problem_id: problem.problem_id.clone(),
                round: draws.round,
                algorithm: "best-of-n".into(),
                policy: kind.into(),
                policy_fingerprint: fingerprint.clone(),
                seed: *seed,
                steps: sample.steps,
                final_answer: sample.final_answer,
                tokens: sample.tokens,
                search_tokens: total as f32 / count as f32,
                search_expansions: steps_total as f32 / count as f32,
            });
        }
        found.nodes.append(&mut nodes);
    }
    Ok(found)
}
