//! The sheet of a problem as text.

use std::collections::BTreeMap;

use super::sheet::{AnswerSheet, FateSheet, RoundSheet, Sheet, SolutionSheet};
use super::tree;
use crate::terminal::look::Look;
use crate::terminal::text::{brief, plural};

/// How much is shown; 0 for all.
#[derive(Clone, Copy)]
pub struct Limits {
    pub nodes: usize,
    pub solutions: usize,
}

/// All of it, or of its solutions `only` one.
pub fn text(sheet: &Sheet, (limits, only): (Limits, Option<&str>), look: Look) -> String {
    let mut page = Page { look, lines: Vec::new() };
    let number = sheet.number;
    page.lines.push(look.bold(&format!("problem {} (number {number})", sheet.problem_id)));
    let difficulty = if sheet.difficulty > 0 {
        format!(", {}", plural(sheet.difficulty.into(), "operation"))
    } else {
        String::new()
    };
    page.field("split", &format!("{}; {} from {}{difficulty}", sheet.split, sheet.domain, sheet.source));
    page.prose("question", &sheet.question);
    page.field("answer", &sheet.answer);
    for round in &sheet.rounds {
        match only {
            None => page.round(round, limits),
            Some(only) => {
                page.heading(&format!("round {}", round.round));
                let of_id = |solution: &&SolutionSheet| solution.solution_id == only;
                round.solutions.iter().filter(of_id).for_each(|solution| page.solution(solution, round));
            }
        }
    }
    if only.is_none() {
        page.answers(sheet);
    }
    page.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

struct Page {
    look: Look,
    lines: Vec<String>,
}

impl Page {
    fn heading(&mut self, text: &str) {
        self.lines.push(String::new());
        self.lines.push(self.look.bold(text));
    }

    fn field(&mut self, name: &str, text: &str) {
        let room = self.look.width.saturating_sub(12);
        self.lines.push(format!("  {}{}", self.look.dim(&format!("{name:<10}")), brief(text, room)));
    }

    /// A text of several lines, the long ones cut at blanks.
    fn prose(&mut self, name: &str, text: &str) {
        let room = self.look.width.saturating_sub(12);
        let mut name = name;
        for line in text.lines() {
            for part in wrapped(line, room) {
                self.field(name, &part);
                name = "";
            }
        }
    }

    fn round(&mut self, round: &RoundSheet, limits: Limits) {
        let number = round.round;
        if !round.searched {
            self.heading(&format!("round {number}: not searched yet"));
            return;
        }
        let (trees, solutions) = (round.trees.len() as u64, round.solutions.len() as u64);
        self.heading(&format!(
            "round {number}: {} and {}",
            plural(trees, "search tree"),
            plural(solutions, "solution")
        ));
        for tree in &round.trees {
            let nodes = plural(tree.nodes.len() as u64, "node");
            self.lines.push(format!(
                "  {} {}",
                self.look.bold(&format!("tree {}", tree.tree_id)),
                self.look.dim(&nodes)
            ));
            let look = Look { width: self.look.width.saturating_sub(2), ..self.look };
            self.lines
                .extend(tree::lines(&tree.nodes, limits.nodes, look).iter().map(|line| format!("  {line}")));
        }
        let mut order: Vec<&SolutionSheet> = round.solutions.iter().collect();
        order.sort_by_key(|solution| rank(solution));
        let most = if limits.solutions == 0 { order.len() } else { limits.solutions.min(order.len()) };
        for solution in &order[..most] {
            self.solution(solution, round);
        }
        let mut rest: BTreeMap<String, usize> = BTreeMap::new();
        for solution in &order[most..] {
            let fate = match &solution.fate {
                FateSheet::Kept { .. } => "kept",
                FateSheet::Dropped { reason, .. } => reason,
                FateSheet::NotCurated => solution.verdict.unwrap_or("not verified"),
            };
            *rest.entry(fate.to_owned()).or_default() += 1;
        }
        if !rest.is_empty() {
            let parts: Vec<String> = rest.iter().map(|(fate, count)| format!("{count} {fate}")).collect();
            let text = format!(
                "  … {} more solutions: {} (--solutions 0 shows all)",
                order.len() - most,
                parts.join(", ")
            );
            self.lines.push(self.look.dim(&text));
        }
    }

    fn solution(&mut self, solution: &SolutionSheet, round: &RoundSheet) {
        let look = self.look;
        let verdict = match solution.verdict {
            None if round.verified => "without a verdict".to_owned(),
            None => "not verified yet".to_owned(),
            Some(verdict) if verdict == solution.verdict_reason => verdict.to_owned(),
            Some(verdict) => format!("{verdict} ({})", solution.verdict_reason),
        };
        let verdict = match solution.verdict {
            Some("correct") => look.green(&verdict),
            Some("wrong") => look.red(&verdict),
            _ => verdict,
        };
        let fate = match &solution.fate {
            FateSheet::NotCurated if round.curated => "neither kept nor dropped".to_owned(),
            FateSheet::NotCurated => "not curated yet".to_owned(),
            FateSheet::Kept { weight, retired: None } => look.green(&format!("kept, weight {weight:.2}")),
            FateSheet::Kept { weight, retired: Some((by, reason, evidence)) } => {
                let evidence = brief(evidence, 80);
                format!("kept, weight {weight:.2}; retired in round {by} as {reason}: {evidence}")
            }
            FateSheet::Dropped { reason, evidence } => {
                look.red(&format!("dropped as {reason}: {}", brief(evidence, 80)))
            }
        };
        let id = look.bold(&format!("solution {}", solution.solution_id));
        let by = format!(
            "{} over {}, {}",
            solution.algorithm,
            solution.policy,
            plural(solution.tokens.into(), "token")
        );
        self.lines.push(String::new());
        self.lines.push(format!("  {id} {}", look.dim(&by)));
        self.lines.push(format!("    {verdict}; {fate}"));
        if !solution.thought.is_empty() {
            let room = look.width.saturating_sub(14);
            self.lines.push(look.dim(&format!("    thought: {}", brief(&solution.thought, room))));
        }
        for step in &solution.steps {
            let mut figures = Vec::new();
            figures.extend(step.value.map(|value| format!("value {value:.2}")));
            figures.extend(step.logprob.map(|logprob| format!("log p {logprob:.2}")));
            figures.extend(step.faults.iter().map(|fault| brief(fault, 60)));
            let check = format!("{:<10}", step.check);
            let check = if step.check == "false" { look.red(&check) } else { look.dim(&check) };
            let figures = figures.join(", ");
            let room = look.width.saturating_sub(18 + figures.chars().count()).max(20);
            let tail = if figures.is_empty() { String::new() } else { look.dim(&format!("  {figures}")) };
            self.lines.push(format!("    {check} {}{tail}", brief(&step.text, room)));
        }
        let end = if solution.end == "complete" { String::new() } else { format!(" ({})", solution.end) };
        let answer = if solution.final_answer.is_empty() { "none" } else { &solution.final_answer };
        let room = look.width.saturating_sub(40).max(20);
        self.lines.push(format!(
            "    {} {}{end}",
            look.dim(&format!("{:<10}", "answer")),
            brief(answer, room)
        ));
        for fault in &solution.faults {
            self.lines.push(look.red(&format!("    {}", brief(fault, look.width.saturating_sub(4)))));
        }
    }

    fn answers(&mut self, sheet: &Sheet) {
        self.heading("answers of measured models");
        if sheet.answers.is_empty() {
            let why = if sheet.split == "train" {
                "none: models are measured on held-out problems, and this one is for training"
            } else {
                "none yet, or it is not among the problems that were asked"
            };
            self.lines.push(format!("  {why}"));
        }
        // Of a model its greedy answer, and how many of its samples are right.
        let mut of: BTreeMap<(u32, &str, &str), Vec<&AnswerSheet>> = BTreeMap::new();
        for answer in &sheet.answers {
            of.entry((answer.round, answer.stage, &answer.model)).or_default().push(answer);
        }
        for ((round, stage, model), answers) in of {
            let samples: Vec<&&AnswerSheet> = answers.iter().filter(|answer| answer.sample > 0).collect();
            let right = samples.iter().filter(|answer| answer.correct).count();
            let of_samples = match samples.len() {
                0 => String::new(),
                count => format!("; {right} of {} right", plural(count as u64, "sample")),
            };
            let Some(first) = answers.iter().find(|answer| answer.sample == 0) else { continue };
            let verdict = if first.correct { self.look.green("right") } else { self.look.red("wrong") };
            let reason =
                if first.reason == "correct" { String::new() } else { format!(" ({})", first.reason) };
            let name = self.look.bold(&format!("round {round} {stage}, {}", shown_name(model)));
            let cost = match first.expansions {
                0 => plural(first.tokens.into(), "token"),
                some => {
                    format!("{}, {}", plural(first.tokens.into(), "token"), plural(some.into(), "expansion"))
                }
            };
            self.lines.push(format!("  {name}: {verdict}{reason}, {cost}{of_samples}"));
            let room = self.look.width.saturating_sub(4);
            self.lines.extend(first.completion.lines().map(|line| format!("    {}", brief(line, room))));
        }
    }
}

/// A line as lines of at most `width` characters, cut at blanks; a longer word is a line of its own.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace() {
        let last = lines
            .last_mut()
            .filter(|last| last.is_empty() || last.chars().count() + 1 + word.chars().count() <= width);
        match last {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) => {
                last.push(' ');
                last.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Kept ones first, then right ones, then the rest.
fn rank(solution: &SolutionSheet) -> u8 {
    match (&solution.fate, solution.verdict) {
        (FateSheet::Kept { .. }, _) => 0,
        (_, Some("correct")) => 1,
        _ => 2,
    }
}

/// What tables call a model.
fn shown_name(model: &str) -> &str {
    if model == "teacher" { "search*" } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_at_blanks() {
        assert_eq!(wrapped("How many are there in all?", 12), ["How many are", "there in", "all?"]);
        assert_eq!(wrapped("a incomprehensibilities b", 8), ["a", "incomprehensibilities", "b"]);
        assert_eq!(wrapped("", 8), [""]);
    }
}
