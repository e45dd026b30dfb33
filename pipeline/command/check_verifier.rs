//! `qstill check-verifier`: whether the verifier of a configuration tells right from wrong, before a run
//! relies on it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::Args;
use datasets::answer::Form;
use datasets::types::{Judgement, Problem, Verdict};
use serde::Serialize;
use serde_json::Value;
use stages::command::processes;
use stages::policy::Prompt;
use stages::probe::{self, Heard, Kind, Known, Line, Trial};
use stages::problems::{Source as Kinds, problems};

use crate::command::arguments::{Overrides, Source};
use crate::config::Config;
use crate::run::commanded::unsound;
use crate::stage::verifier::{alone, present};
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, brief, percent, plural};

/// Check whether the verifier of a configuration tells right from wrong.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill check-verifier --config run.toml
  qstill check-verifier --config run.toml --good solution     a column of right solutions
  qstill check-verifier --config run.toml --problems 1000 --json
  qstill check-verifier --preset words                        the exact verifier

The verifier (verify.command, or the exact one) is shown the gold answers of train problems, and spoiled \
ones: the answers of other problems (other), answers with another digit, letter or word (altered), the first \
half of answers of several lines (cut), and nothing at all (empty). Where gold answers are no answers, e.g. \
tests of code, --good names a column of solutions that are right. All of it is asked twice, in another order \
and by new processes. Exit code 65: the verifier does not tell them apart, or says something else the second \
time.")]
pub struct CheckVerifier {
    #[command(flatten)]
    source: Source,
    /// Column of solutions that are known to be right; without it, the gold answers are.
    #[arg(long, value_name = "COL")]
    good: Option<String>,
    /// Most train problems that are used. They are drawn from all of them, the same ones each time.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..))]
    problems: u64,
    /// Smallest share of good solutions that must be accepted.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    least_good: f64,
    /// Largest share of the spoiled ones of a kind that may be accepted.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    most_spoiled: f64,
    /// Unexpected verdicts to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    head: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    over: Overrides,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a share from 0 to 1".to_owned())
}

/// A verdict that is not what it should be.
#[derive(Serialize)]
struct Surprise {
    kind: Kind,
    verdict: &'static str,
    reason: String,
    /// The file and the row of the problem, where it has one.
    place: String,
    gold: String,
    answer: String,
    question: String,
}

/// What came of it.
#[derive(Serialize)]
struct Report {
    /// The command's words; empty for the exact verifier.
    command: Vec<String>,
    domain: &'static str,
    /// `verify.compare`.
    compare: &'static str,
    problems: usize,
    kinds: Vec<Line>,
    /// Solutions that were judged otherwise the second time.
    changed: usize,
    processes: usize,
    per_second: f64,
    /// Time of a verdict in milliseconds: the median, and what 95 of 100 stay below.
    ms_median: f64,
    ms_95: f64,
    surprises: Vec<Surprise>,
    /// Why it is refused; empty if it is not.
    complaints: Vec<String>,
}

/// Checks a verifier.
///
/// # Errors
/// One that does not tell right from wrong (`Exit::Input`); those of its configuration and of its data.
pub fn run(args: CheckVerifier, console: &Console) -> Result<Exit> {
    console.install_interrupt().context("failed to listen for signals")?;
    let layers = args.source.layers()?.unwrap_or_default();
    let (config, _) = Config::resolve(&layers, &args.over.all())?;
    present(&config)?;
    if !config.problems.rules.is_empty() && config.verify.command.is_empty() && args.good.is_none() {
        let what = "problems.rules judges steps, and gold answers have none";
        let hint = "name a column of right solutions, a step a line and the answer behind ####, with --good";
        return Err(Failure::usage(what, hint).into());
    }
    let known = args.known(&config, console)?;
    let trials = probe::trials(&known);
    let first = heard(&config, &trials, false, console)?;
    let second = heard(&config, &trials, true, console)?;
    let report = args.report(&config, known.len(), &trials, (&first, &second));
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    if report.complaints.is_empty() {
        return Ok(Exit::Done);
    }
    let who = if report.command.is_empty() { "the exact verifier" } else { "verify.command" };
    let gold = report.complaints.iter().any(|what| what.contains("only")) && args.good.is_none();
    let silent = |line: &Line| line.kind == Kind::Good && line.undecidable > line.rejected;
    let hint = if report.kinds.iter().any(silent) {
        "most good solutions have no verdict: the table says why; see docs/verifiers.md"
    } else if gold {
        "if gold answers are no answers (tests, a schema), name a column of right solutions with --good"
    } else {
        "the table shows which solutions it was; see docs/verifiers.md"
    };
    let what = format!("{who} does not tell right from wrong: {}", report.complaints.join("; "));
    Err(Failure::input(what, hint).into())
}

/// Puts everything to a verifier that has been asked nothing before.
fn heard(config: &Config, trials: &[Trial<'_>], backwards: bool, console: &Console) -> Result<Heard> {
    let domains = alone(config, console)?;
    let progress = console.stage("check-verifier", "solutions", trials.len() as u64, 0);
    let heard = probe::ask(&domains, trials, (backwards, processes(config.verify.workers)), &progress);
    domains.sound().map_err(unsound)?;
    let heard = heard?;
    progress.finish();
    Ok(heard)
}

impl CheckVerifier {
    /// Train problems, and a good solution of each.
    fn known(&self, config: &Config, console: &Console) -> Result<Vec<(Problem, Known)>> {
        let mut of = config.problems.clone();
        if of.source == Kinds::Countdown {
            let hint =
                "name files of your own (problems.source = \"files\"), or check it with `qstill regrade`";
            return Err(
                Failure::usage("a puzzle of Countdown has no gold solution to check with", hint).into()
            );
        }
        if self.good.is_some() && of.source != Kinds::Files {
            return Err(
                Failure::usage("--good names a column, but problems.source is not \"files\"", "").into()
            );
        }
        let shown = self.good.iter().filter(|good| !of.meta.contains(good)).cloned().collect::<Vec<_>>();
        of.meta.extend(shown.clone());
        (of.validation, of.test) = if of.source == Kinds::Files { (of.validation, of.test) } else { (0, 0) };
        // Test files are not looked at: they need not have the column.
        if !of.test_files.is_empty() {
            of.test_share = 0.0;
            of.test_files.clear();
        }
        let progress = console.stage("check-verifier", "problems", 0, 0);
        // Ids are hashes, so the smallest ones are a sample.
        let mut chosen: BTreeMap<String, Problem> = BTreeMap::new();
        problems(&of, config.run.seed, &progress, &mut |problem| {
            if problem.split == datasets::types::Split::Train {
                chosen.insert(problem.problem_id.clone(), problem);
            }
            while chosen.len() as u64 > self.problems {
                chosen.pop_last();
            }
            Ok(())
        })?;
        progress.finish();
        if chosen.len() < 2 {
            let what = "there are fewer than 2 train problems: right and wrong cannot be told apart";
            return Err(Failure::input(what, "see problems.files and problems.train").into());
        }
        let prompt = Prompt { config: config.prompt.clone(), examples: Vec::new() };
        chosen.into_values().map(|problem| self.good_of(problem, &prompt, !shown.is_empty())).collect()
    }

    /// A problem with its good solution, read as a sample would be. A column that was read for it alone does
    /// not reach the verifier.
    fn good_of(&self, mut problem: Problem, prompt: &Prompt, hide: bool) -> Result<(Problem, Known)> {
        let Some(column) = &self.good else {
            let answer = problem.answer.clone();
            return Ok((problem, Known { steps: Vec::new(), answer }));
        };
        let mut meta: Value = serde_json::from_str(&problem.meta)?;
        let cell = meta[column.as_str()].clone();
        if let Some(fields) = meta.as_object_mut().filter(|_| hide) {
            fields.remove(column.as_str());
            problem.meta = meta.to_string();
        }
        let text = match cell {
            Value::String(text) if !text.trim().is_empty() => text,
            Value::Number(number) => number.to_string(),
            other => {
                let what =
                    format!("{}: column `{column}`: expected a solution, found {other}", place(&problem));
                return Err(Failure::input(what, "").into());
            }
        };
        let reader = prompt.reader();
        let read = reader.completion(&text);
        let known = match (read.answer.is_empty(), reader.form == Form::Code) {
            (false, _) => {
                let steps = read.steps.iter().map(|at| read.lines[*at].clone()).collect();
                Known { steps, answer: read.answer }
            }
            // Samples write code between fences.
            (true, true) => Known { steps: Vec::new(), answer: format!("```\n{}\n```", text.trim()) },
            (true, false) => Known { steps: Vec::new(), answer: text.trim().to_owned() },
        };
        Ok((problem, known))
    }

    fn report(
        &self,
        config: &Config,
        problems: usize,
        trials: &[Trial<'_>],
        (first, second): (&Heard, &Heard),
    ) -> Report {
        let kinds = probe::lines(trials, &first.judgements);
        let mut complaints = probe::complaints(&kinds, self.least_good, self.most_spoiled);
        let same = |(a, b): &(&Judgement, &Judgement)| a == b;
        let changed = first.judgements.iter().zip(&second.judgements).filter(|pair| !same(pair)).count();
        if changed > 0 {
            complaints
                .push(format!("it says something else of {changed} of {} the second time", trials.len()));
        }
        let mut times: Vec<f64> = first.each.iter().map(|time| 1000.0 * time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let quantile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let wrong = |(trial, judged): &(&Trial<'_>, &Judgement)| {
            (trial.kind == Kind::Good) != (judged.verdict == Verdict::Correct)
        };
        let surprise = |(trial, judged): (&Trial<'_>, &Judgement)| Surprise {
            kind: trial.kind,
            verdict: judged.verdict.name(),
            reason: judged.reason.clone(),
            place: place(trial.problem),
            gold: trial.problem.answer.clone(),
            answer: trial.solution.answer.clone(),
            question: trial.problem.question.clone(),
        };
        let odd = trials.iter().zip(&first.judgements).filter(wrong);
        Report {
            command: config.verify.command.clone(),
            domain: config.problems.domain(),
            compare: config.verify.compare.name(),
            problems,
            kinds,
            changed,
            processes: processes(config.verify.workers),
            per_second: trials.len() as f64 / first.whole.as_secs_f64().max(1e-9),
            ms_median: quantile(0.5),
            ms_95: quantile(0.95),
            surprises: odd.map(surprise).take(self.head).collect(),
            complaints,
        }
    }
}

/// Where a problem stands: the file and the line or row, else its id.
fn place(problem: &Problem) -> String {
    let meta: Value = serde_json::from_str(&problem.meta).unwrap_or_default();
    let of = |unit: &str| Some(format!("{}, {unit} {}", meta["file"].as_str()?, meta[unit].as_u64()?));
    of("line").or_else(|| of("row")).unwrap_or_else(|| problem.problem_id.clone())
}

impl Report {
    /// How answers are compared, if not by value.
    fn compared(&self) -> String {
        if self.compare == "exact" {
            String::new()
        } else {
            format!(" (verify.compare = \"{}\")", self.compare)
        }
    }

    fn text(&self) -> String {
        let who = if self.command.is_empty() {
            format!("the exact verifier of the domain `{}`{}", self.domain, self.compared())
        } else {
            format!("verify.command = {:?}", self.command)
        };
        let mut out = format!("{who}, on {}\n\n", plural(self.problems as u64, "problem"));
        let row = |line: &Line| {
            let share = |count: usize| percent(count as f64 / line.asked as f64);
            let mut reasons: Vec<(&String, &usize)> = line.reasons.iter().collect();
            reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let reasons: Vec<String> =
                reasons.iter().take(3).map(|(reason, count)| format!("{reason} {count}")).collect();
            let mut cells = vec![line.kind.name().to_owned(), line.asked.to_string()];
            cells.extend([line.accepted, line.rejected, line.undecidable].map(share));
            cells.push(reasons.join(", "));
            cells
        };
        let headers = ["solutions", "asked", "accepted", "rejected", "undecidable", "reasons"];
        let rows: Vec<Vec<String>> = self.kinds.iter().map(row).collect();
        out += &text::table(&headers, &rows, &[1, 2, 3, 4]);
        let again = if self.changed == 0 {
            "the same verdicts when asked again, in another order".to_owned()
        } else {
            format!("{} verdicts differ when asked again, in another order", self.changed)
        };
        out += &format!(
            "\n{again}\n{:.0} verdicts a second, {} at a time; a verdict takes {:.3} ms (median), 95% \
             take at most {:.3} ms\n",
            self.per_second, self.processes, self.ms_median, self.ms_95,
        );
        if !self.surprises.is_empty() {
            let rows: Vec<Vec<String>> = self.surprises.iter().map(Surprise::row).collect();
            let headers = ["solution", "verdict", "problem", "gold", "answer"];
            out += &format!("\nunexpected verdicts:\n{}", text::table(&headers, &rows, &[]));
        }
        out
    }
}

impl Surprise {
    fn row(&self) -> Vec<String> {
        let verdict = if self.verdict == self.reason {
            self.verdict.to_owned()
        } else {
            format!("{} ({})", self.verdict, self.reason)
        };
        let [gold, answer] = [&self.gold, &self.answer].map(|text| brief(text, 40));
        vec![self.kind.name().to_owned(), verdict, brief(&self.place, 40), gold, answer]
    }
}
