//! Training with checkpoints on disk: a student, or a decoder that learns values.

use std::path::PathBuf;

use anyhow::{Context, Result};
use datasets::table::{self, Loss};
use stages::Events;
use stages::model::Decoder;
use stages::train::learner::Learner;
use stages::train::on_policy::OnPolicy;
use stages::train::value::HeadConfig;
use stages::train::{self, Rows, TrainConfig, Training};

use crate::disk::durable::create_dirs;
use crate::run::workspace::Workspace;
use crate::stage::checkpoints::{newest, save};

/// What is trained on what.
pub struct Fit<'a> {
    pub start: &'a Decoder,
    pub head: Option<HeadConfig>,
    /// With `train.on_policy`.
    pub own: Option<OnPolicy<'a>>,
    pub rows: &'a Rows,
    pub config: &'a TrainConfig,
    pub seed: u64,
    /// Checkpoints of another fingerprint are not resumed from.
    pub fingerprint: &'a str,
    /// Folder of the checkpoints.
    pub folder: PathBuf,
}

impl Fit<'_> {
    /// Number of optimizer steps.
    pub fn steps(&self) -> usize {
        train::total_steps(self.rows, self.config, self.head.as_ref(), self.seed)
    }

    /// The newest sound checkpoint and its step.
    ///
    /// # Errors
    /// Failed reads and moves.
    pub fn newest(&self, workspace: &Workspace) -> Result<Option<(usize, PathBuf)>> {
        create_dirs(&self.folder).with_context(|| format!("failed to create {}", self.folder.display()))?;
        newest(workspace, &self.folder, self.fingerprint)
    }

    /// Trains to the end, from a checkpoint if there is one.
    ///
    /// # Errors
    /// Those of training; failed writes; [`stages::Cancelled`], after a last checkpoint.
    pub fn run(
        self,
        workspace: &Workspace,
        checkpoint: Option<PathBuf>,
        events: &dyn Events,
    ) -> Result<(Learner, Vec<Loss>)> {
        let curve = |dir: &PathBuf| table::read_all::<Loss>(&dir.join("losses.parquet"));
        let losses = checkpoint.as_ref().map(curve).transpose()?;
        let resume = checkpoint.as_deref().zip(losses);
        let trained = train::train(
            Training {
                model: self.start,
                head: self.head,
                rows: self.rows,
                config: self.config,
                seed: self.seed,
                fingerprint: self.fingerprint,
                resume,
                own: self.own,
                device: workspace.device()?,
            },
            events,
            &mut |moment| save(&self.folder, &moment),
        )?;
        events.check()?;
        Ok(trained)
    }
}
