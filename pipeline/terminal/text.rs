//! Plain text for results: aligned tables, short forms of long values, and a way to stdout.
//!
//! Results are often piped into `head` or `less`, so a reader that has gone is no error, and text from files
//! is cleaned of control characters, which could otherwise move the cursor or recolour the terminal.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Result;
use stages::events::turns;

use crate::terminal::exit::Failure;

/// A share as a percentage with one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// An interval of shares.
pub fn interval(low: f64, high: f64) -> String {
    format!("{} to {}", percent(low), percent(high))
}

/// A p-value: three decimals, or the order of magnitude where that says nothing.
pub fn p_value(p: f64) -> String {
    if p >= 0.001 { format!("{p:.3}") } else { format!("{p:.2e}") }
}

/// Longest line where nothing says how wide the reader's window is.
const WIDTH: usize = 200;
/// The same on a terminal that does not tell.
const TERMINAL_WIDTH: usize = 120;

/// An aligned table: the headers, then the rows, each line without trailing spaces. Columns in `right` are
/// right-aligned. A row may have fewer cells than there are headers; width is counted in characters.
pub fn table(headers: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let start = text.len();
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            if column > 0 {
                text.push_str("  ");
            }
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if right.contains(&column) {
                text.push_str(&padding);
                text.push_str(cell);
            } else {
                text.push_str(cell);
                text.push_str(&padding);
            }
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    };
    line(&mut headers.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// The text as one line of at most `width` characters: control characters are escaped, and what does not fit
/// becomes `…`. Costs no more than what is shown, however long the text.
pub fn brief(text: &str, width: usize) -> String {
    let (mut short, mut used) = (String::new(), 0);
    for (start, char) in text.char_indices() {
        let escaped: String =
            if char.is_control() || turns(char) { char.escape_debug().collect() } else { char.to_string() };
        let more = escaped.chars().count();
        let last = start + char.len_utf8() == text.len();
        if used + more + usize::from(!last) > width {
            short.push('…');
            return short;
        }
        short.push_str(&escaped);
        used += more;
    }
    short
}

/// A cell of CSV (RFC 4180): in quotes where it needs them.
pub fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// How alike two names are: 1 for the same. The mean of two measures: one favours a common beginning, the
/// other counts edits.
pub fn likeness(a: &str, b: &str) -> f64 {
    f64::midpoint(strsim::jaro_winkler(a, b), strsim::normalized_damerau_levenshtein(a, b))
}

/// A number with its thousands set off.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A number of bytes for people: `950 B`, `12.3 kB`, `4.5 MB`.
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    for unit in units {
        amount /= 1000.0;
        // 999.95 would be rounded to 1000.0.
        if amount < 999.95 || unit == "TB" {
            return format!("{amount:.1} {unit}");
        }
    }
    format!("{bytes} B")
}

/// How wide lines on stdout may be, in characters: what `COLUMNS` says, else what the terminal does, else a
/// guess.
pub fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let guess = if io::stdout().is_terminal() { window().map_or(TERMINAL_WIDTH, |(w, _)| w) } else { WIDTH };
    said.filter(|columns| *columns >= 40).unwrap_or(guess.max(40))
}

/// How many lines the terminal on stdout has; None if it is none, or does not tell.
pub fn height() -> Option<usize> {
    Some(window()?.1)
}

fn window() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())?;
    Some((usize::from(width.0), usize::from(height.0))).filter(|(width, height)| *width > 0 && *height > 0)
}

/// Writes results to stdout through a buffer. A reader that closed the pipe has seen enough: that is a
/// success.
///
/// # Errors
/// Those of `body`, and a stdout that cannot be written.
pub fn to_stdout(body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    to_open_stdout(body).map(|_| ())
}

/// As [`to_stdout`]; false once the reader has closed the pipe, for those who would go on writing.
///
/// # Errors
/// Those of `body`, and a stdout that cannot be written.
pub fn to_open_stdout(body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<bool> {
    write_all(io::stdout().lock(), body)
}

fn write_all(sink: impl Write, body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<bool> {
    let mut out = BufWriter::with_capacity(1 << 16, Sink { inner: sink, fault: None });
    let written = body(&mut out);
    // What was said before a failure is shown all the same.
    let flushed = out.flush();
    // Without the buffer's own drop, which would write to a sink that has failed.
    match out.into_parts().0.fault {
        Some(io::ErrorKind::BrokenPipe) => Ok(false),
        Some(kind) => Err(Failure::io("cannot write to stdout", "", kind.into()).into()),
        None => written.and(flushed.map_err(Into::into)).map(|()| true),
    }
}

/// A sink that remembers that it failed: only then is an error of `body` not one of what it reads.
struct Sink<W> {
    inner: W,
    fault: Option<io::ErrorKind>,
}

impl<W> Sink<W> {
    fn noting<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(err) = &result
            && err.kind() != io::ErrorKind::Interrupted
        {
            self.fault = Some(err.kind());
        }
        result
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf);
        self.noting(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.noting(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::exit::{Exit, exit_of};

    #[test]
    fn tables_are_aligned() {
        let rows = [
            vec!["1".to_owned(), "search".to_owned(), "12".to_owned()],
            vec!["10".to_owned(), "é".to_owned()],
        ];
        let text = table(&["round", "stage", "rows"], &rows, &[0, 2]);
        assert_eq!(text, "round  stage   rows\n    1  search    12\n   10  é\n");
        assert_eq!(table(&["a"], &[], &[]), "a\n");
    }

    #[test]
    fn long_and_odd_texts_are_one_short_line() {
        assert_eq!(brief("abc", 3), "abc");
        assert_eq!(brief("abcd", 3), "ab…");
        assert_eq!(brief("a\nb\u{1b}[31m", 40), "a\\nb\\u{1b}[31m");
        assert_eq!(brief("a\u{202e}b", 40), "a\\u{202e}b");
        assert_eq!(brief("ééé\n", 5), "ééé\\n");
        assert_eq!(brief("", 3), "");
    }

    #[test]
    fn thousands_are_set_off() {
        let cases =
            [(0, "0"), (999, "999"), (1_000, "1,000"), (-25_488, "-25,488"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(
            [size(0), size(999), size(12_345), size(999_999), size(4_500_000_000)],
            ["0 B", "999 B", "12.3 kB", "1.0 MB", "4.5 GB"]
        );
        assert_eq!([plural(1, "row"), plural(0, "row")], ["1 row", "0 rows"]);
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_but_others_are() {
        let long =
            |out: &mut dyn Write| (0..9999).try_for_each(|n| writeln!(out, "line {n}")).map_err(Into::into);
        assert!(write_all(Broken(io::ErrorKind::BrokenPipe), long).is_ok());
        let full = write_all(Broken(io::ErrorKind::StorageFull), |out| Ok(writeln!(out, "short")?));
        assert_eq!(full.map_err(|err| exit_of(&err, &[])), Err(Exit::Full));
        let mut said = Vec::new();
        let read = write_all(&mut said, |out| {
            writeln!(out, "before")?;
            Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
        });
        assert!(read.is_err());
        assert_eq!(said, b"before\n");
    }
}
