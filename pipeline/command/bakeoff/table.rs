//! Contests as a table.

use serde_json::Value;
use stages::search::Goal;

use crate::terminal::text::{self, interval, percent};

/// Searches and budgets as an aligned table.
pub fn contests(lines: &[Value], unit: &str, goal: Goal) -> String {
    let chosen = goal == Goal::Chosen;
    let mut headers = vec![unit, "search", "solved", "share", "95% interval"];
    if chosen {
        headers.extend(["majority", "weighted", "best"]);
    }
    headers.extend([
        "distinct",
        "cost",
        "95% interval",
        "GFLOP policy",
        "value",
        "s/solved",
        "steps",
        "shortest",
    ]);
    let number = |value: &Value| {
        value
            .as_f64()
            .map_or("-".to_owned(), |x| if x.abs() < 10.0 { format!("{x:.2}") } else { format!("{x:.1}") })
    };
    let small = |value: &Value| {
        value.as_f64().map_or("-".to_owned(), |x| {
            if x > 0.0 && x < 0.0995 { format!("{x:.0e}") } else { format!("{x:.2}") }
        })
    };
    let share = |value: &Value| value.as_f64().map_or("-".to_owned(), percent);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|l| {
            let range = |low: &str, high: &str| {
                interval(l[low].as_f64().unwrap_or(0.0), l[high].as_f64().unwrap_or(1.0))
            };
            let mut cells = vec![
                l["budget"].to_string(),
                l["search"].as_str().unwrap_or("?").to_owned(),
                format!("{}/{}", l["solved"], l["problems"]),
                share(&l["share"]),
                range("low", "high"),
            ];
            if chosen {
                cells.extend([share(&l["majority"]), share(&l["weighted"]), share(&l["best"])]);
            }
            cells.extend([
                number(&l["distinct"]),
                number(&l["cost_per_solved"]),
                format!("{} to {}", number(&l["cost_low"]), number(&l["cost_high"])),
                small(&l["policy_gflop_per_solved"]),
                small(&l["value_gflop_per_solved"]),
                small(&l["seconds_per_solved"]),
                number(&l["shortest"]),
                share(&l["optimal"]),
            ]);
            cells
        })
        .collect();
    let right: Vec<usize> = (0..headers.len()).filter(|i| *i != 1).collect();
    text::table(&headers, &rows, &right)
}
