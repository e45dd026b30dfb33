//! The arms of an ablation: how they are written, and what they may change.

use anyhow::{Context, Result};

use super::arguments::Ablate;
use crate::config::Config;
use crate::config::resolve::file;
use crate::run::session::Session;
use crate::terminal::exit::Failure;

/// Sections whose keys an arm may change: all that follows the solutions and their verdicts.
const SECTIONS: [&str; 3] = ["curate", "train", "model"];
/// Keys that say how long a student trains, which is the same for all.
const LENGTH: [&str; 3] = ["train.epochs", "train.max_steps", "train.max_tokens_total"];
/// Keys beside those sections that `--set` may change for all arms.
const COMMON: [&str; 4] = ["run.device", "run.seed", "evaluate.max_tokens", "evaluate.calculator"];
/// Longest name of an arm.
const LONGEST: usize = 64;

/// A way to train a student.
pub struct Arm {
    pub name: String,
    /// `KEY=VALUE` each, as they were given.
    pub sets: Vec<String>,
    pub config: Config,
}

impl Arm {
    /// The arm for people.
    pub fn called(&self) -> String {
        format!("arm {}", self.name)
    }
}

/// The arms of a command line, each with the run's configuration and what it changes of it.
///
/// # Errors
/// Names that are no names or come twice; keys that an arm may not change; values that are not permitted.
pub fn arms(session: &Session, args: &Ablate) -> Result<Vec<Arm>> {
    let saved = file(&session.workspace.run.config())?;
    let mut arms: Vec<Arm> = Vec::new();
    for text in &args.arms {
        let (name, sets) = parse(text)?;
        if arms.iter().any(|arm| arm.name == name) {
            return Err(Failure::usage(format!("two arms are named `{name}`"), "give each its name").into());
        }
        let all: Vec<String> = args.over.all().into_iter().chain(sets.iter().cloned()).collect();
        let called = || format!("arm {name}");
        let (config, _) = Config::resolve(std::slice::from_ref(&saved), &all).with_context(called)?;
        sets.iter().try_for_each(|set| permitted(set)).with_context(called)?;
        arms.push(Arm { name, sets, config });
    }
    Ok(arms)
}

/// `NAME` or `NAME:KEY=VALUE,KEY=VALUE`.
fn parse(text: &str) -> Result<(String, Vec<String>), Failure> {
    let hint = "write it as NAME or NAME:KEY=VALUE,KEY=VALUE, e.g. --arm face:train.loss=face";
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        let what = format!("--arm {text}: `{name}` is not a name of letters, digits, - and _");
        return Err(Failure::usage(what, hint));
    }
    let sets: Vec<String> = split(rest).into_iter().filter(|set| !set.is_empty()).collect();
    if let Some(set) = sets.iter().find(|set| !set.contains('=')) {
        return Err(Failure::usage(format!("--arm {text}: `{set}` has no value"), hint));
    }
    Ok((name.to_owned(), sets))
}

/// A text at its commas, those in brackets, braces and quotes aside.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quote) = (vec![String::new()], 0u32, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn key(set: &str) -> &str {
    set.split('=').next().unwrap_or_default().trim()
}

/// Whether arms may change a key.
fn permitted(set: &str) -> Result<(), Failure> {
    let key = key(set);
    if LENGTH.contains(&key) {
        let what = format!("{key} says how long a student trains, and all arms train equally long");
        return Err(Failure::usage(what, "use --steps or --tokens"));
    }
    if SECTIONS.contains(&key.split('.').next().unwrap_or_default()) {
        return Ok(());
    }
    let what =
        format!("an ablation cannot change {key}: its arms share the run's problems, searches and verdicts");
    let hint = "arms change keys of [curate], [train] and [model]; --set, for all of them, also";
    Err(Failure::usage(what, format!("{hint} {}", COMMON.join(", "))))
}

/// Checks what `--set` changes for all arms.
///
/// # Errors
/// A key that would change nothing.
pub fn check_common(sets: &[String]) -> Result<(), Failure> {
    sets.iter().filter(|set| !COMMON.contains(&key(set))).try_for_each(|set| permitted(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_a_name_and_settings() {
        let read = |text: &str| parse(text).map(|(name, sets)| (name, sets.join(" | "))).ok();
        let arm = |name: &str, sets: &str| Some((name.to_owned(), sets.to_owned()));
        assert_eq!(read("ce"), arm("ce", ""));
        assert_eq!(read("ce:"), arm("ce", ""));
        assert_eq!(
            read("a-1:train.loss=face, curate.faults=[]"),
            arm("a-1", "train.loss=face | curate.faults=[]")
        );
        let listed = r#"x:train.freeze=["embed","head"],model.path="a,b:c",train.lora_rank=2"#;
        assert_eq!(
            read(listed),
            arm("x", r#"train.freeze=["embed","head"] | model.path="a,b:c" | train.lora_rank=2"#)
        );
        for wrong in ["", ":train.loss=ce", "a/b", "..", "a:train.loss", "a b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_arms_share_cannot_differ() {
        for set in ["train.loss=face", "curate.keep=all", "model.layers=2", "train.los=1"] {
            assert!(permitted(set).is_ok(), "{set}");
        }
        for set in ["search.samples=2", "run.seed=3", "train.epochs=2", "verify.judge=endpoint", "x=1"] {
            assert!(permitted(set).is_err(), "{set}");
        }
        assert!(check_common(&["run.seed=3".into(), "train.loss=face".into()]).is_ok());
        assert!(check_common(&["search.samples=2".into()]).is_err());
        assert!(check_common(&["train.max_steps=2".into()]).is_err());
    }
}
