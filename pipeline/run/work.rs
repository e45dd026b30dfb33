//! The stages of a run in order, each with its fingerprint and inputs. This file reads as the table of
//! contents of a run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::Domain;
use datasets::domains;
use datasets::table::{self, Example, Node, Retired, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Split};
use stages::Events;
use stages::curate::contamination::normalised;
use stages::curate::{Contamination, CurationContext, Retire, Survey};
use stages::evaluate::{ModelRun, TeacherRun};
use stages::model::{LlamaConfig, Model, Precision};
use stages::policy::endpoint::Endpoint;
use stages::policy::model::ModelPolicy;
use stages::policy::rules::{self, Rules};
use stages::policy::{Policy, Prompt};
use stages::search::value::Values;
use stages::search::{Draws, RulesOn, Sampler, Scope, Searching, TreeConfig};
use stages::siblings::Siblings;
use stages::train::losses::TokenLoss;
use stages::value::targets::Level;
use stages::value::{Estimator, Trained, gains};
use stages::{curate, evaluate, problems, search, train, verify};

use crate::config::check::tuned;
use crate::disk::layout::Stage;
use crate::run::plan::Fingerprint;
use crate::run::rows::{Counts, Done, write, write_some};
use crate::run::session::{Opened, Session, name};
use crate::stage::evaluation;
use crate::stage::train::Lessons;
use crate::stage::{lessons, train as training, value};
use crate::terminal::exit::Failure;

/// What to do with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything that is outstanding.
    All,
    /// The same, up to this stage of the last round.
    Until(Stage),
    /// One stage of a round, on what is committed.
    One(Stage, u32),
    /// Nothing: only say what is outstanding.
    Look,
}

impl Goal {
    /// Whether a stage of a round is the goal; problems belong to every round.
    fn is(self, stage: Stage, round: u32) -> bool {
        matches!(self, Goal::One(s, r) if s == stage && (r == round || s == Stage::Problems))
    }
}

/// What the rounds before, and this one so far, have given.
#[derive(Default)]
pub struct Past {
    pub searches: Vec<Done>,
    pub verdicts: Vec<Done>,
    pub kept: Vec<Done>,
    /// The last student that the gate accepted: the policy of the round at hand, if it is a model.
    pub student: Option<Done>,
    /// What the gate measured of it, or of the base while no student was accepted, and under which name.
    pub gate: Option<(Done, &'static str)>,
    /// The policy of the round before, likewise.
    pub searcher: Option<Done>,
    pub value: Option<Done>,
}

/// Where the walk over stages stands.
pub enum Walk {
    /// The stage is complete.
    Done(Done),
    /// The goal was this stage, and it is complete now.
    Reached,
    /// The stage is not complete and not to be run.
    Waiting,
}

impl Session {
    /// Walks over rounds and stages up to the goal.
    ///
    /// # Errors
    /// Those of the stages; [`Failure::busy`] if a stage before the goal is not complete.
    pub fn advance(&self, goal: Goal) -> Result<()> {
        if goal != Goal::Look {
            // What cannot work is said now, and not after hours of search.
            self.device()?;
            let read = |path: &str| LlamaConfig::read(std::path::Path::new(path));
            if !self.config.model.from_scratch() {
                tuned(&self.config.train, &read(&self.config.model.path)?)?;
            }
            if self.config.train.loss == TokenLoss::Golden && !self.config.train.reference.is_empty() {
                read(&self.config.train.reference)?;
            }
        }
        let Walk::Done(problems) = self.problems(goal)? else { return Ok(()) };
        if goal == Goal::Until(Stage::Problems) {
            return Ok(());
        }
        let mut past = Past::default();
        for round in 1..=self.config.run.rounds {
            let last = round == self.config.run.rounds;
            let enough = |stage| last && goal == Goal::Until(stage);
            let Walk::Done(search) = self.search(goal, round, &problems, &past)? else { return Ok(()) };
            if enough(Stage::Search) {
                return Ok(());
            }
            let Walk::Done(verify) = self.verify(goal, round, &problems, &search)? else { return Ok(()) };
            if enough(Stage::Verify) {
                return Ok(());
            }
            let Walk::Done(curate) = self.curate(goal, round, &problems, &search, &verify, &past)? else {
                return Ok(());
            };
            if enough(Stage::Curate) {
                return Ok(());
            }
            past.kept.push(curate);
            past.searches.push(search);
            past.verdicts.push(verify);
            let value = if self.config.has_value(round) {
                let Walk::Done(value) = self.value(goal, round, &problems, &past)? else { return Ok(()) };
                Some(value)
            } else {
                None
            };
            if enough(Stage::Value) {
                return Ok(());
            }
            let Walk::Done(student) = self.train(goal, round, &problems, &past, value.as_ref())? else {
                return Ok(());
            };
            if enough(Stage::Train) {
                return Ok(());
            }
            let gate = if self.config.has_gate() {
                let Walk::Done(gate) = self.gate(goal, round, &problems, &student)? else { return Ok(()) };
                Some(gate)
            } else {
                None
            };
            let accepted =
                gate.as_ref().map_or(Ok(true), |gate| self.decide(goal, round, &problems, gate, &past))?;
            if enough(Stage::Gate) {
                return Ok(());
            }
            let Walk::Done(_) = self.evaluate(goal, round, &problems, &student, &past)? else {
                return Ok(());
            };
            past.searcher.clone_from(&past.student);
            if accepted {
                past.student = Some(student);
                past.gate = gate.map(|gate| (gate, "student"));
            } else if round == 1 && !self.config.model.from_scratch() {
                past.gate = gate.map(|gate| (gate, "base"));
            }
            past.value = value;
        }
        Ok(())
    }

    /// What a stage's state means for the goal: `Some` if the walk has its answer without work.
    pub(crate) fn without_work(&self, goal: Goal, opened: &Opened) -> Result<Option<Walk>> {
        let here = goal.is(opened.stage, opened.round);
        if opened.state.is_done() {
            let done = Done::new(opened.path.clone(), opened.commits.clone());
            if goal != Goal::Look {
                self.console.say(&format!("{}: complete, skipped", name(opened.stage, opened.round)));
            }
            return Ok(Some(if here { Walk::Reached } else { Walk::Done(done) }));
        }
        match goal {
            Goal::Look => Ok(Some(Walk::Waiting)),
            Goal::One(stage, round) if !here => Err(Failure::busy(
                format!(
                    "{} is not complete, and {} needs it",
                    name(opened.stage, opened.round),
                    name(stage, round)
                ),
                format!(
                    "`qstill stage {} {}` runs it; `qstill resume {}` runs everything",
                    opened.stage.name(),
                    self.run.root().display(),
                    self.run.root().display()
                ),
            )
            .into()),
            _ => Ok(None),
        }
    }

    fn reached(goal: Goal, opened: (Stage, u32), done: Done) -> Walk {
        if goal.is(opened.0, opened.1) { Walk::Reached } else { Walk::Done(done) }
    }

    fn problems(&self, goal: Goal) -> Result<Walk> {
        let c = &self.config;
        let fingerprint = Fingerprint::new("problems", problems::VERSION)
            .with_table("problems", &self.section("problems"))
            .with("run.seed", c.run.seed)
            .with("run.shard_size", c.run.shard_size)
            .with("source version", c.problems.source_version())
            .with("files", problems::input_hash(&c.problems)?)
            .with("tables", versions(&["problems", "examples"]));
        let opened = self.stage(Stage::Problems, 0, &fingerprint, None)?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let (dir, path) = (opened.dir()?, opened.path.clone());
        let fingerprint = opened.fingerprint.clone();
        let standing: HashMap<u32, _> = opened.commits.into_iter().map(|c| (c.shard, c)).collect();
        let total = (c.problems.train + c.problems.validation + c.problems.test) as u64;
        let progress = self.console.stage("problems", "problems", total, 0);
        let mut commits = Vec::new();
        let mut waiting: HashMap<Split, Vec<Problem>> = HashMap::new();
        // Shards are numbered as they fill, each of one split; what is committed already is drawn again but
        // not written.
        let mut put = |split: Split, rows: Vec<Problem>| -> Result<()> {
            let shard = commits.len() as u32;
            let counts = Counts::from([(split.name().to_owned(), rows.len() as i64)]);
            let commit = match standing.get(&shard) {
                Some(commit) => commit.clone(),
                None => {
                    let mut attempt = dir.begin(shard);
                    write(&mut attempt, rows)?;
                    attempt.commit(&fingerprint, counts)?
                }
            };
            commits.push(commit);
            Ok(())
        };
        let outcome = problems::problems(&c.problems, c.run.seed, &progress, &mut |problem| {
            let split = problem.split;
            let rows = waiting.entry(split).or_default();
            rows.push(problem);
            if rows.len() < c.run.shard_size { Ok(()) } else { put(split, std::mem::take(rows)) }
        })?;
        for split in [Split::Train, Split::Validation, Split::Test] {
            if let Some(rows) = waiting.remove(&split).filter(|rows| !rows.is_empty()) {
                put(split, rows)?;
            }
        }
        let shard = commits.len() as u32;
        let mut attempt = dir.begin(shard);
        write_some(&mut attempt, outcome.examples.clone())?;
        let counts = [
            ("duplicates", outcome.duplicates),
            ("leaked", outcome.leaked),
            ("skipped", outcome.skipped),
            ("examples", outcome.examples.len()),
            ("shards", commits.len() + 1),
        ];
        commits.push(
            attempt
                .commit(&fingerprint, counts.into_iter().map(|(k, n)| (k.to_owned(), n as i64)).collect())?,
        );
        progress.finish();
        self.console.say(&format!(
            "problems: {} train, {} validation, {} test; {} duplicates (kept apart by id), {} train rows left out because test asks them, {} unreadable rows skipped, {} worked examples for the prompt",
            outcome.train, outcome.validation, outcome.test, outcome.duplicates, outcome.leaked, outcome.skipped, outcome.examples.len()
        ));
        Ok(Self::reached(goal, (Stage::Problems, 0), Done::new(path, commits)))
    }

    /// The shards of train problems, in order.
    pub fn train_shards(problems: &Done) -> Vec<u32> {
        problems
            .commits
            .iter()
            .filter(|c| c.counts.contains_key(Split::Train.name()))
            .map(|c| c.shard)
            .collect()
    }

    /// The prompt of the teacher: instruction and worked examples.
    pub(crate) fn prompt(&self, problems: &Done) -> Result<Prompt> {
        let examples: Vec<Example> = problems.read()?;
        Ok(Prompt {
            instruction: self.config.prompt.instruction.clone(),
            examples: examples.into_iter().map(|e| (e.question, e.completion)).collect(),
        })
    }

    /// Who is sampled in a round: its description for fingerprints, without building it.
    pub fn sampler_identity(&self, previous: Option<&Done>) -> Result<String> {
        let c = &self.config;
        Ok(match (c.search.policy, previous) {
            (Sampler::None, _) => "none".into(),
            (Sampler::Rules, _) => rules::fingerprint(c.problems.domain()),
            (Sampler::Endpoint, _) => {
                format!(
                    "endpoint {}",
                    self.section_without("endpoint", &["concurrency", "timeout_s", "retries", "backoff_ms"])
                )
            }
            (Sampler::Model, Some(student)) => format!("student {}", student.hash()),
            (Sampler::Model, None) if c.model.from_scratch() => "none (from scratch)".into(),
            (Sampler::Model, None) => format!("base {}", self.base_identity()?),
        })
    }

    /// Adds the type that a GPU computes in, unless it is left to the device.
    pub(crate) fn with_dtype(&self, fingerprint: Fingerprint) -> Fingerprint {
        match self.config.model.dtype {
            Precision::Auto => fingerprint,
            _ => fingerprint.with_table(
                "model",
                &self.section("model").into_iter().filter(|(key, _)| key == "dtype").collect(),
            ),
        }
    }

    fn base_identity(&self) -> Result<String> {
        if self.config.model.from_scratch() {
            return Ok(format!(
                "from scratch {}",
                self.section_without("model", &["batch_rows", "cache_mib"])
            ));
        }
        let hashes = stages::model::hf::file_hashes(std::path::Path::new(&self.config.model.path))?;
        Ok(hashes.iter().map(|(file, hash)| format!("{file}={hash}")).collect::<Vec<_>>().join(","))
    }

    /// Builds who is sampled in a round.
    pub fn sampler(&self, problems: &Done, previous: Option<&Done>) -> Result<Option<Box<dyn Policy>>> {
        let c = &self.config;
        Ok(match (c.search.policy, previous) {
            (Sampler::None, _) => None,
            (Sampler::Rules, _) => Some(Box::new(Rules)),
            (Sampler::Endpoint, _) => Some(Box::new(Endpoint::new(
                c.endpoint.clone(),
                self.prompt(problems)?,
                self.run.responses(),
            )?)),
            (Sampler::Model, _) => {
                self.model_policy(problems, previous)?.map(|policy| Box::new(policy) as Box<dyn Policy>)
            }
        })
    }

    /// The model of this process that is sampled in a round, if it is one.
    ///
    /// # Errors
    /// An unreadable model.
    pub fn model_policy(&self, problems: &Done, previous: Option<&Done>) -> Result<Option<ModelPolicy>> {
        let c = &self.config;
        Ok(match (c.search.policy, previous) {
            (Sampler::Model, Some(student)) => {
                Some(ModelPolicy::new(self.student_of(student)?, Prompt::default(), c.model.limits()))
            }
            (Sampler::Model, None) if !c.model.from_scratch() => Some(ModelPolicy::new(
                self.base(|| Ok(Vec::new()))?,
                self.prompt(problems)?,
                c.model.limits(),
            )),
            _ => None,
        })
    }

    /// The student that searches in a round: the last one before it that the gate accepted.
    ///
    /// # Errors
    /// Failed reads.
    pub fn policy_before(&self, round: u32) -> Result<Option<Done>> {
        for earlier in (1..round).rev() {
            let done = crate::run::rows::committed(&self.run, earlier, Stage::Train)?;
            if done.commits.is_empty() || (self.config.has_gate() && !self.decided(earlier)?) {
                continue;
            }
            return Ok(Some(done));
        }
        Ok(None)
    }

    /// What says values in a round: the value model of the round before, or the head of the student that it
    /// trained.
    fn guide(&self, round: u32, problems: &Done, past: &Past) -> Result<Option<(Trained, Option<f32>)>> {
        if past.value.is_none() {
            return Ok(None);
        }
        // That model may stand on the trunk of the policy of its own round.
        let trunk = || self.model_policy(problems, past.searcher.as_ref());
        let (trained, measured) = value::load(self, round - 1, self.config.value.levels[0], &trunk)?;
        Ok(Some((trained, self.config.value.prune.then_some(measured.threshold))))
    }

    /// `[tree]` with the threshold of a value model.
    pub fn tree_config(&self, threshold: Option<f32>) -> TreeConfig {
        let tree = self.config.tree.clone();
        TreeConfig {
            threshold: threshold.map_or(tree.threshold, |t| tree.threshold.max(f64::from(t))),
            ..tree
        }
    }

    fn search(&self, goal: Goal, round: u32, problems: &Done, past: &Past) -> Result<Walk> {
        let c = &self.config;
        let previous = past.student.as_ref();
        let shards = Self::train_shards(problems);
        let fingerprint = Fingerprint::new("search", search::VERSION)
            .with_table("search", &self.section("search"))
            .with(
                "curate.min_siblings",
                if c.search.rules_on == RulesOn::Siblings { c.curate.min_siblings } else { 0 },
            )
            .with_table("tree", &self.section("tree"))
            .with_table("prompt", &self.section("prompt"))
            .with("run.seed", c.run.seed)
            .with("round", round)
            .with("problems", problems.hash())
            .with("rules", rules::fingerprint(c.problems.domain()))
            .with("policy", self.sampler_identity(previous)?)
            .with("tables", versions(&["nodes", "solutions"]));
        let fingerprint = self.with_value(fingerprint, past);
        // What has a row is left to those who ask whether it is right.
        let kept: &[Done] = if c.search.rules_on == RulesOn::Siblings { &past.kept } else { &[] };
        let fingerprint = kept.iter().zip(1..).fold(fingerprint, |all, (done, i): (_, u32)| {
            all.with(&format!("kept of round {i}"), done.hash())
        });
        let fingerprint =
            if c.search.policy == Sampler::Model { self.with_dtype(fingerprint) } else { fingerprint };
        let opened = self.stage(Stage::Search, round, &fingerprint, Some(shards.len() as u32))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let path = opened.path.clone();
        let mut sampler = self.sampler(problems, previous)?;
        let mut guide = self.guide(round, problems, past)?;
        let tree = self.tree_config(guide.as_ref().and_then(|(_, threshold)| *threshold));
        let own = sampler.is_some() && guide.is_none() && self.has_own_head(past);
        let mut values =
            if own { Values::Own } else { value::as_values(guide.as_mut().map(|(trained, _)| trained)) };
        let draws = Draws { seed: c.run.seed, round, purpose: "search" };
        let siblings = if c.search.rules_on == RulesOn::Siblings {
            Some(Arc::new(Self::siblings(problems)?))
        } else {
            None
        };
        let solved: HashSet<String> = pool(kept, None)?.into_iter().map(|row| row.problem_id).collect();
        let looks_at = |problem: &Problem| draws.looks_at(problem, c.search.slices);
        let enumerates = |problem: &Problem| {
            siblings.as_ref().map_or_else(
                || looks_at(problem),
                |all| !solved.contains(&problem.problem_id) && all.has(problem),
            )
        };
        let who = Scope {
            rules: &enumerates,
            policy: &looks_at,
            siblings: siblings.clone().map(|all| (all, c.curate.min_siblings)),
        };
        let searching = Searching { config: &c.search, tree: &tree, scope: &who, draws };
        let size = problems.count(Split::Train.name()) as u64;
        let commits =
            self.shards(opened, shards.len() as u32, "problems", size, |shard, attempt, progress| {
                let rows: Vec<Problem> = problems.shard(shards[shard as usize])?;
                let policy = sampler.as_mut().map(|p| &mut **p as &mut dyn Policy);
                let searched = search::search(&rows, &searching, policy, &mut values, progress)?;
                let solved = searched.solved();
                progress.advance(rows.len() as u64, solved as u64, 0);
                let spent = || (0..rows.len()).flat_map(|i| searched.of(i)).map(|outcome| outcome.spent);
                let tokens: u64 = spent().map(|s| s.tokens).sum();
                let expansions: u64 = spent().map(|s| s.expansions).sum();
                let searched_at: Vec<bool> =
                    (0..rows.len()).map(|i| searched.of(i).next().is_some()).collect();
                let found = searched.found;
                let count = found.solutions.len();
                write::<Node>(attempt, found.nodes)?;
                write::<Solution>(attempt, found.solutions)?;
                Ok(counts(&[
                    ("units", rows.len()),
                    ("looked_at", (0..rows.len()).filter(|i| searched_at[*i]).count()),
                    ("solved", solved),
                    ("solutions", count),
                    ("tokens", tokens as usize),
                    ("expansions", expansions as usize),
                ]))
            })?;
        let done = Done::new(path, commits);
        self.console.say(&format!(
            "round {round} search: {} solutions; {} of {} problems have a correct one; {} tokens, {} expansions",
            done.count("solutions"),
            done.count("solved"),
            done.count("looked_at"),
            done.count("tokens"),
            done.count("expansions")
        ));
        Ok(Self::reached(goal, (Stage::Search, round), done))
    }

    fn verify(&self, goal: Goal, round: u32, problems: &Done, search: &Done) -> Result<Walk> {
        let shards = Self::train_shards(problems);
        let fingerprint = Fingerprint::new("verify", verify::VERSION)
            .with("problems", problems.hash())
            .with("solutions", search.hash())
            .with("verifier", domains::domain(self.config.problems.domain()).map_or(0, Domain::version))
            .with("tables", versions(&["verdicts"]));
        let opened = self.stage(Stage::Verify, round, &fingerprint, Some(shards.len() as u32))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let path = opened.path.clone();
        let size = search.count("solutions") as u64;
        let commits =
            self.shards(opened, shards.len() as u32, "solutions", size, |shard, attempt, progress| {
                let rows: Vec<Problem> = problems.shard(shards[shard as usize])?;
                let solutions: Vec<Solution> = search.shard(shard)?;
                let verdicts = verify::verify(&rows, &solutions, progress)?;
                let mut counts = counts(&[("units", verdicts.len())]);
                for row in &verdicts {
                    let (verdict, reason) = (row.judgement.verdict.name(), row.judgement.reason.as_str());
                    let key = if verdict == reason {
                        format!("verdict {verdict}")
                    } else {
                        format!("verdict {verdict} ({reason})")
                    };
                    *counts.entry(key).or_default() += 1;
                }
                write(attempt, verdicts)?;
                Ok(counts)
            })?;
        let done = Done::new(path, commits);
        self.console.say(&format!("round {round} verify: {}", reasons(&done, "verdict ")));
        Ok(Self::reached(goal, (Stage::Verify, round), done))
    }

    fn curate(
        &self,
        goal: Goal,
        round: u32,
        problems: &Done,
        search: &Done,
        verdicts: &Done,
        past: &Past,
    ) -> Result<Walk> {
        let c = &self.config;
        let earlier: &[Done] = if c.curate.retire == Retire::Off { &[] } else { &past.kept };
        let shards = Self::train_shards(problems);
        let fingerprint = Fingerprint::new("curate", curate::VERSION)
            .with_table("curate", &self.section("curate"))
            .with("problems", problems.hash())
            .with("solutions", search.hash())
            .with("verdicts", verdicts.hash())
            .with("held-out files", curate::held_out_hash(&c.curate)?)
            .with("tables", versions(&["kept", "dropped", "retired", "step_labels", "preferences"]));
        let fingerprint = earlier.iter().zip(1..).fold(fingerprint, |all, (done, i): (_, u32)| {
            all.with(&format!("kept of round {i}"), done.hash())
        });
        let opened = self.stage(Stage::Curate, round, &fingerprint, Some(shards.len() as u32))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let path = opened.path.clone();
        let size = search.count("solutions") as u64;
        let survey = self.console.stage(&format!("round {round} survey"), "shards", shards.len() as u64, 0);
        let ground = self.ground(problems, search, verdicts, &survey)?;
        survey.finish();
        let commits =
            self.shards(opened, shards.len() as u32, "solutions", size, |shard, attempt, progress| {
                let rows: Vec<Problem> = problems.shard(shards[shard as usize])?;
                let solutions: Vec<Solution> = search.shard(shard)?;
                let verdicts: Vec<VerdictRow> = verdicts.shard(shard)?;
                let curated = curate::curate(&rows, &solutions, &verdicts, &ground, progress)?;
                let retired = curate::retire::retire(
                    &rows,
                    &pool(earlier, Some(shard))?,
                    &solutions,
                    &verdicts,
                    &c.curate,
                )?;
                let mut counts = counts(&[
                    ("units", solutions.len()),
                    ("kept", curated.kept.len()),
                    ("dropped", curated.dropped.len()),
                    ("step_labels", curated.step_labels.len()),
                    ("preferences", curated.preferences.len()),
                ]);
                for row in &curated.kept {
                    *counts.entry(format!("kept {}", row.origin)).or_default() += 1;
                }
                for row in &retired {
                    *counts.entry(format!("retired {}", row.reason)).or_default() += 1;
                }
                for row in &curated.dropped {
                    *counts.entry(format!("dropped {}", row.reason)).or_default() += 1;
                }
                for solution in &solutions {
                    *counts.entry(format!("found {}", solution.policy)).or_default() += 1;
                }
                write_some(attempt, curated.kept)?;
                write_some(attempt, curated.dropped)?;
                write_some(attempt, retired)?;
                write_some(attempt, curated.step_labels)?;
                write_some(attempt, curated.preferences)?;
                Ok(counts)
            })?;
        let done = Done::new(path, commits);
        self.console.say(&format!(
            "round {round} curate: {} kept ({}) of {} solutions ({}); dropped: {}",
            done.count("kept"),
            reasons(&done, "kept "),
            done.count("units"),
            reasons(&done, "found "),
            reasons(&done, "dropped ")
        ));
        if !earlier.is_empty() {
            self.console.say(&format!(
                "round {round} curate: of the rows of earlier rounds retired: {}",
                reasons(&done, "retired ")
            ));
        }
        Ok(Self::reached(goal, (Stage::Curate, round), done))
    }

    /// Adds the value model that guides a round.
    fn with_value(&self, fingerprint: Fingerprint, past: &Past) -> Fingerprint {
        match &past.value {
            Some(value) => {
                fingerprint.with("values", value.hash()).with("value.prune", self.config.value.prune)
            }
            None => fingerprint,
        }
    }

    /// Whether the student of the round before was trained with a value head.
    fn has_own_head(&self, past: &Past) -> bool {
        past.student.is_some()
            && self.config.search.policy == Sampler::Model
            && self.config.train.value_weight > 0.0
    }

    fn value(&self, goal: Goal, round: u32, problems: &Done, past: &Past) -> Result<Walk> {
        let c = &self.config;
        let previous = past.student.as_ref();
        let mut fingerprint = Fingerprint::new("value", stages::value::VERSION)
            .with_table("value", &self.section_without("value", &["prune"]))
            .with("search.rule_steps", c.search.rule_steps)
            .with("curate.min_siblings", c.curate.min_siblings)
            .with("problems", problems.hash())
            .with("run.seed", c.run.seed)
            .with("round", round)
            .with("rules", rules::fingerprint(c.problems.domain()))
            .with("tables", versions(&["nodes", "solutions", "step_labels", "values", "losses"]));
        for (i, done) in past.searches.iter().enumerate() {
            fingerprint = fingerprint.with(&format!("search of round {}", i + 1), done.hash());
        }
        if c.value.bisect > 0 {
            fingerprint = fingerprint
                .with_table("search", &self.section("search"))
                .with("roll-outs", self.sampler_identity(previous)?);
        }
        fingerprint = match c.value.model {
            Estimator::None | Estimator::Features => fingerprint,
            Estimator::Trunk => self.with_dtype(fingerprint.with("policy", self.sampler_identity(previous)?)),
            Estimator::Decoder => {
                let rest = [
                    "checkpoint_every",
                    "micro_batch",
                    "allow_leaks",
                    "epochs",
                    "max_steps",
                    "batch_size",
                    "learning_rate",
                    "start",
                ];
                let fingerprint = fingerprint.with_table("train", &self.section_without("train", &rest));
                // A tokenizer from scratch is made of what round 1 kept.
                let kept = past.kept.first().map_or(String::new(), Done::hash);
                self.with_dtype(fingerprint.with("base", self.base_identity()?).with("kept of round 1", kept))
            }
        };
        let opened = self.stage(Stage::Value, round, &fingerprint, Some(c.value.levels.len() as u32))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let path = opened.path.clone();
        let ground = value::Ground {
            problems,
            searches: &past.searches,
            policy: &|| self.model_policy(problems, previous),
            sampler: &|| self.sampler(problems, previous),
            base: &|| self.base(|| self.texts(problems, &past.kept)),
        };
        let commits = value::learn(self, opened, &ground)?;
        Ok(Self::reached(goal, (Stage::Value, round), Done::new(path, commits)))
    }

    /// What curation knows beside a shard: the questions that are held out, and what is usual over all
    /// shards.
    ///
    /// # Errors
    /// Unreadable held-out files; failed reads; [`stages::Cancelled`].
    /// All train problems by what they say beside numbers and names.
    pub fn siblings(problems: &Done) -> Result<Siblings> {
        let mut siblings = Siblings::default();
        for shard in Self::train_shards(problems) {
            problems.shard(shard)?.iter().for_each(|problem| siblings.add(problem));
        }
        Ok(siblings)
    }

    pub fn ground(
        &self,
        problems: &Done,
        search: &Done,
        verdicts: &Done,
        events: &dyn Events,
    ) -> Result<CurationContext> {
        let c = &self.config;
        let mut survey = Survey::new(&c.curate);
        if c.curate.contamination != Contamination::Off {
            for problem in Self::asked(problems, Split::Test, 0)? {
                survey.hold(format!("test problem {}", problem.problem_id), &problem.question);
            }
            survey.hold_files(&c.problems.question, c.problems.max_question_bytes)?;
        }
        let (any, all) = survey.needs();
        for (shard, of_problems) in (0..).zip(Self::train_shards(problems)).filter(|_| any) {
            let rows: Vec<Problem> = problems.shard(of_problems)?;
            let (solutions, verdicts) =
                if all { (search.shard(shard)?, verdicts.shard(shard)?) } else { (Vec::new(), Vec::new()) };
            survey.shard(&rows, &solutions, &verdicts)?;
            events.advance(1, 0, 0);
            events.check()?;
        }
        Ok(survey.finish())
    }

    /// Refuses to train on rows that ask a test question, up to case, blanks and punctuation.
    fn refuse_leaks(&self, rows: &[Kept], problems: &Done) -> Result<()> {
        if self.config.train.allow_leaks {
            return Ok(());
        }
        let test = Self::asked(problems, Split::Test, 0)?;
        let held: HashMap<String, &str> =
            test.iter().map(|p| (normalised(&p.question), p.problem_id.as_str())).collect();
        let leaks: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                let test = held.get(&normalised(&row.prompt))?;
                Some(format!(
                    "solution {} of problem {} asks what test problem {test} asks",
                    row.solution_id, row.problem_id
                ))
            })
            .collect();
        if leaks.is_empty() {
            return Ok(());
        }
        let more = if leaks.len() > 3 { format!("; and {} more", leaks.len() - 3) } else { String::new() };
        Err(Failure::input(
            format!("{} of {} kept rows leak the test split: {}{more}", leaks.len(), rows.len(), leaks[..leaks.len().min(3)].join("; ")),
            "drop them with curate.contamination = \"same_numbers\", or take them out of the files; train.allow_leaks = true trains anyway",
        )
        .into())
    }

    /// Texts that a tokenizer from scratch is trained on: questions of train problems, and what round 1 kept.
    fn texts(&self, problems: &Done, kept: &[Done]) -> Result<Vec<String>> {
        let mut texts: Vec<String> = problems
            .read::<Problem>()?
            .into_iter()
            .filter(|p| p.split == Split::Train)
            .map(|p| p.question)
            .collect();
        let first = kept.first().context("round 1 kept nothing")?;
        texts.extend(first.read::<Kept>()?.into_iter().map(|k| k.completion));
        texts.extend(lessons::words(self, texts.len()));
        Ok(texts)
    }

    fn train(
        &self,
        goal: Goal,
        round: u32,
        problems: &Done,
        past: &Past,
        value: Option<&Done>,
    ) -> Result<Walk> {
        let c = &self.config;
        let (kept, previous) = (past.kept.as_slice(), past.student.as_ref());
        // How often a checkpoint is made, how a batch is held in memory and what is refused do not count.
        let mut fingerprint = Fingerprint::new("train", train::VERSION)
            .with_table(
                "train",
                &self.section_without(
                    "train",
                    &["checkpoint_every", "micro_batch", "allow_leaks", "reference"],
                ),
            )
            .with("problems", problems.hash())
            .with("run.seed", c.run.seed)
            .with("round", round);
        match c.train.loss {
            TokenLoss::Golden => {
                fingerprint = fingerprint.with("reference", self.reference_identity(previous)?);
            }
            TokenLoss::Value => {
                fingerprint = fingerprint.with("values", value.map_or(String::new(), Done::hash));
            }
            TokenLoss::Ce | TokenLoss::Face => {}
        }
        for (i, done) in kept.iter().enumerate() {
            fingerprint = fingerprint.with(&format!("kept of round {}", i + 1), done.hash());
        }
        if c.train.value_weight > 0.0 {
            fingerprint = fingerprint.with_table(
                "value",
                &self.section_without("value", &["model", "epochs", "batch_size", "learning_rate", "prune"]),
            );
        }
        fingerprint = lessons::inputs(self, fingerprint, past);
        let from_previous = previous.filter(|_| c.train.start == train::Start::Previous);
        fingerprint = match from_previous {
            Some(student) => fingerprint.with("start", student.hash()),
            None => fingerprint.with("start", self.base_identity()?),
        };
        if poisoned(round) {
            fingerprint = fingerprint.with("fault", "labels are shuffled");
        }
        let fingerprint = self.with_dtype(fingerprint.with("tables", versions(&["losses"])));
        let opened = self.stage(Stage::Train, round, &fingerprint, Some(1))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let mut rows = pool(kept, None)?;
        if c.train.rules_until > 0
            && round > c.train.rules_until
            && rows.iter().any(|row| row.origin != "rules")
        {
            rows.retain(|row| row.origin != "rules");
        }
        if poisoned(round) {
            self.console.warn(&format!("round {round} train: QSTILL_FAULT shuffles the labels"));
            let mut completions: Vec<String> = rows.iter().map(|row| row.completion.clone()).collect();
            completions.rotate_right(rows.len() / 2);
            rows.iter_mut().zip(completions).for_each(|(row, completion)| row.completion = completion);
        }
        if rows.is_empty() {
            return Err(Failure::input(
                "nothing was kept: there is nothing to train on",
                "search longer (search.samples, search.rule_expansions), or look at the `dropped` table for the reasons",
            )
            .into());
        }
        self.refuse_leaks(&rows, problems)?;
        let start = from_previous
            .map_or_else(|| self.base(|| self.texts(problems, kept)), |student| self.student_of(student))?;
        let rows = lessons::targets(self, round, problems, past, rows, &start)?;
        let shares = lessons::shares(self, round, past, &rows)?;
        let path = opened.path.clone();
        let trees = if c.train.value_weight > 0.0 {
            let events = self.console.stage(&format!("{} trees", name(Stage::Train, round)), "shards", 0, 0);
            value::trees(self, problems, &past.searches, Level::Steps, &events)?
        } else {
            Vec::new()
        };
        let values = if c.train.loss == TokenLoss::Value {
            let events = self.console.stage(
                &format!("{} values", name(Stage::Train, round)),
                "rows",
                rows.len() as u64,
                0,
            );
            let (mut model, _) =
                value::load(self, round, Level::Steps, &|| self.model_policy(problems, previous))?;
            let values = gains::of_kept(&rows, &problems.read::<Problem>()?, &mut model, &events)?;
            events.finish();
            Some(values)
        } else {
            None
        };
        let reference =
            if c.train.loss == TokenLoss::Golden { Some(self.reference(previous)?) } else { None };
        let lessons = Lessons {
            start: &start,
            from: from_previous,
            kept: &rows,
            shares: &shares,
            values: values.as_deref(),
            reference: reference.as_ref().map(|(model, named)| (&**model, named.as_str())),
            trees: &trees,
        };
        let commits = training::train(self, opened, round, &lessons)?;
        Ok(Self::reached(goal, (Stage::Train, round), Done::new(path, commits)))
    }

    /// What the student is compared with (train.loss = "golden"), for fingerprints.
    fn reference_identity(&self, previous: Option<&Done>) -> Result<String> {
        let path = &self.config.train.reference;
        match previous {
            _ if !path.is_empty() => {
                let hashes = stages::model::hf::file_hashes(std::path::Path::new(path))?;
                Ok(hashes.iter().map(|(file, hash)| format!("{file}={hash}")).collect::<Vec<_>>().join(","))
            }
            Some(student) => Ok(format!("student {}", student.hash())),
            None => Ok(format!("base {}", self.base_identity()?)),
        }
    }

    /// The same model and its name.
    fn reference(&self, previous: Option<&Done>) -> Result<(Arc<Model>, String)> {
        let path = &self.config.train.reference;
        if !path.is_empty() {
            let device = self.device()?;
            let mut model = stages::model::hf::load(std::path::Path::new(path), &device.device)?;
            model.llama.dtype = device.dtype(self.config.model.dtype)?;
            return Ok((Arc::new(model), path.clone()));
        }
        if let Some(student) = previous {
            return Ok((
                self.student_of(student)?,
                format!("student of {}", student.round_name().replace('-', " ")),
            ));
        }
        // A base from scratch was refused with the configuration.
        Ok((self.base(|| Ok(Vec::new()))?, "base".into()))
    }

    fn evaluate(&self, goal: Goal, round: u32, problems: &Done, student: &Done, past: &Past) -> Result<Walk> {
        let c = &self.config;
        let (kept, previous) = (past.kept.as_slice(), past.student.as_ref());
        let fingerprint = Fingerprint::new("evaluate", evaluate::VERSION)
            .with("searches", search::VERSION)
            .with_table("evaluate", &self.section("evaluate"))
            .with_table("search", &self.section("search"))
            .with_table("tree", &self.section("tree"))
            .with_table("prompt", &self.section("prompt"))
            .with("run.seed", c.run.seed)
            .with("round", round)
            .with("problems", problems.hash())
            .with("student", student.hash())
            .with("policy", self.sampler_identity(previous)?)
            .with("verifier", domains::domain(c.problems.domain()).map_or(0, Domain::version))
            .with("tables", versions(&["evaluation"]));
        let fingerprint = self.with_value(fingerprint, past);
        // The base is the same in every round: it is measured in the first.
        let mut models = Vec::new();
        if round == 1 {
            models.push("base");
        }
        models.push("student");
        if c.evaluate.teacher {
            models.push("teacher");
        }
        let fingerprint = self.with_dtype(fingerprint);
        let opened = self.stage(Stage::Evaluate, round, &fingerprint, Some(models.len() as u32))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            if matches!(walk, Walk::Done(_) | Walk::Reached) && goal != Goal::Look {
                evaluation::publish(self, problems)?;
            }
            return Ok(walk);
        }
        let path = opened.path.clone();
        let asked = Self::asked(problems, c.evaluate.split, c.evaluate.problems)?;
        if asked.is_empty() {
            return Err(Failure::input(
                format!("there is no {} problem to evaluate on", c.evaluate.split.name()),
                format!("raise problems.{0} or choose another evaluate.split", c.evaluate.split.name()),
            )
            .into());
        }
        let draws = Draws { seed: c.run.seed, round, purpose: "evaluate" };
        let trained: Arc<stages::model::Model> = self.student(round)?;
        let commits = self.shards(
            opened,
            models.len() as u32,
            "problems",
            (asked.len() * models.len()) as u64,
            |shard, attempt, progress| {
                let model = models[shard as usize];
                let measured = ModelRun { name: model, config: &c.evaluate, draws };
                let clock = std::time::Instant::now();
                let rows = match model {
                    "base" => {
                        let prompt =
                            if c.model.from_scratch() { Prompt::default() } else { self.prompt(problems)? };
                        let mut policy = ModelPolicy::new(
                            self.base(|| self.texts(problems, kept))?,
                            prompt,
                            c.model.limits(),
                        );
                        evaluate::model(&asked, measured, &mut policy, progress)?
                    }
                    "student" => {
                        let mut policy =
                            ModelPolicy::new(Arc::clone(&trained), Prompt::default(), c.model.limits());
                        evaluate::model(&asked, measured, &mut policy, progress)?
                    }
                    _ => {
                        let mut sampler = self.sampler(problems, previous)?;
                        let policy = sampler.as_mut().map(|p| &mut **p as &mut dyn Policy);
                        let mut guide = self.guide(round, problems, past)?;
                        let tree = self.tree_config(guide.as_ref().and_then(|(_, threshold)| *threshold));
                        let own = policy.is_some() && guide.is_none() && self.has_own_head(past);
                        let mut values = if own {
                            Values::Own
                        } else {
                            value::as_values(guide.as_mut().map(|(trained, _)| trained))
                        };
                        let count = |step: &str| trained.tokenizer.encode(step).len() as u32;
                        evaluate::teacher(
                            &asked,
                            TeacherRun { config: &c.search, tree: &tree, draws, count: &count },
                            policy,
                            &mut values,
                            progress,
                        )?
                    }
                };
                let solved = rows.iter().filter(|r| r.sample == 0 && r.correct).count();
                write(attempt, rows)?;
                Ok(counts(&[
                    ("units", asked.len()),
                    ("solved", solved),
                    ("milliseconds", clock.elapsed().as_millis() as usize),
                ]))
            },
        )?;
        evaluation::publish(self, problems)?;
        Ok(Self::reached(goal, (Stage::Evaluate, round), Done::new(path, commits)))
    }

    /// The problems of a split; the only place where test problems are read: to evaluate, and to keep them
    /// out of training.
    pub fn asked(problems: &Done, split: Split, most: usize) -> Result<Vec<Problem>> {
        let mut rows = Vec::new();
        for commit in problems.commits.iter().filter(|c| c.counts.contains_key(split.name())) {
            rows.extend(problems.shard::<Problem>(commit.shard)?);
        }
        if most > 0 {
            rows.truncate(most);
        }
        Ok(rows)
    }
}

/// What some rounds have kept, less what their later ones retired; of one shard of train problems or of all.
/// What an earlier round kept word for word is one row, not two.
///
/// # Errors
/// Failed reads.
pub fn pool(curates: &[Done], shard: Option<u32>) -> Result<Vec<Kept>> {
    let mut rows: Vec<Kept> = Vec::new();
    let mut seen = HashSet::new();
    for done in curates {
        let (kept, retired): (Vec<Kept>, Vec<Retired>) = match shard {
            Some(shard) => (done.shard(shard)?, done.shard(shard)?),
            None => (done.read()?, done.read()?),
        };
        let retired: HashSet<String> = retired.into_iter().map(|row| row.solution_id).collect();
        rows.retain(|row| {
            let stays = !retired.contains(&row.solution_id);
            if !stays {
                // It may be kept again.
                seen.remove(&(row.problem_id.clone(), row.completion.clone()));
            }
            stays
        });
        rows.extend(
            kept.into_iter().filter(|row| seen.insert((row.problem_id.clone(), row.completion.clone()))),
        );
    }
    Ok(rows)
}

/// A fault for tests: `QSTILL_FAULT=shuffle-labels:2` gives the training rows of round 2 each other's
/// completions.
fn poisoned(round: u32) -> bool {
    stages::fault::number("shuffle-labels") == Some(u64::from(round))
}

fn counts(pairs: &[(&str, usize)]) -> Counts {
    pairs.iter().map(|(key, n)| ((*key).to_owned(), *n as i64)).collect()
}

/// Counts with a prefix, largest first: `12 correct, 3 wrong_answer`.
fn reasons(done: &Done, prefix: &str) -> String {
    let mut sums: Counts = Counts::new();
    for (key, n) in done.commits.iter().flat_map(|c| &c.counts) {
        if let Some(rest) = key.strip_prefix(prefix) {
            *sums.entry(rest.to_owned()).or_default() += n;
        }
    }
    let mut all: Vec<(String, i64)> = sums.into_iter().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    if all.is_empty() {
        "none".into()
    } else {
        all.iter().map(|(key, n)| format!("{n} {key}")).collect::<Vec<_>>().join(", ")
    }
}

/// Names and versions of tables, for fingerprints.
pub(crate) fn versions(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{name} {}", table::info(name).map_or(0, |t| t.version)))
        .collect::<Vec<_>>()
        .join(", ")
}
