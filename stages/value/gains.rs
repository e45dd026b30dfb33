//! Values of the states that kept solutions go through: what `train.loss = "value"` weighs their steps by
//! ([`crate::train::losses::by_value`]).

use std::collections::HashMap;

use anyhow::Result;
use datasets::types::{Kept, Problem};

use super::Trained;
use crate::events::Events;

/// For each row the values of the states before its first line, after each step, and with its answer, by its lines.
///
/// # Errors
/// Those of the model; a row of a problem that is not among those given.
pub fn of_kept(kept: &[Kept], problems: &[Problem], model: &mut Trained, events: &dyn Events) -> Result<Vec<Vec<f32>>> {
    let by_id: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
    // Problem by problem, so that a decoder reads what paths share once.
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|i| &kept[*i].problem_id);
    let mut out = vec![Vec::new(); kept.len()];
    events.expect(kept.len() as u64);
    for rows in order.chunk_by(|a, b| kept[*a].problem_id == kept[*b].problem_id) {
        events.check()?;
        let id = kept[rows[0]].problem_id.as_str();
        let Some(problem) = by_id.get(id) else { bail!("a kept row answers problem {id}, which is none of the run's") };
        let paths: Vec<(Vec<String>, Option<String>)> = rows.iter().map(|i| path(&kept[*i].completion)).collect();
        let states: Vec<(&[String], Option<&str>)> = paths.iter().flat_map(|(steps, answer)| states(steps, answer.as_deref())).collect();
        let mut values = model.of(problem, &states, events)?.into_iter();
        for (i, (steps, answer)) in rows.iter().zip(&paths) {
            out[*i] = values.by_ref().take(steps.len() + 1 + usize::from(answer.is_some())).collect();
        }
        events.advance(rows.len() as u64, 0, 0);
    }
    Ok(out)
}

/// The lines of a completion as steps, and the answer that its last line says.
fn path(completion: &str) -> (Vec<String>, Option<String>) {
    let mut steps: Vec<String> = completion.lines().map(str::to_owned).collect();
    let answer = steps.last().and_then(|last| last.strip_prefix("####")).map(|answer| answer.trim().to_owned());
    if answer.is_some() {
        steps.pop();
    }
    (steps, answer)
}

/// The states that a path goes through.
fn states<'a>(steps: &'a [String], answer: Option<&'a str>) -> Vec<(&'a [String], Option<&'a str>)> {
    let with_answer = answer.map(|answer| (steps, Some(answer)));
    (0..=steps.len()).map(|k| (&steps[..k], None)).chain(with_answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_lines_and_an_answer() {
        let (steps, answer) = path("1+2=3\n3*2=6\n#### 6");
        assert_eq!((steps.len(), answer.as_deref()), (2, Some("6")));
        let all = states(&steps, answer.as_deref());
        assert_eq!(all.iter().map(|(s, a)| (s.len(), a.is_some())).collect::<Vec<_>>(), [(0, false), (1, false), (2, false), (2, true)]);
        assert_eq!(states(&path("1+2=3").0, None).len(), 2);
    }
}
