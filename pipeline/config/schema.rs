//! The default configuration as the list of what may be set, and of what type it is.

use std::fmt::Write;

use toml::{Table, Value};

use crate::terminal::exit::Failure;
use crate::terminal::text::likeness;

/// Type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Float,
    Switch,
    List,
    Table,
    Date,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Kind::Text,
            Value::Integer(_) => Kind::Integer,
            Value::Float(_) => Kind::Float,
            Value::Boolean(_) => Kind::Switch,
            Value::Array(_) => Kind::List,
            Value::Table(_) => Kind::Table,
            Value::Datetime(_) => Kind::Date,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "a whole number",
            Kind::Float => "a number",
            Kind::Switch => "true or false",
            Kind::List => "a list",
            Kind::Table => "a table",
            Kind::Date => "a date",
        }
    }

    fn takes(self, given: Kind) -> bool {
        self == given || (self == Kind::Float && given == Kind::Integer)
    }
}

/// What a configuration may say.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The default configuration. In a list of tables the first one stands for all.
    pub defaults: Table,
    /// Settings that the defaults leave out, as `a.b` and type. Entries of lists are named without their
    /// number.
    pub optional: &'static [(&'static str, Kind)],
    /// Tables whose content is the user's own, e.g. `endpoint.extra_body`.
    pub free: &'static [&'static str],
}

/// Where a table came from, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Name of the file, or the flag.
    pub name: &'a str,
    /// Text of the file, to find line numbers in.
    pub text: Option<&'a str>,
}

impl Origin<'_> {
    fn at(&self, path: &[String]) -> String {
        match self.text.and_then(|text| line_of(text, path)) {
            Some(line) => format!("{} line {line}", self.name),
            None => self.name.to_owned(),
        }
    }
}

impl Schema {
    /// Checks every key and the type of every value of a (partial) configuration.
    ///
    /// # Errors
    /// The first key that is unknown, with the nearest that is known; the first value of the wrong type.
    pub fn check(&self, given: &Table, origin: &Origin<'_>) -> Result<(), Failure> {
        self.check_table(&self.defaults, given, &mut Vec::new(), origin)
    }

    /// The type that a setting has; `None` if there is no such setting.
    pub fn kind(&self, path: &[String]) -> Option<Kind> {
        if let Some(kind) = self.listed(&path.join(".")) {
            return Some(kind);
        }
        let (last, tables) = path.split_last()?;
        let mut table = &self.defaults;
        for part in tables {
            table = table.get(part)?.as_table()?;
        }
        table.get(last).map(Kind::of)
    }

    fn listed(&self, dotted: &str) -> Option<Kind> {
        self.optional.iter().find(|(path, _)| *path == dotted).map(|(_, kind)| *kind)
    }

    fn check_table(
        &self,
        schema: &Table,
        given: &Table,
        path: &mut Vec<String>,
        origin: &Origin<'_>,
    ) -> Result<(), Failure> {
        for (key, value) in given {
            path.push(key.clone());
            let dotted = path.join(".");
            if self.free.contains(&dotted.as_str()) {
                expect(Kind::Table, value, path, origin)?;
            } else if let Some(known) = schema.get(key) {
                self.check_value(known, value, path, origin)?;
            } else if let Some(kind) = self.listed(&dotted) {
                expect(kind, value, path, origin)?;
            } else if value.is_table() && self.leads_to_listed(&dotted) {
                // A table that the defaults leave out, with optional or free settings in it.
                self.check_value(&Value::Table(Table::new()), value, path, origin)?;
            } else {
                return Err(self.unknown(schema, path, origin));
            }
            path.pop();
        }
        Ok(())
    }

    fn check_value(
        &self,
        known: &Value,
        value: &Value,
        path: &mut Vec<String>,
        origin: &Origin<'_>,
    ) -> Result<(), Failure> {
        expect(Kind::of(known), value, path, origin)?;
        match (known, value) {
            (Value::Table(known), Value::Table(value)) => self.check_table(known, value, path, origin),
            (Value::Array(known), Value::Array(values)) => {
                // An empty list says nothing of its entries.
                let Some(known) = known.first() else { return Ok(()) };
                values.iter().try_for_each(|value| self.check_value(known, value, path, origin))
            }
            _ => Ok(()),
        }
    }

    fn leads_to_listed(&self, dotted: &str) -> bool {
        let listed = self.optional.iter().map(|(path, _)| *path).chain(self.free.iter().copied());
        listed.into_iter().any(|path| path.strip_prefix(dotted).is_some_and(|rest| rest.starts_with('.')))
    }

    fn unknown(&self, siblings: &Table, path: &[String], origin: &Origin<'_>) -> Failure {
        let dotted = path.join(".");
        let what = format!("{}: unknown key `{dotted}`", origin.at(path));
        let hint = if let Some(key) = self.nearest(siblings, path) {
            format!("did you mean `{key}`?")
        } else {
            let table = path.split_last().map(|(_, tables)| tables.join(".")).unwrap_or_default();
            let place = if table.is_empty() { "here".to_owned() } else { format!("in `{table}`") };
            format!("known {place}: {}", siblings.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        Failure::usage(what, hint)
    }

    /// The key that was probably meant: one of the same table with a similar name, else one anywhere.
    fn nearest(&self, siblings: &Table, path: &[String]) -> Option<String> {
        let (last, tables) = path.split_last()?;
        let beside = siblings.keys().map(|key| {
            let full = tables.iter().chain([key]).cloned().collect::<Vec<_>>().join(".");
            (likeness(last, key), full)
        });
        let mut all = Vec::new();
        leaves(&self.defaults, "", &mut all);
        all.extend(self.optional.iter().map(|(path, _)| (*path).to_owned()));
        // What the key is already in was spelt right.
        let above = |full: &String| (1..path.len()).any(|n| path[..n].join(".") == *full);
        let anywhere = all.into_iter().filter(|full| !above(full)).map(|full| {
            let name = full.rsplit('.').next().unwrap_or(&full);
            (likeness(last, name) - 0.05, full)
        });
        let best = beside.chain(anywhere).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 >= 0.6).then_some(best.1)
    }
}

fn leaves(table: &Table, prefix: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let full = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let Value::Table(inner) = value {
            leaves(inner, &full, into);
        }
        into.push(full);
    }
}

fn expect(kind: Kind, value: &Value, path: &[String], origin: &Origin<'_>) -> Result<(), Failure> {
    let given = Kind::of(value);
    // TOML has `nan` and `inf`; no setting of ours does.
    let negative = value.as_integer().is_some_and(i64::is_negative);
    if kind.takes(given)
        && value.as_float().is_none_or(f64::is_finite)
        && !(kind == Kind::Integer && negative)
    {
        return Ok(());
    }
    let found = if kind == given { shown(value) } else { format!("{}, {}", given.name(), shown(value)) };
    // Nor does any take a negative number.
    let least = if kind == Kind::Integer { " of 0 or more" } else { "" };
    let (at, key, kind) = (origin.at(path), path.join("."), kind.name());
    let what = format!("{at}: `{key}` must be {kind}{least}, and is {found}");
    Err(Failure::usage(what, ""))
}

/// Number of the line, from 1, that sets a key: looked for as text, since a parsed table knows no places. A
/// key within an inline table is found at the line of that table.
pub(super) fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    let mut header: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let here = if let Some(name) = line.strip_prefix('[') {
            header = parts(name.trim_start_matches('[').split(']').next().unwrap_or_default());
            header.clone()
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            header.iter().cloned().chain(parts(key)).collect()
        } else {
            continue;
        };
        let longer = best.is_none_or(|(length, _)| here.len() > length);
        if !here.is_empty() && path.starts_with(&here) && longer {
            best = Some((here.len(), number + 1));
        }
    }
    best.map(|(_, line)| line)
}

fn parts(key: &str) -> Vec<String> {
    key.split('.').map(|part| part.trim().trim_matches(['"', '\'']).to_owned()).collect()
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value as a user would write it, cut to the length of a message.
fn shown(value: &Value) -> String {
    let text = one_line(&value.to_string());
    let mut cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() {
        let _ = write!(cut, "…");
    }
    cut
}
