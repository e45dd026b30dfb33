//! What each setting may be. All of it is checked before any work: hours of search must not end in a typing
//! error.

use std::fmt::{self, Display};

use stages::curate::CurateConfig;
use stages::model::Tokenizer;
use stages::model::config::limits;
use stages::problems::{ProblemsConfig, Source};
use stages::search::budget::Unit;
use stages::search::{Algorithm, Sampler, SearchConfig, TreeConfig};
use stages::train::ModelConfig;
use stages::value::{Estimator, ValueConfig};

use crate::config::types::{Config, RunConfig};
use crate::terminal::exit::Failure;

mod endpoint;
mod prompt;
mod train;

pub use train::tuned;

type Checked = Result<(), Failure>;

/// What a number may be.
#[derive(Clone, Copy, Debug)]
enum Permit {
    /// From 0 to 1.
    Share,
    /// From 0, below 1.
    Below1,
    /// Above 0, up to 1.
    Above0To1,
    Positive,
    NotNegative,
    AtLeast(f64),
    Between(f64, f64),
}

impl Permit {
    fn holds(self, number: f64) -> bool {
        match self {
            Self::Share => (0.0..=1.0).contains(&number),
            Self::Below1 => (0.0..1.0).contains(&number),
            Self::Above0To1 => number > 0.0 && number <= 1.0,
            Self::Positive => number > 0.0 && number.is_finite(),
            Self::NotNegative => number >= 0.0 && number.is_finite(),
            Self::AtLeast(least) => number >= least,
            Self::Between(least, most) => (least..=most).contains(&number),
        }
    }
}

impl Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share => write!(f, "a share from 0 to 1"),
            Self::Below1 => write!(f, "a number from 0, below 1"),
            Self::Above0To1 => write!(f, "a number above 0, up to 1"),
            Self::Positive => write!(f, "a number above 0"),
            Self::NotNegative => write!(f, "0 or more"),
            Self::AtLeast(least) => write!(f, "{least} or more"),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
        }
    }
}

use Permit::{Above0To1, AtLeast, Below1, Between, NotNegative, Positive, Share};

/// Checks numbers of a section against what they may be.
fn numbers(section: &str, rows: &[(&str, f64, Permit)]) -> Checked {
    rows.iter().try_for_each(|(key, number, permit)| {
        if permit.holds(*number) {
            Ok(())
        } else {
            Err(refuse(format!("{section}.{key} is {number}"), format!("permitted: {permit}")))
        }
    })
}

/// Checks names in a list against those there are.
fn names(key: &str, given: &[String], known: &[&str]) -> Checked {
    let unknown = given.iter().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| {
        Err(refuse(format!("{key} names `{name}`"), format!("permitted: {}", known.join(", "))))
    })
}

fn refuse(what: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::usage(what.into(), hint.into())
}

/// Checks every section, then what sections need of each other.
///
/// # Errors
/// The first setting that is not permitted, with its key and what is.
pub fn check(config: &Config) -> Checked {
    run(&config.run)?;
    problems(&config.problems)?;
    search(&config.search)?;
    tree(&config.tree)?;
    endpoint::judge(&config.verify)?;
    curate(&config.curate)?;
    value(&config.value)?;
    model(&config.model)?;
    train::check(&config.train)?;
    let (gate, evaluate) = (&config.gate, &config.evaluate);
    numbers(
        "gate",
        &[
            ("alpha", gate.alpha, Share),
            ("min_distinct", gate.min_distinct, NotNegative),
            ("min_entropy", gate.min_entropy, NotNegative),
            ("max_length", gate.max_length, AtLeast(1.0)),
            ("max_drop", gate.max_drop, Share),
            ("max_endless", gate.max_endless, Share),
        ],
    )?;
    numbers(
        "evaluate",
        &[
            ("temperature", evaluate.temperature, NotNegative),
            ("max_tokens", evaluate.max_tokens as f64, AtLeast(1.0)),
        ],
    )?;
    endpoint::check(&config.endpoint)?;
    prompt::check(config)?;
    policies(config)?;
    train::losses(config)?;
    if config.model.from_scratch() {
        tuned(&config.train, &config.model.shape(config.model.vocab_size, None))
    } else {
        Ok(())
    }
}

fn run(run: &RunConfig) -> Checked {
    numbers(
        "run",
        &[
            ("rounds", f64::from(run.rounds), AtLeast(1.0)),
            ("shard_size", run.shard_size as f64, AtLeast(1.0)),
        ],
    )
}

fn problems(problems: &ProblemsConfig) -> Checked {
    let p = problems;
    numbers(
        "problems",
        &[
            ("min_operations", f64::from(p.min_operations), Between(1.0, 8.0)),
            ("max_operations", f64::from(p.max_operations), Between(f64::from(p.min_operations), 8.0)),
            ("distractors", p.distractors, Share),
            ("numbers", f64::from(p.numbers), Between(2.0, 6.0)),
            ("min_number", f64::from(p.min_number), AtLeast(1.0)),
            ("max_number", f64::from(p.max_number), AtLeast(f64::from(p.min_number))),
            ("min_target", f64::from(p.min_target), AtLeast(1.0)),
            ("max_target", f64::from(p.max_target), AtLeast(f64::from(p.min_target))),
            ("holdout", p.holdout, Below1),
            ("test_share", p.test_share, Share),
            ("validation_share", p.validation_share, Between(0.0, 1.0 - p.test_share)),
            ("orders", p.orders as f64, AtLeast(1.0)),
            ("max_question_bytes", p.max_question_bytes as f64, AtLeast(1.0)),
        ],
    )?;
    if p.orders > 1 && p.options.is_empty() {
        return Err(refuse("problems.orders is above 1, but problems.options names no columns", ""));
    }
    if p.source != Source::Files {
        let given = [("options", &p.options), ("meta", &p.meta), ("rules", &p.rules)];
        if let Some((key, _)) = given.iter().find(|(_, given)| !given.is_empty()) {
            let what = format!("problems.{key} is for files, but problems.source is not \"files\"");
            return Err(refuse(what, "set problems.source to \"files\""));
        }
        let all = p.train + p.validation + p.test;
        let hint = "give problems.train a number of 1 or more: a generator has no end of its own";
        return if all > 0 {
            Ok(())
        } else {
            Err(refuse("problems.train, problems.validation and problems.test are all 0", hint))
        };
    }
    if p.files.is_empty() && p.train_files.is_empty() {
        return Err(refuse(
            "problems.source is \"files\", but no file is named",
            "set problems.files, or problems.train_files and problems.test_files",
        ));
    }
    if !p.rules.is_empty() && !p.options.is_empty() {
        let hint = "leave one of them out";
        return Err(refuse("problems.rules and problems.options are both given: two kinds of problem", hint));
    }
    if let Some(name) = p.meta.iter().find(|name| ["file", "line", "row", "options"].contains(&name.as_str()))
    {
        let hint = "qstill sets file, line, row and options itself; rename the column";
        return Err(refuse(format!("problems.meta names `{name}`"), hint));
    }
    let split = !p.train_files.is_empty() || !p.test_files.is_empty();
    if split && !p.files.is_empty() {
        let hint = "give either problems.files, divided by content, or problems.train_files and \
                    problems.test_files, of one split each";
        return Err(refuse("problems.files and files of one split are both given", hint));
    }
    Ok(())
}

fn search(search: &SearchConfig) -> Checked {
    let s = search;
    numbers(
        "search",
        &[
            ("temperature", s.temperature, NotNegative),
            ("top_p", s.top_p, Above0To1),
            ("max_tokens", s.max_tokens as f64, AtLeast(1.0)),
            ("rule_steps", s.rule_steps as f64, AtLeast(1.0)),
            ("rule_decay", s.rule_decay, Share),
        ],
    )
}

fn tree(tree: &TreeConfig) -> Checked {
    let t = tree;
    numbers(
        "tree",
        &[
            ("budget", t.budget as f64, AtLeast(1.0)),
            ("solutions", t.solutions as f64, AtLeast(1.0)),
            ("depth", f64::from(t.depth), AtLeast(1.0)),
            ("width", t.width as f64, AtLeast(1.0)),
            ("step_tokens", t.step_tokens as f64, AtLeast(1.0)),
            ("parallel", t.parallel as f64, AtLeast(1.0)),
            ("threshold", t.threshold, Share),
            ("beams", t.beams as f64, AtLeast(1.0)),
            ("step_cost", t.step_cost, NotNegative),
            ("weights (its length)", t.weights.len() as f64, AtLeast(1.0)),
            ("c_init", t.c_init, NotNegative),
            ("c_base", t.c_base, Positive),
            ("noise", t.noise, NotNegative),
            ("noise_share", t.noise_share, Share),
            ("widen", t.widen, Positive),
            ("widen_power", t.widen_power, Share),
        ],
    )?;
    t.weights.iter().try_for_each(|weight| numbers("tree", &[("weights", *weight, NotNegative)]))
}

fn curate(curate: &CurateConfig) -> Checked {
    let c = curate;
    numbers(
        "curate",
        &[
            ("max_repetition", c.max_repetition, Share),
            ("max_compression", c.max_compression, NotNegative),
            ("min_entropy", c.min_entropy, NotNegative),
            ("length_outliers", c.length_outliers, NotNegative),
            ("contamination_n", c.contamination_n as f64, AtLeast(1.0)),
            ("min_pass_rate", c.min_pass_rate, Share),
            ("max_pass_rate", c.max_pass_rate, Between(c.min_pass_rate, 1.0)),
            ("min_agreement_share", c.min_agreement_share, Share),
            ("per_problem", c.per_problem as f64, AtLeast(1.0)),
        ],
    )
}

fn value(value: &ValueConfig) -> Checked {
    let v = value;
    numbers(
        "value",
        &[
            ("levels (its length)", v.levels.len() as f64, AtLeast(1.0)),
            ("unexplored", v.unexplored, NotNegative),
            ("epochs", v.epochs as f64, AtLeast(1.0)),
            ("batch_size", v.batch_size as f64, AtLeast(1.0)),
            ("learning_rate", v.learning_rate, Positive),
            ("holdout", v.holdout, Share),
            ("lost", v.lost, Share),
            ("rollouts", v.rollouts as f64, AtLeast(1.0)),
        ],
    )?;
    if v.levels.len() > 1
        && v.levels.iter().any(|level| v.levels.iter().filter(|other| *other == level).count() > 1)
    {
        return Err(refuse(
            "value.levels names a level twice",
            "permitted: \"steps\", \"outcome\", or both once",
        ));
    }
    Ok(())
}

fn model(model: &ModelConfig) -> Checked {
    let m = model;
    numbers(
        "model",
        &[("batch_rows", m.batch_rows as f64, AtLeast(1.0)), ("cache_mib", m.cache_mib as f64, AtLeast(1.0))],
    )?;
    if !m.from_scratch() {
        return Ok(());
    }
    numbers(
        "model",
        &[
            ("vocab_size", m.vocab_size as f64, Between(Tokenizer::LEAST as f64, limits::LONG as f64)),
            ("hidden_size", m.hidden_size as f64, Between(2.0, limits::WIDE as f64)),
            ("intermediate_size", m.intermediate_size as f64, Between(1.0, limits::WIDE as f64)),
            ("layers", m.layers as f64, Between(1.0, limits::NARROW as f64)),
            ("context", m.context as f64, Between(2.0, limits::LONG as f64)),
        ],
    )?;
    if !m.hidden_size.is_multiple_of(2) {
        return Err(refuse(format!("model.hidden_size is {}", m.hidden_size), "permitted: an even number"));
    }
    // A head has an even number of dimensions, for rotary embeddings.
    divides(
        "model.heads",
        m.heads,
        m.hidden_size / 2,
        &format!("for model.hidden_size = {}", m.hidden_size),
    )?;
    divides("model.kv_heads", m.kv_heads, m.heads, &format!("for model.heads = {}", m.heads))
}

/// Checks that a number divides another, and names those that do.
fn divides(key: &str, number: usize, whole: usize, of: &str) -> Checked {
    if number > 0 && whole.is_multiple_of(number) {
        return Ok(());
    }
    let all: Vec<String> = (1..=whole).filter(|n| whole.is_multiple_of(*n)).map(|n| n.to_string()).collect();
    Err(refuse(format!("{key} is {number}"), format!("permitted {of}: {}", all.join(", "))))
}

/// Whether there is somebody to search with, and values where they are asked for.
fn policies(config: &Config) -> Checked {
    let (search, tree, value) = (&config.search, &config.tree, &config.value);
    let scratch = config.model.from_scratch();
    let nobody = search.policy == Sampler::None || (search.policy == Sampler::Model && scratch);
    let ruled = config.problems.enumerates();
    if !ruled && (nobody || search.policy == Sampler::Rules) {
        let why = if config.problems.rules.is_empty() {
            "problems.options are given, and multiple choice has no rules"
        } else {
            "problems.rules_moves is false, so the rules list no steps"
        };
        return Err(refuse(
            format!("{why}: there is nothing to search with"),
            "set search.policy to \"endpoint\" or \"teacher\", or model.path to a model",
        ));
    }
    if !config.problems.options.is_empty() && !config.verify.compare.is_exact() {
        let what = format!(
            "verify.compare is \"{}\", but options are compared by letters",
            config.verify.compare.name()
        );
        return Err(refuse(what, "leave verify.compare or problems.options out"));
    }
    if !config.problems.options.is_empty() && value.model == Estimator::Features {
        let hint = "set value.model to \"decoder\" or \"trunk\"";
        return Err(refuse("value.model is \"features\", but multiple choice has no states to value", hint));
    }
    if nobody && search.rule_solutions == 0 {
        return Err(refuse(
            "round 1 has no sampling policy, and search.rule_solutions is 0: there is nothing to search with",
            "set search.rule_solutions above 0, search.policy to \"rules\" or \"endpoint\", or model.path \
             to a model",
        ));
    }
    if search.policy == Sampler::Teacher && config.model.teacher.is_empty() {
        return Err(refuse(
            "search.policy is \"teacher\", but model.teacher is empty",
            "set model.teacher to a model directory or a GGUF file, or search.policy to \"model\"",
        ));
    }
    if search.algorithm != Algorithm::BestOfN {
        let (unit, hint) = match (search.policy, tree.unit) {
            (Sampler::Model | Sampler::Teacher | Sampler::Endpoint, Unit::Expansions) => {
                ("expansions", "models spend \"tokens\" or \"calls\"")
            }
            (Sampler::Rules, Unit::Tokens) => {
                ("tokens", "rules generate no tokens: they spend \"expansions\" or \"calls\"")
            }
            _ => ("", ""),
        };
        if !unit.is_empty() {
            return Err(refuse(
                format!("tree.unit is \"{unit}\", but this policy does not spend them"),
                hint,
            ));
        }
    }
    if value.model == Estimator::Trunk && !matches!(search.policy, Sampler::Model | Sampler::Teacher) {
        return Err(refuse(
            "value.model is \"trunk\", but the policy is no model in this process",
            "set search.policy to \"model\", or value.model to \"features\" or \"decoder\"",
        ));
    }
    if value.is_on() && value.bisect > 0 && search.policy == Sampler::None {
        return Err(refuse(
            "value.bisect needs a policy for its rollouts",
            "set value.bisect to 0, or search.policy to \"model\"",
        ));
    }
    Ok(())
}
