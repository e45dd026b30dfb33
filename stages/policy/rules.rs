//! The domain's own rules as a policy: every legal next step is equally likely. This is how a run starts from
//! nothing.

use anyhow::{Context, Result};
use datasets::Domain;
use datasets::domains::Domains;
use datasets::types::Step;
use rand::RngExt;

use super::{Ask, Horizon, Policy, Proposal, Sampling};
use crate::events::Events;

/// Longest path that is drawn at random.
const MAX_STEPS: usize = 8;

/// Draws legal steps uniformly. A path stops where the state allows an answer, with the probability of one
/// more move.
#[derive(Default)]
pub struct Rules(pub Domains);

/// Names the rules of a domain in fingerprints.
pub fn fingerprint(domain: &dyn Domain) -> String {
    format!("rules:{}", domain.identity())
}

impl Policy for Rules {
    fn kind(&self) -> &'static str {
        "rules"
    }

    fn fingerprint(&self) -> String {
        self.0.iter().map(fingerprint).collect::<Vec<_>>().join(",")
    }

    fn enumerates(&self) -> bool {
        true
    }

    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        _: &Sampling,
        _: &dyn Events,
    ) -> Result<Vec<Vec<Proposal>>> {
        let draw = |ask: &Ask<'_>| ask.seeds.iter().map(|seed| draw(&self.0, ask, horizon, *seed)).collect();
        asks.iter().map(draw).collect()
    }
}

fn draw(domains: &Domains, ask: &Ask<'_>, horizon: Horizon, seed: u64) -> Result<Proposal> {
    let name = &ask.problem.domain;
    let domain = domains.of(ask.problem).with_context(|| format!("no domain is named `{name}`"))?;
    let mut rng = datasets::key::rng(&["rules".into(), seed.into()]);
    let mut state = domain.start(ask.problem);
    for text in ask.steps {
        let moves =
            domain.moves(&state).with_context(|| format!("the domain `{name}` has no rules to enumerate"))?;
        state = moves
            .into_iter()
            .find(|m| m.text == *text)
            .map(|m| m.next)
            .with_context(|| format!("`{text}` is not a legal step here"))?;
    }
    let mut proposal = Proposal::default();
    while proposal.steps.len() < MAX_STEPS {
        let mut moves =
            domain.moves(&state).with_context(|| format!("the domain `{name}` has no rules to enumerate"))?;
        let answer = domain.answer(&state).filter(|_| !state.steps.is_empty());
        let choices = moves.len() + usize::from(answer.is_some());
        if choices == 0 {
            break;
        }
        let chosen = rng.random_range(0..choices);
        let logprob = -(choices as f32).ln();
        if chosen == moves.len() {
            proposal.final_answer = answer.unwrap_or_default();
            return Ok(proposal);
        }
        let step = moves.swap_remove(chosen);
        proposal.steps.push(Step { text: step.text, logprob, value: f32::NAN, q: f32::NAN, tokens: 0 });
        state = step.next;
        if horizon == Horizon::Step {
            return Ok(proposal);
        }
    }
    proposal.final_answer = domain.answer(&state).unwrap_or_default();
    Ok(proposal)
}
