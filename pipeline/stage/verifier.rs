//! Who gives the verdicts of a run, as an input: the exact verifier of the domain, or a command of the
//! user's.

use std::path::Path;

use anyhow::Result;
use datasets::domains::Domains;
use datasets::domains::compared::{self, Compare};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stages::verifier::{self, CommandInputs, program};

use crate::config::Config;
use crate::run::commanded::host;
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::terminal::console::Console;
use crate::terminal::exit::Failure;

/// The verifier of a run. That of the domain is serialised as its version.
#[derive(Clone)]
pub struct Verifier {
    domain: u32,
    compare: Compare,
    command: Option<CommandInputs>,
    /// Variables of the environment that a command does not get.
    secrets: Vec<String>,
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.command.is_none() && self.compare.is_exact() {
            return serializer.serialize_u32(self.domain);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("domain", &self.domain)?;
        match &self.command {
            Some(command) => map.serialize_entry("command", command)?,
            None => map.serialize_entry("compare", &(self.compare, compared::VERSION))?,
        }
        map.end()
    }
}

impl Verifier {
    /// # Errors
    /// A file of the command that cannot be read.
    pub fn of(session: &Session) -> Result<Self> {
        Self::new(&session.config)
    }

    /// # Errors
    /// Those of [`Verifier::of`].
    pub fn new(c: &Config) -> Result<Self> {
        Ok(Self {
            domain: c.problems.domain().version(),
            compare: c.verify.compare,
            command: c.verify.command().map(CommandInputs::of).transpose()?,
            secrets: vec![c.endpoint.api_key_env.clone()],
        })
    }

    /// The domains with this verifier; a command's processes are shared by all stages of this process.
    ///
    /// # Errors
    /// Stored answers of a command that cannot be read.
    pub fn open(&self, workspace: &Workspace) -> Result<Domains> {
        match &self.command {
            None => Ok(exact(self.compare)),
            Some(command) => workspace.commanded(command, &self.secrets),
        }
    }
}

/// The domains with a comparison of answers.
fn exact(compare: Compare) -> Domains {
    if compare.is_exact() { Domains::default() } else { Domains::judged(|| compare) }
}

/// The domains of a configuration with its verifier, outside of a run: nothing that it says is kept.
///
/// # Errors
/// Files of a command that cannot be read.
pub fn alone(config: &Config, console: &Console) -> Result<Domains> {
    let Verifier { command, compare, secrets, .. } = Verifier::new(config)?;
    match command {
        None => Ok(exact(compare)),
        Some(command) => verifier::domains(&command, None, host(console, &secrets)),
    }
}

/// Serialises the command or comparison alone, and nothing where the domain gives the verdicts: for inputs
/// that hold the domain's rules already.
///
/// # Errors
/// Those of the serialiser.
pub fn command<S: Serializer>(verifier: &Verifier, serializer: S) -> Result<S::Ok, S::Error> {
    match (&verifier.command, verifier.compare) {
        (None, Compare::Exact) => serializer.serialize_none(),
        (None, compare) => (compare, compared::VERSION).serialize(serializer),
        (Some(command), _) => command.serialize(serializer),
    }
}

/// Endings of scripts: a word of a command that has one is a file.
const SCRIPTS: [&str; 8] = ["py", "sh", "js", "mjs", "rb", "pl", "lua", "jl"];

/// Checks that the command of a configuration is there, before any work.
///
/// # Errors
/// A program or script that is not.
pub fn present(config: &Config) -> Result<(), Failure> {
    let words = &config.verify.command;
    let Some(first) = words.first() else { return Ok(()) };
    if program(first).is_none() {
        let hint = if first.contains(' ') {
            "write it as a list of words: verify.command = [\"python3\", \"check.py\"]"
        } else {
            "install it, or give its path; see docs/verifiers.md"
        };
        return Err(Failure::input(format!("verify.command: no program `{first}` that can be run"), hint));
    }
    let is_script = |word: &&String| {
        let path = Path::new(word.as_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| SCRIPTS.contains(&ending)) && !path.exists()
    };
    match words[1..].iter().find(is_script) {
        None => Ok(()),
        Some(word) => Err(Failure::input(
            format!("verify.command: {word}: no such file"),
            "paths are relative to the working directory",
        )),
    }
}
