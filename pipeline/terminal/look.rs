//! How results on stdout may look: their width, and whether with colour.

use std::io::IsTerminal;

use crate::terminal::text;

/// How results may look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Longest line, in characters.
    pub width: usize,
    pub colour: bool,
}

impl Look {
    /// For stdout, with colour only on a terminal that may have it (<https://no-color.org>).
    pub fn stdout() -> Self {
        let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = std::io::stdout().is_terminal() && !dumb && unset("NO_COLOR");
        Self { width: text::width(), colour }
    }

    fn paint(self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }
}
