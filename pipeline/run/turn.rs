//! Which shards a worker does: its own part of a stage first, then what is left of the others', from the far
//! end, so that two rarely want the same.

use std::fs::File;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use stages::Events;

use crate::disk::commit::StageDir;
use crate::run::plan;
use crate::terminal::text::plural;

/// Pause between two looks at whether the shards in others' hands are done.
const PAUSE: Duration = Duration::from_millis(200);

/// One of several workers: `0/4` is the first of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    index: u32,
    of: u32,
}

impl FromStr for Turn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let turn = parts.map(|(index, of)| Self { index, of }).filter(|turn| turn.index < turn.of);
        turn.ok_or_else(|| "give the worker's number and how many there are: 0/4 to 3/4".to_owned())
    }
}

impl Turn {
    /// Whether a shard is of its own part.
    pub fn owns(self, shard: u32) -> bool {
        shard % self.of == self.index
    }

    /// Missing shards in the order in which it wants them.
    fn order(self, missing: &[u32]) -> Vec<u32> {
        let (mut order, others): (Vec<u32>, Vec<u32>) = missing.iter().partition(|s| self.owns(**s));
        order.extend(others.into_iter().rev());
        order
    }

    /// Takes the next shard of a stage in hand; none once all are committed. Waits for those that are in the
    /// hands of living processes: one that dies leaves its shard to others.
    ///
    /// # Errors
    /// The wish to stop; failed reads and writes.
    pub fn next(self, dir: &StageDir, total: u32, events: &dyn Events) -> Result<Option<(u32, File)>> {
        loop {
            events.check()?;
            let missing = plan::outstanding(total, &dir.recorded()?);
            if missing.is_empty() {
                return Ok(None);
            }
            for shard in self.order(&missing) {
                if let Some(claim) = dir.claim(shard)? {
                    return Ok(Some((shard, claim)));
                }
            }
            // One that is stopped, or whose machine is gone, keeps what it has: people should see who.
            let who = missing.iter().find_map(|shard| Some((shard, dir.claimed(*shard)?)));
            let who = who.map_or_else(String::new, |(shard, holder)| format!(", {shard} of {holder}"));
            events.state(&format!("waits for {}{who}", plural(missing.len() as u64, "shard")));
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_begin_with_their_own_shards_and_end_with_those_of_others() {
        let turns: Vec<Turn> = ["0/3", "1/3", "2/3"].iter().filter_map(|text| text.parse().ok()).collect();
        assert_eq!(turns[1].order(&[0, 1, 2, 3, 4, 5, 6, 7]), [1, 4, 7, 6, 5, 3, 2, 0]);
        for shard in 0..20 {
            assert_eq!(turns.iter().filter(|turn| turn.owns(shard)).count(), 1);
        }
        for text in ["3/3", "0/0", "1", "-1/2", "a/b", "1/2/3"] {
            assert!(text.parse::<Turn>().is_err(), "{text}");
        }
    }
}
