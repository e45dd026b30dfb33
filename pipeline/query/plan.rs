//! What of a statement is left to the files: which columns are read, which rows are passed over, and which
//! column rows are looked up by.

use datasets::table::Key;
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};

use super::cells::{Sought, sought};
use super::source::{Kind, Source};

/// How a statement reads a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// For each column, whether it is needed.
    pub wanted: Vec<bool>,
    /// Columns that have a value that the statement names.
    pub fixed: Vec<(usize, Key)>,
    /// Columns that are compared with values which are known only as the statement runs, as in a join.
    pub probes: Vec<usize>,
}

/// Most columns that rows are looked up by; SQLite compares the others.
pub const MOST_PROBES: usize = 6;

/// Finds a plan for what SQLite asks, and tells SQLite what it costs.
///
/// # Errors
/// A fault of SQLite.
pub fn plan(source: &Source, info: &mut IndexInfo) -> rusqlite::Result<Plan> {
    // The last of SQLite's 64 bits stands for all columns from there on.
    let used = info.col_used();
    let wanted = (0..source.columns.len()).map(|column| used >> column.min(63) & 1 == 1).collect();
    let mut plan = Plan { wanted, fixed: Vec::new(), probes: Vec::new() };
    let mut places = Vec::new();
    let equal: Vec<(usize, usize)> = info
        .constraints()
        .enumerate()
        .filter(|(_, one)| one.is_usable() && one.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ)
        .filter_map(|(at, one)| Some((at, usize::try_from(one.column()).ok()?)))
        .collect();
    for (at, column) in equal {
        let kind = source.columns[column].kind;
        if !source.columns[column].searchable() || info.collation(at)? != "BINARY" {
            continue;
        }
        match info.rhs_value(at)? {
            Some(value) => {
                if let Sought::Value(found) = sought(value, kind) {
                    plan.fixed.push((column, found.owned()));
                }
            }
            None if plan.probes.len() < MOST_PROBES && !plan.probes.contains(&column) => {
                plan.probes.push(column);
                places.push(at);
            }
            None => {}
        }
    }
    let mut rows = left(source, &plan.fixed);
    let columns = plan.wanted.iter().filter(|wanted| **wanted).count() as f64;
    let mut cost = rows * (1.0 + 0.2 * columns);
    for (column, _) in &plan.fixed {
        if source.columns[*column].field.is_some() {
            rows = rows.min(hits(source, *column));
        }
    }
    if !plan.probes.is_empty() {
        for (nth, (column, at)) in plan.probes.iter().zip(&places).enumerate() {
            plan.wanted[*column] = true;
            info.constraint_usage(*at).set_argv_index(nth as i32 + 1);
            rows *= hits(source, *column) / (source.rows() as f64).max(1.0);
        }
        // A table is read whole before the third look: rather the small one than the large one.
        cost = 4.0 + rows + (1.0 + cost).log2();
    }
    info.set_estimated_cost(cost.max(1.0));
    info.set_estimated_rows(rows.max(1.0) as i64);
    Ok(plan)
}

/// Rows of the parts that have the fixed values.
fn left(source: &Source, fixed: &[(usize, Key)]) -> f64 {
    let has = |part: &&super::source::Part| {
        fixed.iter().all(|(column, key)| {
            part.constants.get(*column).is_none_or(|constant| constant.as_ref() == Some(key))
        })
    };
    source.parts.iter().filter(has).map(|part| part.rows).sum::<u64>() as f64
}

/// Guess of how many rows share a value of a column.
fn hits(source: &Source, column: usize) -> f64 {
    let (column, rows) = (&source.columns[column], source.rows() as f64);
    let guess = match (&column.field, column.name.as_str()) {
        (None, _) => rows / 2.0,
        (_, "solution_id") => 1.0,
        (_, "problem_id") if source.name == "problems" => 1.0,
        (_, name) if name.ends_with("_id") && column.kind == Kind::Text => (rows / 1000.0).clamp(2.0, 50.0),
        _ => rows / 20.0,
    };
    guess.max(1.0)
}
