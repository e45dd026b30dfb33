//! Values of the states that kept solutions go through: what `train.loss = "value"` weighs their steps by
//! ([`crate::train::losses::by_value`]).

use std::collections::HashMap;

use anyhow::Result;
use datasets::answer::{UNDO, read_marked};
use datasets::domains::Domains;
use datasets::types::{Kept, Problem};

use super::Trained;
use crate::events::Events;

/// For each row the values of the states before its first line, after each line, and with its answer. After
/// an `undo` that is the value of the state that it goes back to.
///
/// # Errors
/// Those of the model; a row of a problem that is not among those given.
pub fn of_kept(
    domains: &Domains,
    kept: &[Kept],
    (problems, model): (&[Problem], &mut Trained),
    events: &dyn Events,
) -> Result<Vec<Vec<f32>>> {
    let by_id: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
    // Problem by problem, so that a decoder reads what paths share once.
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|i| &kept[*i].problem_id);
    let mut out = vec![Vec::new(); kept.len()];
    events.expect(kept.len() as u64);
    for rows in order.chunk_by(|a, b| kept[*a].problem_id == kept[*b].problem_id) {
        events.check()?;
        let id = kept[rows[0]].problem_id.as_str();
        let Some(problem) = by_id.get(id) else {
            bail!("a kept row answers problem {id}, which is not in this run")
        };
        let paths: Vec<(Vec<String>, Option<String>)> =
            rows.iter().map(|i| path(&kept[*i].completion)).collect();
        let states: Vec<(Vec<String>, Option<&str>)> =
            paths.iter().flat_map(|(lines, answer)| states(lines, answer.as_deref())).collect();
        let states: Vec<(&[String], Option<&str>)> =
            states.iter().map(|(steps, answer)| (steps.as_slice(), *answer)).collect();
        let mut values = model.of(domains, problem, &states, events)?.into_iter();
        for (i, (steps, answer)) in rows.iter().zip(&paths) {
            out[*i] = values.by_ref().take(steps.len() + 1 + usize::from(answer.is_some())).collect();
        }
        events.advance(rows.len() as u64, 0, 0);
    }
    Ok(out)
}

/// The lines of a completion, and the answer if its last line says nothing else.
fn path(completion: &str) -> (Vec<String>, Option<String>) {
    let mut steps: Vec<String> = completion.lines().map(str::to_owned).collect();
    let last = read_marked(steps.last().map_or("", String::as_str));
    let answer = Some(last.answer).filter(|answer| !answer.is_empty() && last.lines.is_empty());
    if answer.is_some() {
        steps.pop();
    }
    (steps, answer)
}

/// The states that some lines go through: the steps that stand before the first, after each, and with the
/// answer.
fn states<'a>(lines: &[String], answer: Option<&'a str>) -> Vec<(Vec<String>, Option<&'a str>)> {
    let mut steps: Vec<String> = Vec::new();
    let mut out = vec![(steps.clone(), None)];
    for line in lines {
        if line == UNDO {
            steps.pop();
        } else {
            steps.push(line.clone());
        }
        out.push((steps.clone(), None));
    }
    out.extend(answer.map(|answer| (steps, Some(answer))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_lines_and_an_answer() {
        let (steps, answer) = path("1+2=3\n3*2=6\n#### 6");
        assert_eq!((steps.len(), answer.as_deref()), (2, Some("6")));
        let all = states(&steps, answer.as_deref());
        assert_eq!(
            all.iter().map(|(s, a)| (s.len(), a.is_some())).collect::<Vec<_>>(),
            [(0, false), (1, false), (2, false), (2, true)]
        );
        assert_eq!(states(&path("1+2=3").0, None).len(), 2);
        assert_eq!(path("1+2=3\nThe answer is \\boxed{3}.").1.as_deref(), Some("3"));
        assert_eq!(path("1+2 = \\boxed{3}"), (vec!["1+2 = \\boxed{3}".to_owned()], None));
        let (lines, answer) = path("1+1=2\n2+2=4\nundo\nundo\n1+2=3\n#### 3");
        let back: Vec<usize> =
            states(&lines, answer.as_deref()).iter().map(|(steps, _)| steps.len()).collect();
        assert_eq!(back, [0, 1, 2, 1, 0, 1, 1]);
    }
}
