//! The arguments of `qstill ablate`.

use clap::Args;

use crate::command::arguments::Overrides;

/// Compare ways to curate and to train on what a run has found, at equal steps or tokens, over several seeds.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  qstill ablate runs/mine --arm ce --arm face:train.loss=face --arm short:train.targets=shortest
  qstill ablate runs/mine --arm checked --arm right:curate.faults=[] \\
      --arm 'all:curate.keep=all,curate.faults=[]' --set curate.per_problem=99 --tokens 2000000
  qstill ablate runs/mine --arm full --arm 'lora:train.lora_rank=8,train.learning_rate=0.0002' --steps 400
The first arm is what the others are compared with; one without settings trains as the run does. An
interrupted ablation resumes: give the same command again. A new arm or seed trains its students only.")]
pub struct Ablate {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// An arm: its name, and the settings of [curate], [train] and [model] that it changes. For each arm.
    #[arg(long = "arm", required = true, value_name = "NAME[:KEY=VALUE,...]")]
    pub(super) arms: Vec<String>,
    /// Students per arm. They have the seeds run.seed, run.seed + 1, ..., of first weights and order of rows.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) seeds: u64,
    /// Optimizer steps of each student. Default: as many as the run's own student took.
    #[arg(long, conflicts_with = "tokens", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) steps: Option<u64>,
    /// Most training tokens of each student, instead of steps.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) tokens: Option<u64>,
    /// Train on what rounds 1 to this one have found. Default: the last round that was curated.
    #[arg(long)]
    pub(super) round: Option<u32>,
    /// Answer problems of this split: validation or test.
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
