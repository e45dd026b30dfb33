//! Arguments that several commands take, and how they lead to a run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::config::Config;
use crate::config::presets::preset;
use crate::config::resolve::file;
use crate::disk::layout::{RunDir, Stage};
use crate::run::session::Session;
use crate::stage::verifier::present;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};

/// Where a configuration comes from.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub struct Source {
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A shipped configuration: demo, countdown, selfplay, words, countdown4, gsm-symbolic, gsm8k,
    /// gsm8k-endpoint, gsm8k-base or gsm8k-base-endpoint.
    #[arg(long)]
    preset: Option<String>,
}

/// Which device computes.
#[derive(Args, Clone, Debug, Default)]
pub struct Where {
    /// auto, wgpu, wgpu:N or cpu: short for --set run.device=...
    #[arg(long)]
    device: Option<String>,
    /// Which of several GPUs: its number or PCI address, as `qstill doctor` lists them. Short for --device
    /// wgpu:N.
    #[arg(long, value_name = "N", conflicts_with = "device")]
    gpu: Option<String>,
}

impl Where {
    /// As settings.
    pub fn sets(&self) -> Vec<String> {
        let gpu = self.gpu.iter().map(|gpu| format!("wgpu:{gpu}"));
        self.device.iter().cloned().chain(gpu).map(|device| format!("run.device=\"{device}\"")).collect()
    }
}

/// What is changed of a configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// Override a key, e.g. search.samples=16. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    device: Where,
}

impl Overrides {
    pub fn all(&self) -> Vec<String> {
        [self.sets.clone(), self.device.sets()].concat()
    }
}

/// Name and text of a configuration.
pub type Layer = (String, String);

impl Source {
    /// The file or preset that was named, if any.
    ///
    /// # Errors
    /// A file that cannot be read, a preset that does not exist.
    pub fn layers(&self) -> Result<Option<Vec<Layer>>> {
        Ok(match (&self.config, &self.preset) {
            (Some(path), _) => Some(vec![file(path)?]),
            (_, Some(name)) => Some(vec![(format!("preset {name}"), preset(name)?.to_owned())]),
            _ => None,
        })
    }

    /// What a run is called if nothing else says so.
    pub fn name(&self) -> Option<String> {
        let stem = || Some(self.config.as_ref()?.file_stem()?.to_string_lossy().into_owned());
        self.preset.clone().or_else(stem)
    }
}

/// The stage of a name.
///
/// # Errors
/// If there is none.
pub fn parse_stage(name: &str) -> Result<Stage, Failure> {
    let known = Stage::ALL.map(Stage::name).join(", ");
    let unknown = || Failure::usage(format!("there is no stage `{name}`"), format!("stages: {known}"));
    Stage::parse(name).ok_or_else(unknown)
}

/// A run that exists.
///
/// # Errors
/// If nothing of that name is a run.
pub fn existing(name: &str) -> Result<RunDir, Failure> {
    let run = RunDir::named(name)?;
    if run.config().exists() {
        return Ok(run);
    }
    Err(Failure::input(
        format!("{} is not a run", run.root().display()),
        "start one with `qstill run --preset demo` or `qstill run --config FILE`",
    ))
}

/// Resolves the configuration (file or preset, else the saved one) and takes the run.
///
/// # Errors
/// A configuration that is not permitted, a run that does not exist or is held by another process.
pub fn open(name: &str, source: &Source, over: &Overrides, console: &Console) -> Result<Session> {
    take(name, source, over, console, true)
}

/// Takes a run without saving changes of its configuration.
///
/// # Errors
/// Those of [`open`].
pub fn open_as_is(name: &str, over: &Overrides, console: &Console) -> Result<Session> {
    existing(name)?;
    take(name, &Source::default(), over, console, false)
}

/// A run to look at, beside a process that may be working on it.
///
/// # Errors
/// Those of [`open`], a held run aside.
pub fn look(name: &str, source: &Source, over: &Overrides, console: &Console) -> Result<Session> {
    let run = existing(name)?;
    let layers = source.layers()?.map_or_else(|| Ok(vec![file(&run.config())?]), anyhow::Ok)?;
    let (config, _) = Config::resolve(&layers, &over.all())?;
    Ok(Session::look(run, config, console.clone()))
}

fn take(name: &str, source: &Source, over: &Overrides, console: &Console, kept: bool) -> Result<Session> {
    let run = RunDir::named(name)?;
    let layers = match source.layers()? {
        Some(layers) => layers,
        None => vec![file(&existing(name)?.config())?],
    };
    let (config, table) = Config::resolve(&layers, &over.all())?;
    present(&config)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("qstill {}", words.join(" "));
    let session = Session::open(run, (config, &table), console.clone(), &command, kept)?;
    console.install_interrupt().context("failed to listen for signals")?;
    Ok(session)
}

/// Adds to an error that comes of the user's wish to stop how to resume.
pub fn interrupted(error: anyhow::Error, how: &str) -> anyhow::Error {
    if error.chain().any(|e| e.is::<stages::Cancelled>()) {
        return Failure::new(Exit::Interrupted, "stopped on request; what is committed is kept", how).into();
    }
    error
}
