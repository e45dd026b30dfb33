//! The value stage: a model directory for each level, with how good it is beside it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::domains::Domains;
use datasets::table::{Loss, Node, StepLabels, ValueRow};
use datasets::types::{Problem, Solution};
use serde::Serialize;
use stages::model::generate::Limits;
use stages::model::{Model, Precision, ValueHead, hf};
use stages::policy::Prompt;
use stages::policy::model::ModelPolicy;
use stages::search::SearchConfig;
use stages::train::losses::TokenLoss;
use stages::train::value::{HeadConfig, base_logit};
use stages::train::{Rows, TrainConfig};
use stages::value::bisect::{self, Located, Probing};
use stages::value::targets::{Level, Observed};
use stages::value::{self, Estimator, Measured, Part, Trained, Trees, ValueConfig};
use stages::{BadInput, Events};

use crate::run::inputs::{self, Tables};
use crate::run::rows::{Counts, Rounds, StageOutput, train_shards, write, write_some};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::fit::Fit;
use crate::stage::policy::{Base, SamplingPolicy};
use crate::stage::searching::{METRICS, NETWORK};
use crate::stage::trees::TreeInputs;
use crate::stage::verifier::{self, Verifier};
use crate::terminal::text::percent;

/// What a round's value models depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    trees: TreeInputs,
    #[serde(serialize_with = "learning")]
    value: ValueConfig,
    /// Longest path of the rules: how deep an exact value is looked for.
    rule_steps: usize,
    problems: StageOutput,
    /// Of this round and those before it.
    searches: Rounds,
    rules: String,
    #[serde(serialize_with = "verifier::command")]
    verifier: Verifier,
    /// With bisection: who rolls out, and how.
    rollouts: Option<Rollouts>,
    /// With `value.model = "trunk"`: the policy that searched.
    trunk: Option<SamplingPolicy>,
    /// With `value.model = "decoder"`.
    decoder: Option<OwnDecoder>,
}

/// `[value]` without how searches use it.
fn learning<S: serde::Serializer>(value: &ValueConfig, serializer: S) -> Result<S::Ok, S::Error> {
    inputs::less(value, &["prune"], serializer)
}

/// Rollouts of the policy that searched.
#[derive(Serialize)]
struct Rollouts {
    search: SearchConfig,
    policy: SamplingPolicy,
}

/// A decoder that learns values alone.
#[derive(Serialize)]
struct OwnDecoder {
    #[serde(serialize_with = "inputs::train")]
    train: TrainConfig,
    base: Base,
    #[serde(serialize_with = "inputs::dtype")]
    dtype: Precision,
    #[serde(skip)]
    limits: Limits,
}

impl Inputs {
    /// Number of shards: one for each level.
    pub fn shards(&self) -> u32 {
        self.value.levels.len() as u32
    }
}

/// # Errors
/// Model directories that cannot be read.
pub fn inputs(
    session: &Session,
    round: u32,
    problems: &StageOutput,
    earlier: &EarlierRounds,
) -> Result<Inputs> {
    let c = &session.config;
    let verifier = Verifier::of(session)?;
    let policy = SamplingPolicy::of(session, problems, earlier.student.as_ref())?;
    let decoder = match c.value.model {
        Estimator::Decoder => Some(OwnDecoder {
            // The epochs, batches and learning rate of `[value]`; its tokens weigh nothing.
            train: TrainConfig {
                epochs: c.value.epochs as f64,
                max_steps: 0,
                max_tokens_total: 0,
                batch_size: c.value.batch_size,
                learning_rate: c.value.learning_rate,
                loss: TokenLoss::Ce,
                future: 0,
                ..c.train.clone()
            },
            base: Base::of(session, problems, &earlier.kept)?,
            dtype: c.model.dtype,
            limits: c.model.limits(),
        }),
        Estimator::None | Estimator::Features | Estimator::Trunk => None,
    };
    let rollouts = || Rollouts { search: c.search.clone(), policy: policy.clone() };
    Ok(Inputs {
        code: value::VERSION,
        tables: Tables::default()
            .with::<Node>()
            .with::<Solution>()
            .with::<StepLabels>()
            .with::<ValueRow>()
            .with::<Loss>(),
        seed: c.run.seed,
        round,
        trees: TreeInputs::of(session),
        value: c.value.clone(),
        rule_steps: c.search.rule_steps,
        problems: problems.clone(),
        searches: earlier.searches.clone(),
        rules: verifier.rules(),
        verifier,
        rollouts: (c.value.bisect > 0).then(rollouts),
        trunk: (c.value.model == Estimator::Trunk).then(|| policy.clone()),
        decoder,
    })
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// Learns a round's value models.
///
/// # Errors
/// Those of learning; failed reads and writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let (round, label, folder) = (inputs.round, opened.name(), opened.checkpoints());
    let domains = inputs.verifier.open(workspace)?;
    let size = Size { shards: inputs.shards(), unit: "steps", units: 0 };
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let level = inputs.value.levels[shard as usize];
        let mut trees = inputs.trees.read(&domains, (&inputs.problems, &inputs.searches), level, progress)?;
        if let Some(rollouts) = inputs.rollouts.as_ref().filter(|_| level == Level::Steps) {
            let located = bisect(workspace, inputs, rollouts, progress)?;
            workspace.console.say(&format!(
                "{label}: the first wrong step of {} wrong samples is found, by {} tokens of rollouts",
                located.len(),
                located.iter().map(|l| l.tokens).sum::<u64>()
            ));
            write_some(attempt, labels(&located, &trees, round))?;
            add(&mut trees, &located);
        }
        let count = |part| trees.iter().filter(|t| t.part == part).map(|t| t.observed.len()).sum::<usize>();
        workspace.console.say(&format!(
            "{label}: {} states of {} problems at level {}; {} more to choose the epoch and the threshold, \
             {} to measure",
            count(Part::Train),
            trees.iter().filter(|t| t.part == Part::Train).count(),
            level.name(),
            count(Part::Choose),
            count(Part::Report),
        ));
        let seed = inputs.seed ^ u64::from(round) << 32 ^ u64::from(shard) << 48;
        let learning = Learning { workspace, opened, inputs, domains: &domains, trees: &trees, seed };
        let (mut model, mut files, best) = learning.run(&folder.join(level.name()), progress)?;
        let how = (&inputs.value, inputs.rule_steps);
        let (measured, points) = value::measure(&domains, &trees, &mut model, how, progress)?;
        workspace.console.say(&format!("{label}: level {}, {best}; {}", level.name(), summary(&measured)));
        files.push((METRICS.to_owned(), (serde_json::to_string_pretty(&measured)? + "\n").into_bytes()));
        attempt.publish(&format!("value-{}", level.name()), &files, &workspace.run.damaged())?;
        let row = |p: &value::metrics::Point| ValueRow {
            problem_id: trees[p.problem as usize].problem.problem_id.clone(),
            round,
            level: level.name().into(),
            depth: p.depth,
            value: p.value,
            target: p.target,
            weight: p.weight,
        };
        write(attempt, points.iter().map(row).collect())?;
        Ok(Counts::from([("units".to_owned(), 1), ("states".to_owned(), count(Part::Train) as i64)]))
    })?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(output)
}

/// A level's value model in the making.
struct Learning<'a> {
    workspace: &'a Workspace,
    opened: &'a Opened,
    inputs: &'a Inputs,
    domains: &'a Domains,
    trees: &'a [Trees],
    seed: u64,
}

impl Learning<'_> {
    /// The model, its files, and what there is to say of it. A decoder has its checkpoints in `folder`.
    fn run(&self, folder: &Path, events: &dyn Events) -> Result<(Trained, Files, String)> {
        let Inputs { value: config, trunk, decoder, .. } = self.inputs;
        match (config.model, decoder) {
            (Estimator::Features, _) => {
                let (network, epoch, loss) =
                    value::network(self.domains, self.trees, config, self.seed, events)?;
                let files = vec![(NETWORK.to_owned(), network.file()?)];
                let said = format!("epoch {epoch}, held-out loss {loss:.4}");
                Ok((Trained::Network(Box::new(network)), files, said))
            }
            (Estimator::Trunk, _) => {
                let policy = trunk.as_ref().map(|policy| policy.model(self.workspace)).transpose()?;
                let mut trunk = policy.flatten().ok_or_else(|| {
                    BadInput(
                        "value.model = \"trunk\" needs a model in this process as policy: set search.policy \
                         = \"model\", and give model.path or a second round"
                            .into(),
                    )
                })?;
                let (head, pass, loss) = value::head(self.trees, &mut trunk, config, events)?;
                let files = vec![head.file()?];
                trunk.set_head(head);
                let said = format!("pass {pass}, held-out loss {loss:.4}");
                Ok((Trained::Reader(Box::new(trunk)), files, said))
            }
            (Estimator::Decoder, Some(decoder)) => self.decoder(decoder, folder, events),
            (Estimator::Decoder | Estimator::None, _) => {
                Err(BadInput("value.model is \"none\": there is nothing to learn".into()).into())
            }
        }
    }

    fn decoder(
        &self,
        own: &OwnDecoder,
        folder: &Path,
        events: &dyn Events,
    ) -> Result<(Trained, Files, String)> {
        let (config, loss, trees) = (&own.train, self.inputs.value.loss, self.trees);
        let start = own.base.load(self.workspace)?;
        let reader = ModelPolicy::new(Arc::clone(&start), Prompt::default(), own.limits);
        let most = config.max_tokens.min(start.decoder.config.max_position_embeddings);
        let (rows, too_long) = value::rows(trees, Part::Train, &reader, most)?;
        let (validation, _) = value::rows(trees, Part::Choose, &reader, most)?;
        if too_long > 0 {
            self.workspace.console.say(&format!(
                "{too_long} paths have more than {most} tokens and are left out (train.max_tokens)"
            ));
        }
        let all: Vec<_> = rows.iter().flat_map(|row| &row.values).collect();
        let size = start.decoder.config.hidden_size;
        let fresh = ValueHead { bias: base_logit(loss, &all), ..ValueHead::new(size) };
        let rows = Rows { train: rows, validation, too_long, exact: Vec::new() };
        let fit = Fit {
            start: &start.decoder,
            own: None,
            head: Some(HeadConfig { loss, weight: 1.0, start: fresh }),
            rows: &rows,
            config,
            seed: self.seed,
            fingerprint: &self.opened.fingerprint,
            folder: folder.to_path_buf(),
        };
        let steps = fit.steps();
        let checkpoint = fit.newest(self.workspace)?.map(|(_, dir)| dir);
        events.expect(steps as u64);
        let (learner, losses) = fit.run(self.workspace, checkpoint, events)?;
        let decoder = learner.decoder();
        let head = learner.head().context("a value head was trained")?;
        let mut files = hf::files(&decoder, &start.tokenizer)?;
        files.push(head.file()?);
        let fingerprint = self.opened.fingerprint.clone().into();
        let tokenizer = start.tokenizer.clone();
        let model = Model { decoder, tokenizer, value: Some(head), future: None, fingerprint };
        let last = losses.iter().rev().find_map(|l| l.validation_value_loss);
        let held = last.map_or("not measured".into(), |l| format!("{l:.4}"));
        let reader = ModelPolicy::new(Arc::new(model), Prompt::default(), own.limits);
        Ok((Trained::Reader(Box::new(reader)), files, format!("{steps} steps, held-out loss {held}")))
    }
}

/// First wrong steps of wrong samples of this round.
fn bisect(
    workspace: &Workspace,
    inputs: &Inputs,
    rollouts: &Rollouts,
    events: &dyn Events,
) -> Result<Vec<Located>> {
    let Inputs { value: config, problems, searches, round, seed, .. } = inputs;
    let mut policy = rollouts.policy.build(workspace)?.ok_or_else(|| {
        BadInput(format!(
            "value.bisect is {}, but round {round} has no policy for its rollouts: set it to 0, or \
             search.policy to \"model\"",
            config.bisect
        ))
    })?;
    let mut all = Vec::new();
    let Some(search) = searches.0.last() else { return Ok(all) };
    let (sampling, domains) = (rollouts.search.sampling(), inputs.verifier.open(workspace)?);
    for (shard, of_problems) in (0..).zip(train_shards(problems)) {
        let problems: Vec<Problem> = problems.shard(of_problems)?;
        let solutions: Vec<Solution> = search.shard(shard)?;
        let wrong = bisect::wanted(&problems, &solutions, &domains, config.bisect)?;
        let (sampling, domains, seed) = (&sampling, &domains, *seed);
        let probing = Probing { sampling, rollouts: config.rollouts, seed, domains };
        all.extend(bisect::locate(&wrong, &mut *policy, probing, events)?);
        events.advance(0, 0, 0);
    }
    Ok(all)
}

/// What bisection found as rows: every step up to the first wrong one is right.
fn labels(located: &[Located], trees: &[Trees], round: u32) -> Vec<StepLabels> {
    let questions: HashMap<&str, &str> =
        trees.iter().map(|t| (t.problem.problem_id.as_str(), t.problem.question.as_str())).collect();
    let row = |l: &Located| {
        let count = l.first_wrong + 1;
        StepLabels {
            problem_id: l.problem_id.clone(),
            solution_id: l.solution_id.clone(),
            round,
            prompt: questions.get(l.problem_id.as_str()).copied().unwrap_or_default().to_owned(),
            completions: l.steps[..count].to_vec(),
            labels: (0..count).map(|step| step < l.first_wrong).collect(),
            // Between probes nothing is known but the side of the fault.
            values: (1..=count)
                .map(|kept| l.shares[kept].unwrap_or(f32::from(u8::from(kept < count))))
                .collect(),
            tries: (1..=count).map(|kept| if l.shares[kept].is_some() { l.rollouts } else { 0 }).collect(),
        }
    };
    located.iter().map(row).collect()
}

/// Adds what bisection found to the trees of its problems.
fn add(trees: &mut [Trees], located: &[Located]) {
    let mut of: HashMap<&str, Vec<&Located>> = HashMap::new();
    for l in located {
        of.entry(&l.problem_id).or_default().push(l);
    }
    for tree in trees {
        for l in of.get(tree.problem.problem_id.as_str()).into_iter().flatten() {
            let path = tree.observed.last().map_or(0, |o| o.path + 1);
            tree.observed.extend(l.observed().into_iter().map(|o| Observed { path, ..o }));
        }
    }
}

/// How good values are, in a line.
fn summary(measured: &Measured) -> String {
    let maybe = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
    let report = &measured.report;
    let mut text = format!(
        "on {} states of {} held-out problems: AUROC {} ({} within a problem), Brier {:.4} (always saying \
         {}: {:.4}), ECE {:.3}; threshold {:.4} loses {} of correct branches and stops {} of wrong ones",
        report.places,
        report.problems,
        maybe(report.auroc),
        maybe(report.auroc_within),
        report.brier,
        percent(report.base_rate),
        report.brier_constant,
        report.ece,
        measured.threshold,
        percent(measured.lost),
        percent(measured.stopped),
    );
    if let Some(exact) = &measured.exact {
        text += &format!(
            "; against the exact value of {} states: mean error {:.3}, below it at {} (admissibility gap \
             {:.4})",
            exact.states,
            exact.error,
            percent(exact.below),
            exact.gap
        );
    }
    text
}
