//! grade: judges predicted answers against gold answers, in any file of a user's.
//!
//! No stage of a run: it reads one file, JSON lines or Parquet, and gives a row for each of its rows, in
//! their order. Rows are read in batches bounded in rows and bytes; a batch is judged on all threads while
//! the next one is read, so memory stays bounded however long the file. Each row depends on its own texts
//! alone, so neither the batches nor the threads change what comes out.
//!
//! ```no_run
//! use stages::events::Silent;
//! use stages::grade::{GradeConfig, grade};
//!
//! let (gold, prediction) = ("answer".into(), "completion".into());
//! let config = GradeConfig { gold, prediction, ..GradeConfig::default() };
//! let summary = grade("answers.jsonl".as_ref(), &config, &Silent, &mut |rows| {
//!     for row in rows {
//!         println!("{} {}", row.row, row.reason);
//!     }
//!     Ok(())
//! })?;
//! println!("{} of {} are correct", summary.of(datasets::Verdict::Correct), summary.rows);
//! # anyhow::Ok(())
//! ```

use std::path::Path;

use anyhow::Result;
use datasets::Verdict;
use datasets::grade::{self, Grade, Options, StepsGrade, grade_with_steps};
use datasets::sources::files::{self, Cells, Column, SourceError};
use datasets::table::GradeRow;
use rayon::prelude::*;

use crate::events::Events;

/// Rows of a batch.
pub const BATCH_ROWS: usize = 4_096;
/// Bytes of text after which a batch ends, for files of long texts.
const BATCH_BYTES: usize = 16 << 20;
/// Bad rows that are named when they are skipped; further ones are only counted.
const NAMED: u64 = 10;

/// How a file is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradeConfig {
    /// Column of the gold answers: an answer, or a worked solution with a marker (see [`datasets::grade`]).
    pub gold: String,
    /// Column of the predicted answers, in the same forms.
    pub prediction: String,
    /// Column of the questions, for the step checks.
    pub question: Option<String>,
    /// Check the steps of predictions with a correct answer.
    pub steps: bool,
    /// See [`Options::precision`].
    pub precision: Option<u32>,
    /// See [`Options::strict`].
    pub strict: bool,
    /// Pass over rows that cannot be read instead of failing.
    pub skip_bad: bool,
}

impl Default for GradeConfig {
    fn default() -> Self {
        GradeConfig {
            gold: "gold".into(),
            prediction: "prediction".into(),
            question: None,
            steps: false,
            precision: None,
            strict: false,
            skip_bad: false,
        }
    }
}

/// How many rows came to which verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Judged rows.
    pub rows: u64,
    /// Rows that could not be read (`skip_bad`).
    pub skipped: u64,
    /// Verdict, reason and rows: correct before wrong before undecidable, the more frequent reason first.
    pub reasons: Vec<(Verdict, String, u64)>,
}

impl Summary {
    /// Rows of a verdict.
    pub fn of(&self, verdict: Verdict) -> u64 {
        self.reasons.iter().filter(|reason| reason.0 == verdict).map(|reason| reason.2).sum()
    }

    fn count(&mut self, row: &GradeRow) {
        self.rows += 1;
        match self.reasons.iter_mut().find(|reason| reason.0 == row.verdict && reason.1 == row.reason) {
            Some(reason) => reason.2 += 1,
            None => self.reasons.push((row.verdict, row.reason.clone(), 1)),
        }
    }

    fn sort(&mut self) {
        let order = [Verdict::Correct, Verdict::Wrong, Verdict::Undecidable];
        let place = |verdict| order.iter().position(|other| *other == verdict);
        self.reasons.sort_by(|a, b| (place(a.0), b.2, &a.1).cmp(&(place(b.0), a.2, &b.1)));
    }
}

/// Judges a file (or the files of a folder, one after the other); `sink` gets the rows in order, a batch at a
/// time. Rows are numbered from 0; one that is skipped keeps its number.
///
/// # Errors
/// A [`SourceError`] for a file that cannot be read and, unless they are skipped, for rows that cannot; if
/// all had to be skipped, that of the first. Errors of `sink`, and [`crate::Cancelled`].
pub fn grade(
    path: &Path,
    config: &GradeConfig,
    events: &dyn Events,
    sink: &mut dyn FnMut(Vec<GradeRow>) -> Result<()>,
) -> Result<Summary> {
    let mut columns = vec![Column::text_or_number(&config.gold), Column::text_or_number(&config.prediction)];
    columns.extend(config.question.iter().filter(|_| config.steps).map(Column::text));
    let mut reader = Reader { rows: files::open_columns(path, columns)?, next: 0, skipped: 0, first: None };
    let mut summary = Summary::default();
    let mut batch = reader.batch(config, events)?;
    while !batch.is_empty() {
        events.check()?;
        let judge = || batch.par_iter().map(|(row, cells)| judge(*row, cells, config)).collect::<Vec<_>>();
        let (next, rows) = rayon::join(|| reader.batch(config, events), judge);
        for row in &rows {
            summary.count(row);
        }
        events.advance(rows.len() as u64, 0, 0);
        events.state(&format!("{} correct", summary.of(Verdict::Correct)));
        sink(rows)?;
        batch = next?;
        let (read, all) = reader.rows.extent();
        // What is read and not yet judged is left out: an estimate, whose last value is exact.
        if let Some(total) = (u128::from(reader.next) * u128::from(all)).checked_div(u128::from(read)) {
            events.expect(total as u64);
        }
    }
    events.expect(summary.rows);
    summary.skipped = reader.skipped;
    summary.sort();
    match reader.first {
        Some(error) if summary.rows == 0 => Err(error.into()),
        _ => Ok(summary),
    }
}

struct Reader {
    rows: Cells,
    /// Number of the next row.
    next: u64,
    skipped: u64,
    /// Why the first row was skipped.
    first: Option<SourceError>,
}

impl Reader {
    /// The next rows with their numbers; none at the end.
    fn batch(&mut self, config: &GradeConfig, events: &dyn Events) -> Result<Vec<(u64, Vec<String>)>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            match self.rows.next() {
                Some(Ok(row)) => {
                    bytes += row.cells.iter().map(String::len).sum::<usize>();
                    batch.push((self.next, row.cells));
                }
                Some(Err(error)) if error.is_row() && config.skip_bad => {
                    events.check()?;
                    self.skipped += 1;
                    if self.skipped <= NAMED {
                        events.note(&format!("skipped: {error}"));
                    }
                    if self.skipped == NAMED {
                        events.note("further skipped rows are counted only");
                    }
                    self.first.get_or_insert(error);
                }
                Some(Err(error)) => return Err(error.into()),
                None => break,
            }
            self.next += 1;
        }
        Ok(batch)
    }
}

fn judge(row: u64, cells: &[String], config: &GradeConfig) -> GradeRow {
    let cell = |at: usize| cells.get(at).map_or("", String::as_str);
    let (gold, prediction, options) =
        (cell(0), cell(1), Options { precision: config.precision, strict: config.strict });
    if config.steps {
        let question = config.question.as_ref().map(|_| cell(2));
        let found = grade_with_steps(question, gold, prediction, &options);
        let StepsGrade { verdict, reason, gold_read, prediction_read, read_by } = found;
        return GradeRow { row, verdict, reason, gold_read, prediction_read, read_by: read_by.to_owned() };
    }
    let found = grade::grade(gold, prediction, &options);
    let Grade { verdict, reason, gold_read, prediction_read, read_by } = found;
    let (reason, read_by) = (reason.to_owned(), read_by.to_owned());
    GradeRow { row, verdict, reason, gold_read, prediction_read, read_by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    fn config() -> GradeConfig {
        GradeConfig { skip_bad: true, ..GradeConfig::default() }
    }

    fn judged(text: &str, config: &GradeConfig) -> Result<(Summary, Vec<GradeRow>)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, text)?;
        let mut rows = Vec::new();
        let summary = grade(&path, config, &Silent, &mut |more| {
            rows.extend(more);
            Ok(())
        })?;
        Ok((summary, rows))
    }

    #[test]
    fn rows_keep_their_order_and_their_numbers() -> Result<()> {
        let line = |n: usize| match n % 10 {
            3 => "{\"gold\": 3}\n".to_owned(),
            7 => "\n".to_owned(),
            8 => format!("{{\"gold\": \"{n}\", \"prediction\": \"The answer is {}.\"}}\n", n + 1),
            _ => format!("{{\"gold\": \"{n}\", \"prediction\": \"#### {n}.0\"}}\n"),
        };
        let count = 3 * BATCH_ROWS;
        let (summary, rows) = judged(&(0..count).map(line).collect::<String>(), &config())?;
        // Nine of ten lines are rows, the fourth of each ten is bad.
        let expected = (0..count).filter(|n| n % 10 != 7).enumerate().filter(|(_, n)| n % 10 != 3);
        let expected: Vec<(u64, String)> = expected.map(|(row, n)| (row as u64, n.to_string())).collect();
        assert_eq!(rows.iter().map(|row| (row.row, row.gold_read.clone())).collect::<Vec<_>>(), expected);
        assert_eq!(
            (summary.rows, summary.skipped),
            (expected.len() as u64, (0..count).filter(|n| n % 10 == 3).count() as u64)
        );
        assert_eq!(summary.of(Verdict::Wrong), (0..count).filter(|n| n % 10 == 8).count() as u64);
        assert_eq!(summary.reasons[0].1, "correct");
        Ok(())
    }

    #[test]
    fn bad_rows_fail_unless_they_are_skipped_and_not_all() {
        let text = "{\"gold\": 1, \"prediction\": 1}\n{\"gold\": 1}\n";
        let said = |text: &str, config: &GradeConfig| match judged(text, config) {
            Ok((summary, _)) => summary.skipped.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said(text, &GradeConfig::default()).contains("line 2: no column `prediction`"));
        assert_eq!(said(text, &config()), "1");
        assert!(said("{\"gold\": 1}\n{}\n", &config()).contains("line 1: no column `prediction`"));
    }

    #[test]
    fn steps_are_checked_only_where_that_is_asked_for() -> Result<()> {
        let text = "{\"gold\": 12, \"prediction\": \"3*4=13\\n#### 12\", \"q\": \"3 bags of 4 pens?\"}\n";
        let reason = |config: &GradeConfig| Ok::<_, anyhow::Error>(judged(text, config)?.1.remove(0).reason);
        assert_eq!(
            reason(&GradeConfig { question: Some("none".into()), ..config() })?,
            "correct",
            "the question is not read"
        );
        for question in [None, Some("q".to_owned())] {
            assert_eq!(
                reason(&GradeConfig { steps: true, question, ..config() })?,
                "correct_answer_wrong_steps"
            );
        }
        Ok(())
    }
}
