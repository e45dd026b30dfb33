//! A run and its configuration, taken by this process or only looked at.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use toml::Table;

use crate::config::Config;
use crate::disk::durable::{remove_leftovers, write_atomic};
use crate::disk::layout::RunDir;
use crate::disk::lock::{Lock, Share};
use crate::run::turn::Turn;
use crate::run::workspace::{Rights, Workspace};
use crate::terminal::console::Console;

/// A run with its configuration.
pub struct Session {
    pub config: Config,
    pub workspace: Workspace,
}

impl Session {
    /// Takes the run's lock and, if the configuration is to be `kept`, saves it in the run. `command` is what
    /// to show to whoever comes second.
    ///
    /// # Errors
    /// Busy if another process holds the run; failed writes.
    pub fn open(
        run: RunDir,
        (config, table): (Config, &Table),
        console: Console,
        command: &str,
        kept: bool,
    ) -> Result<Self> {
        let lock = Lock::acquire(run.root(), command)?;
        console.log_to(&run.log()).with_context(|| format!("failed to open {}", run.log().display()))?;
        let (text, file) = (table.to_string(), run.config());
        let saved = std::fs::read_to_string(&file).ok();
        if kept && saved.as_deref() != Some(text.as_str()) {
            if let Some(saved) = &saved {
                console.say(&format!("{}: {}", file.display(), changed(saved, table)));
            }
            write_atomic(&file, text.as_bytes())
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
        stages::policy::endpoint::clear_answers(&run.responses())
            .with_context(|| format!("failed to clear {}", run.responses().display()))?;
        clear(&run)?;
        let setting = config.run.device.clone();
        Ok(Self { config, workspace: Workspace::new(run, console, Rights::All(lock), setting) })
    }

    /// A part of the run that is laid out as a run of its own, under another configuration.
    ///
    /// # Errors
    /// Leftovers that cannot be removed.
    pub fn within(&self, part: RunDir, config: Config) -> Result<Self> {
        clear(&part)?;
        Ok(Self { config, workspace: self.workspace.within(part) })
    }

    /// A run to look at, without taking its lock: another process may be working on it.
    pub fn look(run: RunDir, config: Config, console: Console) -> Self {
        let setting = config.run.device.clone();
        Self { config, workspace: Workspace::new(run, console, Rights::Look, setting) }
    }

    /// A run to add shards to, beside others that do.
    ///
    /// # Errors
    /// Busy while a process has the whole run; a log that cannot be opened.
    pub fn share(run: RunDir, config: Config, console: Console, turn: Turn) -> Result<Self> {
        let share = Share::take(run.root())?;
        console.log_to(&run.log()).with_context(|| format!("failed to open {}", run.log().display()))?;
        let setting = config.run.device.clone();
        Ok(Self { config, workspace: Workspace::new(run, console, Rights::Share(share, turn), setting) })
    }
}

/// Removes what dead attempts at publishing a directory left in rounds.
fn clear(run: &RunDir) -> Result<()> {
    for round in run.rounds()? {
        remove_leftovers(&run.round(round))
            .with_context(|| format!("failed to clear {}", run.round(round).display()))?;
    }
    Ok(())
}

/// What a configuration changes of the saved one, in a line.
fn changed(saved: &str, table: &Table) -> String {
    let Ok(old) = saved.parse::<Table>() else { return "replaced by the configuration given now".into() };
    let flat = |table: &Table| -> BTreeMap<String, String> {
        let sections = table.iter().filter_map(|(name, section)| Some((name, section.as_table()?)));
        let keys = sections.flat_map(|(name, keys)| keys.iter().map(move |(key, value)| (name, key, value)));
        keys.map(|(name, key, value)| (format!("{name}.{key}"), value.to_string())).collect()
    };
    let (old, new) = (flat(&old), flat(table));
    let one = |(key, value): (&String, &String)| match old.get(key) {
        Some(before) if before == value => None,
        before => Some(format!("{key} {} -> {value}", before.map_or("(none)", String::as_str))),
    };
    let changes: Vec<String> = new.iter().filter_map(one).collect();
    let more = if changes.len() > 6 { format!(" and {} more", changes.len() - 6) } else { String::new() };
    format!("changed: {}{more}", changes[..changes.len().min(6)].join(", "))
}
