//! What a run's log says of the work at hand: its last line, which has rates and the time that is left, and
//! the last lines about trouble.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

/// Bytes of the end of the log that are looked at.
const END: u64 = 256 << 10;
/// Lines of trouble that are shown.
const TROUBLES: usize = 3;
/// What lines about trouble have in them.
const WORDS: [&str; 7] = ["error:", "panic:", "endpoint:", "failed", "damaged", "skipped:", "no space"];

/// The end of a log.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    pub last: Option<Line>,
    /// The oldest first.
    pub troubles: Vec<Line>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// UTC.
    pub time: String,
    pub text: String,
}

/// The end of the log at a path; nothing if there is none.
///
/// # Errors
/// A log that cannot be read.
pub fn said(path: &Path) -> io::Result<Said> {
    let mut file = match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Said::default()),
        file => file?,
    };
    let start = file.metadata()?.len().saturating_sub(END);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be half a line.
    let skipped = usize::from(start > 0);
    Ok(of_lines(text.lines().skip(skipped)))
}

fn of_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Said {
    let mut said = Said::default();
    for line in lines.filter_map(Line::parse) {
        // Counts of none are no trouble.
        let lower = line.text.to_lowercase().replace(" 0 failed", "");
        if WORDS.iter().any(|word| lower.contains(word)) {
            if said.troubles.len() == TROUBLES {
                said.troubles.remove(0);
            }
            said.troubles.push(line.clone());
        }
        said.last = Some(line);
    }
    said
}

impl Line {
    /// None for a line without a time, such as the rest of a longer one.
    fn parse(line: &str) -> Option<Self> {
        let (time, text) = line.split_once(' ')?;
        let is_time =
            time.len() == 20 && time.ends_with('Z') && time.starts_with(|c: char| c.is_ascii_digit());
        is_time.then(|| Self { time: time.to_owned(), text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_and_the_last_troubles() {
        let log = "\
2026-03-09T11:05:00Z error: one
2026-03-09T11:05:01Z round 1 search: endpoint: HTTP 503, asked again
2026-03-09T11:05:02Z round 1 search: 20/64 problems, 3.1/s, 14s left, 0 failed
2026-03-09T11:05:03Z checkpoint step-4 is damaged (length): set aside
2026-03-09T11:05:04Z panic: at last
  further
2026-03-09T11:05:05Z round 1 train: 4/10 steps, 2.0/s, 3.0s left, loss 1.2";
        let said = of_lines(log.lines());
        assert!(said.last.is_some_and(|line| line.text.ends_with("loss 1.2")));
        let times: Vec<&str> = said.troubles.iter().map(|line| &line.time[17..19]).collect();
        assert_eq!(times, ["01", "03", "04"]);
    }
}
