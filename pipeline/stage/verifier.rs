//! Who tells the rules and gives the verdicts of a run, as an input: a compiled domain, or commands of the
//! user's.

use std::path::Path;

use anyhow::Result;
use datasets::Domain;
use datasets::domains::compared::{self, Compare};
use datasets::domains::{Domains, compiled};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stages::command::{CommandInputs, program};
use stages::rules::{self, Ruled, RulesInputs};
use stages::verifier;

use crate::config::Config;
use crate::run::commanded::host;
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::terminal::console::Console;
use crate::terminal::exit::Failure;

/// The rules and the verifier of a run. Those of a compiled domain are serialised as its version.
#[derive(Clone)]
pub struct Verifier {
    domain: u32,
    /// Names the rules in fingerprints.
    identity: String,
    /// Rules that a command tells.
    rules: Option<RulesInputs>,
    compare: Compare,
    command: Option<CommandInputs>,
    /// Variables of the environment that commands do not get.
    secrets: Vec<String>,
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.command.is_none() && self.compare.is_exact() && self.rules.is_none() {
            return serializer.serialize_u32(self.domain);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("domain", &self.domain)?;
        if let Some(rules) = &self.rules {
            map.serialize_entry("rules", rules)?;
        }
        match &self.command {
            Some(command) => map.serialize_entry("command", command)?,
            None => map.serialize_entry("compare", &(self.compare, compared::VERSION))?,
        }
        map.end()
    }
}

impl Verifier {
    /// # Errors
    /// A file of a command that cannot be read.
    pub fn of(session: &Session) -> Result<Self> {
        Self::new(&session.config)
    }

    /// # Errors
    /// Those of [`Verifier::of`].
    pub fn new(c: &Config) -> Result<Self> {
        let command = |words: &[String], code| {
            c.verify.limited(words).map(|limited| CommandInputs::of(limited, code)).transpose()
        };
        let compare = c.verify.compare;
        let of = |command| RulesInputs { command, enumerates: c.problems.rules_moves, compare };
        let rules = command(&c.problems.rules, rules::VERSION)?.map(of);
        let told = rules.as_ref().map_or(String::new(), RulesInputs::identity);
        Ok(Self {
            domain: c.problems.compiled().map_or(rules::VERSION, Domain::version),
            identity: c.problems.compiled().map_or(told, Domain::identity),
            rules,
            compare,
            command: command(&c.verify.command, verifier::VERSION)?,
            secrets: vec![c.endpoint.api_key_env.clone()],
        })
    }

    /// Names the rules in fingerprints.
    pub fn rules(&self) -> String {
        format!("rules:{}", self.identity)
    }

    /// The domains with this verifier; processes of commands are shared by all stages of this process.
    ///
    /// # Errors
    /// Stored answers of a command that cannot be read.
    pub fn open(&self, workspace: &Workspace) -> Result<Domains> {
        if self.rules.is_none() && self.command.is_none() {
            return self.domains(None, &workspace.console);
        }
        let commands = [self.rules.as_ref().map(|rules| &rules.command), self.command.as_ref()];
        let setting = commands.map(|command| command.map(|command| &command.config));
        let setting = serde_json::to_string(&(setting, self.compare))?;
        let name = format!("{} {:?}", self.identity, commands[1].map(CommandInputs::name));
        let folder = workspace.run.verifier();
        workspace.commanded((setting, name), || self.domains(Some(&folder), &workspace.console))
    }

    fn domains(&self, folder: Option<&Path>, console: &Console) -> Result<Domains> {
        let mut domains = compiled();
        if let Some(rules) = &self.rules {
            domains.push(Box::new(Ruled::new(rules, host(console, &self.secrets))?));
        }
        match &self.command {
            Some(command) => verifier::domains(domains, command, folder, host(console, &self.secrets)),
            None if self.compare.is_exact() || self.rules.is_some() => Ok(Domains::new(domains)),
            None => Ok(Domains::judged(domains, || self.compare)),
        }
    }
}

/// The domains of a configuration with its verifier, outside of a run: nothing that it says is kept.
///
/// # Errors
/// Files of a command that cannot be read.
pub fn alone(config: &Config, console: &Console) -> Result<Domains> {
    Verifier::new(config)?.domains(None, console)
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

/// Checks that the commands of a configuration are there, before any work.
///
/// # Errors
/// A program or script that is not.
pub fn present(config: &Config) -> Result<(), Failure> {
    is_there(("verify.command", "check.py", "docs/verifiers.md"), &config.verify.command)?;
    is_there(("problems.rules", "rules.py", "docs/rules.md"), &config.problems.rules)
}

fn is_there((key, example, docs): (&str, &str, &str), words: &[String]) -> Result<(), Failure> {
    let Some(first) = words.first() else { return Ok(()) };
    if program(first).is_none() {
        let there = Path::new(first).is_file();
        let hint = if there {
            format!("it is not executable: `chmod +x {first}`, or begin with what runs it")
        } else if first.contains(' ') {
            format!("write it as a list of words: {key} = [\"python3\", \"{example}\"]")
        } else {
            format!("install it, or give its path; see {docs}")
        };
        return Err(Failure::input(format!("{key}: no program `{first}` that can be run"), hint));
    }
    let is_script = |word: &&String| {
        let path = Path::new(word.as_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| SCRIPTS.contains(&ending)) && !path.exists()
    };
    match words[1..].iter().find(is_script) {
        None => Ok(()),
        Some(word) => Err(Failure::input(
            format!("{key}: {word}: no such file"),
            "paths are relative to the working directory",
        )),
    }
}
