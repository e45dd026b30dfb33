//! `qstill status RUN --watch`: looks again and again while a process works on the run.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::terminal::exit::Exit;
use crate::terminal::look::Look;
use crate::terminal::text::{self, to_open_stdout};

/// Looks take at most one part in so many of the time.
const SHARE: u32 = 4;

/// What one look saw.
pub struct Seen {
    pub text: String,
    /// Whether a process is at work.
    pub working: bool,
    pub done: bool,
}

/// Looks every `pause` until nobody works on the run or nobody reads what is said. On a terminal each look
/// takes the place of the one before; elsewhere one is written whenever it differs from the last.
///
/// # Errors
/// Those of `look`; a stdout that cannot be written.
pub fn watch(pause: Duration, mut look: impl FnMut(Look) -> Result<Seen>) -> Result<Exit> {
    let terminal = std::io::stdout().is_terminal();
    let (mut last, mut lines) = (String::new(), 0);
    loop {
        let began = Instant::now();
        // Asked each time: a window may change its size.
        let style = Look::stdout();
        let seen = look(style)?;
        let block = if terminal { cut(&seen.text, text::height()) } else { seen.text };
        if terminal || block != last {
            let before = match (terminal, last.is_empty()) {
                (true, false) => format!("\x1b[{lines}A\r\x1b[J"),
                (false, false) => "\n".to_owned(),
                _ => String::new(),
            };
            let open = to_open_stdout(|out| Ok(write!(out, "{before}{block}").and_then(|()| out.flush())?))?;
            if !open {
                return Ok(Exit::Done);
            }
        }
        if !seen.working {
            return Ok(if seen.done { Exit::Done } else { Exit::Busy });
        }
        (lines, last) = (block.lines().count(), block);
        std::thread::sleep(pause.max(began.elapsed() * SHARE));
    }
}

/// The first lines, so that one is left for the cursor.
fn cut(block: &str, height: Option<usize>) -> String {
    let most = height.map_or(usize::MAX, |height| height.saturating_sub(1).max(1));
    block.split_inclusive('\n').take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_leaves_a_line_for_the_cursor() {
        assert_eq!(cut("a\nb\nc\n", Some(3)), "a\nb\n");
        assert_eq!(cut("a\nb\nc\n", None), "a\nb\nc\n");
        assert_eq!(cut("a\n", Some(0)), "a\n");
    }

    #[test]
    fn it_ends_when_nobody_works() -> Result<()> {
        let mut looks = 0;
        let mut look = |done: bool| {
            watch(Duration::ZERO, |_| {
                looks += 1;
                Ok(Seen { text: String::new(), working: looks % 3 != 0, done })
            })
        };
        assert_eq!((look(true)?, look(false)?), (Exit::Done, Exit::Busy));
        assert_eq!(looks, 6);
        Ok(())
    }
}
