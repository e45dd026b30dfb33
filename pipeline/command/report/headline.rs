//! The run in a few words and figures.

use serde::Serialize;

use super::rounds::RoundFacts;
use crate::stage::evaluation::Results;
use crate::terminal::text::{interval, p_value, percent, thousands};

/// What stands at the top of the page.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Headline {
    /// One sentence, then those that explain it.
    pub title: String,
    pub text: Vec<String>,
    pub figures: Vec<Figure>,
}

/// A figure with its name.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: String,
    pub note: String,
}

impl Headline {
    pub fn of(rounds: &[RoundFacts], results: Option<&Results>) -> Self {
        let mut headline = Self::default();
        headline.measured(results);
        headline.searched(rounds);
        headline
    }

    /// What was measured on held-out problems.
    fn measured(&mut self, results: Option<&Results>) {
        let last = |model: &str| results.and_then(|results| results.last(model));
        let Some(student) = last("student") else {
            self.title = "No student is measured yet.".into();
            return;
        };
        let Some(results) = results else { return };
        let of = format!("{} of {} {} problems", student.solved, student.problems, student.split);
        self.title = match last("base") {
            Some(base) => format!(
                "The student solves {} of held-out problems; the model it started from solved {}.",
                percent(student.pass_at_1),
                percent(base.pass_at_1)
            ),
            None => format!("The student solves {} of held-out problems.", percent(student.pass_at_1)),
        };
        self.figures.push(Figure {
            name: "student, one greedy answer",
            value: percent(student.pass_at_1),
            note: format!("{of}; 95% interval {}", interval(student.ci_low, student.ci_high)),
        });
        if let Some(base) = last("base") {
            self.figures.push(Figure {
                name: "base, before training",
                value: percent(base.pass_at_1),
                note: format!(
                    "{} of {}; 95% interval {}",
                    base.solved,
                    base.problems,
                    interval(base.ci_low, base.ci_high)
                ),
            });
        }
        if let Some(test) = results.student_against_base.iter().rfind(|test| test.round == student.round) {
            let proof = if test.mcnemar_p < 0.05 { "" } else { ", which is no proof of a difference" };
            self.text.push(format!(
                "It solves {} problems that the base does not, and loses {}{proof} (exact McNemar p = {}).",
                test.won,
                test.lost,
                p_value(test.mcnemar_p)
            ));
        }
        let costs = |model: &str| last(model).and_then(|row| row.tokens_per_solved);
        if let Some(student) = costs("student") {
            let mut note = "tokens of greedy answers, over the problems they solve".to_owned();
            if let Some(search) = costs("teacher") {
                note = format!("search* spends {} per solved problem", tokens(search));
                self.text.push(format!(
                    "Per solved problem it writes {} tokens where search* writes {}: {:.1} times as many.",
                    tokens(student),
                    tokens(search),
                    search / student
                ));
            }
            let name = "tokens per solved problem";
            self.figures.push(Figure { name, value: tokens(student), note });
        }
    }

    /// What search and curation gave.
    fn searched(&mut self, rounds: &[RoundFacts]) {
        let sum = |of: &str| {
            let counts = rounds.iter().flat_map(|round| &round.funnel).filter(|count| count.name == of);
            counts.map(|count| count.count).sum::<i64>()
        };
        let (solutions, kept) = (sum("solutions"), sum("kept"));
        if solutions == 0 {
            return;
        }
        let rounds = match rounds.len() {
            1 => "one round".to_owned(),
            n => format!("{n} rounds"),
        };
        self.text.push(format!(
            "In {rounds}, the search found {} solutions, and curation kept {} of them as training rows.",
            thousands(solutions),
            thousands(kept)
        ));
        self.figures.push(Figure {
            name: "training rows kept",
            value: thousands(kept),
            note: format!("of {} solutions, in {rounds}", thousands(solutions)),
        });
    }
}

/// A mean number of tokens.
fn tokens(mean: f64) -> String {
    if mean < 100.0 { format!("{mean:.1}") } else { thousands(mean.round() as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_numbers_of_tokens() {
        assert_eq!((tokens(54.155), tokens(1649.7)), ("54.2".to_owned(), "1,650".to_owned()));
    }

    #[test]
    fn a_run_without_results_says_so() {
        let headline = Headline::of(&[], None);
        assert!(headline.title.contains("measured yet") && headline.figures.is_empty());
    }
}
