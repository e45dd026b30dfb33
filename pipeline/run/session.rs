//! A run and its configuration, taken by this process or only looked at.

use anyhow::{Context, Result};
use toml::Table;

use crate::config::Config;
use crate::disk::durable::{remove_leftovers, write_atomic};
use crate::disk::layout::RunDir;
use crate::disk::lock::Lock;
use crate::run::workspace::Workspace;
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
            if saved.is_some() {
                console.say(&format!("{}: replaced by the configuration given now", file.display()));
            }
            write_atomic(&file, text.as_bytes())
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
        stages::policy::endpoint::clear_answers(&run.responses())
            .with_context(|| format!("failed to clear {}", run.responses().display()))?;
        for round in run.rounds()? {
            remove_leftovers(&run.round(round))
                .with_context(|| format!("failed to clear {}", run.round(round).display()))?;
        }
        let setting = config.run.device;
        Ok(Self { config, workspace: Workspace::new(run, console, Some(lock), setting) })
    }

    /// A run to look at, without taking its lock: another process may be working on it.
    pub fn look(run: RunDir, config: Config, console: Console) -> Self {
        let setting = config.run.device;
        Self { config, workspace: Workspace::new(run, console, None, setting) }
    }
}
