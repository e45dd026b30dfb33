//! The value stage on disk: a model directory for each level, with how good it is beside it; and the models
//! as searches use them.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::table::{self, Loss, Node, StepLabels, ValueRow};
use datasets::types::{Problem, Solution};
use stages::model::{Model, ValueHead, hf, value_head};
use stages::policy::model::ModelPolicy;
use stages::policy::{Policy, Prompt};
use stages::search::value::Values;
use stages::train::losses::TokenLoss;
use stages::train::value::{HeadConfig, base_logit};
use stages::train::{self, Rows, TrainConfig, Training};
use stages::value::bisect::{self, Located, Probing};
use stages::value::network::Network;
use stages::value::targets::{Level, Observed};
use stages::value::{self, Estimator, Measured, Part, Trained, Trees};
use stages::{BadInput, Events};

use crate::disk::durable::create_dirs;
use crate::disk::record::Commit;
use crate::run::rows::{Counts, Done, write, write_some};
use crate::run::session::{Opened, Session, name};
use crate::stage::checkpoints::{newest, publish, save};
use crate::terminal::text::percent;

const NETWORK: &str = "network.safetensors";
const METRICS: &str = "metrics.json";

/// What a round's value models are learned from.
pub struct Ground<'a> {
    pub problems: &'a Done,
    /// Of this round and those before it.
    pub searches: &'a [Done],
    /// Who searched, and its trunk, if that is a model in this process.
    pub policy: &'a dyn Fn() -> Result<Option<ModelPolicy>>,
    /// Who searched, whoever it is.
    pub sampler: &'a dyn Fn() -> Result<Option<Box<dyn Policy>>>,
    /// What a decoder of its own starts from.
    pub base: &'a dyn Fn() -> Result<Arc<Model>>,
}

/// Learns a round's value models, a shard for each level.
///
/// # Errors
/// Those of learning; failed reads and writes.
pub fn learn(session: &Session, opened: Opened, ground: &Ground<'_>) -> Result<Vec<Commit>> {
    let config = &session.config.value;
    let (round, fingerprint, label) =
        (opened.round, opened.fingerprint.clone(), name(opened.stage, opened.round));
    let folder = opened.path.join("checkpoints");
    let commits = session.shards(opened, config.levels.len() as u32, "steps", 0, |shard, attempt, progress| {
        let level = config.levels[shard as usize];
        let mut trees = trees(session, ground.problems, ground.searches, level, progress)?;
        if config.bisect > 0 && level == Level::Steps {
            let located = bisect(session, ground, round, progress)?;
            session.console.say(&format!(
                "{label}: the first wrong step of {} wrong samples is found, by {} tokens of rollouts",
                located.len(),
                located.iter().map(|l| l.tokens).sum::<u64>()
            ));
            write_some(attempt, labels(&located, &trees, round))?;
            add(&mut trees, &located);
        }
        let count = |part| trees.iter().filter(|t| t.part == part).map(|t| t.observed.len()).sum::<usize>();
        session.console.say(&format!(
            "{label}: {} states of {} problems at level {}; {} more to choose the epoch and the threshold, {} to measure",
            count(Part::Train),
            trees.iter().filter(|t| t.part == Part::Train).count(),
            level.name(),
            count(Part::Choose),
            count(Part::Report),
        ));
        let seed = session.config.run.seed ^ u64::from(round) << 32 ^ u64::from(shard) << 48;
        let (mut model, mut files, best) = match config.model {
            Estimator::None => return Err(BadInput("value.model is \"none\": there is nothing to learn".into()).into()),
            Estimator::Features => {
                let (network, epoch, loss) = value::network(&trees, config, seed, progress)?;
                let files = vec![(NETWORK.to_owned(), network.file()?)];
                (Trained::Network(Box::new(network)), files, format!("epoch {epoch}, held-out loss {loss:.4}"))
            }
            Estimator::Trunk => {
                let mut trunk = (ground.policy)()?.ok_or_else(|| {
                    BadInput("value.model = \"trunk\" needs a model in this process as policy: set search.policy = \"model\", and give model.path or a second round".into())
                })?;
                let (head, pass, loss) = value::head(&trees, &mut trunk, config, progress)?;
                let files = vec![head.file()?];
                trunk.set_head(head);
                (Trained::Reader(Box::new(trunk)), files, format!("pass {pass}, held-out loss {loss:.4}"))
            }
            Estimator::Decoder => decoder(session, &trees, &folder.join(level.name()), &fingerprint, seed, &*(ground.base)()?, progress)?,
        };
        let depth = session.config.search.rule_steps;
        let (measured, points) = value::measure(&trees, &mut model, config, depth, progress)?;
        session.console.say(&format!("{label}: level {}, {best}; {}", level.name(), summary(&measured)));
        files.push((METRICS.to_owned(), (serde_json::to_string_pretty(&measured)? + "\n").into_bytes()));
        publish(session, &session.run.value(round, level.name()), &files)?;
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
        attempt.attach(&format!("value-{}", level.name()))?;
        Ok(Counts::from([("units".to_owned(), 1), ("states".to_owned(), count(Part::Train) as i64)]))
    })?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(commits)
}

/// First wrong steps of wrong samples of this round.
fn bisect(session: &Session, ground: &Ground<'_>, round: u32, events: &dyn Events) -> Result<Vec<Located>> {
    let c = &session.config;
    let mut policy = (ground.sampler)()?.ok_or_else(|| {
        BadInput(format!(
            "value.bisect is {}, but round {round} has no policy to roll out: set it to 0, or search.policy to \"model\"",
            c.value.bisect
        ))
    })?;
    let mut all = Vec::new();
    let Some(search) = ground.searches.last() else { return Ok(all) };
    for (shard, of_problems) in (0..).zip(Session::train_shards(ground.problems)) {
        let problems: Vec<Problem> = ground.problems.shard(of_problems)?;
        let solutions: Vec<Solution> = search.shard(shard)?;
        let wrong = bisect::wanted(&problems, &solutions, c.value.bisect)?;
        all.extend(bisect::locate(
            &wrong,
            &mut *policy,
            Probing { sampling: &c.search.sampling(), rollouts: c.value.rollouts, seed: c.run.seed },
            events,
        )?);
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
pub fn summary(measured: &Measured) -> String {
    let maybe = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
    let report = &measured.report;
    let mut text = format!(
        "on {} states of {} held-out problems: AUROC {} ({} within a problem), Brier {:.4} (always saying {}: {:.4}), ECE {:.3}; threshold {:.4} loses {} of correct branches and stops {} of wrong ones",
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
            "; against the exact value of {} states: mean error {:.3}, below it at {} (admissibility gap {:.4})",
            exact.states,
            exact.error,
            percent(exact.below),
            exact.gap
        );
    }
    text
}

/// The trees of all train problems, shard by shard.
///
/// # Errors
/// Failed reads; [`stages::Cancelled`].
pub fn trees(
    session: &Session,
    problems: &Done,
    searches: &[Done],
    level: Level,
    events: &dyn Events,
) -> Result<Vec<Trees>> {
    let mut all = Vec::new();
    let least = session.config.curate.min_siblings;
    let siblings = if least > 0 { Some(Session::siblings(problems)?) } else { None };
    let judge = siblings.as_ref().map(|siblings| (siblings, least));
    for (shard, of_problems) in (0..).zip(Session::train_shards(problems)) {
        events.check()?;
        let rows: Vec<Problem> = problems.shard(of_problems)?;
        let mut nodes: Vec<Node> = Vec::new();
        for search in searches {
            nodes.extend(search.shard::<Node>(shard)?);
        }
        all.extend(value::read(&rows, &nodes, level, &session.config.value, judge)?);
    }
    Ok(all)
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// A decoder that learns values alone: `[train]` with the epochs, batches and learning rate of `[value]`.
fn decoder(
    session: &Session,
    trees: &[Trees],
    folder: &std::path::Path,
    fingerprint: &str,
    seed: u64,
    start: &Model,
    events: &dyn Events,
) -> Result<(Trained, Files, String)> {
    let c = &session.config;
    let config = TrainConfig {
        epochs: c.value.epochs as f64,
        max_steps: 0,
        batch_size: c.value.batch_size,
        learning_rate: c.value.learning_rate,
        // Its tokens weigh nothing.
        loss: TokenLoss::Ce,
        future: 0,
        ..c.train.clone()
    };
    let limits = c.model.limits();
    let reader = ModelPolicy::new(Arc::new(start.clone()), Prompt::default(), limits);
    let most = config.max_tokens.min(start.llama.config.max_position_embeddings);
    let (rows, too_long) = value::rows(trees, Part::Train, &reader, most)?;
    let (validation, _) = value::rows(trees, Part::Choose, &reader, most)?;
    if too_long > 0 {
        session.console.say(&format!(
            "{too_long} paths have more than {most} tokens and are left out (train.max_tokens)"
        ));
    }
    let all: Vec<_> = rows.iter().flat_map(|row| &row.values).collect();
    let fresh =
        ValueHead { bias: base_logit(c.value.loss, &all), ..ValueHead::new(start.llama.config.hidden_size) };
    let head = HeadConfig { loss: c.value.loss, weight: 1.0, start: fresh };
    let rows = Rows { train: rows, validation, too_long, exact: Vec::new() };
    let steps = train::total_steps(&rows, &config, Some(&head));
    create_dirs(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let resume = newest(session, folder, fingerprint)?;
    let resume = resume
        .map(|(_, dir)| Ok::<_, anyhow::Error>((table::read_all::<Loss>(&dir.join("losses.parquet"))?, dir)))
        .transpose()?;
    events.expect(steps as u64);
    let (learner, losses) = train::train(
        Training {
            model: &start.llama,
            head: Some(head),
            rows: &rows,
            config: &config,
            seed,
            fingerprint,
            resume: resume.as_ref().map(|(losses, dir)| (dir.as_path(), losses.clone())),
            device: session.device()?,
        },
        events,
        &mut |moment| save(folder, &moment),
    )?;
    events.check()?;
    let llama = learner.llama();
    let head = learner.head().context("a value head was trained")?;
    let mut files = hf::files(&llama, &start.tokenizer)?;
    files.push(head.file()?);
    let model = Model {
        llama,
        tokenizer: start.tokenizer.clone(),
        value: Some(head),
        future: None,
        fingerprint: fingerprint.to_owned(),
    };
    let last = losses.iter().rev().find_map(|l| l.validation_value_loss);
    let said =
        format!("{steps} steps, held-out loss {}", last.map_or("not measured".into(), |l| format!("{l:.4}")));
    Ok((Trained::Reader(Box::new(ModelPolicy::new(Arc::new(model), Prompt::default(), limits))), files, said))
}

/// A value model of a committed stage. `policy` is who searched in its round.
///
/// # Errors
/// Files that are damaged or gone.
pub fn load(
    session: &Session,
    round: u32,
    level: Level,
    policy: &dyn Fn() -> Result<Option<ModelPolicy>>,
) -> Result<(Trained, Measured)> {
    let dir = session.run.value(round, level.name());
    let bytes = |file: &str| {
        let path = dir.join(file);
        fs::read(&path)
            .with_context(|| format!("failed to read {}", path.display()))
            .map(|bytes| (path, bytes))
    };
    let (path, text) = bytes(METRICS)?;
    let measured: Measured = serde_json::from_slice(&text)
        .with_context(|| format!("{}: not a value model's metrics", path.display()))?;
    let trained = match session.config.value.model {
        Estimator::Features => {
            let (path, bytes) = bytes(NETWORK)?;
            Trained::Network(Box::new(Network::parse(&path, &bytes)?))
        }
        Estimator::Trunk => {
            let mut trunk = policy()?.context("the policy of the value model's trunk is gone")?;
            let (path, bytes) = bytes(value_head::FILE)?;
            trunk.set_head(ValueHead::parse(&path, &bytes, trunk.model().llama.config.hidden_size)?);
            Trained::Reader(Box::new(trunk))
        }
        _ => {
            let device = session.device()?;
            let mut model = hf::load(&dir, &device.device)?;
            model.llama.dtype = device.dtype(session.config.model.dtype)?;
            Trained::Reader(Box::new(ModelPolicy::new(
                Arc::new(model),
                Prompt::default(),
                session.config.model.limits(),
            )))
        }
    };
    Ok((trained, measured))
}

/// A value model as searches ask it; none: all states are worth the same.
pub fn as_values(trained: Option<&mut Trained>) -> Values<'_> {
    match trained {
        None => Values::None,
        Some(Trained::Network(network)) => Values::State(&**network),
        Some(Trained::Reader(reader)) => Values::Model(&mut **reader),
    }
}
