//! The loop of every search: each problem's algorithm says what it wants to see, the policy is asked for all
//! problems at once, then the value model for all that is new, until every problem is done.
//!
//! Problems advance in step, so a model always sees as many states as there are problems at work. With a
//! policy that enumerates and values that are computed on the spot there is nothing to gather (unless a
//! command tells the rules), and problems run in parallel instead; what comes out is the same.

use anyhow::Result;
use datasets::Domain;
use datasets::types::Problem;
use rayon::prelude::*;

use super::budget::Unit;
use super::config::Algorithm;
use super::single::{Plan, Search, SearchOutcome};
use super::tree::{Grow, Want};
use super::value::Values;
use crate::events::{Events, Part};
use crate::policy::{Ask, Horizon, Policy, ValueQuery};
use crate::verify::case;

/// Searches each problem, in order.
///
/// # Errors
/// A domain without rules under a policy that enumerates; those of the policy and of the value model;
/// [`crate::Cancelled`].
pub fn run(
    problems: &[Problem],
    plan: &Plan,
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<Vec<SearchOutcome>> {
    let enumerates = policy.enumerates();
    if plan.tree.budget != u64::MAX {
        ensure!(
            plan.tree.unit != Unit::Expansions || enumerates,
            "a budget in expansions works for rules only: for a model, set tree.unit to tokens or calls"
        );
        ensure!(
            plan.tree.unit != Unit::Tokens || !enumerates,
            "rules generate no tokens: set tree.unit to expansions or calls"
        );
    }
    let rest = !matches!(values, Values::Effort | Values::None);
    let new = |problem| Search::new(problem, plan, enumerates, rest);
    plan.domains.begin(problems);
    let told = problems.first().and_then(|problem| plan.domains.of(problem)).is_some_and(Domain::is_told);
    if enumerates
        && !told
        && let Some(shared) = values.shared()
    {
        return problems
            .par_iter()
            .map(|problem| {
                events.check()?;
                let mut search = new(problem)?;
                search.alone(&shared)?;
                Ok(search.finish())
            })
            .collect();
    }
    let mut searches = problems.iter().map(new).collect::<Result<Vec<_>>>()?;
    together(&mut searches, policy, values, events)?;
    Ok(searches.into_par_iter().map(Search::finish).collect())
}

/// New nodes of one problem, by what was wanted.
type Added = Vec<(Want, Vec<u32>)>;

/// All searches in step.
fn together(
    searches: &mut [Search<'_>],
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<()> {
    let flops = policy.flops_per_token();
    for search in searches.iter_mut() {
        search.spent.policy_flops += flops * policy.prompt_tokens(search.problem)?;
        search.spent.value_flops += values.prompt_flops(search.problem)?;
    }
    if !policy.enumerates() {
        let roots: Vec<(usize, Vec<u32>)> = (0..searches.len()).map(|i| (i, vec![0])).collect();
        evaluate(searches, &roots, policy, values, events)?;
    }
    loop {
        events.check()?;
        let wants: Vec<Vec<Want>> = searches.par_iter_mut().map(|search| search.want()).collect();
        let finished = wants.iter().filter(|wants| wants.is_empty()).count();
        if finished == searches.len() {
            return Ok(());
        }
        expand(searches, &wants);
        let added: Vec<Added> = if policy.enumerates() {
            let pairs = searches.par_iter_mut().zip(&wants);
            pairs
                .map(|(search, wants)| {
                    wants.iter().map(|want| Ok((*want, search.enumerate(*want)?))).collect()
                })
                .collect::<Result<_>>()?
        } else {
            events.partly(finished as u64);
            // With all samples in one wave, a problem is finished with its answers.
            let plan = searches[0].plan;
            let last = plan.algorithm == Algorithm::BestOfN && plan.aim.is_none();
            let part = Part::new(events, last.then_some(finished as u64));
            let before: u64 = searches.iter().map(|s| s.spent.tokens).sum();
            let added = ask(searches, &wants, policy, &part)?;
            let after: u64 = searches.iter().map(|s| s.spent.tokens).sum();
            events.advance(0, 0, (after - before).saturating_sub(part.tokens()));
            added
        };
        let new: Vec<(usize, Vec<u32>)> = added
            .iter()
            .enumerate()
            .map(|(i, lists)| (i, lists.iter().flat_map(|(_, nodes)| nodes.iter().copied()).collect()))
            .collect();
        evaluate(searches, &new, policy, values, events)?;
        searches.par_iter_mut().zip(added).for_each(|(search, lists)| search.settle(&lists));
    }
}

/// Tells rules which states they will be asked about.
fn expand(searches: &[Search<'_>], wants: &[Vec<Want>]) {
    let Some(domain) = searches.first().map(|search| search.domain).filter(|domain| domain.is_told()) else {
        return;
    };
    let states = searches.iter().zip(wants).flat_map(|(search, wants)| {
        wants.iter().filter_map(|want| search.tree.get(want.node).state.as_deref())
    });
    domain.expand(&mut { states });
}

/// Asks a policy that samples for what all searches want.
fn ask(
    searches: &mut [Search<'_>],
    wants: &[Vec<Want>],
    policy: &mut dyn Policy,
    events: &dyn Events,
) -> Result<Vec<Added>> {
    let flops = policy.flops_per_token();
    let mut added: Vec<Added> = wants.iter().map(|_| Vec::new()).collect();
    for horizon in [Horizon::Step, Horizon::Path] {
        let mut places: Vec<(usize, Want)> = Vec::new();
        for (i, wants) in wants.iter().enumerate() {
            let of_kind = |want: &&Want| matches!(want.grow, Grow::Steps(_)) == (horizon == Horizon::Step);
            places.extend(wants.iter().filter(of_kind).map(|want| (i, *want)));
        }
        if places.is_empty() {
            continue;
        }
        let inputs: Vec<(Vec<String>, Vec<u64>)> = places
            .iter()
            .map(|(i, want)| {
                let search = &mut searches[*i];
                let steps = search.tree.steps(want.node);
                let (Grow::Steps(count) | Grow::Paths(count)) = want.grow;
                let asked = search.asked.entry(want.node).or_default();
                let seed = |k| {
                    if horizon == Horizon::Path {
                        search.plan.draws.sample(search.problem, k)
                    } else {
                        search.plan.draws.step(search.problem, want.node, k)
                    }
                };
                let seeds = (*asked..*asked + count).map(seed).collect();
                *asked += count;
                (steps, seeds)
            })
            .collect();
        let asks: Vec<Ask<'_>> = places
            .iter()
            .zip(&inputs)
            .map(|((i, _), (steps, seeds))| Ask { problem: searches[*i].problem, steps, seeds })
            .collect();
        let plan = searches[places[0].0].plan;
        let mut sampling = plan.sampling.clone();
        if horizon == Horizon::Step {
            sampling.max_tokens = plan.tree.step_tokens;
        }
        let answers = policy.propose(&asks, horizon, &sampling, events)?;
        if horizon == Horizon::Path {
            let of = || places.iter().zip(&inputs).zip(&answers);
            plan.domains.foresee(|| {
                of().flat_map(|(((i, _), (steps, _)), some)| {
                    let problem = searches[*i].problem;
                    some.iter().map(move |proposal| case(problem, steps, proposal))
                })
            });
            events.check()?;
        }
        for ((i, want), proposals) in places.into_iter().zip(answers) {
            let search = &mut searches[i];
            let tokens: u64 = proposals.iter().map(|p| u64::from(p.tokens)).sum();
            search.spent.calls += proposals.len() as u64;
            search.spent.tokens += tokens;
            search.spent.policy_flops += flops * tokens;
            let nodes = if horizon == Horizon::Step {
                search.add_steps(want, proposals)
            } else {
                search.add_paths(proposals)
            };
            added[i].push((want, nodes));
        }
    }
    Ok(added)
}

/// Gives new nodes of all searches their values, in one call.
fn evaluate(
    searches: &mut [Search<'_>],
    new: &[(usize, Vec<u32>)],
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<()> {
    let constant = values.is_constant();
    let asked: Vec<(usize, u32)> = new
        .iter()
        .flat_map(|(i, nodes)| searches[*i].unvalued(nodes, constant).into_iter().map(move |node| (*i, node)))
        .collect();
    let steps: Vec<Vec<String>> = asked.iter().map(|(i, node)| searches[*i].tree.steps(*node)).collect();
    let queries: Vec<ValueQuery<'_>> =
        asked.iter().zip(&steps).map(|((i, node), steps)| searches[*i].query(*node, steps)).collect();
    let found = values.of(&queries, policy, events)?;
    for ((i, node), (value, flops)) in asked.into_iter().zip(found) {
        searches[i].set_value(node, value, flops);
    }
    Ok(())
}
