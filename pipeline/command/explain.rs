//! `qstill curate --explain`: the story of one solution, from its question to where it ended.

use anyhow::{Context, Result};
use datasets::table::{Dropped, VerdictRow};
use datasets::types::{Kept, Problem, Solution};
use serde_json::json;
use stages::curate::story::{Story, story};
use stages::events::Silent;

use crate::disk::layout::Stage;
use crate::run::rows::{Rounds, StageOutput, committed, train_shards};
use crate::run::session::Session;
use crate::stage::curate::{Judged, inputs, survey};
use crate::terminal::exit::Failure;
use crate::terminal::text;

/// Ids that are named where several begin alike.
const NAMED: usize = 4;

/// Prints the story of the solution whose id begins with `id`, in one round or in all.
///
/// # Errors
/// No solution or several with such an id; a round that is not verified; failed reads.
pub fn print(session: &Session, round: Option<u32>, id: &str, json: bool) -> Result<()> {
    let run = &session.workspace.run;
    let id = id.trim();
    let problems = committed(run, 0, Stage::Problems)?;
    let rounds = run.rounds()?.into_iter().filter(|r| round.is_none_or(|wanted| wanted == *r));
    let mut found: Vec<(u32, u32, String)> = Vec::new();
    for round in rounds {
        let search = committed(run, round, Stage::Search)?;
        for commit in &search.commits {
            let rows =
                search.shard::<Solution>(commit.shard)?.into_iter().filter(|s| s.solution_id.starts_with(id));
            found.extend(rows.map(|s| (round, commit.shard, s.solution_id)));
        }
    }
    let (round, shard, id) = match &found[..] {
        [one] if !id.is_empty() => one.clone(),
        [] => {
            let root = run.root().display();
            let place = round.map_or_else(|| format!("{root}"), |n| format!("round {n} of {root}"));
            return Err(Failure::input(
                format!("{place} has no solution whose id begins with `{id}`"),
                format!(
                    "ids are in the tables: `qstill inspect {root}/round-1/search/solutions`, or \
                         dropped and kept of round-1/curate"
                ),
            )
            .into());
        }
        _ => {
            let ids: Vec<&str> = found.iter().take(NAMED).map(|(_, _, id)| id.as_str()).collect();
            let more = if found.len() > NAMED { ", …" } else { "" };
            return Err(Failure::input(
                format!(
                    "{} solutions have an id that begins with `{id}`: {}{more}",
                    found.len(),
                    ids.join(", ")
                ),
                "give more of the id",
            )
            .into());
        }
    };
    let (search, verify) = (committed(run, round, Stage::Search)?, committed(run, round, Stage::Verify)?);
    let verdicts: Vec<VerdictRow> = verify.shard(shard)?;
    if verdicts.is_empty() {
        return Err(Failure::busy(
            format!("solution {id} of round {round} is not verified yet"),
            format!("`qstill stage verify {} --round {round}` does it", run.root().display()),
        )
        .into());
    }
    let solutions: Vec<Solution> = search.shard(shard)?;
    let problem_id =
        &solutions.iter().find(|s| s.solution_id == id).context("the solution is gone")?.problem_id;
    let of_problem =
        *train_shards(&problems).get(shard as usize).context("the shard of problems is not committed")?;
    let rows: Vec<Problem> = problems.shard(of_problem)?;
    let problem =
        rows.iter().find(|p| p.problem_id == *problem_id).context("the problem is not in its shard")?;
    let judged = Judged { problems: &problems, solutions: &search, verdicts: &verify };
    let context = survey(&inputs(session, &judged, &Rounds::default())?, &Silent)?;
    let told = story(problem, &solutions, &verdicts, &id, &context)?;
    let recorded = recorded(&committed(run, round, Stage::Curate)?, shard, &id)?;
    let text = if json {
        let mut value = serde_json::to_value(&told)?;
        value["recorded"] = json!(recorded);
        serde_json::to_string_pretty(&value)? + "\n"
    } else {
        shown(&told, recorded.as_deref())
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

/// What the committed tables say became of a solution; none if it is not curated.
fn recorded(curate: &StageOutput, shard: u32, id: &str) -> Result<Option<String>> {
    if curate.shard::<Kept>(shard)?.iter().any(|row| row.solution_id == id) {
        return Ok(Some("kept".into()));
    }
    Ok(curate.shard::<Dropped>(shard)?.into_iter().find(|row| row.solution_id == id).map(|row| row.reason))
}

fn shown(story: &Story, recorded: Option<&str>) -> String {
    let width = text::width();
    let line =
        |name: &str, text: &str| format!("{name:<10}{}\n", text::brief(text, width.saturating_sub(10)));
    let mut out = line(
        "solution",
        &format!("{}, round {}, {} over {}", story.solution_id, story.round, story.algorithm, story.policy),
    );
    out += &line("problem", &story.problem_id);
    out += &line("question", &story.question);
    out += &line("gold", &story.gold);
    out.push('\n');
    let steps = story.steps.iter().enumerate().map(|(i, step)| {
        let number = (i + 1).to_string();
        vec![
            number,
            step.check.to_owned(),
            text::brief(&step.text, width.saturating_sub(24)),
            text::brief(&step.faults.join("; "), 100),
        ]
    });
    out += &text::table(&["step", "check", "text", "faults"], &steps.collect::<Vec<_>>(), &[0]);
    out.push('\n');
    out += &line("answer", &story.final_answer);
    let reason = if story.verdict == story.verdict_reason {
        String::new()
    } else {
        format!(": {}", story.verdict_reason)
    };
    out += &line("verdict", &format!("{}{reason}", story.verdict));
    if !story.faults.is_empty() {
        out += &line("faults", &story.faults.join("; "));
    }
    out.push('\n');
    let rules = story.rules.iter();
    let rules = rules.map(|r| {
        vec![r.rule.to_owned(), r.outcome.to_owned(), text::brief(&r.measured, width.saturating_sub(28))]
    });
    out += &text::table(&["rule", "outcome", "measured"], &rules.collect::<Vec<_>>(), &[]);
    out.push('\n');
    let end = match (&story.weight, story.evidence.as_str()) {
        (Some(weight), _) => format!("kept, with weight {weight}"),
        (None, evidence) => format!("dropped as {}: {evidence}", story.end),
    };
    out += &line("ended", &end);
    if let Some(other) = &story.other {
        out += &line("see", &format!("solution {other}"));
    }
    let differs = match recorded {
        None => Some("not curated yet: this is what curate would do".to_owned()),
        Some(was) if was != story.end => {
            Some(format!("the tables say `{was}`: they were made under other settings or code"))
        }
        Some(_) => None,
    };
    out + &differs.map_or(String::new(), |text| line("note", &text))
}
