//! A decoder in this process as a policy.

use std::sync::Arc;

use anyhow::Result;
use datasets::answer::split_completion;
use datasets::types::Step;

use super::{Ask, Horizon, Policy, Prompt, Proposal, Sampling};
use crate::events::Events;
use crate::model::Model;
use crate::model::generate::{Generated, Generator, Limits, Request, Stop};

/// Samples from a [`Model`] with its chat template and a [`Prompt`].
pub struct ModelPolicy {
    model: Arc<Model>,
    prompt: Prompt,
    generator: Generator,
}

impl ModelPolicy {
    pub fn new(model: Arc<Model>, prompt: Prompt, limits: Limits) -> Self {
        Self { generator: Generator::new(&model.llama, limits), model, prompt }
    }
}

impl Policy for ModelPolicy {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn fingerprint(&self) -> String {
        let examples = self.prompt.examples.iter().flat_map(|(q, a)| [q.as_str(), a.as_str()]);
        let parts: Vec<datasets::key::Part<'_>> =
            [self.model.fingerprint.as_str(), self.prompt.instruction.as_str()].into_iter().chain(examples).map(Into::into).collect();
        datasets::key::id(&parts)
    }

    fn propose(&mut self, asks: &[Ask<'_>], horizon: Horizon, sampling: &Sampling, events: &dyn Events) -> Result<Vec<Vec<Proposal>>> {
        let tokenizer = &self.model.tokenizer;
        let requests = asks
            .iter()
            .map(|ask| {
                let begun: String = ask.steps.iter().map(|step| format!("{step}\n")).collect();
                let text = tokenizer.prompt(&self.prompt.messages(&ask.problem.question))? + &begun;
                Ok(Request { prompt: tokenizer.encode(&text), seeds: ask.seeds.to_vec(), begun })
            })
            .collect::<Result<Vec<_>>>()?;
        let stop = if horizon == Horizon::Step { Stop::Line } else { Stop::AnswerLine };
        let generated = self.generator.generate(tokenizer, &requests, sampling, stop, events)?;
        Ok(generated.into_iter().map(|samples| samples.iter().map(|sample| self.proposal(sample)).collect()).collect())
    }
}

impl ModelPolicy {
    fn proposal(&self, sample: &Generated) -> Proposal {
        let (texts, final_answer) = split_completion(&sample.text);
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
        let mut lines = lines.into_iter().filter(|(text, ..)| !text.trim().is_empty());
        let steps = texts
            .into_iter()
            .map(|text| {
                let (logprob, tokens) = lines.next().map_or((f32::NAN, 0), |(_, logprob, tokens)| (logprob, tokens));
                Step { text, logprob, value: f32::NAN, q: f32::NAN, tokens }
            })
            .collect();
        Proposal { steps, final_answer, tokens: sample.tokens.len() as u32 }
    }
}
