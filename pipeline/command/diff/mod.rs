//! `qstill diff A B`: what two runs, or two rounds of one, differ in.
//!
//! - `work`: settings, rows and counts, and what makes verdicts hard to compare
//! - `arms`: what each side solves of the problems that both have    - `page`: all of it as text
//!
//! Nothing is written, and no lock is taken: another process may be at work on either run.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::command::arguments::existing;
use crate::disk::layout::RunDir;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::look::Look;
use crate::terminal::text::to_stdout;

mod arms;
mod page;
mod work;

/// Compare two runs, or two rounds of one: settings, rows, and what each solves of the same problems.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill diff runs/one runs/two                 settings, rows by round, problems won and lost by the second
  qstill diff runs/one                          its first round and its last; its base and its last student
  qstill diff runs/one --rounds 1,2 --limit 0   what round 2 found that round 1 did not, all of it
  qstill diff runs/one runs/two --rounds 2,6    round 2 of the first and round 6 of the second
  qstill diff runs/one runs/two --json | jq '.arms[] | {model, won: .won_count, lost: .lost_count}'
A problem is won if B solves it and A does not. p is that of McNemar's exact test. One problem in full:
`qstill show RUN ID`; other questions: `qstill sql RUN`.")]
pub struct Diff {
    /// The run to compare with: its directory, or its name under runs/.
    #[arg(value_name = "RUN_A")]
    a: String,
    /// The run that is compared; without one, rounds of RUN_A are compared with each other.
    #[arg(value_name = "RUN_B")]
    b: Option<String>,
    /// One round of each side. Default: of two runs all that both have; of one its first and its last.
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1..=2)]
    rounds: Vec<u32>,
    /// Most problems of a list of won or lost ones; 0 for all.
    #[arg(long, default_value_t = 5)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is compared.
pub struct Sides {
    pub a: RunDir,
    pub b: RunDir,
    /// Rounds to compare, of A and of B.
    pub rounds: Vec<(u32, u32)>,
    /// Whether both are the same run.
    pub one: bool,
    /// Whether the rounds were named.
    pub named: bool,
}

/// All that differs.
#[derive(Serialize)]
pub struct Difference {
    pub a: Side,
    pub b: Side,
    /// What makes a comparison less than fair.
    pub notes: Vec<String>,
    /// Keys of the configuration, of which `same_settings` more are the same.
    pub settings: Vec<work::Setting>,
    pub same_settings: usize,
    /// Rows of tables, and what stages counted.
    pub counts: Vec<work::Count>,
    pub arms: Vec<arms::Arm>,
}

/// One side, for people and programs.
#[derive(Serialize)]
pub struct Side {
    pub run: String,
    pub path: String,
    pub rounds: Vec<u32>,
}

/// Compares and prints.
///
/// # Errors
/// No run or round of that name; nothing to compare; failed reads.
pub fn run(args: Diff) -> Result<Exit> {
    let sides = Sides::of(&args)?;
    let most = if args.limit == 0 { usize::MAX } else { args.limit };
    let side = |run: &RunDir, rounds: &dyn Fn(&(u32, u32)) -> u32| Side {
        run: run.name(),
        path: run.root().display().to_string(),
        rounds: sides.rounds.iter().map(rounds).collect(),
    };
    let (settings, same_settings) = work::settings(&sides)?;
    let (arms, more) = arms::arms(&sides, most)?;
    let mut notes = work::notes(&sides)?;
    notes.extend(more);
    let found = Difference {
        a: side(&sides.a, &|rounds| rounds.0),
        b: side(&sides.b, &|rounds| rounds.1),
        notes,
        settings,
        same_settings,
        counts: work::counts(&sides)?,
        arms,
    };
    let text = if args.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        page::text(&found, sides.one, Look::stdout())
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(Exit::Done)
}

impl Sides {
    fn of(args: &Diff) -> Result<Self> {
        let a = existing(&args.a)?;
        let b = args.b.as_deref().map_or_else(|| Ok(a.clone()), existing)?;
        let same = |a: &RunDir, b: &RunDir| match (a.root().canonicalize(), b.root().canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        };
        let one = same(&a, &b);
        let (of_a, of_b) = (a.rounds()?, b.rounds()?);
        let rounds = match (args.rounds.as_slice(), of_a.last(), of_b.last()) {
            ([first, rest @ ..], _, _) => {
                let second = rest.last().unwrap_or(first);
                known(&a, &of_a, *first)?;
                known(&b, &of_b, *second)?;
                vec![(*first, *second)]
            }
            (_, Some(last), _) if one => vec![(of_a[0], *last)],
            (_, Some(last_a), Some(last_b)) => {
                let mut both: Vec<(u32, u32)> =
                    of_a.iter().filter(|round| of_b.contains(round)).map(|round| (*round, *round)).collect();
                if last_a != last_b {
                    both.push((*last_a, *last_b));
                }
                both
            }
            _ => Vec::new(),
        };
        if one && args.rounds.len() == 2 && args.rounds[0] == args.rounds[1] {
            let hint = "give two rounds of it, or another run";
            return Err(Failure::usage("a round is compared with itself", hint).into());
        }
        Ok(Self { a, b, rounds, one, named: !args.rounds.is_empty() })
    }

    /// Whether a pair of rounds is one round twice.
    pub fn alike(&self, (a, b): (u32, u32)) -> bool {
        self.one && a == b
    }
}

fn known(run: &RunDir, rounds: &[u32], wanted: u32) -> Result<(), Failure> {
    if rounds.contains(&wanted) {
        return Ok(());
    }
    let hint = match rounds.last() {
        Some(last) => format!("it has rounds 1 to {last}"),
        None => "it has no round yet".to_owned(),
    };
    Err(Failure::usage(format!("{} has no round {wanted}", run.root().display()), hint))
}
