//! Cells of any Arrow array as JSON values.
//!
//! Written out, and not left to Arrow's own JSON writer, because inspection must not stop at a type: what
//! JSON has no word for (dates, decimals, intervals) is given as Arrow displays it, and bytes as hex digits.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes as types;
use arrow::datatypes::{ArrowTimestampType, DataType, Field, TimeUnit};
use arrow::util::display::array_value_to_string;
use serde_json::{Map, Number, Value};

/// Bytes of a binary value that are shown.
const BINARY_BYTES: usize = 32;

/// The value at `row`, which must be below the array's length.
pub fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    known(array, row).unwrap_or_else(|| match array_value_to_string(array, row) {
        Ok(text) => Value::String(text),
        Err(err) => Value::String(format!("({err})")),
    })
}

/// The value if it is of a type that JSON has a form for.
fn known(array: &dyn Array, row: usize) -> Option<Value> {
    let value = match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean_opt()?.value(row).into(),
        DataType::Int8 => primitive::<types::Int8Type>(array, row)?.into(),
        DataType::Int16 => primitive::<types::Int16Type>(array, row)?.into(),
        DataType::Int32 => primitive::<types::Int32Type>(array, row)?.into(),
        DataType::Int64 => primitive::<types::Int64Type>(array, row)?.into(),
        DataType::UInt8 => primitive::<types::UInt8Type>(array, row)?.into(),
        DataType::UInt16 => primitive::<types::UInt16Type>(array, row)?.into(),
        DataType::UInt32 => primitive::<types::UInt32Type>(array, row)?.into(),
        DataType::UInt64 => primitive::<types::UInt64Type>(array, row)?.into(),
        DataType::Float16 => short_float(primitive::<types::Float16Type>(array, row)?.to_f32()),
        DataType::Float32 => short_float(primitive::<types::Float32Type>(array, row)?),
        DataType::Float64 => float(primitive::<types::Float64Type>(array, row)?),
        DataType::Utf8 => array.as_string_opt::<i32>()?.value(row).into(),
        DataType::LargeUtf8 => array.as_string_opt::<i64>()?.value(row).into(),
        DataType::Utf8View => array.as_string_view_opt()?.value(row).into(),
        DataType::Binary => bytes(array.as_binary_opt::<i32>()?.value(row)),
        DataType::LargeBinary => bytes(array.as_binary_opt::<i64>()?.value(row)),
        DataType::BinaryView => bytes(array.as_binary_view_opt()?.value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary_opt()?.value(row)),
        DataType::List(_) => items(&array.as_list_opt::<i32>()?.value(row)),
        DataType::LargeList(_) => items(&array.as_list_opt::<i64>()?.value(row)),
        DataType::FixedSizeList(_, _) => items(&array.as_fixed_size_list_opt()?.value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct_opt()?.columns();
            let pairs =
                fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), cell(column, row)));
            Value::Object(pairs.collect())
        }
        DataType::Map(_, _) => {
            let entries = array.as_map_opt()?.value(row);
            pairs(entries.columns().first()?, entries.columns().get(1)?)
        }
        DataType::Timestamp(TimeUnit::Second, Some(_)) => instant::<types::TimestampSecondType>(array, row)?,
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => {
            instant::<types::TimestampMillisecondType>(array, row)?
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            instant::<types::TimestampMicrosecondType>(array, row)?
        }
        DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => {
            instant::<types::TimestampNanosecondType>(array, row)?
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let key = cell(dictionary.keys(), row).as_u64()? as usize;
            let values = dictionary.values();
            if key < values.len() { cell(values, key) } else { return None }
        }
        _ => return None,
    };
    Some(value)
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<T::Native> {
    Some(array.as_primitive_opt::<T>()?.value(row))
}

/// A time with a zone, as UTC: that is what is stored, and Arrow knows zones by name only with a database of
/// them.
fn instant<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> Option<Value> {
    let one = array.as_primitive_opt::<T>()?.slice(row, 1).with_timezone_opt(None::<&str>);
    Some(Value::String(array_value_to_string(&one, 0).ok()? + "Z"))
}

/// JSON has no word for the numbers that are none, and null means that there is no value: so they are texts.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

/// A 32-bit float by its shortest digits: 0.1, and not 0.10000000149.
fn short_float(number: f32) -> Value {
    float(number.to_string().parse().unwrap_or(f64::from(number)))
}

fn bytes(value: &[u8]) -> Value {
    let mut hex = String::with_capacity(2 * value.len().min(BINARY_BYTES));
    for byte in value.iter().take(BINARY_BYTES) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    if value.len() > BINARY_BYTES {
        let _ = write!(hex, "… ({} bytes)", value.len());
    }
    hex.into()
}

fn items(array: &ArrayRef) -> Value {
    (0..array.len()).map(|item| cell(array, item)).collect()
}

/// A map as an object; as a list of pairs if its keys are no texts.
fn pairs(keys: &ArrayRef, values: &ArrayRef) -> Value {
    let entries: Vec<(Value, Value)> =
        (0..keys.len()).map(|item| (cell(keys, item), cell(values, item))).collect();
    if entries.iter().all(|(key, _)| key.is_string()) {
        let named = entries.into_iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
        return Value::Object(named.collect::<Map<_, _>>());
    }
    entries.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect()
}

/// A type by a short name: `string`, `list of struct`, `timestamp(ms)`.
pub fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::FixedSizeBinary(width) => format!("binary({width})"),
        DataType::Boolean => "bool".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list of {}", type_name(item.data_type()))
        }
        DataType::FixedSizeList(item, length) => format!("list({length}) of {}", type_name(item.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Map(_, _) => "map".to_owned(),
        DataType::Dictionary(_, values) => format!("dictionary of {}", type_name(values)),
        // Names of time zones keep their capitals.
        other => {
            let name = other.to_string();
            let (head, rest) = name.split_at(name.find('(').unwrap_or(name.len()));
            head.to_lowercase() + rest
        }
    }
}

/// The fields within a field, if it is a struct, or lists of structs.
pub fn fields_within(field: &Field) -> &[arrow::datatypes::FieldRef] {
    match field.data_type() {
        DataType::Struct(fields) => fields,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            fields_within(item)
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::*;
    // Arrow's arrays have a module of that name too.
    use arrow::datatypes as types;
    use serde_json::json;

    fn all(array: &dyn Array) -> Vec<Value> {
        (0..array.len()).map(|row| cell(array, row)).collect()
    }

    #[test]
    fn numbers_texts_and_nulls() {
        assert_eq!(all(&Int64Array::from(vec![Some(i64::MIN), None])), [json!(i64::MIN), Value::Null]);
        assert_eq!(all(&UInt64Array::from(vec![u64::MAX])), [json!(u64::MAX)]);
        assert_eq!(all(&Float32Array::from(vec![0.1, f32::NAN])), [json!(0.1), json!("NaN")]);
        assert_eq!(all(&Float64Array::from(vec![f64::NEG_INFINITY, 2.0])), [json!("-inf"), json!(2.0)]);
        assert_eq!(all(&BooleanArray::from(vec![true])), [json!(true)]);
        assert_eq!(all(&LargeStringArray::from(vec!["é"])), [json!("é")]);
        assert_eq!(
            all(&StringViewArray::from(vec![Some("long enough to be in a buffer"), None]))[1],
            Value::Null
        );
        assert_eq!(all(&NullArray::new(1)), [Value::Null]);
    }

    #[test]
    fn bytes_are_hex_and_cut() {
        assert_eq!(all(&BinaryArray::from(vec![&[0u8, 255][..]])), [json!("00ff")]);
        let long = BinaryViewArray::from(vec![&[7u8; 40][..]]);
        assert_eq!(all(&long), [json!(format!("{}… (40 bytes)", "07".repeat(32)))]);
    }

    #[test]
    fn nested_values() {
        let lists = ListArray::from_iter_primitive::<types::Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ]);
        assert_eq!(all(&lists), [json!([1, null]), Value::Null, json!([])]);
        let fixed = FixedSizeListArray::from_iter_primitive::<types::Int32Type, _, _>(
            vec![Some(vec![Some(1), Some(2)])],
            2,
        );
        assert_eq!(all(&fixed), [json!([1, 2])]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int32Array::from(vec![1]))),
            ("b", Arc::new(StringArray::from(vec![None::<&str>]))),
        ];
        let structs = StructArray::try_from(columns);
        assert_eq!(structs.map(|array| all(&array)).ok(), Some(vec![json!({"a": 1, "b": null})]));
        let words: DictionaryArray<types::Int8Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
        assert_eq!(all(&words), [json!("x"), Value::Null, json!("x")]);
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("k");
        map.values().append_value(5);
        assert!(map.append(true).is_ok());
        assert_eq!(all(&map.finish()), [json!({"k": 5})]);
    }

    #[test]
    fn what_json_has_no_form_for_is_text() {
        assert_eq!(all(&Date32Array::from(vec![0])), [json!("1970-01-01")]);
        assert_eq!(all(&TimestampSecondArray::from(vec![0])), [json!("1970-01-01T00:00:00")]);
        let money = Decimal128Array::from(vec![1234]).with_precision_and_scale(6, 2);
        assert_eq!(money.map(|array| all(&array)).ok(), Some(vec![json!("12.34")]));
    }

    #[test]
    fn types_have_short_names() {
        let item = Arc::new(Field::new("element", DataType::LargeUtf8, true));
        assert_eq!(type_name(&DataType::List(item)), "list of string");
        assert_eq!(type_name(&DataType::Float32), "float32");
        assert_eq!(type_name(&DataType::Decimal128(10, 2)), "decimal128(10, 2)");
    }
}
