//! The tables of settings: text files under `settings/`, compiled in and read once.
//!
//! ```text
//! # a comment
//! use compare cash                       relations shared by several settings
//! item,other = muffin/muffins; roll/rolls    a slot, or several with different values, singular/plural
//! trays: start -> S | a 3-9, b 8-24 | x=a*b  a relation: name, states before and after, numbers, operations
//!   {N} baked {a} trays of {items} with {b} {items} on each tray.      its phrasings
//! distractor | a 4-30                    a sentence with a number that nothing needs
//!   The shop had {a} chairs.
//! ```
//!
//! A problem is a walk over the states from `start` to `end`. A relation may be used once in a walk, and
//! of relations whose names share what stands before a dot only one. A state whose name ends in `-` is one
//! in which something has been taken away, so that "the muffins" are "the remaining muffins".
//!
//! Numbers (`a` to `d`) are drawn when an operation or the text first needs them:
//!
//! | spec | draws |
//! |---|---|
//! | `3-9` | an integer |
//! | `3-9\|x` | an integer that divides the register `x` |
//! | `<x` | an integer clearly smaller than `x` |
//! | `$<x` | an amount of money clearly smaller than `x` |
//! | `^x 10-60` | an integer larger than `x` by about that much |
//! | `$2-6` | a price between these dollars, in steps of 25 cents |
//! | `.5-40` | between these tenths (0.5 and 4.0 here), with one decimal |
//! | `%x` | a percentage that can be taken of `x` |
//! | `>x` | a bank note worth more than `x` |
//!
//! Operations are assignments to registers, `t=l op r` or a copy `t=l`; operands are numbers, registers or
//! `#2`, a constant that the text names by a word of the lexicon. Results are integers unless the target
//! has a `$` (two decimals) or `~` (one decimal) behind it. The result of the walk is `x`.

use std::sync::LazyLock;

/// An operand of an operation.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// A number or a register, by its letter.
    Letter(u8),
    /// A constant that a word in the text stands for.
    Constant(i64),
}

/// `target = left op right`, or a copy where `right` is missing.
#[derive(Clone, Copy, Debug)]
pub struct Assignment {
    pub target: u8,
    /// The result must be a multiple of this many hundredths.
    pub unit: i64,
    pub left: Operand,
    pub right: Option<(char, Operand)>,
}

/// How to draw a number. Letters name registers; money is in cents, `Tenths` in tenths.
#[derive(Clone, Copy, Debug)]
pub enum Spec {
    Int(i64, i64),
    Divisor(i64, i64, u8),
    Below(u8),
    MoneyBelow(u8),
    Above(u8, i64, i64),
    Price(i64, i64),
    Tenths(i64, i64),
    Percent(u8),
    Bill(u8),
}

/// Sentences that relate quantities, and what they mean.
#[derive(Clone, Debug)]
pub struct Relation {
    pub name: &'static str,
    pub from: Vec<&'static str>,
    pub to: &'static str,
    pub numbers: Vec<(u8, Spec)>,
    pub assignments: Vec<Assignment>,
    pub texts: Vec<&'static str>,
}

impl Relation {
    /// Relations with the same group exclude each other.
    pub fn group(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// Binary operations that it adds to the solution.
    pub fn operations(&self) -> u32 {
        self.assignments.iter().filter(|a| a.right.is_some()).count() as u32
    }
}

/// Slots that take different values of one list.
#[derive(Clone, Debug)]
pub struct Slots {
    pub names: Vec<&'static str>,
    pub values: Vec<&'static str>,
}

/// One everyday setting.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub slots: Vec<Slots>,
    pub relations: Vec<Relation>,
    pub distractors: Vec<Relation>,
}

macro_rules! settings {
    ($($name:literal),* $(,)?) => {
        /// Names of the settings.
        pub const SETTINGS: &[&str] = &[$($name),*];
        const TEXTS: &[&str] = &[$(include_str!(concat!("settings/", $name, ".txt"))),*];
    };
}

settings!(
    "bakery", "cooking", "crafts", "farm", "garden", "library", "market", "pets", "savings", "sports",
    "supplies", "travel",
);

const SHARED: &[(&str, &str)] = &[
    ("compare", include_str!("settings/shared_compare.txt")),
    ("cash", include_str!("settings/shared_cash.txt")),
];

/// All settings, read.
pub static WORLD: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    SETTINGS
        .iter()
        .zip(TEXTS)
        .map(|(name, text)| {
            let mut setting =
                Setting { name, slots: Vec::new(), relations: Vec::new(), distractors: Vec::new() };
            read(text, &mut setting)
                .unwrap_or_else(|line| panic!("settings/{name}.txt: cannot read `{line}`"));
            setting
        })
        .collect()
});

/// Reads a table into a setting; the error is the line that cannot be read. The tables are part of the
/// program, so a test finds every error.
fn read(text: &'static str, setting: &mut Setting) -> Result<(), &'static str> {
    let mut to_distractors = false;
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(phrasing) = line.strip_prefix("  ") {
            let list = if to_distractors { &mut setting.distractors } else { &mut setting.relations };
            list.last_mut().ok_or(line)?.texts.push(phrasing.trim());
        } else if let Some(names) = line.strip_prefix("use ") {
            for name in names.split_whitespace() {
                let (_, shared) = SHARED.iter().find(|(n, _)| *n == name).ok_or(line)?;
                read(shared, setting)?;
            }
        } else if let Some(numbers) = line.strip_prefix("distractor |") {
            setting.distractors.push(Relation {
                name: "distractor",
                from: Vec::new(),
                to: "",
                numbers: read_numbers(numbers).ok_or(line)?,
                assignments: Vec::new(),
                texts: Vec::new(),
            });
            to_distractors = true;
        } else if let Some((name, rest)) = line.split_once(": ") {
            setting.relations.push(read_relation(name, rest).ok_or(line)?);
            to_distractors = false;
        } else {
            let (names, values) = line.split_once(" = ").ok_or(line)?;
            let values = values.split(';').map(str::trim).collect();
            setting.slots.push(Slots { names: names.split(',').collect(), values });
        }
    }
    Ok(())
}

fn read_relation(name: &'static str, rest: &'static str) -> Option<Relation> {
    let mut fields = rest.split(" | ");
    let (from, to) = fields.next()?.split_once(" -> ")?;
    let numbers = read_numbers(fields.next().unwrap_or(""))?;
    let assignments = fields.next().unwrap_or("").split(';').map(str::trim).filter(|s| !s.is_empty());
    Some(Relation {
        name,
        from: from.split_whitespace().collect(),
        to: to.trim(),
        numbers,
        assignments: assignments.map(read_assignment).collect::<Option<_>>()?,
        texts: Vec::new(),
    })
}

fn read_numbers(text: &str) -> Option<Vec<(u8, Spec)>> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty() && *s != "-").map(read_number).collect()
}

fn read_number(text: &str) -> Option<(u8, Spec)> {
    let (letter, spec) = text.split_once(' ')?;
    let spec = spec.trim();
    let range = |text: &str| -> Option<(i64, i64)> {
        let (low, high) = text.split_once('-')?;
        Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
    };
    let register = |text: &str| text.trim().bytes().next();
    let spec = if let Some(reg) = spec.strip_prefix("$<") {
        Spec::MoneyBelow(register(reg)?)
    } else if let Some(reg) = spec.strip_prefix('<') {
        Spec::Below(register(reg)?)
    } else if let Some(reg) = spec.strip_prefix('>') {
        Spec::Bill(register(reg)?)
    } else if let Some(reg) = spec.strip_prefix('%') {
        Spec::Percent(register(reg)?)
    } else if let Some(rest) = spec.strip_prefix('^') {
        let (low, high) = range(&rest[1..])?;
        Spec::Above(register(rest)?, low, high)
    } else if let Some(rest) = spec.strip_prefix('$') {
        let (low, high) = rest.split_once('-')?;
        let cents = |text: &str| text.parse::<f64>().ok().map(|dollars| (dollars * 100.0).round() as i64);
        Spec::Price(cents(low)?, cents(high)?)
    } else if let Some(rest) = spec.strip_prefix('.') {
        let (low, high) = range(rest)?;
        Spec::Tenths(low, high)
    } else if let Some((rest, reg)) = spec.split_once('|') {
        let (low, high) = range(rest)?;
        Spec::Divisor(low, high, register(reg)?)
    } else {
        let (low, high) = range(spec)?;
        Spec::Int(low, high)
    };
    Some((letter.bytes().next()?, spec))
}

fn read_assignment(text: &str) -> Option<Assignment> {
    let (target, value) = text.split_once('=')?;
    let unit = match target.as_bytes().get(1) {
        Some(b'$') => 1,
        Some(b'~') => 10,
        _ => 100,
    };
    let operand = |text: &str| match text.strip_prefix('#') {
        Some(constant) => constant.parse().ok().map(Operand::Constant),
        None => text.bytes().next().filter(|_| text.len() == 1).map(Operand::Letter),
    };
    let right = match value.find(super::fixed::OPERATIONS) {
        Some(at) => Some((char::from(value.as_bytes()[at]), operand(&value[at + 1..])?)),
        None => None,
    };
    let left = operand(value.split(super::fixed::OPERATIONS).next()?)?;
    Some(Assignment { target: target.bytes().next()?, unit, left, right })
}
