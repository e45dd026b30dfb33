//! `qstill grade FILE`: judges predicted answers in a user's file, prints what came out by reason, and writes
//! a row each.
//!
//! The rows go to a temporary file beside the output, which takes its name once it is whole and fsynced:
//! whoever sees the output sees all of it. The summary is printed after that.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use datasets::Verdict;
use datasets::table::{GradeRow, Writer};
use serde_json::json;
use stages::grade::{GradeConfig, Summary, grade};

use crate::disk::durable::link;
use crate::disk::durable::{beside, sync_parent};
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text;

/// Grade predicted answers against gold answers, in any JSON lines or Parquet file.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill grade answers.jsonl                                     columns `gold` and `prediction`
  qstill grade out.parquet --gold answer --prediction completion --output graded.parquet
  qstill grade out.jsonl --gold meta.answer --output graded.jsonl --json
  qstill grade out.jsonl --steps --question question

Both columns hold text or numbers: an answer in plain text or LaTeX, or a whole solution whose answer is in \
\\boxed{}, after #### or Answer:, after `answer is`, between <answer> tags or in a JSON field `answer`. \
Without such a marker the closing sentence is read. Thoughts (<think>...</think>) are not. A column within \
objects is named with dots. With --output, each row of the file gives one with
  row              its number, from 0 (blank lines are not rows; skipped rows keep their number)
  verdict          correct, wrong or undecidable
  reason           why, e.g. correct, wrong_answer, no_answer, not_decided
  gold_read        the gold answer as it was read
  prediction_read  the predicted answer as it was read
  read_by          the rule that found it: box, hashes, label, phrase, tag, json, whole, formula, bold or \
                   sentence")]
// Each is a switch of its own.
#[expect(clippy::struct_excessive_bools)]
pub struct Grade {
    /// The file: .jsonl, .ndjson or .json (one object per line), or .parquet.
    file: PathBuf,
    /// Column of the gold answers.
    #[arg(long, value_name = "COL", default_value = "gold")]
    gold: String,
    /// Column of the predicted answers.
    #[arg(long, value_name = "COL", default_value = "prediction")]
    prediction: String,
    /// Accept numbers that differ by up to half a unit of the N-th decimal. Without it there is no tolerance.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    precision: Option<u32>,
    /// Take predicted answers behind markers only: neither the closing sentence nor a bare answer counts.
    #[arg(long)]
    strict: bool,
    /// Check the steps of predictions with a correct answer too: where they fail, the reason is
    /// correct_answer_wrong_steps.
    #[arg(long)]
    steps: bool,
    /// Column of the questions, for --steps. Without it only equations are checked.
    #[arg(long, value_name = "COL", requires = "steps")]
    question: Option<String>,
    /// Write one row for each to this .jsonl or .parquet file; an existing one is not overwritten.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite an existing output.
    #[arg(long, requires = "output")]
    force: bool,
    /// Count and skip rows that cannot be read; without it the first of them is an error.
    #[arg(long)]
    skip_bad: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Grades a file.
///
/// # Errors
/// Those of [`judge`].
pub fn run(args: Grade, console: &Console) -> Result<Exit> {
    let Grade { gold, prediction, question, steps, precision, strict, skip_bad, .. } = args;
    let config = GradeConfig { gold, prediction, question, steps, precision, strict, skip_bad };
    console.install_interrupt().context("failed to listen for signals")?;
    let options = Options { output: args.output, force: args.force, json: args.json };
    judge(&args.file, &config, &options, console)?;
    Ok(Exit::Done)
}

/// What is done with the outcome.
#[derive(Clone, Debug)]
struct Options {
    /// Where the rows go: a name that ends in `.jsonl` or `.parquet`.
    output: Option<PathBuf>,
    /// Whether an output that is there already is replaced.
    force: bool,
    /// The summary as JSON.
    json: bool,
}

/// Judges a file.
///
/// # Errors
/// `Exit::Input` for a file or a row that cannot be read, `Exit::Usage` for an output that is there already
/// or of another kind, failed writes, and a stop on request. There is no output then, or the old one.
fn judge(file: &Path, config: &GradeConfig, options: &Options, console: &Console) -> Result<()> {
    if !file.exists() {
        return Err(Failure::input(format!("{} does not exist", file.display()), "").into());
    }
    if file.is_dir() {
        let hint = "grade its files one by one: rows are numbered within a file";
        return Err(Failure::input(format!("{} is a folder", file.display()), hint).into());
    }
    let mut output =
        options.output.as_deref().map(|path| Output::create(path, file, options.force)).transpose()?;
    let progress = console.stage("grade", "rows", 0, 0);
    let judged = grade(file, config, &progress, &mut |rows| {
        output.as_mut().map_or(Ok(()), |output| output.write(rows))
    });
    let summary = judged.map_err(|error| {
        let stopped = error.chain().any(|e| e.is::<stages::Cancelled>());
        if stopped {
            error.context(Failure::new(Exit::Interrupted, "stopped; no output was written", ""))
        } else {
            error
        }
    })?;
    progress.finish();
    if let Some(output) = output {
        let path = output.finish(options.force)?;
        console.say(&format!("grade: wrote {}", path.display()));
    }
    let text =
        if options.json { serde_json::to_string_pretty(&to_json(&summary))? + "\n" } else { table(&summary) };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

/// The rows on their way into a file. Dropped unfinished, the temporary file is removed.
struct Output {
    path: PathBuf,
    tmp: PathBuf,
    sink: Option<Sink>,
}

enum Sink {
    Lines(BufWriter<File>),
    Parquet(Box<Writer<GradeRow, BufWriter<File>>>),
}

impl Output {
    /// Checks that the output may be written, and begins a temporary file beside it.
    fn create(path: &Path, input: &Path, force: bool) -> Result<Self> {
        let shown = path.display();
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let parquet = match extension.as_str() {
            "jsonl" => false,
            "parquet" => true,
            _ => {
                return Err(Failure::usage(
                    format!("--output {shown}: expected a name that ends in .jsonl or .parquet"),
                    "",
                )
                .into());
            }
        };
        if fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(input).is_ok_and(|input| path == input)) {
            return Err(Failure::usage(
                format!("--output {shown} is the file to be judged"),
                "choose another name",
            )
            .into());
        }
        if path.is_dir() || (!force && path.symlink_metadata().is_ok()) {
            return Err(taken(path));
        }
        let tmp = beside(path).map_err(|error| unwritable(path, error))?;
        let file = File::create_new(&tmp).map_err(|error| unwritable(path, error))?;
        // From here on the temporary file is removed if anything fails.
        let mut output = Self { path: path.to_owned(), tmp, sink: None };
        let file = BufWriter::with_capacity(1 << 18, file);
        output.sink =
            Some(if parquet { Sink::Parquet(Box::new(Writer::new(file)?)) } else { Sink::Lines(file) });
        Ok(output)
    }

    fn write(&mut self, rows: Vec<GradeRow>) -> Result<()> {
        match &mut self.sink {
            Some(Sink::Lines(out)) => {
                rows.iter().try_for_each(|row| line(out, row)).map_err(|error| unwritable(&self.path, error))
            }
            Some(Sink::Parquet(writer)) => {
                writer.extend(rows).with_context(|| format!("cannot write {}", self.path.display()))
            }
            None => Ok(()),
        }
    }

    /// Makes the file durable and gives it its name.
    fn finish(mut self, force: bool) -> Result<PathBuf> {
        let path = self.path.clone();
        let mut out = match self.sink.take() {
            Some(Sink::Lines(out)) => out,
            Some(Sink::Parquet(writer)) => {
                writer.finish().with_context(|| format!("cannot write {}", path.display()))?.1
            }
            None => return Ok(path),
        };
        let written = out.flush().and_then(|()| out.get_ref().sync_all());
        written.map_err(|error| unwritable(&path, error))?;
        let named = if force { fs::rename(&self.tmp, &path) } else { link(&self.tmp, &path) };
        named.map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { taken(&path) } else { unwritable(&path, error) }
        })?;
        sync_parent(&path).map_err(|error| unwritable(&path, error))?;
        Ok(path)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, after a link the first name.
        let _ = fs::remove_file(&self.tmp);
    }
}

fn taken(path: &Path) -> anyhow::Error {
    Failure::usage(
        format!("{} is there already", path.display()),
        "choose another name, or give --force to replace it",
    )
    .into()
}

fn unwritable(path: &Path, error: io::Error) -> anyhow::Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let hint = if full { "free some space and start it again" } else { "" };
    Failure::io(format!("cannot write {}", path.display()), hint, error).into()
}

/// A row as a line of JSON.
fn line(out: &mut impl Write, row: &GradeRow) -> io::Result<()> {
    let text = |text: &str| serde_json::to_string(text);
    let (reason, gold, prediction) = (text(&row.reason)?, text(&row.gold_read)?, text(&row.prediction_read)?);
    let (number, verdict, rule) = (row.row, row.verdict.name(), text(&row.read_by)?);
    write!(out, r#"{{"row":{number},"verdict":"{verdict}","reason":{reason},"#)?;
    writeln!(out, r#""gold_read":{gold},"prediction_read":{prediction},"read_by":{rule}}}"#)
}

const VERDICTS: [Verdict; 3] = [Verdict::Correct, Verdict::Wrong, Verdict::Undecidable];

fn share(rows: u64, summary: &Summary) -> f64 {
    rows as f64 / summary.rows.max(1) as f64
}

fn table(summary: &Summary) -> String {
    let percent = |rows| text::percent(share(rows, summary));
    let mut rows: Vec<Vec<String>> = summary
        .reasons
        .iter()
        .map(|(verdict, reason, rows)| {
            vec![verdict.name().to_owned(), reason.clone(), rows.to_string(), percent(*rows)]
        })
        .collect();
    rows.push(vec!["all".to_owned(), String::new(), summary.rows.to_string(), percent(summary.rows)]);
    let totals = VERDICTS.map(|verdict| {
        format!("{} {} ({})", summary.of(verdict), verdict.name(), percent(summary.of(verdict)))
    });
    let skipped = match summary.skipped {
        0 => String::new(),
        skipped => format!("; {} skipped", text::plural(skipped, "bad row")),
    };
    text::table(&["verdict", "reason", "rows", "share"], &rows, &[2, 3])
        + &format!("{}{skipped}\n", totals.join(", "))
}

fn to_json(summary: &Summary) -> serde_json::Value {
    let reasons: Vec<_> = summary
        .reasons
        .iter()
        .map(|(verdict, reason, rows)| {
            let share = share(*rows, summary);
            json!({"verdict": verdict.name(), "reason": reason, "rows": rows, "share": share})
        })
        .collect();
    let mut value = json!({"rows": summary.rows, "skipped": summary.skipped});
    for verdict in VERDICTS {
        value[verdict.name()] = summary.of(verdict).into();
    }
    value["reasons"] = reasons.into();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_the_texts() -> Result<()> {
        let row = GradeRow {
            row: 7,
            verdict: Verdict::Undecidable,
            reason: "gold_unreadable".into(),
            gold_read: "a \"b\"\n\u{1}é".into(),
            prediction_read: String::new(),
            read_by: "whole".into(),
        };
        let mut out = Vec::new();
        line(&mut out, &row)?;
        let read: serde_json::Value = serde_json::from_slice(&out)?;
        let expected = json!({
            "row": 7, "verdict": "undecidable", "reason": "gold_unreadable",
            "gold_read": "a \"b\"\n\u{1}é", "prediction_read": "", "read_by": "whole",
        });
        assert_eq!(read, expected);
        assert_eq!(String::from_utf8(out)?.lines().count(), 1);
        Ok(())
    }

    #[test]
    fn the_table_has_totals() {
        let reasons = vec![
            (Verdict::Correct, "correct".to_owned(), 7),
            (Verdict::Wrong, "wrong_answer".to_owned(), 2),
            (Verdict::Wrong, "no_answer".to_owned(), 1),
        ];
        let text = table(&Summary { rows: 10, skipped: 1, reasons });
        let expected = "verdict  reason        rows   share\n\
                        correct  correct          7   70.0%\n\
                        wrong    wrong_answer     2   20.0%\n\
                        wrong    no_answer        1   10.0%\n\
                        all                      10  100.0%\n\
                        7 correct (70.0%), 3 wrong (30.0%), 0 undecidable (0.0%); 1 bad row skipped\n";
        assert_eq!(text, expected);
    }
}
