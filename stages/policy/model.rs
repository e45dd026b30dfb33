//! A decoder in this process as a policy.

use std::sync::Arc;

use anyhow::Result;
use datasets::answer::{read_completion, read_marked};
use datasets::types::{End, Problem, Step};

use super::{Ask, Horizon, Policy, Prompt, Proposal, Sampling, ValueQuery, completion};
use crate::events::Events;
use crate::model::generate::{Generated, Generation, Generator, Limits, Request, Stop};
use crate::model::{Model, ValueHead};

/// Samples from a [`Model`] with its chat template and a [`Prompt`].
pub struct ModelPolicy {
    model: Arc<Model>,
    prompt: Prompt,
    generator: Generator,
    head: Option<ValueHead>,
}

impl ModelPolicy {
    pub fn new(model: Arc<Model>, prompt: Prompt, limits: Limits) -> Self {
        Self {
            generator: Generator::with_heads(&model.decoder, model.future.as_ref(), limits),
            head: model.value.clone(),
            model,
            prompt,
        }
    }
}

impl Policy for ModelPolicy {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn fingerprint(&self) -> String {
        let examples = self.prompt.examples.iter().flat_map(|(q, a)| [q.as_str(), a.as_str()]);
        let parts: Vec<datasets::key::Part<'_>> =
            [self.model.fingerprint.as_str(), self.prompt.instruction.as_str()]
                .into_iter()
                .chain(examples)
                .map(Into::into)
                .collect();
        datasets::key::id(&parts)
    }

    fn flops_per_token(&self) -> u64 {
        2 * self.model.decoder.config.parameters() as u64
    }

    fn prompt_tokens(&self, problem: &Problem) -> Result<u64> {
        Ok(self.tokens(problem, "")?.len() as u64)
    }

    fn values(&mut self, queries: &[ValueQuery<'_>], events: &dyn Events) -> Result<Vec<(f32, u64)>> {
        let Some(head) = self.head.clone() else {
            bail!("the policy has no value head: train one (train.value_weight, or value.model = \"trunk\")")
        };
        let mut texts = Vec::with_capacity(queries.len());
        let mut new = Vec::with_capacity(queries.len());
        for query in queries {
            let text = self.tokens(query.problem, &path_text(query.steps, query.answer))?;
            let before = if query.answer.is_some() {
                query.steps
            } else {
                &query.steps[..query.steps.len().saturating_sub(1)]
            };
            new.push(
                text.len().saturating_sub(self.tokens(query.problem, &begun(before))?.len()).max(1) as u64
            );
            texts.push(text);
        }
        let hidden = self.hidden(&texts, events)?;
        Ok(hidden.iter().zip(new).map(|(hidden, tokens)| (head.value(hidden), tokens)).collect())
    }

    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        sampling: &Sampling,
        events: &dyn Events,
    ) -> Result<Vec<Vec<Proposal>>> {
        let tokenizer = &self.model.tokenizer;
        let requests = asks
            .iter()
            .map(|ask| {
                let begun = begun(ask.steps);
                let text = tokenizer.prompt(&self.prompt.messages(&ask.problem.question))? + &begun;
                Ok(Request { prompt: tokenizer.encode_first(&text), seeds: ask.seeds.to_vec(), begun })
            })
            .collect::<Result<Vec<_>>>()?;
        let stop = if horizon == Horizon::Step { Stop::Line } else { Stop::AnswerLine };
        let generated = self
            .generator
            .generate(&Generation { tokenizer, requests: &requests, sampling, stop }, events)?;
        Ok(generated
            .into_iter()
            .map(|samples| samples.iter().map(|sample| self.proposal(sample, horizon)).collect())
            .collect())
    }
}

/// A path as the model reads it before it goes on.
fn begun(steps: &[String]) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect()
}

/// A path as the value head reads it: as the policy left it, and up to its answer if it has one.
pub fn path_text(steps: &[String], answer: Option<&str>) -> String {
    match answer {
        Some(answer) => completion(steps, answer),
        None => begun(steps),
    }
}

impl ModelPolicy {
    /// The tokens of a problem's prompt and a path.
    ///
    /// # Errors
    /// A question that the chat template does not take.
    pub fn tokens(&self, problem: &Problem, path: &str) -> Result<Vec<u32>> {
        let tokenizer = &self.model.tokenizer;
        Ok(tokenizer.encode_first(&(tokenizer.prompt(&self.prompt.messages(&problem.question))? + path)))
    }

    /// The decoder's hidden states at the last of some tokens, see [`Generator::hidden`].
    ///
    /// # Errors
    /// Those of the device, and [`crate::Cancelled`].
    pub fn hidden(&mut self, texts: &[Vec<u32>], events: &dyn Events) -> Result<Vec<Vec<f32>>> {
        self.generator.hidden(texts, events)
    }

    /// Values are from now on what this head says.
    pub fn set_head(&mut self, head: ValueHead) {
        self.head = Some(head);
    }

    /// Whether it can say values.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn proposal(&self, sample: &Generated, horizon: Horizon) -> Proposal {
        // A step, or a text that was cut off, has an answer only where one is marked.
        let whole = horizon == Horizon::Path && sample.finished;
        let mut read = if whole { read_completion(&sample.text) } else { read_marked(&sample.text) };
        // Tokens and log-probabilities by line: a token belongs to the line it ends.
        let mut lines = vec![(String::new(), 0.0f32, 0u32)];
        for token in &sample.tokens {
            let piece = self.model.tokenizer.decode(&[token.id]);
            if let Some(line) = lines.last_mut() {
                line.0.push_str(&piece);
                line.1 += token.logprob;
                line.2 += 1;
            }
            if piece.contains('\n') {
                lines.push((String::new(), 0.0, 0));
            }
        }
        lines.retain(|(text, ..)| !text.trim().is_empty());
        // What was taken back counts in the proposal's tokens alone.
        let steps = read.steps.iter().map(|&at| {
            let (logprob, tokens) =
                lines.get(at).map_or((f32::NAN, 0), |(_, logprob, tokens)| (*logprob, *tokens));
            Step { text: std::mem::take(&mut read.lines[at]), logprob, value: f32::NAN, q: f32::NAN, tokens }
        });
        let end = match sample.finished {
            false => End::Truncated,
            true if sample.text.trim().is_empty() => End::Empty,
            true => End::Complete,
        };
        let tokens = sample.tokens.len() as u32;
        Proposal { steps: steps.collect(), final_answer: read.answer, end, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tokenizer;
    use crate::model::generate::Token;
    use crate::model::tests::tiny;

    #[test]
    fn steps_keep_the_tokens_of_their_own_lines() {
        let tokenizer = Tokenizer::train(&["undo".to_owned()], 300).unwrap();
        let model = Model {
            decoder: tiny(&tokenizer),
            tokenizer,
            value: None,
            future: None,
            fingerprint: String::new(),
        };
        let policy = ModelPolicy::new(Arc::new(model), Prompt::default(), Limits { rows: 1, cache: 1 << 20 });
        let proposal = |text: &str| {
            let ids = policy.model.tokenizer.encode(text);
            let tokens = (1..).zip(ids).map(|(i, id)| Token { id, logprob: -(i as f32) }).collect();
            policy.proposal(&Generated { tokens, text: text.to_owned(), finished: true }, Horizon::Path)
        };
        let (plain, undone) = (
            proposal("7*6=42\n42+1=43\n#### 43"),
            proposal("7-6=1\nundo\n7*6=42\n\n9-9=0\nundo\n42+1=43\n#### 43"),
        );
        let of = |p: &Proposal| p.steps.iter().map(|s| (s.text.clone(), s.tokens)).collect::<Vec<_>>();
        assert_eq!(of(&plain), [("7*6=42".to_owned(), 7), ("42+1=43".to_owned(), 8)]);
        assert_eq!((of(&undone), &undone.final_answer), (of(&plain), &plain.final_answer));
        // Its tokens are those of its line, of which the first is the ninth or later.
        assert!(plain.steps[0].logprob > -29.0 && undone.steps[0].logprob < -9.0 * 7.0, "{undone:?}");
        assert!(undone.tokens > plain.tokens + 10);
        let astray = proposal("7-6=1\nundo\nundo\n7*6=42\n#### 43");
        assert!(astray.steps.is_empty() && astray.final_answer.is_empty() && astray.tokens > 15);
    }
}
