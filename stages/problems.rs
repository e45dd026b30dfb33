//! problems: where a run's problems come from, which split each belongs to, and which become worked examples.
//!
//! Rows are handed on one at a time in a fixed order (test, validation and train as the source gives them),
//! so that a source of any size needs little memory.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;
use datasets::domains;
use datasets::expr;
use datasets::key;
use datasets::sources::{Dedup, Raw, countdown, files, split_at, split_of, words};
use datasets::table::Example;
use datasets::types::{Problem, Split, StepCheck};

use crate::events::Events;
use crate::policy::completion;

mod config;

pub use config::{BadRow, ProblemsConfig, Source};

/// Version of the stage, part of its fingerprint with that of the source.
pub const VERSION: u32 = 1;

/// What a source gave besides problems.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProblemsSummary {
    pub examples: Vec<Example>,
    pub train: usize,
    pub validation: usize,
    pub test: usize,
    /// Rows with the content of an earlier one; they stay, with ids of their own.
    pub duplicates: usize,
    /// Train rows left out because a test file asks the same question.
    pub leaked: usize,
    /// Rows that could not be read (`bad_rows = "skip"`).
    pub skipped: usize,
}

/// Gives every problem to `sink`.
///
/// # Errors
/// Bad configuration, unreadable files, bad rows (unless skipped), errors of `sink`, [`crate::Cancelled`].
pub fn problems(
    config: &ProblemsConfig,
    seed: u64,
    events: &dyn Events,
    sink: &mut dyn FnMut(Problem) -> Result<()>,
) -> Result<ProblemsSummary> {
    let mut desk = Desk {
        config,
        dedup: Dedup::default(),
        contents: Dedup::default(),
        outcome: ProblemsSummary::default(),
        events,
        sink,
    };
    match config.source {
        Source::Words => {
            let dial = words::Dial {
                min_operations: config.min_operations,
                max_operations: config.max_operations,
                distractors: config.distractors,
            };
            desk.generate(
                "words",
                |index| words::generate(seed, index, &dial).into(),
                |raw| split_of("math", &raw.question),
            )?;
        }
        Source::Countdown => {
            let dial = countdown::Dial {
                numbers: config.numbers,
                min_number: config.min_number,
                max_number: config.max_number,
                min_target: config.min_target,
                max_target: config.max_target,
                holdout: config.holdout,
            };
            desk.generate(
                "countdown",
                |index| countdown::generate(seed, index, &dial).into(),
                |raw| {
                    // Test and validation puzzles all have held-out targets; train puzzles never do.
                    let held = raw
                        .answer
                        .parse()
                        .is_ok_and(|target| countdown::held_out(seed, target, config.holdout));
                    let draw = split_of("countdown", &raw.question);
                    match (held, draw < 0.5) {
                        (false, _) => 0.5,
                        (true, true) => 0.0,
                        (true, false) => 1.0,
                    }
                },
            )?;
        }
        Source::Files => desk.files()?,
    }
    Ok(desk.outcome)
}

struct Desk<'a> {
    config: &'a ProblemsConfig,
    dedup: Dedup,
    /// The same whatever the source: a file and a copy of it under another name hold duplicates.
    contents: Dedup,
    outcome: ProblemsSummary,
    events: &'a dyn Events,
    sink: &'a mut dyn FnMut(Problem) -> Result<()>,
}

impl Desk<'_> {
    fn put(&mut self, source: &str, raw: Raw, split: Split) -> Result<()> {
        let domain = self.config.domain();
        let copy = self.dedup.copy(domain, source, &raw);
        self.outcome.duplicates += usize::from(self.contents.copy(domain, "", &raw) > 0);
        *self.taken(split) += 1;
        self.events.advance(1, 0, 0);
        (self.sink)(raw.into_problem(domain, source, copy, split))
    }

    fn taken(&mut self, split: Split) -> &mut usize {
        match split {
            Split::Train => &mut self.outcome.train,
            Split::Validation => &mut self.outcome.validation,
            Split::Test => &mut self.outcome.test,
        }
    }

    fn goal(&self, split: Split) -> usize {
        match split {
            Split::Train => self.config.train,
            Split::Validation => self.config.validation,
            Split::Test => self.config.test,
        }
    }

    /// Draws problems until every split has its number. `draw` maps a problem to a number in [0, 1]: below
    /// the share of test to test, above that of validation to validation.
    fn generate(
        &mut self,
        source: &str,
        make: impl Fn(u64) -> Raw,
        draw: impl Fn(&Raw) -> f64,
    ) -> Result<()> {
        let c = self.config;
        let total = c.train + c.validation + c.test;
        // A little more than the exact shares, so that no split waits long for its last problem.
        let share = |n: usize| if n == 0 { 0.0 } else { (n as f64 / total as f64).clamp(0.02, 0.45) };
        let (test, validation) = (share(c.test), share(c.validation));
        let bound = (total as u64 + 1000) * 200;
        for index in 0..bound {
            if [Split::Train, Split::Validation, Split::Test]
                .into_iter()
                .all(|s| *self.taken(s) >= self.goal(s))
            {
                return Ok(());
            }
            self.events.check()?;
            let raw = make(index);
            let split = split_at(draw(&raw), test, validation);
            if *self.taken(split) < self.goal(split) {
                self.put(source, raw, split)?;
            }
        }
        bail!(
            "the generator found only {} train, {} validation and {} test problems in {bound} tries; widen \
             its ranges or ask for fewer",
            self.outcome.train,
            self.outcome.validation,
            self.outcome.test
        )
    }

    fn files(&mut self) -> Result<()> {
        let c = self.config;
        let domain = c.domain();
        // Test files first: what they ask must not be trained on.
        let mut asked = HashSet::new();
        for path in &c.test_files {
            self.read(path, &mut |desk, source, raw| {
                asked.insert(split_of(domain, raw.asked()).to_bits());
                if c.test > 0 && desk.outcome.test >= c.test {
                    return Ok(true);
                }
                desk.put(source, raw, Split::Test)?;
                Ok(true)
            })?;
        }
        let test_share = if c.test_files.is_empty() { c.test_share } else { 0.0 };
        for path in c.files.iter().chain(&c.train_files) {
            self.read(path, &mut |desk, source, raw| {
                let draw = split_of(domain, raw.asked());
                if asked.contains(&draw.to_bits()) {
                    desk.outcome.leaked += 1;
                    return Ok(true);
                }
                let split = split_at(draw, test_share, c.validation_share);
                let full = |desk: &mut Self, split| {
                    let goal = desk.goal(split);
                    goal > 0 && *desk.taken(split) >= goal
                };
                if split == Split::Train
                    && desk.outcome.examples.len() < c.examples
                    && let Some(example) = example(&raw)
                {
                    desk.outcome.examples.push(example);
                } else if !full(desk, split) {
                    desk.put(source, raw, split)?;
                }
                Ok(![Split::Train, Split::Validation, Split::Test]
                    .into_iter()
                    .all(|s| full(desk, s) || (s == Split::Test && test_share == 0.0)))
            })?;
        }
        let found = self.outcome.examples.len();
        ensure!(
            found == c.examples,
            "problems.examples asks for {} worked examples, but only {found} train rows have a worked \
             solution whose equations qstill can read",
            c.examples
        );
        ensure!(self.outcome.train > 0, "the files contain no train problem");
        Ok(())
    }

    /// Reads a file or folder; `take` says whether to go on.
    fn read(
        &mut self,
        path: &Path,
        take: &mut dyn FnMut(&mut Self, &str, Raw) -> Result<bool>,
    ) -> Result<()> {
        let options = files::Options {
            question_column: self.config.question.clone(),
            answer_column: self.config.answer.clone(),
            max_question_bytes: self.config.max_question_bytes,
            meta: self.config.meta.clone(),
            options: self.config.options.clone(),
            orders: self.config.orders,
        };
        let source = path.file_name().map_or_else(|| "files".into(), |n| n.to_string_lossy().into_owned());
        for row in files::open(path, &options)? {
            self.events.check()?;
            match row {
                Ok(raw) => {
                    if !take(self, &source, raw)? {
                        break;
                    }
                }
                Err(error) if error.is_row() && self.config.bad_rows == BadRow::Skip => {
                    self.outcome.skipped += 1;
                    self.events.note(&format!("skipped: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A worked train row as an example for the prompt: its equations, a line each, then the answer.
/// None if an equation is false or the row has fewer than two or more than five of them.
fn example(raw: &Raw) -> Option<Example> {
    let worked = raw.worked.as_deref()?;
    let mut steps: Vec<String> = Vec::new();
    for equation in worked.lines().flat_map(expr::equations) {
        let compact = |side: &str| {
            side.chars().filter(|c| !c.is_whitespace() && !matches!(c, '$' | ',')).collect::<String>()
        };
        let step = format!("{}={}", compact(&equation.lhs), compact(&equation.rhs));
        if steps.last() != Some(&step) && equation.lhs.contains(['+', '-', '*', '/']) {
            steps.push(step);
        }
    }
    let domain = domains::domain("math")?;
    let (question, answer) = (raw.question.clone(), raw.answer.clone());
    let problem = Problem { domain: "math".into(), question, answer, ..Problem::default() };
    let sound = (2..=5).contains(&steps.len())
        && steps
            .iter()
            .enumerate()
            .all(|(i, s)| domain.check_step(&problem, &steps[..i], s) == StepCheck::True)
        && steps
            .last()
            .is_some_and(|s| s.rsplit('=').next().is_some_and(|r| r == raw.answer.replace(',', "")));
    sound.then(|| Example { question: raw.question.clone(), completion: completion(&steps, &raw.answer) })
}

/// A hash over the content of every file that a source reads.
///
/// # Errors
/// If a file cannot be read.
pub fn input_hash(config: &ProblemsConfig) -> Result<String> {
    content_hash(&config.paths())
}

/// A hash over the content of files, and of the files in folders.
///
/// # Errors
/// If a file cannot be read.
pub fn content_hash(paths: &[&Path]) -> Result<String> {
    use anyhow::Context;
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        ensure!(
            path.exists(),
            "{}: no such file or folder (problems.files, train_files or test_files; curate.held_out_files), \
             relative to the working directory",
            path.display()
        );
        let mut all = if path.is_dir() {
            std::fs::read_dir(path)
                .with_context(|| format!("failed to list {}", path.display()))?
                .map(|e| e.map(|e| e.path()))
                .collect::<std::io::Result<Vec<_>>>()?
        } else {
            vec![path.to_path_buf()]
        };
        all.sort();
        for file in all.iter().filter(|p| p.is_file()) {
            let mut reader =
                std::fs::File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
            loop {
                let n =
                    reader.read(&mut buffer).with_context(|| format!("failed to read {}", file.display()))?;
                if n == 0 {
                    break;
                }
                hash.update(&buffer[..n]);
            }
            hash.update(b"\0end of file\0");
        }
    }
    Ok(key::hex(&hash.finalize()))
}
