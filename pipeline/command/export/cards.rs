//! The cards of a dataset and of a model: Markdown with a head of YAML, as the Hub reads them.
//!
//! Text of a run stands in YAML as JSON strings, which are YAML too, and in cells of tables without what
//! would end them.

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};

use super::facts::Facts;
use crate::stage::evaluation::shown_name;
use crate::terminal::text::{p_value, percent, thousands};

const DATASET: &str = include_str!("assets/dataset.md");
const MODEL: &str = include_str!("assets/model.md");

/// `README.md` of the dataset.
///
/// # Errors
/// A fault of the template.
pub fn dataset(facts: &Facts) -> Result<String> {
    fill(DATASET, facts)
}

/// `README.md` of the student.
///
/// # Errors
/// A fault of the template.
pub fn model(facts: &Facts) -> Result<String> {
    fill(MODEL, facts)
}

fn fill(template: &str, facts: &Facts) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let whole_lines = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(whole_lines.context("the card's syntax")?);
    environment.add_filter("percent", percent);
    environment.add_filter("thousands", thousands);
    environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}"));
    environment.add_filter("p_value", p_value);
    environment.add_filter("shown", |model: String| shown_name(&model).to_owned());
    environment.add_filter("cell", |text: String| cell(&text));
    let template = environment.template_from_str(template).context("the card's template")?;
    let facts = Value::from(Serde(facts));
    Ok(template.render(context! { facts }).context("failed to fill in the card")?.trim_end().to_owned()
        + "\n")
}

/// Text in a cell of a table: on one line, and without the bar that would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one() {
        assert_eq!(cell("a | b\nc <d>"), "a \\| b c &lt;d>");
    }
}
