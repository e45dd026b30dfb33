//! What answers cost: their tokens, and dollars where prices are set.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::config::EndpointConfig;
use super::error::EndpointError;
use super::store;
use super::wire::Reply;

/// Characters of a token, where the server does not count.
const CHARACTERS: usize = 4;

/// The answers of a run, paid for once each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    pub answers: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Spent {
    /// What is stored in a folder. Answers that cannot be read cost nothing.
    ///
    /// # Errors
    /// A folder that cannot be listed. One that is not there holds nothing.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        store::spent(folder)
    }

    /// The tokens of one answer; what the server does not count is estimated.
    pub(super) fn of(request: &Value, reply: &Reply) -> Self {
        let length = |turn: &Value| turn["content"].as_str().map_or(0, |text| text.chars().count());
        let asked = || request["messages"].as_array().into_iter().flatten().map(length).sum::<usize>();
        Self {
            answers: 1,
            prompt_tokens: reply.prompt.unwrap_or_else(|| asked().div_ceil(CHARACTERS) as u64),
            completion_tokens: reply.shares(reply.choices.len()).0.into_iter().map(u64::from).sum(),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
        }
    }

    /// Dollars; `None` without prices.
    pub fn cost(&self, config: &EndpointConfig) -> Option<f64> {
        let prompts = config.price_prompt * self.prompt_tokens as f64;
        let completions = config.price_completion * self.completion_tokens as f64;
        config.has_prices().then_some((prompts + completions) / 1e6)
    }

    /// Whether no more may be spent.
    pub(super) fn check(&self, config: &EndpointConfig) -> Result<(), EndpointError> {
        let tokens = self.prompt_tokens + self.completion_tokens;
        let cost = self.cost(config).unwrap_or_default();
        let reached = |what: String, limit: String| Err(EndpointError::Spent { what, limit });
        if config.max_cost > 0.0 && cost >= config.max_cost {
            return reached(dollars(cost), format!("endpoint.max_cost = {}", config.max_cost));
        }
        if config.max_tokens_total > 0 && tokens >= config.max_tokens_total {
            let limit = format!("endpoint.max_tokens_total = {}", config.max_tokens_total);
            return reached(format!("{tokens} tokens"), limit);
        }
        Ok(())
    }
}

/// `$12.34`, and more digits of less.
pub fn dollars(amount: f64) -> String {
    if amount >= 1.0 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}
