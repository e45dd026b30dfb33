//! The rows of a table by the values of some columns, in memory: what a join looks up.

use super::cells::TextOrInt;
use super::pass::Held;

/// No row.
const NONE: u32 = u32::MAX;

/// Rows in chains of the same place in a table of hashes.
pub struct Index {
    batches: Vec<Held>,
    /// For each batch, how many rows stand before it.
    starts: Vec<u32>,
    columns: Vec<usize>,
    /// First row of each chain.
    heads: Vec<u32>,
    /// For each row, the next one of its chain.
    next: Vec<u32>,
    /// For each row, part of its hash: most rows of a chain that do not match are told apart by it.
    tags: Vec<u32>,
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    row: u32,
    pub batch: usize,
    pub at: usize,
}

impl Index {
    /// An index of all rows of the batches by some columns. Rows that lack one of their
    /// values are in no chain.
    pub fn of(batches: Vec<Held>, columns: Vec<usize>) -> Self {
        let mut starts = Vec::with_capacity(batches.len());
        let mut rows = 0usize;
        for batch in &batches {
            starts.push(rows as u32);
            rows += batch.rows;
        }
        let size = (2 * rows).next_power_of_two().max(2);
        let (mut heads, mut next, mut tags) = (vec![NONE; size], vec![NONE; rows], vec![0; rows]);
        // From the last to the first: a chain then has its rows in their order.
        for (batch, start) in batches.iter().zip(&starts).rev() {
            for at in (0..batch.rows).rev() {
                if let Some(hash) = hash(columns.iter().map(|column| batch.cells[*column].text_or_int(at))) {
                    let row = *start as usize + at;
                    let head = &mut heads[hash as usize & (size - 1)];
                    (next[row], tags[row]) = (*head, (hash >> 32) as u32);
                    *head = row as u32;
                }
            }
        }
        Self { batches, starts, columns, heads, next, tags }
    }

    pub fn batch(&self, place: Place) -> &Held {
        &self.batches[place.batch]
    }

    /// The first row with the values, in the order of the columns.
    pub fn first(&self, values: &[TextOrInt<'_>]) -> Option<Place> {
        let hash = hash(values.iter().map(|value| Some(*value)))?;
        let row = self.heads[hash as usize & (self.heads.len() - 1)];
        self.from(row, (hash >> 32) as u32, |nth| values.get(nth).copied())
    }

    /// The next row with the values of that row.
    pub fn after(&self, place: Place) -> Option<Place> {
        let cells = &self.batches[place.batch].cells;
        let row = place.row as usize;
        self.from(self.next[row], self.tags[row], |nth| cells[self.columns[nth]].text_or_int(place.at))
    }

    /// The first row of a chain from `row` on that has a value for each column.
    fn from<'a>(
        &self,
        mut row: u32,
        tag: u32,
        value: impl Fn(usize) -> Option<TextOrInt<'a>>,
    ) -> Option<Place> {
        while row != NONE {
            if self.tags[row as usize] == tag {
                let batch = self.starts.partition_point(|start| *start <= row) - 1;
                let at = (row - self.starts[batch]) as usize;
                let cells = &self.batches[batch].cells;
                let same = |(nth, column): (usize, &usize)| cells[*column].text_or_int(at) == value(nth);
                if self.columns.iter().enumerate().all(same) {
                    return Some(Place { row, batch, at });
                }
            }
            row = self.next[row as usize];
        }
        None
    }
}

/// A hash of some values; None if one is missing. Keys are ids and small numbers that nobody chose to
/// collide, and what does is told apart by its cells.
fn hash<'a>(values: impl Iterator<Item = Option<TextOrInt<'a>>>) -> Option<u64> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0u64;
    let mut add = |word: u64| hash = (hash.rotate_left(23) ^ word).wrapping_mul(ODD);
    for value in values {
        match value? {
            TextOrInt::Int(int) => add(int as u64),
            TextOrInt::Text(text) => {
                let (words, rest) = text.as_bytes().as_chunks::<8>();
                for word in words {
                    add(u64::from_le_bytes(*word));
                }
                for byte in rest {
                    add((*byte).into());
                }
                add(text.len() as u64);
            }
        }
    }
    Some((hash ^ hash >> 32).wrapping_mul(ODD) ^ hash >> 29)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_that_follow_each_other_spread() {
        let of = |at: u64| {
            let id = format!("{at:016x}");
            hash([Some(TextOrInt::Text(&id)), Some(TextOrInt::Int(at as i64 % 3))].into_iter())
        };
        let all: Vec<u64> = (0..4096).filter_map(of).collect();
        let slots: HashSet<u64> = all.iter().map(|hash| hash % 8192).collect();
        let tags: HashSet<u64> = all.iter().map(|hash| hash >> 32).collect();
        // Of 4,096 random ones, 3,223 places are expected.
        assert!(slots.len() > 3000 && tags.len() > 4000, "{} {}", slots.len(), tags.len());
        assert_eq!(hash([Some(TextOrInt::Int(1)), None].into_iter()), None);
    }
}
