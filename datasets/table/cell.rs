//! How the types that stand in rows become Arrow arrays, and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int32Array, ListArray, StringArray, StructArray,
    UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float32Type, Int32Type, UInt64Type};

use super::DESCRIPTION_KEY;
use crate::types::{End, Fault, FaultKind, Split, Step, StepCheck, Verdict};

/// A value that cannot be packed: its row within the batch, and why.
pub type Misfit = (usize, String);

/// The type of a column's values.
pub trait Cell: Sized {
    const NULLABLE: bool = false;

    fn data_type() -> DataType;

    /// Many values as one array.
    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit>
    where
        Self: 'a;

    /// The value at `row`; the error says what was expected and what was there.
    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String>;
}

/// The array as the one its type promises, at a row that is not null.
fn solid<'a, A>(
    array: &'a dyn Array,
    row: usize,
    cast: impl Fn(&'a dyn Array) -> Option<&'a A>,
    expected: &str,
) -> Result<&'a A, String> {
    if array.is_null(row) {
        return Err(format!("expected {expected}, found null"));
    }
    cast(array).ok_or_else(|| format!("expected {expected}, found the type {}", array.data_type()))
}

/// Adds its description to a field.
pub fn describe(field: Field, description: &str) -> Field {
    // One key only: the order of several in the file would not be fixed.
    field.with_metadata(HashMap::from([(DESCRIPTION_KEY.to_owned(), description.to_owned())]))
}

/// A field with cells of a type.
pub fn described<C: Cell>(name: &str, description: &str) -> Field {
    describe(Field::new(name, C::data_type(), C::NULLABLE), description)
}

/// Texts as one array. Arrow counts their bytes in 31 bits and panics beyond, so this counts first.
pub fn pack_texts<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Result<ArrayRef, Misfit> {
    let mut bytes = 0usize;
    for (row, text) in texts.clone().enumerate() {
        bytes = bytes.saturating_add(text.len());
        if bytes > i32::MAX as usize {
            return Err((row, "expected at most 2 GiB of text in a batch of rows, found more".into()));
        }
    }
    Ok(Arc::new(StringArray::from_iter_values(texts)))
}

fn text(array: &dyn Array, row: usize) -> Result<&str, String> {
    Ok(solid(array, row, |a| a.as_string_opt::<i32>(), "text")?.value(row))
}

impl Cell for String {
    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        pack_texts(cells.map(String::as_str))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        text(array, row).map(str::to_owned)
    }
}

fn small(count: u32) -> Result<i32, String> {
    i32::try_from(count).map_err(|_| format!("expected at most {}, found {count}", i32::MAX))
}

impl Cell for u32 {
    fn data_type() -> DataType {
        DataType::Int32
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        let counts = cells.enumerate().map(|(row, count)| small(*count).map_err(|problem| (row, problem)));
        Ok(Arc::new(Int32Array::from(counts.collect::<Result<Vec<_>, _>>()?)))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        let count = solid(array, row, |a| a.as_primitive_opt::<Int32Type>(), "a 32-bit integer")?.value(row);
        u32::try_from(count).map_err(|_| format!("expected an integer of at least 0, found {count}"))
    }
}

impl Cell for Option<u32> {
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        DataType::Int32
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        let counts = cells
            .enumerate()
            .map(|(row, count)| count.map(small).transpose().map_err(|problem| (row, problem)));
        Ok(Arc::new(Int32Array::from(counts.collect::<Result<Vec<_>, _>>()?)))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        if array.is_null(row) { Ok(None) } else { u32::unpack(array, row).map(Some) }
    }
}

impl Cell for u64 {
    fn data_type() -> DataType {
        DataType::UInt64
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        Ok(Arc::new(UInt64Array::from_iter_values(cells.copied())))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        Ok(solid(array, row, |a| a.as_primitive_opt::<UInt64Type>(), "an unsigned 64-bit integer")?
            .value(row))
    }
}

impl Cell for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        Ok(Arc::new(BooleanArray::from(cells.copied().collect::<Vec<_>>())))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        Ok(solid(array, row, |a| a.as_boolean_opt(), "true or false")?.value(row))
    }
}

impl Cell for f32 {
    fn data_type() -> DataType {
        DataType::Float32
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        Ok(Arc::new(Float32Array::from_iter_values(cells.copied())))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        Ok(solid(array, row, |a| a.as_primitive_opt::<Float32Type>(), "a 32-bit float")?.value(row))
    }
}

/// `Some(NaN)` is written as null too: a file knows one way to say "not estimated".
impl Cell for Option<f32> {
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        DataType::Float32
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        Ok(Arc::new(cells.map(|cell| cell.filter(|number| !number.is_nan())).collect::<Float32Array>()))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        if array.is_null(row) { Ok(None) } else { f32::unpack(array, row).map(Some) }
    }
}

/// Closed sets of names are text in the file, so that any reader can filter by them.
macro_rules! named {
    ($kind:ty, $names:literal) => {
        impl Cell for $kind {
            fn data_type() -> DataType {
                DataType::Utf8
            }

            fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
                pack_texts(cells.map(|cell| cell.name()))
            }

            fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
                let name = text(array, row)?;
                <$kind>::parse(name)
                    .ok_or_else(|| format!(concat!("expected ", $names, ", found `{}`"), name))
            }
        }
    };
}

named!(Split, "`train`, `validation` or `test`");
named!(
    End,
    "`complete`, `truncated` (at the limit of tokens), `thinking` (the same within a thought), `filtered`, \
     `empty` or `failed`"
);
named!(Verdict, "`correct`, `wrong` or `undecidable`");
named!(StepCheck, "`true`, `rounded`, `false`, `prose` or `unreadable`");
named!(FaultKind, "a kind of fault");

/// The field of a list's items. Parquet's specification calls it `element`.
pub fn element(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("element", data_type, false))
}

/// A list array of these items, cut by the number of items in each row.
pub fn pack_list(items: ArrayRef, lengths: impl Iterator<Item = usize>) -> ArrayRef {
    let field = element(items.data_type().clone());
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None))
}

/// The items of the list at `row`: the array of all items, and which of them.
pub fn list(array: &dyn Array, row: usize) -> Result<(&ArrayRef, std::ops::Range<usize>), String> {
    let lists = solid(array, row, |a| a.as_list_opt::<i32>(), "a list")?;
    let offsets = lists.value_offsets();
    Ok((lists.values(), offsets[row] as usize..offsets[row + 1] as usize))
}

/// A misfit among the items of lists, as a misfit of the list's row.
fn of_list((item, problem): Misfit, mut lengths: impl Iterator<Item = usize>) -> Misfit {
    let mut end = 0;
    let row = lengths.position(|length| {
        end += length;
        item < end
    });
    (row.unwrap_or(0), problem)
}

/// Lists of what is a cell by itself.
macro_rules! list_of {
    ($($item:ty),*) => {
        $(impl Cell for Vec<$item> {
            fn data_type() -> DataType {
                DataType::List(element(<$item>::data_type()))
            }

            fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
                let lengths = cells.clone().map(Vec::len);
                let items = <$item>::pack(cells.flatten());
                let items = items.map_err(|misfit| of_list(misfit, lengths.clone()))?;
                Ok(pack_list(items, lengths))
            }

            fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
                let (items, range) = list(array, row)?;
                range.map(|item| <$item>::unpack(items, item)).collect()
            }
        })*
    };
}

list_of!(StepCheck, String, bool, f32, u32);

fn step_fields() -> Fields {
    Fields::from(vec![
        described::<String>("text", "the step: a line, or a formula or code of several lines"),
        described::<Option<f32>>(
            "logprob",
            "natural log of the policy's probability of the step; null if it gave none",
        ),
        described::<Option<f32>>(
            "value",
            "estimated probability that the state after it leads to a correct answer",
        ),
        described::<Option<f32>>("q", "step value from the search tree; null if not estimated"),
        described::<u32>("tokens", "tokens generated for the step"),
    ])
}

/// Floats of steps are NaN in memory and null in the file where there is none.
impl Cell for Vec<Step> {
    fn data_type() -> DataType {
        DataType::List(element(DataType::Struct(step_fields())))
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        let lengths = cells.clone().map(Vec::len);
        let steps = cells.flatten();
        let floats = |of: fn(&Step) -> f32| -> ArrayRef {
            let column = steps.clone().map(|step| Some(of(step)).filter(|number| !number.is_nan()));
            Arc::new(column.collect::<Float32Array>())
        };
        let pack = || -> Result<StructArray, Misfit> {
            let columns = vec![
                pack_texts(steps.clone().map(|step| step.text.as_str()))?,
                floats(|step| step.logprob),
                floats(|step| step.value),
                floats(|step| step.q),
                u32::pack(steps.clone().map(|step| &step.tokens))?,
            ];
            Ok(StructArray::new(step_fields(), columns, None))
        };
        let items = pack().map_err(|misfit| of_list(misfit, lengths.clone()))?;
        Ok(pack_list(Arc::new(items), lengths))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        let (items, range) = list(array, row)?;
        let items = items.as_struct_opt().ok_or("expected a list of structs")?;
        let column =
            |name: &str| items.column_by_name(name).ok_or_else(|| format!("expected `{name}` in each step"));
        let [text, logprob, value, q, tokens] =
            [column("text")?, column("logprob")?, column("value")?, column("q")?, column("tokens")?];
        let float = |array: &ArrayRef, item| {
            Option::<f32>::unpack(array, item).map(|number| number.unwrap_or(f32::NAN))
        };
        range
            .map(|item| {
                Ok(Step {
                    text: String::unpack(text, item)?,
                    logprob: float(logprob, item)?,
                    value: float(value, item)?,
                    q: float(q, item)?,
                    tokens: u32::unpack(tokens, item)?,
                })
            })
            .collect()
    }
}

fn fault_fields() -> Fields {
    Fields::from(vec![
        described::<FaultKind>(
            "kind",
            "false_equation, contradiction, unsupported, made_up_number, orphan_step or wrong_step",
        ),
        described::<Option<u32>>("step", "index of the step; null if the fault is in the path as a whole"),
        described::<String>("evidence", "evidence, e.g. the equation"),
    ])
}

impl Cell for Vec<Fault> {
    fn data_type() -> DataType {
        DataType::List(element(DataType::Struct(fault_fields())))
    }

    fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
        let lengths = cells.clone().map(Vec::len);
        let faults = cells.flatten();
        let pack = || -> Result<StructArray, Misfit> {
            let columns = vec![
                FaultKind::pack(faults.clone().map(|fault| &fault.kind))?,
                Option::<u32>::pack(faults.clone().map(|fault| &fault.step))?,
                pack_texts(faults.clone().map(|fault| fault.evidence.as_str()))?,
            ];
            Ok(StructArray::new(fault_fields(), columns, None))
        };
        let items = pack().map_err(|misfit| of_list(misfit, lengths.clone()))?;
        Ok(pack_list(Arc::new(items), lengths))
    }

    fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
        let (items, range) = list(array, row)?;
        let items = items.as_struct_opt().ok_or("expected a list of structs")?;
        let column =
            |name: &str| items.column_by_name(name).ok_or_else(|| format!("expected `{name}` in each fault"));
        let [kind, step, evidence] = [column("kind")?, column("step")?, column("evidence")?];
        let fault = |item| {
            let (kind, step) = (FaultKind::unpack(kind, item)?, Option::<u32>::unpack(step, item)?);
            Ok(Fault { kind, step, evidence: String::unpack(evidence, item)? })
        };
        range.map(fault).collect()
    }
}
