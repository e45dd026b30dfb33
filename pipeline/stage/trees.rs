//! Search trees as values learn from them.

use anyhow::Result;
use datasets::domains::Domains;
use datasets::table::Node;
use datasets::types::Problem;
use serde::{Serialize, Serializer};
use stages::Events;
use stages::value::targets::Level;
use stages::value::{self, Trees, ValueConfig};

use crate::run::inputs::less;
use crate::run::rows::{Rounds, StageOutput, siblings, train_shards};
use crate::run::session::Session;

/// How the trees of searches are read.
#[derive(Clone, Serialize)]
pub struct TreeInputs {
    #[serde(serialize_with = "reading")]
    pub value: ValueConfig,
    /// How many siblings confirm a path; 0 to ask none.
    min_siblings: usize,
}

/// `[value]` without what says how long an estimator learns, and how searches use it.
fn reading<S: Serializer>(value: &ValueConfig, serializer: S) -> Result<S::Ok, S::Error> {
    let others = ["levels", "epochs", "batch_size", "learning_rate", "lost", "bisect", "rollouts", "prune"];
    less(value, &others, serializer)
}

impl TreeInputs {
    pub fn of(session: &Session) -> Self {
        Self { value: session.config.value.clone(), min_siblings: session.config.curate.min_siblings }
    }

    /// The trees of all train problems, shard by shard.
    ///
    /// # Errors
    /// Failed reads; [`stages::Cancelled`].
    pub fn read(
        &self,
        domains: &Domains,
        (problems, searches): (&StageOutput, &Rounds),
        level: Level,
        events: &dyn Events,
    ) -> Result<Vec<Trees>> {
        let mut all = Vec::new();
        let siblings = if self.min_siblings > 0 { Some(siblings(problems)?) } else { None };
        let judge = siblings.as_ref().map(|siblings| (siblings, self.min_siblings));
        for (shard, of_problems) in (0..).zip(train_shards(problems)) {
            events.check()?;
            let rows: Vec<Problem> = problems.shard(of_problems)?;
            let mut nodes: Vec<Node> = Vec::new();
            for search in &searches.0 {
                nodes.extend(search.shard::<Node>(shard)?);
            }
            all.extend(value::read(domains, (&rows, &nodes), level, &self.value, judge)?);
        }
        Ok(all)
    }
}
