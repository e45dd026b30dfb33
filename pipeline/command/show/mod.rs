//! `qstill show RUN PROBLEM`: all that a run knows of one problem, from the question to the answers of its
//! models; or one solution, step by step.
//!
//! - `find`: which problem is meant, and where its rows are    - `sheet`: what the tables say of it
//! - `tree`: a search tree as indented lines    - `page`: the sheet as text
//!
//! Nothing is written, and no lock is taken: another process may be at work. Of each stage only the problem's
//! own shard is opened, and of its rows only those of the problem are decoded.

use anyhow::Result;
use clap::Args;

use crate::command::arguments::existing;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::look::Look;
use crate::terminal::text::to_stdout;

mod find;
mod page;
pub mod sheet;
pub mod tree;

/// Show one problem (its search trees, solutions, verdicts, what was kept, what models answered), or one
/// solution.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill show runs/mine 1                          the first problem
  qstill show runs/mine 3fa9                       the one whose id begins so
  qstill show runs/mine 3fa9 --round 2 --nodes 0   round 2 alone, with the whole search tree
  qstill show runs/mine 9c04a1                     the solution whose id begins so, step by step
  qstill show runs/mine 3fa9 --json | jq .rounds[0].solutions
Ids are in every table: `qstill inspect runs/mine/problems/problems`. What each rule of curation measured of
one solution: `qstill curate runs/mine --explain ID`.")]
pub struct Show {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// The problem: its id, the beginning of it, or its number in the table of problems, from 1; or the id of
    /// a solution.
    problem: String,
    /// One round only.
    #[arg(long)]
    round: Option<u32>,
    /// Most nodes of a search tree to show: paths to solutions first, then what was visited most; 0 for all.
    #[arg(long, default_value_t = 40)]
    nodes: usize,
    /// Most solutions of a round to show: kept ones first, then right ones; 0 for all.
    #[arg(long, default_value_t = 8)]
    solutions: usize,
    /// Print JSON, with all nodes and solutions.
    #[arg(long)]
    json: bool,
}

/// Shows the problem.
///
/// # Errors
/// No run, problem or round of that name, or several problems; failed reads.
pub fn run(args: Show) -> Result<Exit> {
    let run = existing(&args.run)?;
    let found = find::problem(&run, &args.problem)?;
    let rounds = run.rounds()?;
    if let Some(round) = args.round.filter(|round| !rounds.contains(round)) {
        let hint = match rounds.last() {
            Some(last) => format!("the run has rounds 1 to {last}"),
            None => "the run has no round yet".into(),
        };
        return Err(Failure::usage(format!("there is no round {round}"), hint).into());
    }
    let solution = found.solution.clone();
    let of = args.round.or(solution.as_ref().map(|(round, _)| *round));
    let wanted = |round: &u32| of.is_none_or(|wanted| wanted == *round);
    let rounds: Vec<u32> = rounds.into_iter().filter(wanted).collect();
    let sheet = sheet::Sheet::of(&run, found, &rounds)?;
    let text = if args.json {
        serde_json::to_string_pretty(&sheet)? + "\n"
    } else {
        let limits = page::Limits { nodes: args.nodes, solutions: args.solutions };
        let only = solution.as_ref().map(|(_, id)| id.as_str());
        page::text(&sheet, (limits, only), Look::stdout())
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(Exit::Done)
}
