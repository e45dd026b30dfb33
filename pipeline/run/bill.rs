//! What the answers of an endpoint have cost a run.

use std::fmt::{self, Display};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stages::policy::endpoint::{Spent, dollars};
use stages::search::Sampler;

use crate::run::session::Session;
use crate::terminal::progress::count;
use crate::terminal::text::plural;

/// Answers, their tokens, and dollars where prices are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    pub answers: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub dollars: Option<f64>,
}

impl Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, told) = (count(self.prompt_tokens), count(self.completion_tokens));
        write!(f, "{}, {asked} tokens of prompts, {told} of answers", plural(self.answers, "stored answer"))?;
        self.dollars.map_or(Ok(()), |amount| write!(f, ", {}", dollars(amount)))
    }
}

/// The bill of a run whose policy is an endpoint with prices or a limit of tokens.
///
/// # Errors
/// A folder of answers that cannot be listed.
pub fn bill(session: &Session) -> Result<Option<Bill>> {
    let (config, folder) = (&session.config.endpoint, session.workspace.run.responses());
    if session.config.search.policy != Sampler::Endpoint || !config.counts_spending() {
        return Ok(None);
    }
    let spent = Spent::of_folder(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let Spent { answers, prompt_tokens, completion_tokens } = spent;
    Ok(Some(Bill { answers, prompt_tokens, completion_tokens, dollars: spent.cost(config) }))
}
