//! Which kept rows a student learns from, how often in an epoch, in which order, and what they weigh.

use std::collections::HashMap;

use datasets::answer::split_completion;
use datasets::types::Kept;

use super::config::TrainConfig;
pub use super::config::{Select, Targets};
use crate::curate::Rate;

/// Least factor of [`Select::Learnability`], so that what is always or never solved is not forgotten.
pub const LEARNABILITY_FLOOR: f64 = 0.1;

/// What a row counts in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Factor of its weight.
    pub weight: f32,
    /// How often it comes in an epoch.
    pub times: usize,
    /// When it comes in an epoch: lower first, equal ones shuffled.
    pub turn: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1.0, times: 1, turn: 0 }
    }
}

/// Of each problem the row with the fewest steps; of those with equally many the one with the fewest tokens
/// (`count`), then the smallest id. It weighs 1, as all rows of a problem do together in the round that keeps
/// them. The order is that of `rows`.
pub fn shortest(rows: Vec<Kept>, count: &dyn Fn(&str) -> usize) -> Vec<Kept> {
    let mut best: HashMap<String, (usize, usize, String, usize)> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        let length =
            (split_completion(&row.completion).0.len(), count(&row.completion), row.solution_id.clone(), i);
        let entry = best.entry(row.problem_id.clone()).or_insert_with(|| length.clone());
        if length < *entry {
            *entry = length;
        }
    }
    let stands = |i: usize, row: &Kept| best.get(&row.problem_id).is_some_and(|best| best.3 == i);
    rows.into_iter()
        .enumerate()
        .filter(|(i, row)| stands(*i, row))
        .map(|(_, row)| Kept { weight: 1.0, ..row })
        .collect()
}

/// What each row counts. `rates` are the pass rates by problem of rounds 1, 2, …; only those of samples are
/// looked at.
pub fn shares(rows: &[Kept], rates: &[HashMap<String, Rate>], config: &TrainConfig) -> Vec<Share> {
    let sampled = |rates: &HashMap<String, Rate>, row: &Kept| {
        rates.get(&row.problem_id).filter(|rate| rate.sampled).map(|rate| rate.share())
    };
    let newest = |row: &Kept| rates.iter().rev().find_map(|rates| sampled(rates, row));
    let share = |row: &Kept| match config.select {
        Select::Learnability => {
            let own = (row.round as usize)
                .checked_sub(1)
                .and_then(|round| rates.get(round))
                .and_then(|rates| sampled(rates, row));
            Share {
                weight: own.map_or(1.0, |p| (4.0 * p * (1.0 - p)).max(LEARNABILITY_FLOOR)) as f32,
                ..Share::default()
            }
        }
        Select::Golden => {
            Share { turn: (newest(row).unwrap_or(0.5) * f64::from(1 << 20)) as u32, ..Share::default() }
        }
        Select::Replay if newest(row).is_some_and(|p| p < 0.5) => {
            Share { times: config.replay_times, ..Share::default() }
        }
        Select::Uniform | Select::Replay => Share::default(),
    };
    rows.iter().map(share).collect()
}

/// What a selection does, in words, for logs.
pub fn describe(rows: &[Kept], shares: &[Share], config: &TrainConfig) -> String {
    match config.select {
        Select::Uniform => "all rows alike".to_owned(),
        Select::Learnability => {
            let changed = shares.iter().filter(|share| share.weight < 1.0).count();
            format!("{changed} of {} rows weigh less, by learnability", rows.len())
        }
        Select::Golden => {
            let golden = shares.iter().filter(|share| share.turn == 0).count();
            format!(
                "{golden} of {} rows are golden: their problems were never solved by a sample",
                rows.len()
            )
        }
        Select::Replay => {
            let hard = shares.iter().filter(|share| share.times > 1).count();
            format!("{hard} of {} rows come {} times in an epoch", rows.len(), config.replay_times)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::batch::{Example, epoch};

    fn row(problem: &str, id: &str, round: u32, completion: &str) -> Kept {
        let (problem_id, solution_id, completion) = (problem.into(), id.into(), completion.into());
        Kept { problem_id, solution_id, round, completion, weight: 0.5, ..Kept::default() }
    }

    fn rate(correct: usize, of: usize, sampled: bool) -> Rate {
        Rate { correct, of, sampled }
    }

    /// Four problems: never solved, solved once (and later always), solved half of the time, and found by the
    /// rules alone.
    fn ground() -> (Vec<Kept>, Vec<HashMap<String, Rate>>) {
        let rows = ["never", "later", "half", "rules"]
            .iter()
            .map(|name| row(name, name, 1, "1+1=2\n#### 2"))
            .collect();
        let of = |rates: &[(&str, Rate)]| rates.iter().map(|(id, rate)| ((*id).to_owned(), *rate)).collect();
        let first = of(&[
            ("never", rate(0, 4, true)),
            ("later", rate(1, 4, true)),
            ("half", rate(2, 4, true)),
            ("rules", rate(3, 3, false)),
        ]);
        let second = of(&[("later", rate(4, 4, true)), ("half", rate(0, 2, false))]);
        (rows, vec![first, second])
    }

    fn config(select: Select) -> TrainConfig {
        TrainConfig { select, replay_times: 3, ..crate::train::tests::config(1.0, 0) }
    }

    #[test]
    fn shares_go_by_samples() {
        let (rows, rates) = ground();
        let of = |select| shares(&rows, &rates, &config(select));
        assert_eq!(of(Select::Uniform), [Share::default(); 4]);
        // Of the row's own round, and 1 where nobody was sampled.
        let weights: Vec<f32> = of(Select::Learnability).iter().map(|share| share.weight).collect();
        assert_eq!(weights, [0.1, 0.75, 1.0, 1.0]);
        // The newest that says something.
        assert_eq!(of(Select::Replay).iter().map(|share| share.times).collect::<Vec<_>>(), [3, 1, 1, 1]);
        assert_eq!(
            shares(&rows, &rates[..1], &config(Select::Replay))
                .iter()
                .map(|share| share.times)
                .collect::<Vec<_>>(),
            [3, 3, 1, 1]
        );
        let turns: Vec<u32> = of(Select::Golden).iter().map(|share| share.turn).collect();
        assert!(
            turns[0] == 0 && turns[0] < turns[2] && turns[2] == turns[3] && turns[3] < turns[1],
            "{turns:?}"
        );
        // Nothing is known of what was never searched.
        assert_eq!(shares(&rows, &[], &config(Select::Replay)), [Share::default(); 4]);
        let said = |select| describe(&rows, &of(select), &config(select));
        assert_eq!(
            said(Select::Golden),
            "1 of 4 rows are golden: their problems were never solved by a sample"
        );
        assert_eq!(said(Select::Replay), "1 of 4 rows come 3 times in an epoch");
        assert_eq!(said(Select::Learnability), "2 of 4 rows weigh less, by learnability");
    }

    #[test]
    fn epochs_go_by_turn_and_are_shuffled_within() {
        let example =
            |i: u32, turn| Example { turn, ..Example::new(&[1], &vec![i; 1 + i as usize % 5], 0.0, 1.0) };
        let rows: Vec<Example> = (0..40).map(|i| example(i, i % 3)).collect();
        let order = |rows: &[Example], n| epoch(rows, 8, 7, n);
        let first = order(&rows, 0);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [8; 5]);
        let turns: Vec<u32> = first.iter().flatten().map(|i| rows[*i].turn).collect();
        assert!(turns.is_sorted(), "{turns:?}");
        assert_eq!(first, order(&rows, 0));
        assert_ne!(first, order(&rows, 1));
        let mut all: Vec<usize> = first.into_iter().flatten().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..40));
        // Equal turns are no order at all, whichever they are.
        let alike = |turn| -> Vec<Example> { (0..40).map(|i| example(i, turn)).collect() };
        assert_eq!(order(&alike(0), 3), order(&alike(9), 3));
    }

    #[test]
    fn the_shortest_of_each_problem_in_the_order_of_rows() {
        let rows = vec![
            row("a", "4", 1, "1+1=2\n2+1=3\n#### 3"),
            row("b", "9", 1, "1+10=11\n#### 11"),
            row("a", "3", 1, "1+2=3\n#### 3"),
            row("b", "8", 2, "10+1=11\n#### 11"),
            row("b", "7", 2, "5+6=11\nundo\n5+6=11\n#### 11"),
            row("a", "5", 2, "1+2=3 and so\n#### 3"),
        ];
        let found = shortest(rows, &str::len);
        assert_eq!(found.iter().map(|row| row.solution_id.as_str()).collect::<Vec<_>>(), ["3", "8"]);
        assert!(found.iter().all(|row| row.weight.to_bits() == 1.0_f32.to_bits()));
    }
}
