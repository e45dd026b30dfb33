//! Columns in numbers: nulls, distinct values, the spread of numbers, the most frequent values. One pass a
//! column, which decodes that column alone; columns are read beside each other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use anyhow::Result;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes as types;
use arrow::datatypes::{DataType, FieldRef};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::table::Table;
use crate::query::value::{cell, type_name};

/// Distinct values beyond which they are not counted on.
const MOST_DISTINCT: usize = 4 << 20;
/// Distinct values up to which the most frequent ones are known.
const MOST_NAMED: usize = 10_000;
/// Numbers that are kept for quantiles; beyond, every second one of them stays.
const MOST_NUMBERS: usize = 4 << 20;
/// Most frequent values that are given.
const TOP: usize = 5;

/// What a column holds.
#[derive(Debug, Serialize)]
pub struct ColumnSummary {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub rows: u64,
    pub nulls: u64,
    /// None for lists and structs, and if there are too many to count.
    pub distinct: Option<u64>,
    /// Of numbers; of lists, their lengths.
    pub numbers: Option<Numbers>,
    /// First and last in the order of texts, for times and other values that are shown as text.
    pub range: Option<(String, String)>,
    /// Most frequent values with how often they are there.
    pub top: Vec<(Value, u64)>,
}

/// The spread of numbers; NaN is left out.
#[derive(Debug, Serialize)]
pub struct Numbers {
    pub min: f64,
    /// Quantiles; of very many numbers, of an even part of them.
    pub p5: f64,
    pub p25: f64,
    pub median: f64,
    pub p75: f64,
    pub p95: f64,
    pub max: f64,
    pub mean: f64,
    /// How many are not a number.
    pub nan: u64,
}

/// Summaries of some columns of a table, of its matching rows.
///
/// # Errors
/// Rows that cannot be decoded.
pub fn summaries(table: &Table, columns: &[String]) -> Result<Vec<ColumnSummary>> {
    table.shown(columns).par_iter().map(|field| summary(table, field)).collect()
}

fn summary(table: &Table, field: &FieldRef) -> Result<ColumnSummary> {
    let mut seen = Seen::default();
    table.column(field.name(), &mut |array| {
        seen.add(array);
        Ok(())
    })?;
    Ok(seen.summary(field))
}

/// A column as far as it was read.
#[derive(Default)]
struct Seen {
    rows: u64,
    nulls: u64,
    /// How often each value is there, by its bits or the hash of its text.
    counts: HashMap<u64, u64, BuildHasherDefault<Mix>>,
    /// The first texts, by their hash.
    texts: HashMap<u64, String, BuildHasherDefault<Mix>>,
    /// Whether there were too many distinct values, or none that can be told apart.
    lost: bool,
    numbers: Vec<f64>,
    /// Every so many numbers are kept, and how many have come.
    step: u64,
    came: u64,
    sum: f64,
    least: Option<f64>,
    most: Option<f64>,
    nan: u64,
    range: Option<(String, String)>,
}

impl Seen {
    fn add(&mut self, array: &ArrayRef) {
        self.rows += array.len() as u64;
        self.nulls += array.logical_null_count() as u64;
        macro_rules! numbers {
            ($($kind:ident => $type:ident),*) => {
                match array.data_type() {
                    $(DataType::$kind => return self.primitive::<types::$type>(array),)*
                    _ => {}
                }
            };
        }
        numbers! {
            Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
            UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
            Float32 => Float32Type, Float64 => Float64Type
        }
        match array.data_type() {
            DataType::Float16 => {
                let values = array.as_primitive_opt::<types::Float16Type>().into_iter().flatten().flatten();
                values.map(|half| half.to_f32()).for_each(|value| {
                    self.number(value.number());
                    self.count(value.bits());
                });
            }
            DataType::Utf8 => {
                array.as_string_opt::<i32>().into_iter().flatten().flatten().for_each(|text| self.text(text));
            }
            DataType::LargeUtf8 => {
                array.as_string_opt::<i64>().into_iter().flatten().flatten().for_each(|text| self.text(text));
            }
            DataType::Utf8View => {
                array.as_string_view_opt().into_iter().flatten().flatten().for_each(|text| self.text(text));
            }
            DataType::Boolean => {
                let values = array.as_boolean_opt().into_iter().flatten().flatten();
                values.for_each(|value| self.text(if value { "true" } else { "false" }));
            }
            DataType::List(_) => {
                self.lengths(array, |row| Some(array.as_list_opt::<i32>()?.value_length(row).into()));
            }
            DataType::LargeList(_) => {
                self.lengths(array, |row| Some(array.as_list_opt::<i64>()?.value_length(row)));
            }
            DataType::Map(_, _) => {
                self.lengths(array, |row| Some(array.as_map_opt()?.value_length(row).into()));
            }
            DataType::FixedSizeList(_, length) => self.lengths(array, |_| Some((*length).into())),
            DataType::Struct(_) | DataType::Null => self.lost = true,
            _ => self.shown(array),
        }
    }

    fn primitive<T: ArrowPrimitiveType>(&mut self, array: &ArrayRef)
    where
        T::Native: Bits,
    {
        for value in array.as_primitive_opt::<T>().into_iter().flatten().flatten() {
            self.number(value.number());
            self.count(value.bits());
        }
    }

    fn lengths(&mut self, array: &ArrayRef, length: impl Fn(usize) -> Option<i64>) {
        self.lost = true;
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            if let Some(length) = length(row) {
                self.number(length as f64);
            }
        }
    }

    /// Values as they are displayed.
    fn shown(&mut self, array: &ArrayRef) {
        for row in 0..array.len() {
            let text = match cell(array, row) {
                Value::Null => continue,
                Value::String(text) => text,
                other => other.to_string(),
            };
            self.text(&text);
            match &mut self.range {
                None => self.range = Some((text.clone(), text)),
                Some((first, _)) if text < *first => *first = text,
                Some((_, last)) if text > *last => *last = text,
                Some(_) => {}
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.lost {
            return;
        }
        let mut hasher = std::hash::DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if self.counts.len() <= MOST_NAMED && !self.texts.contains_key(&hash) {
            self.texts.insert(hash, text.to_owned());
        }
        self.count(hash);
    }

    fn count(&mut self, bits: u64) {
        if self.lost {
            return;
        }
        *self.counts.entry(bits).or_default() += 1;
        if self.counts.len() > MOST_DISTINCT {
            self.lost = true;
            (self.counts, self.texts) = (HashMap::default(), HashMap::default());
        }
    }

    fn number(&mut self, number: f64) {
        if number.is_nan() {
            self.nan += 1;
            return;
        }
        self.least = Some(self.least.map_or(number, |least| least.min(number)));
        self.most = Some(self.most.map_or(number, |most| most.max(number)));
        self.sum += number;
        if self.came.is_multiple_of(self.step.max(1)) {
            self.numbers.push(number);
        }
        self.came += 1;
        if self.numbers.len() == MOST_NUMBERS {
            let mut at = 0;
            self.numbers.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.step = 2 * self.step.max(1);
        }
    }

    fn summary(mut self, field: &FieldRef) -> ColumnSummary {
        let kind = field.data_type();
        let named = self.counts.len() <= MOST_NAMED;
        let mut top: Vec<(u64, u64)> =
            if named { self.counts.iter().map(|(b, n)| (*b, *n)).collect() } else { Vec::new() };
        let value = |bits: u64| match self.texts.get(&bits) {
            Some(text) if *kind == DataType::Boolean => Value::Bool(text == "true"),
            Some(text) => text.as_str().into(),
            None => of_bits(bits, kind),
        };
        let order = |a: &(u64, u64), b: &(u64, u64)| {
            // By count, then by value, so that it is the same every time.
            b.1.cmp(&a.1).then_with(|| match (value(a.0), value(b.0)) {
                (Value::String(a), Value::String(b)) => a.cmp(&b),
                (a, b) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(std::cmp::Ordering::Equal),
            })
        };
        top.sort_by(order);
        let top: Vec<(Value, u64)> =
            top.iter().filter(|(_, n)| *n > 1).take(TOP).map(|(bits, n)| (value(*bits), *n)).collect();
        let distinct = (!self.lost).then_some(self.counts.len() as u64);
        let short = matches!(kind, DataType::Float16 | DataType::Float32);
        let numbers = self.spread(short);
        ColumnSummary {
            name: field.name().clone(),
            kind: type_name(kind),
            rows: self.rows,
            nulls: self.nulls,
            distinct,
            numbers,
            range: self.range,
            top,
        }
    }

    fn spread(&mut self, short: bool) -> Option<Numbers> {
        let (min, max, came) = (self.least?, self.most?, self.came);
        self.numbers.sort_unstable_by(f64::total_cmp);
        let digits = |x: f64| if short { (x as f32).to_string().parse().unwrap_or(x) } else { x };
        let last = self.numbers.len() - 1;
        // The nearest number that is there, and no mean of two.
        let quantile = |share: f64| digits(self.numbers[(share * last as f64).round() as usize]);
        Some(Numbers {
            min: digits(min),
            p5: quantile(0.05),
            p25: quantile(0.25),
            median: quantile(0.5),
            p75: quantile(0.75),
            p95: quantile(0.95),
            max: digits(max),
            mean: self.sum / came as f64,
            nan: self.nan,
        })
    }
}

/// A number as one of 64 bits, from which it can be made again.
trait Bits: Copy {
    fn bits(self) -> u64;
    fn number(self) -> f64;
}

macro_rules! bits {
    ($($type:ty),*) => {
        $(#[allow(clippy::cast_lossless, clippy::unnecessary_cast, reason = "one form for all types")]
        impl Bits for $type {
            fn bits(self) -> u64 {
                self as u64
            }
            fn number(self) -> f64 {
                self as f64
            }
        })*
    };
}

bits!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn number(self) -> f64 {
        self
    }
}

impl Bits for f32 {
    fn bits(self) -> u64 {
        self.number().to_bits()
    }

    fn number(self) -> f64 {
        f64::from(self)
    }
}

fn of_bits(bits: u64, kind: &DataType) -> Value {
    match kind {
        DataType::UInt64 => bits.into(),
        DataType::Float32 | DataType::Float16 => {
            (f64::from_bits(bits) as f32).to_string().parse::<f64>().map_or(Value::Null, Value::from)
        }
        DataType::Float64 => f64::from_bits(bits).into(),
        _ => (bits as i64).into(),
    }
}

/// A hasher for what is hashed already, or for small numbers.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}
