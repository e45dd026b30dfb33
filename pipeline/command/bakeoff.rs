//! `qstill bakeoff`: searches of the same problems at equal budgets, or answers chosen among the same
//! samples, as shards of a stage.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use datasets::key;
use datasets::table::{Match, Selection};
use datasets::types::{Problem, Split};
use datasets::{Domain, domains};
use serde_json::{Value, json};
use stages::bakeoff::{self, Contest, Entrant, Guide, SampleScoring};
use stages::evaluate::statistics::{mcnemar, wilson};
use stages::policy::Policy;
use stages::policy::rules::{self, Rules};
use stages::search::budget::Unit;
use stages::search::value::Values;
use stages::search::{Aggregate, Algorithm, Draws, Goal, Sampler, TreeConfig};
use stages::value::metrics::{Scored, best_of_k, bootstrap, vote_of_k};
use stages::value::targets::Level;
use stages::value::{Estimator, Trained};
use toml::Table;

use crate::command::arguments::{Overrides, interrupted, open_as_is};
use crate::disk::durable::write_atomic;
use crate::disk::layout::Stage;
use crate::run::plan::Fingerprint;
use crate::run::rows::{Counts, Done, committed, write};
use crate::run::session::Session;
use crate::run::work::versions;
use crate::stage::value;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, interval, p_value, percent, to_stdout};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// The domain's rules.
    Rules,
    /// Who is sampled in that round: base, student or endpoint.
    Policy,
}

/// Compare searches of the same problems at equal budgets, or ways to choose an answer among samples.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  qstill bakeoff runs/mine                                          all five searches at four budgets, with the \
last round's values
  qstill bakeoff runs/mine --policy rules --search astar,astar/effort --budgets 100,300,1000,3000
  qstill bakeoff runs/mine --goal chosen --budgets 256,512,1024     the answer is unknown: majority, weighted \
vote, best
  qstill bakeoff runs/mine --select 4,8,16                          majority, process and outcome reward model \
on the same samples
An interrupted bakeoff resumes: give the same command again.")]
pub struct Bakeoff {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Searches to compare: best-of-n, beam, dvts, mcts or astar, guided by the run's value model; with
    /// /effort by the domain's own guess of the steps that are left, with /none by nothing. best-of-n always
    /// takes part.
    #[arg(long, value_delimiter = ',', default_value = "best-of-n,beam,dvts,mcts,astar")]
    search: Vec<String>,
    /// Budgets of a problem.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 256, 512])]
    budgets: Vec<u64>,
    /// What a budget counts: tokens, calls or expansions. Default: expansions of rules, tokens of a model.
    #[arg(long)]
    unit: Option<String>,
    /// Who proposes steps.
    #[arg(long, value_enum, default_value = "policy")]
    policy: Who,
    /// verified: the search knows the answer and stops at it (making data); chosen: it does not, and an
    /// answer is chosen (deployed).
    #[arg(long, default_value = "verified")]
    goal: String,
    /// Instead of searches, compare how answers are chosen among so many samples: by majority, process and
    /// outcome reward model.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    select: Vec<usize>,
    /// The round whose policy and value model take part. Default: the last one that has a value model.
    #[arg(long)]
    round: Option<u32>,
    /// Problems of this split: train, validation or test.
    #[arg(long, default_value = "validation")]
    split: String,
    /// How many of them; 0 for all.
    #[arg(long, default_value_t = 0)]
    problems: usize,
    /// Print the plot data as JSON instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    over: Overrides,
}

/// Runs the comparison.
///
/// # Errors
/// Those of [`compare`].
pub fn run(args: Bakeoff, console: &Console) -> Result<Exit> {
    // What is compared is no business of the run's stages: its configuration stays as it is.
    let session = open_as_is(&args.run, &args.over, console)?;
    compare(&session, &args).map_err(|error| interrupted(error, "give the same command again"))?;
    Ok(Exit::Done)
}

/// Compares, prints, and writes plot data beside the shards.
///
/// # Errors
/// A run without what is asked for; those of the searches; failed reads and writes.
fn compare(session: &Session, options: &Bakeoff) -> Result<()> {
    let c = &session.config;
    let problems = committed(&session.run, 0, Stage::Problems)?;
    let split = Split::parse(&options.split).ok_or_else(|| {
        Failure::usage(format!("there is no split `{}`", options.split), "train, validation or test")
    })?;
    let asked = Session::asked(&problems, split, options.problems)?;
    if asked.is_empty() {
        return Err(Failure::input(
            format!("the run has no {} problem", split.name()),
            "choose another --split",
        )
        .into());
    }
    let has = |round: u32, stage| committed(&session.run, round, stage).map(|done| !done.commits.is_empty());
    let round = match options.round {
        Some(round) => round,
        None => {
            let mut last = 1;
            for round in session.run.rounds()? {
                if has(round, Stage::Value)? {
                    last = round;
                }
            }
            last
        }
    };
    let of = |round: u32, stage| -> Result<Option<Done>> {
        if round == 0 {
            return Ok(None);
        }
        Ok(Some(committed(&session.run, round, stage)?).filter(|done| !done.commits.is_empty()))
    };
    let student = session.policy_before(round)?;
    let learned = of(round, Stage::Value)?;
    let mut who =
        if options.policy == Who::Rules { None } else { session.sampler(&problems, student.as_ref())? };
    let mut own = false;
    if options.policy == Who::Policy && c.search.policy == Sampler::Model {
        // A head on the policy's own trunk goes with it: nothing is read twice.
        let trunk = || session.model_policy(&problems, student.as_ref());
        let policy = match c.value.model {
            Estimator::Trunk if learned.is_some() => {
                match value::load(session, round, c.value.levels[0], &trunk)?.0 {
                    Trained::Reader(reader) => Some(*reader),
                    Trained::Network(_) => None,
                }
            }
            Estimator::None => trunk()?,
            _ => None,
        };
        if let Some(policy) = policy.filter(|policy| policy.has_head()) {
            who = Some(Box::new(policy));
            own = true;
        }
    }
    let stage = Ground {
        session,
        options,
        round,
        problems: &problems,
        asked: &asked,
        split,
        student: student.as_ref(),
        learned: learned.as_ref(),
        own,
    };
    let fingerprint = Fingerprint::new("bakeoff", bakeoff::VERSION)
        .with("searches", stages::search::VERSION)
        .with_table("search", &session.section("search"))
        .with_table("tree", &session.section("tree"))
        .with_table("prompt", &session.section("prompt"))
        .with("run.seed", c.run.seed)
        .with("round", round)
        .with("problems", problems.hash())
        .with("split", split.name())
        .with("count", asked.len())
        .with_table("value", &keys(session.section("value"), &["model", "levels", "prune"]))
        .with("values", learned.as_ref().map_or("none".into(), Done::hash))
        .with(
            "policy",
            if who.is_some() { session.sampler_identity(student.as_ref())? } else { "rules".into() },
        )
        .with("rules", rules::fingerprint(c.problems.domain()))
        .with("verifier", domains::domain(c.problems.domain()).map_or(0, Domain::version));
    let fingerprint = session.with_dtype(fingerprint);
    let rules = who.is_none() || c.search.policy == Sampler::Rules;
    if who.is_none() && options.policy == Who::Policy {
        session
            .console
            .say(&format!("round {round} has no sampling policy: the domain's rules propose steps"));
    }
    let who: Box<dyn Policy> = who.unwrap_or_else(|| Box::new(Rules));
    if options.select.is_empty() {
        stage.contests(fingerprint, who, rules)
    } else {
        stage.selection(fingerprint, who, rules)
    }
}

/// Some keys of a section.
fn keys(mut section: Table, wanted: &[&str]) -> Table {
    section.retain(|key, _| wanted.contains(&key));
    section
}

/// What a comparison stands on.
struct Ground<'a> {
    session: &'a Session,
    options: &'a Bakeoff,
    round: u32,
    problems: &'a Done,
    asked: &'a [Problem],
    split: Split,
    student: Option<&'a Done>,
    learned: Option<&'a Done>,
    /// Whether the policy says values itself.
    own: bool,
}

impl Ground<'_> {
    fn trained(&self, level: Level) -> Result<Option<(Trained, f32)>> {
        if self.learned.is_none() || !self.session.config.value.levels.contains(&level) {
            return Ok(None);
        }
        let trunk = || self.session.model_policy(self.problems, self.student);
        value::load(self.session, self.round, level, &trunk)
            .map(|(trained, measured)| Some((trained, measured.threshold)))
    }

    fn entrants(&self) -> Result<Vec<Entrant>> {
        let mut entrants = Vec::new();
        for text in std::iter::once("best-of-n").chain(self.options.search.iter().map(String::as_str)) {
            let entrant = Entrant::parse(text.trim()).ok_or_else(|| {
                Failure::usage(
                    format!("there is no search `{text}`"),
                    "best-of-n, beam, dvts, mcts or astar; each may have /effort or /none behind it",
                )
            })?;
            if entrant.guide == Guide::Learned
                && self.learned.is_none()
                && !self.own
                && entrant.algorithm.name() != "best-of-n"
            {
                return Err(Failure::usage(
                    format!("round {} has no value model to guide {text}", self.round),
                    "run with --set value.model=features (trunk, decoder), or write astar/effort or astar/none",
                )
                .into());
            }
            if !entrants.contains(&entrant) {
                entrants.push(entrant);
            }
        }
        Ok(entrants)
    }

    fn contests(&self, fingerprint: Fingerprint, mut policy: Box<dyn Policy>, rules: bool) -> Result<()> {
        let (session, options, c) = (self.session, self.options, &self.session.config);
        let entrants = self.entrants()?;
        let name = options.unit.clone().unwrap_or_else(|| if rules { "expansions" } else { "tokens" }.into());
        let unit = match name.as_str() {
            "tokens" => Unit::Tokens,
            "calls" => Unit::Calls,
            "expansions" => Unit::Expansions,
            _ => {
                return Err(Failure::usage(
                    format!("there is no unit `{name}`"),
                    "tokens, calls or expansions",
                )
                .into());
            }
        };
        let goal = match options.goal.as_str() {
            "verified" => Goal::Verified,
            "chosen" => Goal::Chosen,
            other => {
                return Err(
                    Failure::usage(format!("there is no goal `{other}`"), "verified or chosen").into()
                );
            }
        };
        let mut budgets = options.budgets.clone();
        budgets.sort_unstable();
        budgets.dedup();
        let names: Vec<String> = entrants.iter().map(|entrant| entrant.name()).collect();
        let fingerprint = fingerprint
            .with("entrants", names.join(","))
            .with("budgets", format!("{budgets:?}"))
            .with("unit", &name)
            .with("goal", &options.goal)
            .with("tables", versions(&["bakeoff"]));
        let plan: Vec<(Entrant, u64)> = budgets
            .iter()
            .flat_map(|budget| entrants.iter().map(move |entrant| (*entrant, *budget)))
            .collect();
        let opened = session.stage(Stage::Bakeoff, self.round, &fingerprint, Some(plan.len() as u32))?;
        let path = opened.path.clone();
        let mut guide = self.trained(c.value.levels[0])?;
        let threshold = guide.as_ref().map(|(_, threshold)| *threshold).filter(|_| c.value.prune);
        let tree = TreeConfig { unit, goal, ..session.tree_config(threshold) };
        // Rules have paths of their own length.
        let depth = if rules { c.search.rule_steps as u32 } else { tree.depth };
        let draws = Draws { seed: c.run.seed, round: self.round, purpose: "bakeoff" };
        let units = (plan.len() * self.asked.len()) as u64;
        let commits =
            session.shards(opened, plan.len() as u32, "searches", units, |shard, attempt, progress| {
                let (entrant, budget) = plan[shard as usize];
                stages::Events::state(progress, &format!("{} with {budget} {name}", entrant.name()));
                let contest = Contest {
                    entrant,
                    tree: TreeConfig { budget, depth, ..tree.clone() },
                    sampling: c.search.sampling(),
                    draws,
                };
                let mut values = match entrant.guide {
                    Guide::None => Values::None,
                    // It has nothing to choose between until the end.
                    Guide::Learned if entrant.algorithm == Algorithm::BestOfN && goal == Goal::Verified => {
                        Values::None
                    }
                    Guide::Effort => Values::Effort,
                    Guide::Learned if self.own => Values::Own,
                    Guide::Learned => value::as_values(guide.as_mut().map(|(trained, _)| trained)),
                };
                let clock = Instant::now();
                let rows = contest.run(self.asked, &mut *policy, &mut values, progress)?;
                let milliseconds = clock.elapsed().as_millis() as i64;
                write(attempt, rows)?;
                Ok(Counts::from([
                    ("units".to_owned(), self.asked.len() as i64),
                    ("milliseconds".to_owned(), milliseconds),
                ]))
            })?;
        let mut lines = Vec::new();
        let done = Done::new(path.clone(), commits);
        let mut by_shard = Vec::new();
        for (commit, (entrant, budget)) in done.commits.iter().zip(&plan) {
            let rows: Vec<Match> = done.shard(commit.shard)?;
            let seconds = commit.counts.get("milliseconds").copied().unwrap_or(0) as f64 / 1000.0;
            lines.push(line(*entrant, *budget, &rows, seconds, unit, goal));
            by_shard.push(rows);
        }
        let verdicts = verdicts(&plan, &by_shard, goal);
        let plot = json!({
            "round": self.round, "split": self.split.name(), "problems": self.asked.len(), "policy": policy.kind(), "unit": name,
            "goal": options.goal, "rows": lines, "against_best_of_n": verdicts.iter().map(|v| &v.1).collect::<Vec<_>>(),
        });
        self.publish(&path, &plot, || {
            let mut out = contest_table(&lines, &name, goal);
            out.push_str(&format!(
                "\n{} {} problems; {} proposes; a budget of so many {name} for each problem. cost: {name} per solved problem, over all problems; GFLOP: of policy and\nvalue model per solved problem, 2 for each parameter and token; steps: of the shortest path found.\n",
                self.asked.len(),
                self.split.name(),
                policy.kind()
            ));
            for (said, _) in &verdicts {
                out.push_str(said);
                out.push('\n');
            }
            out
        })
    }

    fn selection(&self, fingerprint: Fingerprint, mut policy: Box<dyn Policy>, rules: bool) -> Result<()> {
        let (session, options, c) = (self.session, self.options, &self.session.config);
        if rules {
            return Err(Failure::usage(
                "rules draw no samples to choose among",
                "choose a round whose policy is a model, with search.policy = \"model\"",
            )
            .into());
        }
        let most = options.select.iter().copied().max().unwrap_or(0);
        let shard_size = c.run.shard_size.max(1);
        let shards: Vec<&[Problem]> = self.asked.chunks(shard_size).collect();
        let fingerprint = fingerprint
            .with("samples", most)
            .with("run.shard_size", shard_size)
            .with("tables", versions(&["selection"]));
        let opened = session.stage(Stage::Selection, self.round, &fingerprint, Some(shards.len() as u32))?;
        let path = opened.path.clone();
        let (mut steps, mut outcome) = (self.trained(Level::Steps)?, self.trained(Level::Outcome)?);
        let draws = Draws { seed: c.run.seed, round: self.round, purpose: "selection" };
        let commits = session.shards(
            opened,
            shards.len() as u32,
            "problems",
            self.asked.len() as u64,
            |shard, attempt, progress| {
                let rows = bakeoff::select(
                    shards[shard as usize],
                    SampleScoring {
                        samples: most,
                        sampling: &c.search.sampling(),
                        draws,
                        steps: steps.as_mut().map(|(trained, _)| trained),
                        outcome: outcome.as_mut().map(|(trained, _)| trained),
                    },
                    &mut *policy,
                    progress,
                )?;
                write(attempt, rows)?;
                Ok(Counts::from([("units".to_owned(), shards[shard as usize].len() as i64)]))
            },
        )?;
        let rows: Vec<Selection> = Done::new(path.clone(), commits).read()?;
        let lines = choices(&rows, &options.select, (steps.is_some(), outcome.is_some()), c.run.seed);
        let plot = json!({"round": self.round, "split": self.split.name(), "problems": self.asked.len(), "rows": lines});
        self.publish(&path, &plot, || {
            let cells: Vec<Vec<String>> = lines
                .iter()
                .map(|l| {
                    let number = |key: &str| l[key].as_f64().unwrap_or(f64::NAN);
                    let text = |key: &str| l[key].as_str().unwrap_or("-").to_owned();
                    vec![l["n"].to_string(), text("judge"), percent(number("accuracy")), interval(number("low"), number("high"))]
                })
                .collect();
            let table = text::table(&["N", "judge", "accuracy", "95% interval"], &cells, &[0, 2]);
            format!(
                "{table}\n{} {} problems, {most} samples each; expected accuracy of the answer chosen among N of them, intervals by bootstrap over problems. oracle: any\nof the N is correct; random: one of them.\n",
                self.asked.len(),
                self.split.name()
            )
        })
    }

    /// Writes the plot data, and prints it or the table.
    fn publish(&self, path: &std::path::Path, plot: &Value, table: impl FnOnce() -> String) -> Result<()> {
        let text = serde_json::to_string_pretty(plot)? + "\n";
        let file = path.join("plot.json");
        write_atomic(&file, text.as_bytes())
            .with_context(|| format!("failed to write {}", file.display()))?;
        let shown = if self.options.json { text } else { table() };
        to_stdout(|out| Ok(write!(out, "{shown}")?))?;
        self.session.console.say(&format!(
            "plot data: {}; rows: `qstill inspect {}`",
            file.display(),
            path.display()
        ));
        Ok(())
    }
}

fn cost(row: &Match, unit: Unit) -> u64 {
    match unit {
        Unit::Tokens => row.tokens,
        Unit::Calls => row.calls,
        Unit::Expansions => row.expansions,
    }
}

/// Draws for intervals.
const DRAWS: usize = 1000;

/// Sum over sum of a resample of the problems, and its 95% interval.
fn ratio(pairs: &[(f64, f64)], seed: u64) -> (Option<f64>, f64, f64) {
    let over = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
    };
    let (top, bottom) = over(&mut pairs.iter().copied());
    if bottom == 0.0 {
        return (None, f64::NAN, f64::NAN);
    }
    let mut rng = key::rng(&["bakeoff ratio".into(), seed.into()]);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| over(&mut (0..pairs.len()).map(|_| pairs[key::below(&mut rng, pairs.len())])))
        // Without a bound where a draw has solved nothing.
        .map(|(top, bottom)| if bottom > 0.0 { top / bottom } else { f64::INFINITY })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((DRAWS - 1) as f64 * share) as usize];
    (Some(top / bottom), at(0.025), at(0.975))
}

fn line(entrant: Entrant, budget: u64, rows: &[Match], seconds: f64, unit: Unit, goal: Goal) -> Value {
    let n = rows.len().max(1) as f64;
    let solved = rows.iter().filter(|r| r.solved).count();
    let (low, high) = wilson(solved, rows.len());
    let pairs: Vec<(f64, f64)> =
        rows.iter().map(|r| (cost(r, unit) as f64, f64::from(u8::from(r.solved)))).collect();
    let (per, per_low, per_high) = ratio(&pairs, budget);
    let sum = |f: &dyn Fn(&Match) -> f64| rows.iter().map(f).sum::<f64>();
    let per_solved = |x: f64| (solved > 0).then(|| x / solved as f64);
    let known: Vec<&Match> = rows.iter().filter(|r| r.shortest.is_some() && r.optimum.is_some()).collect();
    let best = known.iter().filter(|r| r.shortest == r.optimum).count();
    let chosen = |f: &dyn Fn(&Match) -> f32| (goal == Goal::Chosen).then(|| sum(&|r| f64::from(f(r))) / n);
    json!({
        "search": entrant.name(), "budget": budget, "problems": rows.len(), "solved": solved, "share": solved as f64 / n, "low": low, "high": high,
        "majority": chosen(&|r| r.majority), "weighted": chosen(&|r| r.weighted), "best": chosen(&|r| r.best),
        "distinct": sum(&|r| f64::from(r.solutions)),
        "cost_per_solved": per, "cost_low": per.map(|_| per_low), "cost_high": per.map(|_| per_high),
        "tokens_per_solved": per_solved(sum(&|r| r.tokens as f64)),
        "expansions_per_solved": per_solved(sum(&|r| r.expansions as f64)),
        "policy_gflop_per_solved": per_solved(sum(&|r| r.policy_flops as f64) / 1e9),
        "value_gflop_per_solved": per_solved(sum(&|r| r.value_flops as f64) / 1e9),
        "seconds": seconds, "seconds_per_solved": per_solved(seconds),
        "shortest": per_solved(sum(&|r| f64::from(r.shortest.unwrap_or(0)))),
        "optimal": (!known.is_empty()).then(|| best as f64 / known.len() as f64),
    })
}

fn contest_table(lines: &[Value], unit: &str, goal: Goal) -> String {
    let chosen = goal == Goal::Chosen;
    let mut headers = vec![unit, "search", "solved", "share", "95% interval"];
    if chosen {
        headers.extend(["majority", "weighted", "best"]);
    }
    headers.extend([
        "distinct",
        "cost",
        "95% interval",
        "GFLOP policy",
        "value",
        "s/solved",
        "steps",
        "shortest",
    ]);
    let number = |value: &Value| {
        value
            .as_f64()
            .map_or("-".to_owned(), |x| if x.abs() < 10.0 { format!("{x:.2}") } else { format!("{x:.1}") })
    };
    let small = |value: &Value| {
        value.as_f64().map_or("-".to_owned(), |x| {
            if x > 0.0 && x < 0.0995 { format!("{x:.0e}") } else { format!("{x:.2}") }
        })
    };
    let share = |value: &Value| value.as_f64().map_or("-".to_owned(), percent);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|l| {
            let range = |low: &str, high: &str| {
                interval(l[low].as_f64().unwrap_or(0.0), l[high].as_f64().unwrap_or(1.0))
            };
            let mut cells = vec![
                l["budget"].to_string(),
                l["search"].as_str().unwrap_or("?").to_owned(),
                format!("{}/{}", l["solved"], l["problems"]),
                share(&l["share"]),
                range("low", "high"),
            ];
            if chosen {
                cells.extend([share(&l["majority"]), share(&l["weighted"]), share(&l["best"])]);
            }
            cells.extend([
                number(&l["distinct"]),
                number(&l["cost_per_solved"]),
                format!("{} to {}", number(&l["cost_low"]), number(&l["cost_high"])),
                small(&l["policy_gflop_per_solved"]),
                small(&l["value_gflop_per_solved"]),
                small(&l["seconds_per_solved"]),
                number(&l["shortest"]),
                share(&l["optimal"]),
            ]);
            cells
        })
        .collect();
    let right: Vec<usize> = (0..headers.len()).filter(|i| *i != 1).collect();
    text::table(&headers, &rows, &right)
}

/// What each search does against best-of-N at the same budget: a sentence, and the same as data.
fn verdicts(plan: &[(Entrant, u64)], rows: &[Vec<Match>], goal: Goal) -> Vec<(String, Value)> {
    // Best-of-N's answer is that of the majority, a guided search's the one of the largest sum of scores.
    let right = |m: &Match, plain: bool| match goal {
        Goal::Verified => m.solved,
        Goal::Chosen if plain => m.majority > 0.5,
        Goal::Chosen => m.weighted > 0.5,
    };
    let mut out = Vec::new();
    let mut baseline: &[Match] = &[];
    for ((entrant, budget), of) in plan.iter().zip(rows) {
        if entrant.algorithm.name() == "best-of-n" && entrant.guide == Guide::Learned {
            baseline = of;
            continue;
        }
        let before: HashMap<&str, bool> =
            baseline.iter().map(|m| (m.problem_id.as_str(), right(m, true))).collect();
        let won = of
            .iter()
            .filter(|m| right(m, false) && before.get(m.problem_id.as_str()) == Some(&false))
            .count();
        let lost = of
            .iter()
            .filter(|m| !right(m, false) && before.get(m.problem_id.as_str()) == Some(&true))
            .count();
        let p = mcnemar(won, lost);
        let what = match (won.cmp(&lost), p < 0.05) {
            (std::cmp::Ordering::Greater, true) => "beats",
            (std::cmp::Ordering::Less, true) => "loses to",
            _ => "does not differ from",
        };
        let said = format!(
            "at {budget}: {} {what} best-of-n: solves {won} that it does not, and misses {lost} (McNemar exact p = {})",
            entrant.name(),
            p_value(p)
        );
        out.push((said, json!({"search": entrant.name(), "budget": budget, "won": won, "lost": lost, "mcnemar_p": p, "verdict": what})));
    }
    out
}

/// A judge's name, what it says of a sample, and whether it weighs votes or takes the best.
type Judge = (String, Box<dyn Fn(&Selection) -> f32>, bool);

/// How well each judge chooses among N samples.
fn choices(rows: &[Selection], sizes: &[usize], (steps, outcome): (bool, bool), seed: u64) -> Vec<Value> {
    let mut problems: BTreeMap<&str, Vec<&Selection>> = BTreeMap::new();
    for row in rows {
        problems.entry(&row.problem_id).or_default().push(row);
    }
    let mut judges: Vec<Judge> = Vec::new();
    if steps {
        for (aggregate, name) in [
            (Aggregate::Last, "last"),
            (Aggregate::Min, "min"),
            (Aggregate::Product, "product"),
            (Aggregate::Mean, "mean"),
        ] {
            judges.push((format!("PRM {name}, best"), Box::new(move |row| aggregate.of(&row.values)), false));
            judges.push((
                format!("PRM {name}, weighted vote"),
                Box::new(move |row| aggregate.of(&row.values)),
                true,
            ));
        }
    }
    if outcome {
        judges.push(("ORM, best".into(), Box::new(|row| row.outcome.unwrap_or(0.0)), false));
        judges.push(("ORM, weighted vote".into(), Box::new(|row| row.outcome.unwrap_or(0.0)), true));
    }
    let mut out = Vec::new();
    for n in sizes {
        let mut add = |judge: &str, per_problem: Vec<f64>| {
            let mut rng = key::rng(&["selection interval".into(), seed.into()]);
            let (low, high) = bootstrap(&per_problem, DRAWS, &mut |n| key::below(&mut rng, n));
            let accuracy = per_problem.iter().sum::<f64>() / per_problem.len().max(1) as f64;
            out.push(json!({"n": n, "judge": judge, "accuracy": accuracy, "low": low, "high": high}));
        };
        let scored = |of: &[&Selection], score: &dyn Fn(&Selection) -> f32| -> Vec<Scored> {
            of.iter()
                .map(|row| Scored { answer: row.answer.clone(), correct: row.correct, score: score(row) })
                .collect()
        };
        let vote = |of: &[&Selection], score: &dyn Fn(&Selection) -> f32, weighted: bool| {
            let mut rng = key::rng(&["votes".into(), seed.into(), (*n as u64).into()]);
            vote_of_k(&scored(of, score), *n, weighted, 200, &mut |n| key::below(&mut rng, n))
        };
        let correct = |of: &[&Selection]| of.iter().filter(|row| row.correct).count();
        add("majority", problems.values().map(|of| vote(of, &|_| 1.0, false)).collect());
        for (name, score, weighted) in &judges {
            let of = |of: &Vec<&Selection>| {
                if *weighted { vote(of, score, true) } else { best_of_k(&scored(of, score), *n) }
            };
            add(name, problems.values().map(of).collect());
        }
        add("random", problems.values().map(|of| correct(of) as f64 / of.len().max(1) as f64).collect());
        add(
            "oracle",
            problems
                .values()
                .map(|of| stages::evaluate::statistics::pass_at_k(of.len(), correct(of), *n))
                .collect(),
        );
    }
    out
}
