//! Grade-school word problems: a dependency graph of quantities, told in an everyday setting.
//!
//! After iGSM (Ye et al., arXiv:2407.20311): quantities depend on each other by simple relations, the
//! question asks for one of them, and the number of operations on the way is the difficulty. There the
//! text follows one pattern and arithmetic is modulo 23; here a problem is a short story in one of a
//! dozen settings, and numbers are ordinary ones. A setting is a table of relations ([`table`]), each
//! with its phrasings and the operations that it means; a problem is a walk over them ([`story`]), so
//! that every operation needs what came before.
//!
//! Each number in the text is used once on the way to the answer, or not at all if it is a distractor;
//! results may be used again. Words that stand for numbers are those of [`LEXICON`].

mod draw;
mod fixed;
mod lexicon;
mod render;
mod story;
mod table;
#[cfg(test)]
mod tests;

pub use lexicon::{LEXICON, lexicon_in};
pub use table::SETTINGS;

use crate::key;
use draw::{below, unit};
use serde_json::{Value, json};
use story::Story;
use table::{Setting, WORLD};

/// Version of the generator: other problems come out when it changes.
pub const VERSION: u32 = 1;

/// The most operations that a problem can have.
pub const MAX_OPERATIONS: u32 = 8;

/// Draws with numbers that could be read in two ways are dropped this often, then accepted.
const STRICT_TRIES: u32 = 1_500;

/// Draws of numbers for one walk before another walk is tried.
const TRIES_PER_WALK: u32 = 30;

/// How hard the problems are.
#[derive(Clone, Debug, PartialEq)]
pub struct Dial {
    /// Fewest operations, 1 or more.
    pub min_operations: u32,
    /// Most operations, up to [`MAX_OPERATIONS`].
    pub max_operations: u32,
    /// Probability that a problem has one distractor, a number that nothing needs.
    pub distractors: f64,
}

/// A problem without its identity.
pub struct Draft {
    pub question: String,
    /// The last result, plain: `72`, `12.75`.
    pub answer: String,
    /// Operations of the latent solution.
    pub difficulty: u32,
    /// `setting`, `templates`, `graph`, `solution` and `distractor`.
    pub meta: Value,
}

/// The `index`-th problem of the stream `seed`: a pure function of its arguments. Difficulties are uniform
/// between the ends of the dial, which are clamped to 1 and [`MAX_OPERATIONS`].
pub fn generate(seed: u64, index: u64, dial: &Dial) -> Draft {
    let mut rng = key::rng(&["words".into(), u64::from(VERSION).into(), seed.into(), index.into()]);
    let low = dial.min_operations.clamp(1, MAX_OPERATIONS);
    let high = dial.max_operations.clamp(low, MAX_OPERATIONS);
    let operations = low + below(&mut rng, (high - low + 1) as usize) as u32;
    let setting = &WORLD[below(&mut rng, WORLD.len())];
    let distractor = unit(&mut rng) < dial.distractors;
    let mut tries = 0;
    loop {
        let Some(path) = story::walk(&mut rng, setting, operations) else {
            continue;
        };
        for _ in 0..TRIES_PER_WALK {
            tries += 1;
            let Some(story) = story::tell(&mut rng, setting, &path, distractor) else {
                continue;
            };
            if tries > STRICT_TRIES || story.is_unambiguous() {
                return draft(setting, &story);
            }
        }
    }
}

fn draft(setting: &Setting, story: &Story) -> Draft {
    let graph: Vec<Value> = story
        .nodes
        .iter()
        .map(
            |n| json!({"name": n.name, "op": n.op.to_string(), "args": n.args, "value": n.value.to_string()}),
        )
        .collect();
    let solution: Vec<String> = story
        .nodes
        .iter()
        .map(|n| format!("{}{}{}={}", n.operands[0], n.op, n.operands[1], n.value))
        .collect();
    let templates: Vec<String> =
        story.templates.iter().map(|name| format!("{}/{name}", setting.name)).collect();
    Draft {
        question: story.question(),
        answer: story.answer().map(|value| value.to_string()).unwrap_or_default(),
        difficulty: story.nodes.len() as u32,
        meta: json!({
            "setting": setting.name,
            "templates": templates,
            "graph": graph,
            "solution": solution,
            "distractor": story.distractor,
        }),
    }
}
