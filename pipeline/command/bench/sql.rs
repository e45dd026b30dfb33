//! `qstill bench sql`: seconds that questions take on problems, solutions and verdicts of the size of a large
//! run. Each is asked three times of a new connection, and the best time counts: the files are then in
//! memory, as they are soon after a stage has written them.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use datasets::table::{Row, VerdictRow, heading, info};
use datasets::types::{Problem, Solution};
use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use super::solutions::{Made, make, path};
use crate::query::database::{Database, Heading, Taker};
use crate::query::source::{Column, Part, Source};
use crate::terminal::console::Console;

/// What is asked, by name.
const QUESTIONS: &[(&str, &str)] = &[
    ("count", "SELECT count(*) FROM solutions"),
    ("pass", "SELECT sum(tokens), max(seed) FROM solutions"),
    ("group", "SELECT verdict, reason, count(*) FROM verdicts GROUP BY 1, 2"),
    ("group_many", "SELECT problem_id, count(*) n FROM solutions GROUP BY 1 ORDER BY n DESC LIMIT 5"),
    (
        "join",
        "SELECT v.verdict, count(*), avg(s.tokens) FROM solutions s JOIN verdicts v USING (solution_id)
         GROUP BY 1",
    ),
    (
        "join_problems",
        "SELECT p.difficulty, sum(v.verdict = 'correct'), count(*) FROM problems p
         JOIN verdicts v USING (problem_id) GROUP BY 1",
    ),
    ("one", "SELECT count(*) FROM solutions WHERE problem_id = (SELECT min(problem_id) FROM problems)"),
    ("nested", "SELECT f.value->>'kind', count(*) FROM verdicts, json_each(faults) f GROUP BY 1"),
];

/// Makes about `solutions` solutions in a folder under `parent`, which is removed afterwards, and asks.
///
/// # Errors
/// Failed reads and writes.
pub fn bench(solutions: u64, parent: Option<&Path>, console: &Console) -> Result<Value> {
    let made = make(solutions, parent, console)?;
    let mut seconds = serde_json::Map::new();
    for (name, question) in QUESTIONS {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let sources =
                vec![source::<Problem>(&made)?, source::<Solution>(&made)?, source::<VerdictRow>(&made)?];
            let clock = Instant::now();
            Database::open(sources)?.ask(question, &mut Count(0))?;
            best = best.min(clock.elapsed().as_secs_f64());
        }
        seconds.insert((*name).to_owned(), json!(best));
    }
    Ok(json!({
        "solutions": source::<Solution>(&made)?.rows(), "problems": made.shards * made.size,
        "shards": made.shards, "bytes": made.bytes, "seconds": seconds,
        "peak_bytes": super::memory::peak(),
    }))
}

/// A table of what was made.
fn source<R: Row>(made: &Made) -> Result<Source> {
    let part = |shard| {
        let path = path::<R>(&made.folder.0, shard);
        Ok(Part { rows: heading(&path)?.rows, path, constants: Vec::new() })
    };
    Ok(Source {
        group: None,
        name: R::TABLE.to_owned(),
        about: String::new(),
        columns: R::schema().fields().iter().map(|field| Column::of(field)).collect(),
        parts: (0..made.shards).map(part).collect::<Result<_>>()?,
        info: info(R::TABLE),
    })
}

/// Looks at the rows of an answer.
struct Count(u64);

impl Taker for Count {
    fn begin(&mut self, _: &[Heading]) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, _: &[ValueRef<'_>]) -> Result<()> {
        self.0 += 1;
        Ok(())
    }
}
