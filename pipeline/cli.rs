//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use stages::fault;
use stages::grade::GradeConfig;
use stages::policy::Sampling;

use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::layout::{RunDir, Stage};
use crate::progress::Console;
use crate::session::Session;
use crate::status::Standing;
use crate::text::to_stdout;
use crate::work::Goal;
use crate::{answer, audit, bakeoff, bench, doctor, evaluation, explain, grade, inspect, status, verify_run};

/// Self-play synthetic data for distillation: an expensive search finds solutions, an exact verifier keeps
/// the right ones, a cheaper student is trained on them and deployed without the search.
#[derive(Parser)]
#[command(
    name = "qstill",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:
  qstill run --preset demo                       the main job on generated word problems
  qstill init --preset gsm8k > my.toml           a commented configuration to edit
  qstill run --config my.toml --run runs/mine    your own
  qstill resume runs/mine                        go on after a stop, a crash or a change
  qstill inspect runs/mine                       what is in it
  qstill grade answers.jsonl                     judge predicted answers of your own

Exit codes: 0 done, 64 usage, 65 bad input, 70 a bug, 73 disk full, 74 I/O, 75 busy or incomplete (try again), 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing but warnings and results.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run all stages of a configuration, or what is outstanding of them.
    #[command(after_help = "Examples:
  qstill run --preset demo
  qstill run --config my.toml --set search.samples=16 --set run.rounds=3
  qstill run --preset demo --run runs/tiny --set problems.train=200 --device cpu")]
    Run {
        #[command(flatten)]
        source: Source,
        /// The run's directory, or its name under runs/. Default: the name of the preset or file.
        #[arg(long)]
        run: Option<String>,
        /// Stop after this stage of the last round: search, verify, curate, value, train or gate.
        #[arg(long, value_name = "STAGE")]
        until: Option<String>,
        #[command(flatten)]
        over: Over,
    },
    /// Go on with a run: everything that is outstanding under its saved configuration.
    Resume {
        /// The run's directory, or its name under runs/.
        run: String,
        #[command(flatten)]
        over: Over,
    },
    /// Run one stage of a run on what is committed.
    #[command(after_help = "Examples:
  qstill stage problems runs/mine --config my.toml     the first stage makes the run
  qstill stage search runs/mine
  qstill stage evaluate runs/mine --round 2")]
    Stage {
        /// problems, search, verify, curate, value, train, gate or evaluate.
        stage: String,
        /// The run's directory, or its name under runs/.
        run: String,
        /// Which round; default: the first in which the stage is outstanding.
        #[arg(long)]
        round: Option<u32>,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        over: Over,
    },
    /// Compare searches of the same problems at equal budgets, or ways to choose an answer among samples.
    #[command(after_help = "Examples:
  qstill bakeoff runs/mine                                          all five searches at four budgets, with the last round's values
  qstill bakeoff runs/mine --policy rules --search astar,astar/effort --budgets 100,300,1000,3000
  qstill bakeoff runs/mine --goal chosen --budgets 256,512,1024,2048  nobody tells the answer: majority, weighted vote, best
  qstill bakeoff runs/mine --select 4,8,16                          majority, process and outcome reward model on the same samples
An interrupted bakeoff goes on where it was: give the same command again.")]
    Bakeoff {
        /// The run's directory, or its name under runs/.
        run: String,
        #[command(flatten)]
        options: bakeoff::Options,
        #[command(flatten)]
        over: Over,
    },
    /// Sort a round's solutions into kept and dropped, or tell how one of them fared.
    #[command(after_help = "Examples:
  qstill curate runs/mine                              the same as `qstill stage curate runs/mine`
  qstill curate runs/mine --set curate.per_problem=2
  qstill curate runs/mine --explain 0123ab             every rule, what it measured, where the solution ended")]
    Curate {
        /// The run's directory, or its name under runs/.
        run: String,
        /// Which round; default: the first that is outstanding, for a story all.
        #[arg(long)]
        round: Option<u32>,
        /// Tell the story of a solution: its id, or the beginning of it.
        #[arg(long, value_name = "SOLUTION_ID")]
        explain: Option<String>,
        /// The story for scripts.
        #[arg(long, requires = "explain")]
        json: bool,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        over: Over,
    },
    /// What is done and what is outstanding.
    #[command(after_help = "Examples:
  qstill status runs/mine
  qstill status runs/mine --why train --set train.epochs=3     what a setting would make outstanding, and why")]
    Status {
        /// The run's directory, or its name under runs/.
        run: String,
        /// Why this stage is outstanding: each field that changed, from what to what.
        #[arg(long, value_name = "STAGE")]
        why: Option<String>,
        /// For scripts.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        over: Over,
    },
    /// Check every committed file of a run against the hash in its record. Changes nothing.
    #[command(
        after_help = "Exit code 0 if all is as it was written, 65 if something is damaged: `qstill resume` sets it aside and makes it again."
    )]
    VerifyRun {
        /// The run's directory, or its name under runs/.
        run: String,
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// Look into a run, a stage, or any Parquet file.
    #[command(after_help = "Examples:
  qstill inspect runs/demo
  qstill inspect runs/demo/round-1/curate --head 5
  qstill inspect any.parquet --columns question,answer --json")]
    Inspect {
        /// A run, a round, a stage, a table of a stage, a Parquet file, or a folder of them.
        path: PathBuf,
        /// Sample rows to show.
        #[arg(long, default_value_t = 3)]
        head: usize,
        /// Only these columns.
        #[arg(long, value_delimiter = ',')]
        columns: Vec<String>,
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// How many solutions are right for the right reason, where the problems know how they were made.
    #[command(after_help = "Examples:
  qstill audit runs/demo
  qstill audit runs/demo --json")]
    Audit {
        /// The run's directory, or its name under runs/.
        run: String,
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// Judge predicted answers against gold answers, in any JSON lines or Parquet file.
    #[command(after_help = "Examples:
  qstill grade answers.jsonl                                     columns `gold` and `prediction`
  qstill grade out.parquet --gold answer --prediction completion --output graded.parquet
  qstill grade out.jsonl --gold meta.answer --output graded.jsonl --json
  qstill grade out.jsonl --steps --question question

Both columns hold text or numbers: an answer in plain text or LaTeX, or a whole solution whose answer is in \\boxed{}, \
behind #### or Answer:, or behind `answer is`. A column within objects is named with dots. With --output, each row of \
the file gives one with
  row              its number, from 0 (blank lines are no rows; skipped rows keep their number)
  verdict          correct, wrong or undecidable
  reason           why, e.g. correct, wrong_answer, no_answer, not_decided
  gold_read        the gold answer as it was read
  prediction_read  the predicted answer as it was read")]
    Grade {
        /// The file: .jsonl, .ndjson or .json (an object a line), or .parquet.
        file: PathBuf,
        /// Column of the gold answers.
        #[arg(long, value_name = "COL", default_value = "gold")]
        gold: String,
        /// Column of the predicted answers.
        #[arg(long, value_name = "COL", default_value = "prediction")]
        prediction: String,
        /// Accept numbers that differ by up to half a unit of the N-th decimal. Without it there is no
        /// tolerance.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
        precision: Option<u32>,
        /// Check the steps of predictions with a correct answer too: where they fail, the reason is
        /// correct_answer_wrong_steps.
        #[arg(long)]
        steps: bool,
        /// Column of the questions, for --steps. Without it only equations are checked.
        #[arg(long, value_name = "COL", requires = "steps")]
        question: Option<String>,
        /// Write a row each to this .jsonl or .parquet file; an existing one is left alone.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace an existing output.
        #[arg(long, requires = "output")]
        force: bool,
        /// Count and skip rows that cannot be read; without it the first of them is an error.
        #[arg(long)]
        skip_bad: bool,
        /// The summary for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Answer the questions of a file with a model directory, without any search: a student deployed.
    #[command(after_help = "Examples:
  qstill answer runs/demo/round-2/student questions.jsonl > answers.jsonl
  qstill answer path/to/model gsm8k/test.jsonl --gold answer --limit 50 --max-tokens 256 > answers.jsonl
  qstill grade answers.jsonl
  qstill answer path/to/model questions.parquet --question problem --samples 8 --temperature 0.8

A line of JSON for each answer, in the order of the file, with row, sample, question, prediction (all of its text), answer,
tokens, logprob (the sum over its tokens, at temperature 1), finished (false if --max-tokens cut it off) and, with --gold, gold.")]
    Answer {
        /// A Hugging Face directory of the Llama architecture.
        model: PathBuf,
        /// The file: .jsonl, .ndjson or .json (an object a line), or .parquet.
        file: PathBuf,
        /// Column of the questions.
        #[arg(long, value_name = "COL", default_value = "question")]
        question: String,
        /// Column that is passed on as `gold`.
        #[arg(long, value_name = "COL")]
        gold: Option<String>,
        /// Answer only the first N rows.
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        limit: usize,
        /// Answers to each question.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        samples: u32,
        /// 0 is greedy.
        #[arg(long, default_value_t = 0.0, value_parser = temperature)]
        temperature: f32,
        /// Most tokens of an answer.
        #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
        max_tokens: u32,
        /// Fill in the result once the model has written `48/2=`.
        #[arg(long)]
        calculator: bool,
        /// A system turn before each question.
        #[arg(long, default_value = "", hide_default_value = true)]
        instruction: String,
        /// Each sample is a function of this number, its row and its number.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        over: Over,
    },
    /// Print a commented configuration.
    Init {
        /// demo, countdown, selfplay, words, countdown4, gsm-symbolic, gsm8k or gsm8k-endpoint.
        #[arg(long)]
        preset: Option<String>,
        /// Write here instead of stdout; an existing file is left alone.
        file: Option<PathBuf>,
    },
    /// List devices, say which one `auto` takes, and check that each computes rightly.
    Doctor {
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// Measure the speed of training, generation, the grader or curation on this machine; prints JSON.
    #[command(after_help = "Examples:
  qstill bench train
  qstill bench train --model path/to/smollm2 --rows 4 --length 256
  qstill bench generate --model demo --model path/to/smollm2 --rows 1 --rows 8 --rows 64
  qstill bench verify gsm8k/test.jsonl
  qstill bench curate --solutions 10000000")]
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
}

fn temperature(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|t| (0.0..=100.0).contains(t))
        .ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

#[derive(Args)]
#[group(multiple = false)]
struct Source {
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A shipped configuration: demo, countdown, selfplay, words, countdown4, gsm-symbolic, gsm8k or
    /// gsm8k-endpoint.
    #[arg(long)]
    preset: Option<String>,
}

#[derive(Args)]
pub struct Over {
    /// Override a key, e.g. search.samples=16. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// auto, wgpu or cpu: short for --set run.device=...
    #[arg(long)]
    device: Option<String>,
}

impl Over {
    pub fn all(&self) -> Vec<String> {
        let device = self.device.iter().map(|device| format!("run.device=\"{device}\""));
        self.sets.iter().cloned().chain(device).collect()
    }
}

impl Source {
    fn layers(&self) -> Result<Option<Vec<(String, String)>>> {
        Ok(match (&self.config, &self.preset) {
            (Some(path), _) => Some(vec![config::file(path)?]),
            (_, Some(name)) => Some(vec![(format!("preset {name}"), config::preset(name)?.to_owned())]),
            _ => None,
        })
    }

    fn name(&self) -> Option<String> {
        self.preset
            .clone()
            .or_else(|| Some(self.config.as_ref()?.file_stem()?.to_string_lossy().into_owned()))
    }
}

/// Parses the command line and does what it says.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn main() -> Result<Exit> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            error.print().context("failed to print")?;
            return Ok(if shown { Exit::Done } else { Exit::Usage });
        }
    };
    refuse_faults(&cli.command)?;
    let console = Console::new(cli.quiet, Duration::from_secs(10));
    match cli.command {
        Command::Run { source, run, until, over } => {
            let Some(name) = run.or_else(|| source.name()) else {
                return Err(Failure::usage(
                    "run needs to know what to run",
                    "give --preset demo, --config FILE, or --run of an existing run",
                )
                .into());
            };
            let goal = until.as_deref().map_or(Ok(Goal::All), |stage| parse_stage(stage).map(Goal::Until))?;
            let session = open(&name, &source, &over, &console)?;
            walk(&session, goal)
        }
        Command::Resume { run, over } => {
            let session = open(&run, &Source { config: None, preset: None }, &over, &console)?;
            walk(&session, Goal::All)
        }
        Command::Stage { stage, run, round, source, over } => {
            let stage = parse_stage(&stage)?;
            let session = open(&run, &source, &over, &console)?;
            if stage == Stage::Value && !session.config.value.is_on() {
                return Err(Failure::usage(
                    "value.model is \"none\": the run has no value stage",
                    "for instance --set value.model=features",
                )
                .into());
            }
            let round = round_of(&session, stage, round)?;
            walk(&session, Goal::One(stage, round))
        }
        Command::Bakeoff { run, options, over } => {
            existing(&run)?;
            // What is compared is no business of the run's stages.
            let session = open_for(&run, &Source { config: None, preset: None }, &over, &console, false)?;
            bakeoff::run(&session, &options)
                .map(|()| Exit::Done)
                .map_err(|error| interrupted(error, "give the same command again"))
        }
        Command::Curate { run, round, explain: Some(id), json, source, over } => {
            let run = existing(&run)?;
            let layers =
                source.layers()?.map_or_else(|| Ok(vec![config::file(&run.config())?]), anyhow::Ok)?;
            let (config, table) = Config::resolve(&layers, &over.all())?;
            explain::print(&Session::look(run, config, table, console.clone()), round, &id, json)?;
            Ok(Exit::Done)
        }
        Command::Curate { run, round, source, over, .. } => {
            let session = open(&run, &source, &over, &console)?;
            let round = round_of(&session, Stage::Curate, round)?;
            walk(&session, Goal::One(Stage::Curate, round))
        }
        Command::Status { run, why, json, over } => {
            let run = existing(&run)?;
            let stage = why.as_deref().map(parse_stage).transpose()?;
            let (config, table) = Config::resolve(&[config::file(&run.config())?], &over.all())?;
            let session = Session::look(run.clone(), config, table, console.clone());
            let lines = session.lines()?;
            match stage {
                Some(stage) => status::why(&lines, stage, json)?,
                None => status::status(&run, &lines, json)?,
            }
            Ok(Exit::Done)
        }
        Command::VerifyRun { run, json } => {
            verify_run::print(&existing(&run)?, json)?;
            Ok(Exit::Done)
        }
        Command::Inspect { path, head, columns, json } => {
            inspect::inspect(&path, &inspect::Options { head, columns, json, colour: console.colour() })?;
            Ok(Exit::Done)
        }
        Command::Audit { run, json } => {
            audit::print(&existing(&run)?, &console, json)?;
            Ok(Exit::Done)
        }
        Command::Init { preset, file } => {
            let text = config::commented(preset.as_deref())?;
            match file {
                None => to_stdout(|out| Ok(write!(out, "{text}")?))?,
                Some(path) => {
                    let mut new = std::fs::File::options().write(true).create_new(true).open(&path).map_err(
                        |e| match e.kind() {
                            std::io::ErrorKind::AlreadyExists => Failure::usage(
                                format!("{} is there already", path.display()),
                                "choose another name",
                            ),
                            _ => Failure::io(format!("cannot write {}", path.display()), "", e),
                        },
                    )?;
                    new.write_all(text.as_bytes())
                        .with_context(|| format!("failed to write {}", path.display()))?;
                    console.say(&format!(
                        "wrote {}; start with `qstill run --config {}`",
                        path.display(),
                        path.display()
                    ));
                }
            }
            Ok(Exit::Done)
        }
        Command::Doctor { json } => Ok(if doctor::doctor(json)? { Exit::Done } else { Exit::Bug }),
        Command::Answer {
            model,
            file,
            question,
            gold,
            limit,
            samples,
            temperature,
            max_tokens,
            calculator,
            instruction,
            seed,
            over,
        } => {
            let (config, _) = Config::resolve(&[], &over.all())?;
            let device = stages::model::device::choose(config.run.device)?;
            console.say(&device.why);
            console.install_interrupt().context("failed to listen for signals")?;
            let sampling =
                Sampling { temperature, top_p: 1.0, top_k: 0, max_tokens: max_tokens as usize, calculator };
            let (samples, limits, dtype) = (samples as usize, config.model.limits(), config.model.dtype);
            let options = answer::Options {
                model,
                question,
                gold,
                limit,
                samples,
                seed,
                instruction,
                sampling,
                limits,
                dtype,
            };
            answer::run(&file, &options, &device, &console)?;
            Ok(Exit::Done)
        }
        Command::Grade {
            file,
            gold,
            prediction,
            precision,
            steps,
            question,
            output,
            force,
            skip_bad,
            json,
        } => {
            let config = GradeConfig { gold, prediction, question, steps, precision, skip_bad };
            console.install_interrupt().context("failed to listen for signals")?;
            grade::run(&file, &config, &grade::Options { output, force, json }, &console)?;
            Ok(Exit::Done)
        }
        Command::Bench { what } => bench::run(what, &console),
    }
}

impl Command {
    /// The run that a command works on.
    fn run(&self) -> Option<String> {
        match self {
            Command::Run { run, source, .. } => run.clone().or_else(|| source.name()),
            Command::Resume { run, .. }
            | Command::Stage { run, .. }
            | Command::Bakeoff { run, .. }
            | Command::Curate { run, .. }
            | Command::Status { run, .. }
            | Command::VerifyRun { run, .. }
            | Command::Audit { run, .. } => Some(run.clone()),
            _ => None,
        }
    }
}

/// Deliberate faults are for runs that are marked for them: one that stayed in the environment must not
/// damage a run of worth.
fn refuse_faults(command: &Command) -> Result<(), Failure> {
    let hint = "unset QSTILL_FAULT; it is for tests";
    let wanted = fault::wanted()
        .map_err(|name| Failure::usage(format!("QSTILL_FAULT names `{name}`, which is no fault"), hint))?;
    let marked = || {
        command
            .run()
            .and_then(|run| RunDir::named(&run).ok())
            .is_some_and(|run| run.root().join(fault::MARKER).is_file())
    };
    if wanted.is_empty() || marked() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("QSTILL_FAULT is set, but the run is not marked by a file `{}`", fault::MARKER),
        hint,
    ))
}

fn parse_stage(name: &str) -> Result<Stage, Failure> {
    let known = Stage::ALL.map(Stage::name).join(", ");
    Stage::parse(name)
        .ok_or_else(|| Failure::usage(format!("there is no stage `{name}`"), format!("stages: {known}")))
}

/// The round that was asked for, else the first in which a stage is outstanding.
fn round_of(session: &Session, stage: Stage, round: Option<u32>) -> Result<u32> {
    match round {
        Some(round) if round >= 1 && round <= session.config.run.rounds => Ok(round),
        Some(round) => {
            let rounds = format!("the run has rounds 1 to {}", session.config.run.rounds);
            Err(Failure::usage(format!("there is no round {round}"), rounds).into())
        }
        None => {
            let lines = session.lines()?;
            let outstanding = lines
                .iter()
                .filter(|l| l.stage == stage && l.round > 0 && l.state != Standing::Done)
                .map(|l| l.round);
            Ok(outstanding.min().unwrap_or(session.config.run.rounds))
        }
    }
}

/// A run that exists.
fn existing(name: &str) -> Result<RunDir, Failure> {
    let run = RunDir::named(name)?;
    if run.config().exists() {
        return Ok(run);
    }
    Err(Failure::input(
        format!("{} is not a run", run.root().display()),
        "start one with `qstill run --preset demo` or `qstill run --config FILE`",
    ))
}

/// Resolves the configuration (file or preset, else the saved one) and takes the run.
fn open(name: &str, source: &Source, over: &Over, console: &Console) -> Result<Session> {
    open_for(name, source, over, console, true)
}

/// The same; the configuration is saved in the run only if it is to be kept.
fn open_for(name: &str, source: &Source, over: &Over, console: &Console, kept: bool) -> Result<Session> {
    let run = RunDir::named(name)?;
    let layers = match source.layers()? {
        Some(layers) => layers,
        None => vec![config::file(&existing(name)?.config())?],
    };
    let (config, table) = Config::resolve(&layers, &over.all())?;
    let command: Vec<String> = std::env::args().skip(1).collect();
    let session =
        Session::open(run, config, table, console.clone(), &format!("qstill {}", command.join(" ")), kept)?;
    console.install_interrupt().context("failed to listen for signals")?;
    Ok(session)
}

/// Says of an error that is the user's wish to stop how to go on.
fn interrupted(error: anyhow::Error, how: &str) -> anyhow::Error {
    if error.chain().any(|e| e.is::<stages::Cancelled>()) {
        return error.context(Failure::new(Exit::Interrupted, "stopped; what is committed is kept", how));
    }
    error
}

fn walk(session: &Session, goal: Goal) -> Result<Exit> {
    let root = session.run.root().display().to_string();
    if let Err(error) = session.advance(goal) {
        return Err(interrupted(error, &format!("go on with `qstill resume {root}`")));
    }
    if matches!(goal, Goal::All | Goal::One(Stage::Evaluate, _))
        && let Some(table) = evaluation::table(&session.run)?
    {
        to_stdout(|out| Ok(writeln!(out, "{table}")?))?;
        session.console.say(&format!(
            "details: {}; tables: `qstill inspect {root}`",
            session.run.evaluation().display()
        ));
    }
    Ok(Exit::Done)
}

/// Keeps clap's definition sound.
#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
