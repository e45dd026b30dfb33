//! A decoder in this process as a policy.

use std::sync::Arc;

use anyhow::Result;
use datasets::answer::{Reader, opens_thought};
use datasets::types::{End, Problem, Step};

use super::{Ask, Horizon, Policy, Prompt, Proposal, Sampling, ValueQuery, completion};
use crate::events::Events;
use crate::model::generate::{Generated, Generation, Generator, Limits, Request, Stop};
use crate::model::{Model, ValueHead};

/// What stands for the beginning of a thought, however the template writes it.
const THINK: &str = "<think>\n";

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
        let model = datasets::key::Part::from(&*self.model.fingerprint);
        let parts: Vec<_> = [model].into_iter().chain(self.prompt.parts()).collect();
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
        let mut thinking = Vec::with_capacity(asks.len());
        let requests = asks
            .iter()
            .map(|ask| {
                let mut begun = begun(ask.steps);
                let prompt = tokenizer.prompt(&self.prompt.messages(&ask.problem.question)?)?;
                // Steps that were taken close the thought that a template opens.
                let opened = ask.steps.is_empty() && opens_thought(&prompt);
                thinking.push(opened);
                let text = prompt + &begun;
                if opened {
                    begun = THINK.to_owned();
                }
                Ok(Request { prompt: tokenizer.encode_first(&text), seeds: ask.seeds.to_vec(), begun })
            })
            .collect::<Result<Vec<_>>>()?;
        let stop = if horizon == Horizon::Step { Stop::Line } else { Stop::AnswerLine };
        let stops = &self.prompt.config.stop;
        let work = Generation { tokenizer, requests: &requests, sampling, stop, stops };
        let generated = self.generator.generate(&work, events)?;
        let proposals = generated.into_iter().zip(thinking).map(|(samples, thinking)| {
            let reader = Reader { thinking, ..self.prompt.reader() };
            samples.iter().map(|sample| self.proposal(sample, horizon, reader)).collect()
        });
        Ok(proposals.collect())
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
        Ok(tokenizer.encode_first(&(tokenizer.prompt(&self.prompt.messages(&problem.question)?)? + path)))
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

    fn proposal(&self, sample: &Generated, horizon: Horizon, reader: Reader<'_>) -> Proposal {
        // A step, or a text that was cut off, has an answer only where one is marked.
        let whole = horizon == Horizon::Path && sample.finished;
        let mut read = if whole { reader.completion(&sample.text) } else { reader.marked(&sample.text) };
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
        // How many lines that are not blank begin before a place in the text.
        let before = |place: usize| {
            let starts = sample.text[..place].lines().filter(|line| !line.trim().is_empty()).count();
            starts.min(lines.len())
        };
        // What was taken back counts in the proposal's tokens alone.
        let steps = read.steps.iter().map(|&at| {
            let span = read.spans[at].clone();
            let first = before(line_start(&sample.text, span.start));
            let own = &lines[first..before(span.end).max(first)];
            let tokens = own.iter().map(|(_, _, tokens)| tokens).sum();
            let logprob =
                if own.is_empty() { f32::NAN } else { own.iter().map(|(_, logprob, _)| logprob).sum() };
            Step { text: std::mem::take(&mut read.lines[at]), logprob, value: f32::NAN, q: f32::NAN, tokens }
        });
        let steps = steps.collect();
        let thought = sample.text[read.thought.clone()].to_owned();
        let end = match (sample.finished, read.thinking) {
            (false, true) => End::Thinking,
            (false, false) => End::Truncated,
            (true, _) if sample.text.trim().is_empty() => End::Empty,
            (true, _) => End::Complete,
        };
        let tokens = sample.tokens.len() as u32;
        let thought_tokens = if read.thinking { tokens } else { self.until(sample, read.said) };
        let answer_logprob = self.answer_logprob(sample, &read.answer);
        let final_answer = read.answer;
        Proposal { steps, final_answer, answer_logprob, end, tokens, thought, thought_tokens }
    }

    /// Sum of the log-probabilities of the tokens of an answer, where it stands last in the text; None if it
    /// does not stand there as it is.
    fn answer_logprob(&self, sample: &Generated, answer: &str) -> Option<f32> {
        let start = sample.text.rfind(answer).filter(|_| !answer.is_empty())?;
        let (mut at, mut sum) = (0, None);
        for token in &sample.tokens {
            let from = at;
            at += self.model.tokenizer.decode(&[token.id]).len();
            if from < start + answer.len() && at > start {
                sum = Some(sum.unwrap_or(0.0) + token.logprob);
            }
        }
        sum
    }

    /// How many tokens a sample has up to a place in its text; 0 at its beginning.
    fn until(&self, sample: &Generated, place: usize) -> u32 {
        let mut length = 0;
        let pieces = sample.tokens.iter().map(|token| self.model.tokenizer.decode(&[token.id]).len());
        let before = pieces.take_while(|piece| {
            let inside = length < place;
            length += piece;
            inside
        });
        before.count() as u32
    }
}

fn line_start(text: &str, place: usize) -> usize {
    text[..place].rfind('\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tokenizer;
    use crate::model::generate::Token;
    use crate::model::tests::tiny;

    /// A policy whose tokenizer has seen a text.
    fn policy(seen: &str) -> ModelPolicy {
        let tokenizer = Tokenizer::train(&[seen.to_owned()], 300).unwrap();
        let model = Model {
            decoder: tiny(&tokenizer),
            tokenizer,
            value: None,
            future: None,
            fingerprint: String::new().into(),
        };
        ModelPolicy::new(Arc::new(model), Prompt::default(), Limits { rows: 1, cache: 1 << 20 })
    }

    #[test]
    fn steps_keep_the_tokens_of_their_own_lines() {
        let policy = policy("undo");
        let proposal = |text: &str| {
            let ids = policy.model.tokenizer.encode(text);
            let tokens = (1..).zip(ids).map(|(i, id)| Token { id, logprob: -(i as f32) }).collect();
            let sample = Generated { tokens, text: text.to_owned(), finished: true };
            policy.proposal(&sample, Horizon::Path, Reader::default())
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
        // The last tokens are those of the answer, and of the line's end if there is one.
        let count = policy.model.tokenizer.encode("7*6=42\n42+1=43\n#### 43").len() as f32;
        let answer = plain.answer_logprob.unwrap();
        assert!(answer <= -count && answer > -3.0 * count, "{answer} of {count} tokens");
        assert_eq!(proposal("no").answer_logprob.is_some(), !proposal("no").final_answer.is_empty());
        let astray = proposal("7-6=1\nundo\nundo\n7*6=42\n#### 43");
        assert!(astray.steps.is_empty() && astray.final_answer.is_empty() && astray.tokens > 15);
    }

    #[test]
    fn thoughts_and_formulas_have_tokens_of_their_own() {
        let policy = policy("<think>");
        let proposal = |text: &str, finished: bool, thinking: bool| {
            let tokens = policy
                .model
                .tokenizer
                .encode(text)
                .into_iter()
                .map(|id| Token { id, logprob: -1.0 })
                .collect();
            let sample = Generated { tokens, text: text.to_owned(), finished };
            policy.proposal(&sample, Horizon::Path, Reader { thinking, ..Reader::default() })
        };
        let length = |text: &str| policy.model.tokenizer.encode(text).len() as u32;
        let (thought, formula) = ("7-6=1\n#### 1", "\\[\n7*6=42\n\\]");
        let text = format!("<think>\n{thought}\n</think>\n{formula}\nSo\n#### 42");
        let found = proposal(&text, true, false);
        assert_eq!(found.steps.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), [formula, "So"]);
        assert_eq!((found.thought.as_str(), found.final_answer.as_str()), (thought, "42"));
        assert_eq!(found.steps[0].tokens, length(&format!("{formula}\n")));
        assert!((found.steps[0].logprob + found.steps[0].tokens as f32).abs() < 1e-3);
        assert_eq!(found.thought_tokens, length(&format!("<think>\n{thought}\n</think>")));
        // Opened by the prompt, and cut off within.
        assert_eq!(proposal("7-6=1</think>#### 42", true, true).thought, "7-6=1");
        for (text, thinking) in [("7-6=1, so \\boxed{1}", true), ("<think>\n7-6=1, so \\boxed{1}", false)] {
            let cut = proposal(text, false, thinking);
            assert_eq!((cut.end, cut.final_answer.as_str(), cut.steps.len()), (End::Thinking, "", 0));
            assert_eq!((cut.thought.as_str(), cut.thought_tokens), ("7-6=1, so \\boxed{1}", cut.tokens));
        }
    }
}
