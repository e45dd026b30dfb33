//! Facts to HTML.
//!
//! Text goes through the template, which escapes it, or as JSON into blocks of data that scripts read, where
//! no `<` stands as itself: nothing of a run can end the block or be taken for markup. A policy in the page
//! forbids it to load anything, and to run scripts other than its own.

use anyhow::{Context, Result};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::facts::Facts;
use crate::terminal::text::{percent, thousands};

/// Scripts, in the order in which they run: each is a part of one function.
const SCRIPTS: [(&str, &str); 5] = [
    ("dom.js", include_str!("assets/dom.js")),
    ("plot.js", include_str!("assets/plot.js")),
    ("curves.js", include_str!("assets/curves.js")),
    ("tree.js", include_str!("assets/tree.js")),
    ("explorer.js", include_str!("assets/explorer.js")),
];
const STYLE: &str = include_str!("assets/style.css");
const TEMPLATE: &str = include_str!("assets/page.html");

/// The page.
///
/// # Errors
/// A fault of the template.
pub fn html(facts: &Facts) -> Result<String> {
    let data = json(facts)?;
    let scripts: String = SCRIPTS.iter().map(|(name, text)| format!("// {name}\n{text}\n")).collect();
    // A script of a run's data would have to contain its own hash.
    let nonce: String = Sha256::digest(&data).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("percent", percent);
    environment.add_filter("thousands", thousands);
    environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}"));
    let safe = |text: &str| Value::from_safe_string(text.to_owned());
    let blocks = facts.explorer.blocks.iter();
    let blocks: String = blocks.map(|(id, block)| tree_block(id, block)).collect();
    let (style, scripts, data, trees) = (safe(STYLE), safe(&scripts), safe(&data), safe(&blocks));
    let page = environment.template_from_str(TEMPLATE).context("the page's template")?;
    let facts = Value::from(Serde(facts));
    page.render(context! { facts, style, scripts, data, trees, nonce }).context("failed to fill in the page")
}

/// A problem's trees, which are read only when they are looked at. Ids are hexadecimal digits.
fn tree_block(id: &str, block: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("<script type=\"application/json\" id=\"tree-{id}\">{}</script>\n", inert(block))
}

/// JSON that may stand in a `<script>` block.
fn json(data: &impl Serialize) -> Result<String> {
    Ok(inert(&serde_json::to_string(data)?))
}

/// JSON without any `<`, which it has in texts only.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_block() -> Result<()> {
        let text = "</script><!--<script>";
        let json = json(&[text])?;
        assert!(!json.contains('<'), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json)?, [text]);
        Ok(())
    }

    #[test]
    fn what_is_included_is_no_markup() {
        for (name, text) in SCRIPTS {
            assert!(!text.contains("</") && !text.contains("<!--"), "{name} would end its block");
        }
        assert!(!STYLE.contains('<'));
    }
}
