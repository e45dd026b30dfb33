//! What a state is worth to a search: an estimate of the probability that it leads to a correct answer.

use anyhow::Result;
use datasets::Domain;
use datasets::domain::State;
use datasets::types::Problem;

use crate::events::Events;
use crate::policy::{Policy, ValueQuery};

/// Says what a state of one problem is worth, in 0..=1.
pub type Scorer<'a> = Box<dyn Fn(&State) -> f32 + Send + Sync + 'a>;

/// Values of a problem's states by the states alone, and what one costs in floating-point operations.
pub trait StateValue: Sync {
    /// What tells the values of a problem's states.
    fn scorer<'a>(&'a self, problem: &'a Problem, domain: &dyn Domain) -> Scorer<'a>;

    /// Floating-point operations of one state.
    fn flops(&self) -> u64;
}

/// Who says what a state is worth.
pub enum Values<'a> {
    /// Nobody: all states are worth the same, and the search is uniform.
    None,
    /// The domain's own guess of the steps that are left, n: exp(-n).
    Effort,
    /// A function of the state alone, such as a small network over its numbers.
    State(&'a dyn StateValue),
    /// The head on the policy's own trunk.
    Own,
    /// A decoder with a value head that is not the policy.
    Model(&'a mut dyn Policy),
}

/// Values that need no gathering: any thread can ask for them.
pub enum Shared<'a> {
    None,
    Effort,
    State(&'a dyn StateValue),
}

impl Shared<'_> {
    pub fn is_constant(&self) -> bool {
        matches!(self, Shared::None)
    }

    pub fn scorer<'a>(&'a self, problem: &'a Problem, domain: &'a dyn Domain) -> Scorer<'a> {
        match self {
            Shared::None => Box::new(|_| 1.0),
            Shared::Effort => Box::new(|state| (-domain.effort(state)).exp() as f32),
            Shared::State(value) => value.scorer(problem, domain),
        }
    }

    pub fn flops(&self) -> u64 {
        match self {
            Shared::State(value) => value.flops(),
            _ => 0,
        }
    }
}

impl Values<'_> {
    pub fn is_constant(&self) -> bool {
        matches!(self, Values::None)
    }

    pub fn shared(&self) -> Option<Shared<'_>> {
        match self {
            Values::None => Some(Shared::None),
            Values::Effort => Some(Shared::Effort),
            Values::State(value) => Some(Shared::State(*value)),
            Values::Own | Values::Model(_) => None,
        }
    }

    /// Value of each query and what it cost in floating-point operations. One whose steps cannot be
    /// followed as numbers is worth one half to what needs them.
    ///
    /// # Errors
    /// Those of the models; a policy without a value head.
    pub fn of(
        &mut self,
        queries: &[ValueQuery<'_>],
        policy: &mut dyn Policy,
        events: &dyn Events,
    ) -> Result<Vec<(f32, u64)>> {
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(shared) = self.shared() {
            let mut found = Vec::with_capacity(queries.len());
            for of_problem in queries.chunk_by(|a, b| a.problem.problem_id == b.problem.problem_id) {
                let scorer = shared.scorer(of_problem[0].problem, of_problem[0].domain);
                found.extend(
                    of_problem.iter().map(|query| (query.state.map_or(0.5, &scorer), shared.flops())),
                );
            }
            return Ok(found);
        }
        let (found, flops) = match self {
            Values::Model(model) => (model.values(queries, events)?, model.flops_per_token()),
            // The policy's trunk has read all but the last token when it wrote it.
            _ => (
                policy.values(queries, events)?.into_iter().map(|(value, _)| (value, 1)).collect(),
                policy.flops_per_token(),
            ),
        };
        Ok(found.into_iter().map(|(value, tokens)| (value, flops * tokens)).collect())
    }

    /// Floating-point operations of reading a problem before its first value.
    ///
    /// # Errors
    /// A question that the model's template does not take.
    pub fn prompt_flops(&mut self, problem: &Problem) -> Result<u64> {
        match self {
            Values::Model(model) => Ok(model.flops_per_token() * model.prompt_tokens(problem)?),
            _ => Ok(0),
        }
    }
}
