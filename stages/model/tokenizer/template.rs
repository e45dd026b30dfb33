//! Chat templates, rendered as `transformers` renders them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chrono::NaiveDate;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};
use serde_json::Value;

use crate::model::ModelError;
use crate::policy::Message;

/// A special token by the name that templates know it by.
pub type Special = (&'static str, String);

/// The Jinja source of a chat template; empty if a model has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub String);

impl Template {
    /// `chat_template.jinja` of a model directory, else what its `tokenizer_config.json` says.
    ///
    /// # Errors
    /// Names the file that is not UTF-8 or cannot be read, or the templates of which none is `default`.
    pub fn read(dir: &Path, settings: &Value) -> Result<Self, ModelError> {
        let path = dir.join("chat_template.jinja");
        match fs::read(&path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())),
                Err(error) => {
                    let what = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
                    Err(ModelError::Tokenizer { path, what })
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let path = dir.join("tokenizer_config.json");
                Self::of(settings).map_err(|what| ModelError::Tokenizer { path, what })
            }
            Err(error) => Err(ModelError::io(&path, error)),
        }
    }

    /// `chat_template` of a `tokenizer_config.json`: a text, or several by name, of which `default` counts.
    ///
    /// # Errors
    /// If it is neither, or none of several is `default`.
    pub fn of(settings: &Value) -> Result<Self, String> {
        let named: Vec<(&str, &Value)> = match &settings["chat_template"] {
            Value::Null => return Ok(Self::default()),
            Value::String(text) => return Ok(Self(text.clone())),
            Value::Array(all) => {
                all.iter().map(|one| (one["name"].as_str().unwrap_or(""), &one["template"])).collect()
            }
            Value::Object(all) => all.iter().map(|(name, template)| (name.as_str(), template)).collect(),
            other => return Err(format!("`chat_template` must be a text or named texts, found {other}")),
        };
        match named.iter().find(|(name, _)| *name == "default") {
            Some((_, Value::String(text))) => Ok(Self(text.clone())),
            Some((_, other)) => Err(format!("chat template `default` must be a text, found {other}")),
            None => {
                let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
                Err(format!("has the chat templates {}, but none is named `default`", names.join(", ")))
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of some turns, and of the begin of the model's next one with `next`. Without a template:
    /// turns followed by blank lines. `special` are the tokens that templates know by name.
    ///
    /// # Errors
    /// If the template does not render.
    pub fn render(
        &self,
        messages: &[Message],
        next: bool,
        special: &[Special],
    ) -> Result<String, ModelError> {
        if self.is_empty() {
            return Ok(messages.iter().map(|m| format!("{}\n\n", m.content)).collect());
        }
        self.rendered(messages, next, special).map_err(|error| ModelError::Tokenizer {
            path: "chat_template".into(),
            what: format!(
                "failed to render: {}, line {}",
                error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
                error.line().unwrap_or(1)
            ),
        })
    }

    fn rendered(&self, messages: &[Message], next: bool, special: &[Special]) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        environment.add_function("strftime_now", strftime);
        let source = without_generation_tags(&self.0);
        environment.add_template("chat", &source)?;
        let turns: Vec<minijinja::Value> = messages
            .iter()
            .map(|m| context! { role => m.role.to_string(), content => m.content.clone() })
            .collect();
        environment.get_template("chat")?.render(context! {
            messages => turns,
            add_generation_prompt => next,
            tools => (),
            documents => (),
            ..minijinja::Value::from_pairs(special.iter().cloned())
        })
    }
}

/// The date of templates that ask for today's. It stands still, at the one that Llama 3's template names
/// where it cannot ask: a run gives the same prompts on every day.
const TODAY: (i32, u32, u32) = (2024, 7, 26);

#[expect(clippy::needless_pass_by_value)] // As functions of templates are.
fn strftime(format: String) -> Result<String, Error> {
    let (year, month, day) = TODAY;
    let date = NaiveDate::from_ymd_opt(year, month, day).and_then(|date| date.and_hms_opt(0, 0, 0));
    let mut text = String::new();
    match date.map(|date| write!(text, "{}", date.format(&format))) {
        Some(Ok(())) => Ok(text),
        _ => Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now does not know `{format}`"))),
    }
}

/// The same template without `{% generation %}`, by which trainers find what an assistant says. It prints
/// nothing itself; a condition that holds trims blanks as it does.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        let Some(end) = tag[2..].find("%}").map(|end| end + 2) else { break };
        let (tag, after) = tag.split_at(end + 2);
        out.push_str(before);
        match tag[2..end].trim_matches(['-', '+']).trim() {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Role;

    fn rendered(template: &str) -> Result<String, ModelError> {
        let turns = [
            Message { role: Role::User, content: "1+1".into() },
            Message { role: Role::Assistant, content: "2".into() },
        ];
        Template(template.to_owned()).render(&turns, true, &[("eos_token", "</s>".to_owned())])
    }

    #[test]
    fn marks_for_trainers_print_nothing_and_trim_blanks() {
        let turn = "{% for m in messages %}[{% generation %}{{ m.content }}{% endgeneration %}]{% endfor %}";
        assert_eq!(rendered(turn).unwrap(), "[1+1][2]");
        let trimmed = "{% for m in messages %}[  {%- generation -%} {{ m.content }} {%- endgeneration %}\n]{% endfor %}";
        assert_eq!(rendered(trimmed).unwrap(), "[1+1][2]");
        assert_eq!(rendered("{{ '{% generation' }}").unwrap(), "{% generation");
        for cut in ["{%}", "{%", "{%%}", "{% generation", "{%-%}"] {
            assert_eq!(without_generation_tags(cut), cut);
        }
    }

    #[test]
    fn the_clock_of_templates_stands_still() {
        assert_eq!(rendered("{{ strftime_now('%d %b %Y') }}").unwrap(), "26 Jul 2024");
        let error = rendered("{{ strftime_now('%Q%') }}").unwrap_err().to_string();
        assert!(error.contains("strftime_now does not know `%Q%`"), "{error}");
    }

    #[test]
    fn names_that_templates_know() {
        assert_eq!(rendered("{{ eos_token }}{{ tools is none }}").unwrap(), "</s>True");
        assert!(
            rendered("{{ raise_exception('no') }}").unwrap_err().to_string().contains("render: no, line 1")
        );
    }

    #[test]
    fn of_named_templates_the_default_counts() {
        let of = |template: Value| Template::of(&json!({"chat_template": template})).map(|t| t.0);
        let list = json!([{"name": "rag", "template": "b"}, {"name": "default", "template": "a"}]);
        assert_eq!(of(list), Ok("a".into()));
        assert_eq!(of(json!({"default": "a", "tool_use": "b"})), Ok("a".into()));
        assert_eq!(of(Value::Null), Ok(String::new()));
        let error = of(json!({"tool_use": "b", "rag": "c"})).unwrap_err();
        assert!(error.contains("tool_use") && error.contains("none is named `default`"), "{error}");
        assert!(of(json!(3)).is_err() && of(json!({"default": 3})).is_err());
    }
}
