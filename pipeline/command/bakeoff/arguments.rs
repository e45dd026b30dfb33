//! The arguments of `qstill bakeoff`.

use clap::{Args, ValueEnum};

use crate::command::arguments::Overrides;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proposer {
    /// The domain's rules.
    Rules,
    /// The sampling policy of that round: base, student or endpoint.
    Policy,
}

/// Compare searches of the same problems at equal budgets, or ways to choose an answer among samples.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  qstill bakeoff runs/mine                               all five searches at four budgets
  qstill bakeoff runs/mine --policy rules --search astar,astar/effort --budgets 100,300,1000
  qstill bakeoff runs/mine --goal chosen --budgets 256,512,1024     as deployed: the answer is unknown
  qstill bakeoff runs/mine --select 4,8,16               majority and reward models on the same samples
An interrupted bakeoff resumes: give the same command again.")]
pub struct Bakeoff {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Searches to compare: best-of-n, beam, dvts, mcts or astar, guided by the run's value model; with
    /// /effort by the domain's own estimate of the steps that are left, with /none unguided. best-of-n always
    /// takes part.
    #[arg(long, value_delimiter = ',', default_value = "best-of-n,beam,dvts,mcts,astar")]
    pub(super) search: Vec<String>,
    /// Budgets per problem.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 256, 512])]
    pub(super) budgets: Vec<u64>,
    /// What a budget counts: tokens, calls or expansions. Default: expansions of rules, tokens of a model.
    #[arg(long)]
    pub(super) unit: Option<String>,
    /// Who proposes steps.
    #[arg(long, value_enum, default_value = "policy")]
    pub(super) policy: Proposer,
    /// verified: the search knows the answer and stops at it (making data); chosen: it does not, and an
    /// answer is chosen (deployed).
    #[arg(long, default_value = "verified")]
    pub(super) goal: String,
    /// Instead of searches, compare ways to choose an answer among N samples: majority, process and outcome
    /// reward model.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) select: Vec<usize>,
    /// The round whose policy and value model take part. Default: the last one that has a value model.
    #[arg(long)]
    pub(super) round: Option<u32>,
    /// Problems of this split: train, validation or test.
    #[arg(long, default_value = "validation")]
    pub(super) split: String,
    /// How many of them; 0 for all.
    #[arg(long, default_value_t = 0)]
    pub(super) problems: usize,
    /// Print the plot data as JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) over: Overrides,
}
