//! What every train problem cost and came to, in one pass over the tables, and which problems and solutions
//! the page shows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Result;
use datasets::table::{Dropped, NodeCost, VerdictRow};
use datasets::types::{Kept, Solution, Verdict};

use crate::command::show::sheet::Outputs;

/// What the kept ones are called among reasons.
pub const KEPT: &str = "kept";

/// A problem over all rounds.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub shard: u32,
    pub solutions: u32,
    pub correct: u32,
    pub nodes: u32,
    pub expansions: u32,
    /// Tokens that a model generated for it.
    pub tokens: u64,
    /// `kept`, and the reasons for which solutions of it were dropped.
    pub kinds: BTreeSet<String>,
}

/// Where a solution stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub solution_id: String,
    pub round: u32,
    pub shard: u32,
    pub problem_id: String,
}

/// The whole train split.
#[derive(Default)]
pub struct Accounts {
    pub problems: BTreeMap<String, Account>,
    /// Some solutions that were kept, or dropped for a reason: those with the lowest ids.
    pub samples: BTreeMap<String, BTreeSet<Place>>,
    /// By round, the number of problems with so many distinct correct solutions.
    pub distinct: BTreeMap<u32, BTreeMap<u32, u32>>,
    /// By reason, how many of the dropped solutions have the right answer.
    pub right_answers: BTreeMap<String, u32>,
}

impl Accounts {
    /// Problems to explore, at most `most`: in turn one of those that cost most, one of each kind, and one
    /// that is not solved. Ids are hashes, so in their order problems come as by chance.
    pub fn explored(&self, most: usize) -> Vec<&String> {
        let of_kind = |kind: &String| -> Vec<&String> {
            let of = self.problems.iter().filter(|(_, account)| account.kinds.contains(kind));
            of.map(|(id, _)| id).collect()
        };
        let mut lists = vec![self.dearest()];
        lists.extend(self.samples.keys().map(of_kind));
        let unsolved = self.problems.iter().filter(|(_, account)| account.correct == 0);
        lists.push(unsolved.map(|(id, _)| id).collect());
        lists.push(self.problems.keys().collect());
        let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
        let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
        for id in (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at).copied())) {
            if chosen.len() == most {
                break;
            }
            if seen.insert(id) {
                chosen.push(id);
            }
        }
        chosen
    }

    /// Ids by expansions and then nodes, most first.
    pub fn dearest(&self) -> Vec<&String> {
        let mut ids: Vec<(&String, &Account)> = self.problems.iter().collect();
        ids.sort_by_key(|(_, account)| std::cmp::Reverse((account.expansions, account.nodes)));
        ids.into_iter().map(|(id, _)| id).collect()
    }

    /// At most `samples` solutions of each kind are remembered.
    ///
    /// # Errors
    /// Failed reads.
    pub fn of(outputs: &[Outputs], samples: usize) -> Result<Self> {
        let mut all = Self::default();
        for output in outputs {
            for shard in output.search.commits.iter().map(|commit| commit.shard) {
                all.search(output, shard)?;
                all.curate(output, shard, samples)?;
            }
        }
        Ok(all)
    }

    fn problem(&mut self, id: String, shard: u32) -> &mut Account {
        self.problems.entry(id).or_insert_with(|| Account { shard, ..Account::default() })
    }

    fn search(&mut self, output: &Outputs, shard: u32) -> Result<()> {
        for node in output.search.shard::<NodeCost>(shard)? {
            let account = self.problem(node.problem_id, shard);
            account.nodes += 1;
            account.expansions += u32::from(node.expansion_order.is_some());
            account.tokens += u64::from(node.tokens);
        }
        for id in output.search.column::<Solution>(shard, "problem_id")? {
            self.problem(id, shard).solutions += 1;
        }
        Ok(())
    }

    fn curate(&mut self, output: &Outputs, shard: u32, samples: usize) -> Result<()> {
        let Outputs { round, verify, curate, .. } = output;
        let mut right: HashSet<String> = HashSet::new();
        let mut distinct: HashMap<String, u32> = HashMap::new();
        for VerdictRow { solution_id, problem_id, judgement, .. } in verify.shard(shard)? {
            let correct = judgement.verdict == Verdict::Correct;
            *distinct.entry(problem_id.clone()).or_default() += u32::from(correct);
            self.problem(problem_id, shard).correct += u32::from(correct);
            if correct {
                right.insert(solution_id);
            }
        }
        let ids = curate.column::<Kept>(shard, "solution_id")?;
        let kept = ids.into_iter().zip(curate.column::<Kept>(shard, "problem_id")?);
        let kept = kept.map(|(solution, problem)| (KEPT.to_owned(), solution, problem));
        let dropped: Vec<Dropped> = curate.shard(shard)?;
        for row in dropped.iter().filter(|row| right.contains(&row.solution_id)) {
            *self.right_answers.entry(row.reason.clone()).or_default() += 1;
            if row.reason == "duplicate"
                && let Some(count) = distinct.get_mut(&row.problem_id)
            {
                *count = count.saturating_sub(1);
            }
        }
        let dropped = dropped.into_iter().map(|row| (row.reason, row.solution_id, row.problem_id));
        for (kind, solution_id, problem_id) in kept.chain(dropped) {
            self.problem(problem_id.clone(), shard).kinds.insert(kind.clone());
            let places = self.samples.entry(kind).or_default();
            places.insert(Place { solution_id, round: *round, shard, problem_id });
            if places.len() > samples {
                places.pop_last();
            }
        }
        if curate.has(shard) {
            for count in distinct.into_values() {
                *self.distinct.entry(*round).or_default().entry(count).or_default() += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_is_explored() {
        let mut all = Accounts::default();
        for n in 0..40_u32 {
            let mut account = Account { expansions: n, correct: u32::from(n != 20), ..Account::default() };
            if n == 10 {
                account.kinds.insert("rare".into());
            }
            all.problems.insert(format!("{n:02}"), account);
        }
        all.samples.insert("rare".into(), BTreeSet::new());
        let few = all.explored(4);
        assert_eq!(few, ["39", "10", "20", "00"]);
        assert_eq!(all.explored(100).len(), 40);
    }
}
