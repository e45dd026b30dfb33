//! `[prompt]`: a template that shows the question, and texts that are there; answer lines that are read; and
//! what may be learned of thoughts.

use datasets::answer::{Form, Reader};
use stages::curate::ANSWER;
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
    if (prompt.answer == Form::Pattern) == prompt.answer_pattern.is_none() {
        return Err(refuse(
            "prompt.answer = \"pattern\" and prompt.answer_pattern go together, and one of them is missing",
            "set both: prompt.answer_pattern = 'FINAL\\((\\d+)\\)'",
        ));
    }
    for (key, texts) in [("prompt.answer_markers", &prompt.answer_markers), ("prompt.stop", &prompt.stop)] {
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(refuse(format!("{key} has a text that is empty"), "permitted: words, or signs"));
        }
    }
    let line = &config.curate.answer_line;
    let reader = Reader { markers: &prompt.answer_markers, ..Reader::default() };
    let read = reader.completion(&format!("3 + 4 = 7\n{}", line.replace(ANSWER, "-16"))).answer;
    if line.matches(ANSWER).count() != 1 || line.contains('\n') || read != "-16" {
        return Err(refuse(
            format!("curate.answer_line is {line:?}, and no answer is read from such a line"),
            "permitted: one line with {answer} in it, e.g. \"#### {answer}\" or \"The answer is {answer}.\"; \
             words of your own need prompt.answer_markers",
        ));
    }
    let told = !config.problems.rules.is_empty();
    if told && reader.completion(&format!("go\n{}", line.replace(ANSWER, "-16"))).lines != ["go"] {
        return Err(refuse(
            format!(
                "curate.answer_line is {line:?}: it is read as a step, and problems.rules has no such step"
            ),
            "permitted: a marker and the answer alone, e.g. \"#### {answer}\" or \"Answer: {answer}\"",
        ));
    }
    if train.loss == TokenLoss::Value && train.thoughts == Thoughts::Keep {
        return Err(refuse(
            "train.loss is \"value\", but with train.thoughts = \"keep\" rows begin with what has no value",
            "set train.thoughts to \"drop\", or train.loss to \"ce\"",
        ));
    }
    Ok(())
}
