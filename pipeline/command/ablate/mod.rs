//! `qstill ablate`: students that are trained in different ways on what a run has found, equally long and
//! with the same seeds, and compared on the same held-out problems.
//!
//! - `arms`: what differs, and what may    - `data`: what a run has found, and an arm's selection of it
//! - `cell`: one student of one arm and seed - `report`: all answers as a table, and what they say
//!
//! Nothing of the run changes. An arm has a directory laid out as a run (`ablation/ARM`), with its curation
//! if that differs from the run's, and a student for each seed (`ablation/ARM/seed-S`): stages with
//! fingerprints of their own. So a further arm or seed leaves the others as they are, and an interrupted
//! student goes on from its checkpoint.

use anyhow::{Context, Result};

use crate::command::arguments::{interrupted, open_as_is};
use crate::run::goal::Goal;
use crate::run::session::Session;
use crate::run::walk::preflight;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;

mod arguments;
mod arms;
mod cell;
mod data;
mod report;

pub use arguments::Ablate;
use cell::{Answered, Exam};
use data::Data;

/// Trains what is outstanding, and compares.
///
/// # Errors
/// Arms that are not permitted; a run without what is asked for; those of training; failed reads and writes.
pub fn run(args: Ablate, console: &Console) -> Result<Exit> {
    let session = open_as_is(&args.run, &args.over, console)?;
    arms::check_common(&args.over.all())?;
    compare(&session, &args).map_err(|error| interrupted(error, "give the same command again"))?;
    Ok(Exit::Done)
}

fn compare(session: &Session, args: &Ablate) -> Result<()> {
    let mut arms = arms::arms(session, args)?;
    let data = Data::of(session, args.round)?;
    let length = data.length(args)?;
    let exam = Exam::of(session, args)?;
    // One device for all, and what cannot work is said before any work.
    session.workspace.device()?;
    let mut of_arms = Vec::new();
    for arm in &mut arms {
        length.apply(&mut arm.config);
        let part = session.within(session.workspace.run.arm(&arm.name), arm.config.clone())?;
        preflight(&part, Goal::All).with_context(|| arm.called())?;
        let kept = data.curate(&part).with_context(|| arm.called())?;
        of_arms.push((&*arm, part, kept));
    }
    // Seed by seed, so that what an interruption leaves can be compared.
    let seeds: Vec<u64> = (0..args.seeds).map(|n| session.config.run.seed.wrapping_add(n)).collect();
    let mut answered: Vec<Answered<'_>> = Vec::new();
    for seed in &seeds {
        for (arm, part, kept) in &of_arms {
            let place = format!("{}, seed {seed}", arm.called());
            let (number, all) = (answered.len() + 1, seeds.len() * of_arms.len());
            session.workspace.console.say(&format!("{place} ({number} of {all})"));
            let cell = cell::Cell { data: &data, arm, part, kept, seed: *seed };
            answered.push(cell.answered(&exam).with_context(|| place)?);
        }
    }
    report::publish(&report::Report {
        session,
        args,
        exam: &exam,
        length: &length,
        round: data.round,
        seeds,
        answered,
    })
}
