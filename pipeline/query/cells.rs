//! Cells of Arrow arrays as SQLite's values. Arrays are told apart once a batch, not once a cell.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes as types;
use arrow::datatypes::DataType;
use datasets::table::Key;
use rusqlite::types::ValueRef;
use rusqlite::vtab::Context;

use super::source::Kind;
use super::value;

/// The cells of a column in a batch.
#[derive(Clone, Debug)]
pub enum Cells {
    /// The statement does not need it.
    Absent,
    Constant(Option<Key>),
    Text(StringArray),
    Int32(PrimitiveArray<types::Int32Type>),
    Int64(PrimitiveArray<types::Int64Type>),
    UInt64(PrimitiveArray<types::UInt64Type>),
    Float32(PrimitiveArray<types::Float32Type>),
    Float64(PrimitiveArray<types::Float64Type>),
    Bool(BooleanArray),
    /// Lists and structs, as JSON; and rarer types, by their JSON values.
    Other(ArrayRef),
}

impl Cells {
    pub fn of(array: &ArrayRef) -> Self {
        let known = match array.data_type() {
            DataType::Utf8 => array.as_string_opt::<i32>().cloned().map(Cells::Text),
            DataType::Int32 => array.as_primitive_opt().cloned().map(Cells::Int32),
            DataType::Int64 => array.as_primitive_opt().cloned().map(Cells::Int64),
            DataType::UInt64 => array.as_primitive_opt().cloned().map(Cells::UInt64),
            DataType::Float32 => array.as_primitive_opt().cloned().map(Cells::Float32),
            DataType::Float64 => array.as_primitive_opt().cloned().map(Cells::Float64),
            DataType::Boolean => array.as_boolean_opt().cloned().map(Cells::Bool),
            _ => None,
        };
        known.unwrap_or_else(|| Cells::Other(array.clone()))
    }

    /// The cell of a row as SQLite's result.
    pub fn give(&self, row: usize, to: &mut Context) -> rusqlite::Result<()> {
        match self {
            Cells::Absent => Err(rusqlite::Error::ModuleError("a column that was not read".to_owned())),
            Cells::Constant(Some(Key::Int(int))) => to.set_result(*int),
            Cells::Constant(Some(Key::Text(text))) => to.set_result(text.as_str()),
            Cells::Text(array) if array.is_valid(row) => to.set_result(array.value(row)),
            Cells::Int32(array) if array.is_valid(row) => to.set_result(array.value(row)),
            Cells::Int64(array) if array.is_valid(row) => to.set_result(array.value(row)),
            Cells::UInt64(array) if array.is_valid(row) => unsigned(array.value(row), to),
            Cells::Float32(array) if array.is_valid(row) => to.set_result(shortest(array.value(row))),
            Cells::Float64(array) if array.is_valid(row) => to.set_result(array.value(row)),
            Cells::Bool(array) if array.is_valid(row) => to.set_result(array.value(row)),
            Cells::Other(array) if array.is_valid(row) => other(array, row, to),
            // What is null is left as SQLite has it.
            _ => Ok(()),
        }
    }

    /// The cell of a row as something to look for; None for null, and for columns that no plan looks in.
    pub fn text_or_int(&self, row: usize) -> Option<TextOrInt<'_>> {
        match self {
            Cells::Text(array) => array.is_valid(row).then(|| TextOrInt::Text(array.value(row))),
            Cells::Int32(array) => array.is_valid(row).then(|| TextOrInt::Int(array.value(row).into())),
            Cells::Int64(array) => array.is_valid(row).then(|| TextOrInt::Int(array.value(row))),
            Cells::Constant(Some(Key::Text(text))) => Some(TextOrInt::Text(text)),
            Cells::Constant(Some(Key::Int(int))) => Some(TextOrInt::Int(*int)),
            _ => None,
        }
    }
}

/// A [`Key`] that is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextOrInt<'a> {
    Text(&'a str),
    Int(i64),
}

impl TextOrInt<'_> {
    pub fn owned(self) -> Key {
        match self {
            TextOrInt::Text(text) => Key::Text(text.to_owned()),
            TextOrInt::Int(int) => Key::Int(int),
        }
    }
}

/// SQLite's integers end at 2^63: what is above comes as its digits.
fn unsigned(number: u64, to: &mut Context) -> rusqlite::Result<()> {
    match i64::try_from(number) {
        Ok(int) => to.set_result(int),
        Err(_) => to.set_result(number.to_string()),
    }
}

/// The double of a float's shortest digits: 0.1, and not 0.10000000149.
fn shortest(number: f32) -> f64 {
    let double = f64::from(number);
    // Whole numbers, halves, quarters, ... have no others.
    if (double * 1024.0).fract() == 0.0 { double } else { number.to_string().parse().unwrap_or(double) }
}

fn other(array: &ArrayRef, row: usize, to: &mut Context) -> rusqlite::Result<()> {
    match array.data_type() {
        DataType::List(_) | DataType::Struct(_) => {
            let mut text = String::new();
            json(array, row, &mut text);
            to.set_result(text)
        }
        _ => match value::cell(array, row) {
            serde_json::Value::Null => Ok(()),
            serde_json::Value::Bool(bool) => to.set_result(bool),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => to.set_result(int),
                (None, Some(float)) if number.is_f64() => to.set_result(float),
                _ => to.set_result(number.to_string()),
            },
            serde_json::Value::String(text) => to.set_result(text),
            nested => to.set_result(nested.to_string()),
        },
    }
}

/// Writes a cell as JSON, the common types without values in between.
fn json(array: &ArrayRef, row: usize, text: &mut String) {
    if array.is_null(row) {
        text.push_str("null");
        return;
    }
    let done = match array.data_type() {
        DataType::Utf8 => array.as_string_opt::<i32>().map(|array| string(array.value(row), text)),
        DataType::Int32 => array.as_primitive_opt::<types::Int32Type>().map(|array| {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "{}", array.value(row));
        }),
        DataType::Float32 => array.as_primitive_opt::<types::Float32Type>().map(|array| {
            let number = array.value(row);
            if number.is_finite() {
                // Like any JSON writer: 1.0 and not 1.
                let _ = write!(text, "{number:?}");
            } else {
                string(&number.to_string(), text);
            }
        }),
        DataType::List(_) => array.as_list_opt::<i32>().map(|array| {
            let (offsets, items) = (array.value_offsets(), array.values());
            text.push('[');
            for item in offsets[row]..offsets[row + 1] {
                text.push_str(if item > offsets[row] { "," } else { "" });
                json(items, item as usize, text);
            }
            text.push(']');
        }),
        DataType::Struct(fields) => array.as_struct_opt().map(|array| {
            text.push('{');
            for (at, (field, column)) in fields.iter().zip(array.columns()).enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                string(field.name(), text);
                text.push(':');
                json(column, row, text);
            }
            text.push('}');
        }),
        _ => None,
    };
    if done.is_none() {
        let _ = write!(text, "{}", value::cell(array, row));
    }
}

fn string(said: &str, text: &mut String) {
    // A text is always JSON.
    text.push_str(&serde_json::to_string(said).unwrap_or_default());
}

/// What a value that SQLite compares a column with says of the rows.
pub enum Sought<'a> {
    /// The column has this value.
    Value(TextOrInt<'a>),
    /// Nothing is equal to it.
    Nothing,
    /// Only SQLite can tell, by its conversions between types.
    Unclear,
}

/// What is to be looked for in a column that is compared with a value.
pub fn sought(value: ValueRef<'_>, kind: Kind) -> Sought<'_> {
    match (value, kind) {
        (ValueRef::Null, _) => Sought::Nothing,
        (ValueRef::Text(bytes), Kind::Text) => {
            std::str::from_utf8(bytes).map_or(Sought::Nothing, |text| Sought::Value(TextOrInt::Text(text)))
        }
        (ValueRef::Integer(int), Kind::Integer) => Sought::Value(TextOrInt::Int(int)),
        _ => Sought::Unclear,
    }
}
