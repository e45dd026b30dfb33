//! The options of a multiple choice question, and which of them is right, as files have them.
//!
//! Options are one column, a list of texts (MMLU), a list of objects with a label and a text, an object of
//! two lists `label` and `text` (ARC), or an object of texts by their labels; or a column for each option
//! (GPQA). The answer is a label or letter, the text of an option, or a number: the place of the option
//! from 0.

use serde_json::{Map, Number, Value};

use super::error::RowFault;
use crate::domains::choice::{self, MOST};
use crate::domains::compared::blanks;

/// Names of the fields of labels and texts.
const LABELS: [&str; 3] = ["label", "labels", "key"];
const TEXTS: [&str; 5] = ["text", "texts", "value", "options", "choices"];

/// Options that are there, and the place of the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    pub texts: Vec<String>,
    pub gold: usize,
}

impl Choices {
    /// Reads the cells of the options' columns and of the answer, as JSON.
    pub fn read(columns: &[String], cells: &[String], answer: (&str, &str)) -> Result<Self, RowFault> {
        let named = |column: &str, what: String| RowFault::Choice { column: column.to_owned(), what };
        let first = columns.first().map_or("", String::as_str);
        let values: Vec<Value> =
            cells.iter().map(|cell| serde_json::from_str(cell).unwrap_or_default()).collect();
        let all = match &values[..] {
            [one] => list(one).map_err(|what| named(first, what))?,
            many => {
                let cells = columns.iter().zip(many);
                let cells =
                    cells.map(|(name, cell)| Ok((None, text(cell).map_err(|what| named(name, what))?)));
                cells.collect::<Result<Vec<_>, RowFault>>()?
            }
        };
        let texts: Vec<String> = all.iter().filter_map(|(_, text)| text.clone()).collect();
        if texts.len() < 2 || texts.len() > MOST {
            let what = format!("expected 2 to {MOST} options, found {}", texts.len());
            return Err(named(first, what));
        }
        let labels = || all.iter().filter_map(|(label, _)| label.as_deref());
        if let Some(label) =
            labels().find(|label| labels().filter(|l| l.eq_ignore_ascii_case(label)).count() > 1)
        {
            return Err(named(first, format!("two options have the label `{label}`")));
        }
        let (column, cell) = answer;
        let said: Value = serde_json::from_str(cell).unwrap_or_default();
        let gold = gold(&said, &all, columns.len() > 1).map_err(|what| named(column, what))?;
        // Of those that are there.
        let gold = all[..gold].iter().filter(|(_, text)| text.is_some()).count();
        let right = blanks(&texts[gold]);
        if let Some(other) = (0..texts.len()).find(|at| *at != gold && blanks(&texts[*at]) == right) {
            let (one, two) = (gold.min(other) + 1, gold.max(other) + 1);
            return Err(named(first, format!("options {one} and {two} are the same, and right")));
        }
        Ok(Self { texts, gold })
    }
}

/// An option: its label, if it has one, and its text, if it is there.
type Entry = (Option<String>, Option<String>);

fn list(value: &Value) -> Result<Vec<Entry>, String> {
    match value {
        Value::Array(items) => items.iter().map(entry).collect(),
        Value::Object(fields) => match (field(fields, &LABELS), field(fields, &TEXTS)) {
            (labels, Some(Value::Array(texts))) => {
                let labels = labels.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                if !labels.is_empty() && labels.len() != texts.len() {
                    return Err(format!("{} labels for {} options", labels.len(), texts.len()));
                }
                let label = |at: usize| labels.get(at).map_or(Ok(None), text);
                texts.iter().enumerate().map(|(at, item)| Ok((label(at)?, text(item)?))).collect()
            }
            _ => fields.iter().map(|(label, item)| Ok((Some(label.clone()), text(item)?))).collect(),
        },
        other => Err(format!(
            "expected the options: a list, or an object with their labels, found {}; for a column for each \
             option, name them all",
            kind(other)
        )),
    }
}

fn entry(item: &Value) -> Result<Entry, String> {
    let Value::Object(fields) = item else { return Ok((None, text(item)?)) };
    let said = field(fields, &TEXTS).ok_or("an option is an object without a field `text`")?;
    let label = field(fields, &LABELS).map_or(Ok(None), text)?;
    Ok((label, text(said)?))
}

fn field<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| fields.get(*name))
}

/// The text of an option; None where there is none.
fn text(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        // An option is a line of the question.
        Value::String(text) => {
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            Ok(Some(lines.join(" ")).filter(|text| !text.is_empty()))
        }
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("expected the text of an option, found {}", kind(value)))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The place of the right option among all. Where each has a column of its own, there are no places to count,
/// and a number is a text.
fn gold(said: &Value, all: &[Entry], columns: bool) -> Result<usize, String> {
    let labels: Vec<&str> = all.iter().map(|(label, _)| label.as_deref().unwrap_or_default()).collect();
    let labelled = labels.iter().any(|label| !label.is_empty());
    let by_label = |said: &str| labels.iter().position(|label| labelled && label.eq_ignore_ascii_case(said));
    let found = match said {
        Value::Number(number) if columns => by_words(&number.to_string(), all, labelled, &by_label)?,
        Value::Number(number) => by_number(number, all, &by_label)?,
        Value::String(said) => by_words(said.trim(), all, labelled, &by_label)?,
        other => return Err(format!("expected a letter, a text or a number, found {}", kind(other))),
    };
    if all[found].1.is_none() {
        return Err(format!("it names option {}, which is empty", found + 1));
    }
    Ok(found)
}

/// A label, or the place of an option from 0, also as pandas writes it (`1.0`).
fn by_number(
    number: &Number,
    all: &[Entry],
    by_label: &dyn Fn(&str) -> Option<usize>,
) -> Result<usize, String> {
    let name = number.to_string();
    let whole = number.as_f64().filter(|place| *place >= 0.0 && place.fract() == 0.0);
    let place = whole.map(|place| place as usize).filter(|place| *place < all.len());
    if let Some(labelled) = by_label(&name) {
        return Ok(labelled);
    }
    let place = place.ok_or_else(|| {
        format!("{number} is the place of no option: there are {}, from 0 to {}", all.len(), all.len() - 1)
    })?;
    match all.iter().position(|(_, text)| text.as_deref() == Some(&name)) {
        Some(other) if all[place].1.as_deref() != Some(&name) => Err(format!(
            "{number} is the place of option {} and the text of option {}: which is meant? A text is \
             \"{number}\"",
            choice::letter(place),
            choice::letter(other)
        )),
        _ => Ok(place),
    }
}

/// A label or letter, or the text of an option.
fn by_words(
    said: &str,
    all: &[Entry],
    labelled: bool,
    by_label: &dyn Fn(&str) -> Option<usize>,
) -> Result<usize, String> {
    let bare = said.trim_matches(|c: char| "()[].: ".contains(c));
    let letter = || {
        let mut chars = bare.chars();
        let place = chars.next().filter(char::is_ascii_uppercase).map(|c| usize::from(c as u8 - b'A'))?;
        (chars.next().is_none() && place < all.len()).then_some(place)
    };
    let named = if labelled { by_label(said).or_else(|| by_label(bare)) } else { letter() };
    let wanted = blanks(said);
    let same: Vec<usize> = (0..all.len())
        .filter(|at| all[*at].1.as_deref().is_some_and(|text| blanks(text) == wanted))
        .collect();
    match (named, &same[..]) {
        (Some(place), []) => Ok(place),
        (Some(place), same) if same.contains(&place) => Ok(place),
        (Some(place), same) => Err(format!(
            "`{said}` is the letter of option {} and the text of option {}: which is meant?",
            choice::letter(place),
            choice::letter(same[0])
        )),
        (None, [place]) => Ok(*place),
        (None, []) if said.is_empty() => Err("expected a value, found only whitespace".to_owned()),
        (None, []) => {
            let what = if labelled { "label" } else { "letter" };
            Err(format!(
                "`{said}` is neither the {what} nor the text of an option; places are numbers, from 0"
            ))
        }
        (None, same) => Err(format!("options {} and {} are the same, and right", same[0] + 1, same[1] + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str], answer: &str) -> Result<(Vec<String>, usize), String> {
        let names: Vec<String> = (0..options.len()).map(|n| format!("o{n}")).collect();
        let cells: Vec<String> = options.iter().map(|cell| (*cell).to_owned()).collect();
        let read = Choices::read(&names, &cells, ("answer", answer));
        read.map(|read| (read.texts, read.gold)).map_err(|fault| fault.to_string())
    }

    fn right(options: &[&str], answer: &str) -> String {
        read(options, answer).map_or_else(|fault| fault, |(texts, gold)| texts[gold].clone())
    }

    #[test]
    fn options_of_every_form() {
        let forms = [
            (vec![r#"["red","blue","9"]"#], "1", "blue"),
            (vec![r#"["red","blue","9"]"#], r#""B""#, "blue"),
            (vec![r#"["red","blue","9"]"#], r#"" (C) ""#, "9"),
            (vec![r#"["red","blue","9"]"#], r#""blue""#, "blue"),
            (vec![r#"["red",null,"9"]"#], "2", "9"),
            (vec!["[2,1,0]"], "1", "1"),
            (vec![r#"["red","blue","9"]"#], "1.0", "blue"),
            (vec!["3", "1", "2", "4"], "3", "3"),
            (vec![r#"["line\nbreak","blue"]"#], "0", "line break"),
            (vec![r#"{"text":["red","blue"],"label":["A","B"]}"#], r#""B""#, "blue"),
            (vec![r#"{"text":["red","blue"],"label":["1","2"]}"#], r#""1""#, "red"),
            (vec![r#"{"text":["red","blue"],"label":["1","2"]}"#], "1", "red"),
            (vec![r#"{"A":"red","B":"blue","C":null}"#], r#""B""#, "blue"),
            (vec![r#"[{"key":"A","value":"red"},{"key":"B","value":"blue"}]"#], r#""B""#, "blue"),
            (vec![r#""red""#, r#""blue""#, "null"], r#""red""#, "red"),
            (vec![r#""red""#, r#""blue""#, "null"], r#""B""#, "blue"),
            // The letter, and its own text.
            (vec![r#"["A","B"]"#], r#""B""#, "B"),
        ];
        for (options, answer, expected) in forms {
            assert_eq!(right(&options, answer), expected, "{options:?} {answer}");
        }
        assert_eq!(read(&[r#"["red",null,"9"]"#], "2"), Ok((vec!["red".into(), "9".into()], 1)));
    }

    #[test]
    fn rows_that_say_nothing_certain_are_faults() {
        let faults = [
            (vec![r#""red""#], "0", "column `o0`: expected the options: a list"),
            (vec![r#"["red"]"#], "0", "column `o0`: expected 2 to 26 options, found 1"),
            (vec![r#"["red","blue"]"#], "2", "column `answer`: 2 is the place of no option"),
            (vec![r#"["red","blue"]"#], r#""1""#, "column `answer`: `1` is neither the letter nor the text"),
            (vec![r#"["red","blue"]"#], "null", "column `answer`: expected a letter, a text or a number"),
            (vec![r#"["C","A","B"]"#], r#""A""#, "`A` is the letter of option A and the text of option B"),
            (vec![r#"["red","red","blue"]"#], r#""red""#, "options 1 and 2 are the same, and right"),
            (vec![r#"["red","red","blue"]"#], r#""B""#, "options 1 and 2 are the same, and right"),
            (vec![r#"["red",null,"blue"]"#], "1", "it names option 2, which is empty"),
            (vec![r#"[["red"],"blue"]"#], "1", "column `o0`: expected the text of an option, found a list"),
            (vec![r#"{"text":["red"],"label":["A","B"]}"#], "0", "2 labels for 1 options"),
            (vec!["[1,2,3]"], "1", "1 is the place of option B and the text of option A: which is meant?"),
            (vec!["[]"], "0", "expected 2 to 26 options, found 0"),
            (vec![r#"{"text":["a","b"],"label":["A","a"]}"#], r#""A""#, "two options have the label `A`"),
            (vec![r#""red""#, "true"], "0", "column `o1`: expected the text of an option"),
        ];
        for (options, answer, words) in faults {
            let found = right(&options, answer);
            assert!(found.contains(words), "{options:?} {answer}: {found}");
        }
        // Options that are the same, and wrong, are as they are.
        assert_eq!(right(&[r#"["red","red","blue"]"#], "2"), "blue");
    }
}
