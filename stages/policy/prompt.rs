//! How a problem is put to a language model, and how its answer is read.

use datasets::answer::{Form, Pattern, Reader};
use datasets::key::Part;
use minijinja::{Environment, Error, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use super::{Message, Role};

/// The template of a user's turn that is the question alone.
pub const QUESTION: &str = "{{question}}";

/// Prompt settings that the language-model policies share: `[prompt]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// System turn of the teacher's prompt; empty for none.
    pub instruction: String,
    /// Its user turn, a template of `question`.
    pub question: String,
    #[serde(skip_serializing_if = "crate::is_default")]
    pub answer: Form,
    /// What finds the answer with `answer = "pattern"`.
    #[serde(skip_serializing_if = "Pattern::is_none")]
    pub answer_pattern: Pattern,
    /// Words behind which the answer stands, before all that are known everywhere.
    pub answer_markers: Vec<String>,
    /// Texts at which a sample ends; they are no part of it.
    pub stop: Vec<String>,
}

impl Default for PromptConfig {
    /// The question alone.
    fn default() -> Self {
        Self {
            instruction: String::new(),
            question: QUESTION.to_owned(),
            answer: Form::Marked,
            answer_pattern: Pattern::default(),
            answer_markers: Vec::new(),
            stop: Vec::new(),
        }
    }
}

/// How a problem is put to a language model: an instruction, worked examples, then the question.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub config: PromptConfig,
    /// Worked examples: question and completion.
    pub examples: Vec<(String, String)>,
}

impl Default for Prompt {
    /// The question alone.
    fn default() -> Self {
        Self { config: PromptConfig::default(), examples: Vec::new() }
    }
}

impl Prompt {
    /// The turns before the answer to `question`.
    ///
    /// # Errors
    /// A template that cannot be rendered.
    pub fn messages(&self, question: &str) -> Result<Vec<Message>, Error> {
        let turn = |role, content: String| Message { role, content };
        let mut messages = Vec::new();
        if !self.config.instruction.is_empty() {
            messages.push(turn(Role::System, self.config.instruction.clone()));
        }
        for (question, completion) in &self.examples {
            messages.push(turn(Role::User, self.asked(question)?));
            messages.push(turn(Role::Assistant, completion.clone()));
        }
        messages.push(turn(Role::User, self.asked(question)?));
        Ok(messages)
    }

    fn asked(&self, question: &str) -> Result<String, Error> {
        let template = &self.config.question;
        if template == QUESTION { Ok(question.to_owned()) } else { rendered(template, question) }
    }

    /// What its proposals depend on. Settings that are left as they are have no part in it.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let config = &self.config;
        let mut parts: Vec<Part<'_>> = vec![(&config.instruction).into()];
        for (question, completion) in &self.examples {
            parts.extend([Part::from(question), completion.into()]);
        }
        if config.question != QUESTION {
            parts.extend(["question".into(), Part::from(&config.question)]);
        }
        if !crate::is_default(&config.answer) {
            parts.extend([Part::from("answer"), config.answer.name().into()]);
        }
        if !config.answer_pattern.is_none() {
            parts.extend([Part::from("answer_pattern"), config.answer_pattern.text().into()]);
        }
        for (name, texts) in [("answer_markers", &config.answer_markers), ("stop", &config.stop)] {
            for text in texts {
                parts.extend([name.into(), Part::from(text)]);
            }
        }
        parts
    }

    /// How answers are read.
    pub fn reader(&self) -> Reader<'_> {
        let PromptConfig { answer_markers, answer, answer_pattern, .. } = &self.config;
        Reader { markers: answer_markers, form: *answer, pattern: Some(answer_pattern), ..Reader::default() }
    }
}

fn rendered(template: &str, question: &str) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.render_str(template, context! { question })
}

/// Whether a template of a user's turn can be rendered, and shows the question.
///
/// # Errors
/// What is wrong with it.
pub fn check_question(template: &str) -> Result<(), String> {
    const ASKED: &str = "How many pens are 3 boxes of 4 pens?";
    match rendered(template, ASKED) {
        Ok(text) if text.contains(ASKED) => Ok(()),
        Ok(_) => Err("it does not show the question".into()),
        Err(error) => Err(error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_stands_in_the_template() {
        let config = PromptConfig {
            instruction: "Solve.".into(),
            question: "Problem: {{ question | trim }}\nThink first.".into(),
            ..PromptConfig::default()
        };
        let prompt = Prompt { config, examples: vec![("1+1? ".into(), "#### 2".into())] };
        let said: Vec<String> = prompt
            .messages("a {{b}}")
            .unwrap()
            .into_iter()
            .map(|m| format!("{}: {}", m.role, m.content))
            .collect();
        assert_eq!(
            said,
            [
                "system: Solve.",
                "user: Problem: 1+1?\nThink first.",
                "assistant: #### 2",
                "user: Problem: a {{b}}\nThink first."
            ]
        );
        assert_eq!(Prompt::default().messages(" q\n").unwrap()[0].content, " q\n");
    }

    #[test]
    fn templates_are_checked() {
        assert_eq!(check_question(QUESTION), Ok(()));
        assert_eq!(check_question("no question"), Err("it does not show the question".into()));
        for (template, words) in [("{{questoin}}", "undefined"), ("{{question", "expected"), ("{% if %}", "")]
        {
            let error = check_question(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    #[test]
    fn only_what_is_set_is_part_of_a_fingerprint() {
        let of = |config: PromptConfig| datasets::key::id(&Prompt { config, examples: Vec::new() }.parts());
        let plain = of(PromptConfig::default());
        assert_eq!(plain, datasets::key::id(&["".into()]));
        let list = || vec!["=>".to_owned()];
        let others = [
            PromptConfig { instruction: "Add.".into(), ..PromptConfig::default() },
            PromptConfig { question: "{{question}}!".into(), ..PromptConfig::default() },
            PromptConfig { answer: Form::Code, ..PromptConfig::default() },
            PromptConfig { answer: Form::Whole, ..PromptConfig::default() },
            PromptConfig { answer: Form::Pattern, ..PromptConfig::default() },
            PromptConfig {
                answer_pattern: Pattern::try_from("x".to_owned()).unwrap(),
                ..PromptConfig::default()
            },
            PromptConfig { answer_markers: list(), ..PromptConfig::default() },
            PromptConfig { stop: list(), ..PromptConfig::default() },
        ];
        let ids: std::collections::HashSet<String> = others.into_iter().map(of).chain([plain]).collect();
        assert_eq!(ids.len(), 9);
    }
}
