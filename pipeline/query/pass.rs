//! One pass over the files of a table: the needed columns, a batch in memory at a time. Parts and row groups
//! that a value rules out are passed over.

use std::rc::Rc;
use std::sync::Arc;

use datasets::table::{Batches, Key, TableError};

use super::cells::Cells;
use super::plan::Plan;
use super::source::Source;

/// Decoded rows.
pub struct Held {
    /// For each column of the table.
    pub cells: Vec<Cells>,
    pub rows: usize,
    part: usize,
    /// Numbers of the rows within their file; they follow each other where there are none.
    numbers: Option<Vec<u32>>,
    first: u32,
}

impl Held {
    /// The number of the part and, in the lower half, that of a row within it.
    pub fn number(&self, at: usize) -> i64 {
        let row = self.numbers.as_ref().map_or(self.first + at as u32, |numbers| numbers[at]);
        (self.part as i64) << 32 | i64::from(row)
    }
}

/// One pass over a table.
pub struct Pass {
    source: Arc<Source>,
    plan: Rc<Plan>,
    /// Values that rows must have, beside those of the plan.
    keys: Vec<(usize, Key)>,
    /// The part that is read next.
    next: usize,
    reading: Option<Batches>,
}

impl Pass {
    pub fn of(source: &Arc<Source>, plan: Rc<Plan>, keys: Vec<(usize, Key)>) -> Self {
        Self { source: source.clone(), plan, keys, next: 0, reading: None }
    }

    /// The next rows; None at the end.
    ///
    /// # Errors
    /// Files that are no such table, or are damaged.
    pub fn batch(&mut self) -> Result<Option<Held>, TableError> {
        let constants = self.source.constants();
        loop {
            if let Some(batches) = &mut self.reading {
                if let Some(batch) = batches.next() {
                    let batch = batch?;
                    if batch.columns.num_rows() == 0 {
                        continue;
                    }
                    let part = self.next - 1;
                    let cells = (0..self.source.columns.len()).map(|column| {
                        if column < constants {
                            return Cells::Constant(self.source.parts[part].constants[column].clone());
                        }
                        let slot = batches.slot(column - constants);
                        slot.map_or(Cells::Absent, |slot| Cells::of(batch.columns.column(slot)))
                    });
                    return Ok(Some(Held {
                        cells: cells.collect(),
                        rows: batch.columns.num_rows(),
                        part,
                        numbers: batch.numbers,
                        first: batch.first,
                    }));
                }
                self.reading = None;
            }
            let Some(part) = self.source.parts.get(self.next) else { return Ok(None) };
            self.next += 1;
            let equal: Vec<&(usize, Key)> = self.plan.fixed.iter().chain(&self.keys).collect();
            let differs = |(column, key): &&(usize, Key)| {
                part.constants.get(*column).is_some_and(|constant| constant.as_ref() != Some(key))
            };
            if part.rows == 0 || equal.iter().copied().any(|one| differs(&one)) {
                continue;
            }
            let in_file: Vec<(usize, Key)> = equal
                .into_iter()
                .filter(|(column, _)| *column >= constants)
                .map(|(column, key)| (column - constants, key.clone()))
                .collect();
            let wanted: Vec<usize> = (constants..self.source.columns.len())
                .filter(|c| self.plan.wanted[*c])
                .map(|c| c - constants)
                .collect();
            self.reading = Some(self.source.open(part)?.batches(&wanted, &in_file)?);
        }
    }
}
