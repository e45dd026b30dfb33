//! `[prompt]`: a template that shows the question, and texts that are there; and what may be learned of
//! thoughts.

use stages::policy::check_question;
use stages::train::Thoughts;
use stages::train::losses::TokenLoss;

use super::{Checked, refuse};
use crate::config::types::Config;

pub(super) fn check(config: &Config) -> Checked {
    let (prompt, train) = (&config.prompt, &config.train);
    check_question(&prompt.question).map_err(|what| {
        refuse(
            format!("prompt.question is no template of a question: {what}"),
            "permitted: a text with {{question}} in it, e.g. \"Solve step by step: {{question}}\"",
        )
    })?;
    for (key, texts) in [("prompt.answer_markers", &prompt.answer_markers), ("prompt.stop", &prompt.stop)] {
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(refuse(format!("{key} has a text that is empty"), "permitted: words, or signs"));
        }
    }
    if train.loss == TokenLoss::Value && train.thoughts == Thoughts::Keep {
        return Err(refuse(
            "train.loss is \"value\", but with train.thoughts = \"keep\" rows begin with what has no value",
            "set train.thoughts to \"drop\", or train.loss to \"ce\"",
        ));
    }
    Ok(())
}
