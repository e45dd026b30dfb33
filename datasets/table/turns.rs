//! Turns of a conversation as a cell: a list of `role` and `content`, the form that trainers of chat models
//! read.

use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Fields};

use super::cell::{Cell, Misfit, described, element, list, pack_list, pack_texts};

/// Role and content of each turn.
pub type Turn<'a> = (&'static str, &'a str);

const USER: &str = "user";
const ASSISTANT: &str = "assistant";

fn fields() -> Fields {
    Fields::from(vec![
        described::<String>("role", "user or assistant"),
        described::<String>("content", "the turn"),
    ])
}

pub(super) fn data_type() -> DataType {
    DataType::List(element(DataType::Struct(fields())))
}

/// Conversations of `length` turns each, one behind the other.
pub(super) fn pack<'a>(
    turns: impl Iterator<Item = Turn<'a>> + Clone,
    length: usize,
) -> Result<ArrayRef, Misfit> {
    let content = pack_texts(turns.clone().map(|(_, content)| content));
    let content = content.map_err(|(turn, problem)| (turn / length, problem))?;
    let rows = content.len() / length;
    let roles = Arc::new(StringArray::from_iter_values(turns.map(|(role, _)| role)));
    let items = StructArray::new(fields(), vec![roles, content], None);
    Ok(pack_list(Arc::new(items), std::iter::repeat_n(length, rows)))
}

/// The contents of the turns at `row`, which must have these roles.
pub(super) fn unpack(array: &dyn Array, row: usize, roles: &[&str]) -> Result<Vec<String>, String> {
    let (items, range) = list(array, row)?;
    let items = items.as_struct_opt().ok_or("expected a list of turns")?;
    let column =
        |name: &str| items.column_by_name(name).ok_or_else(|| format!("expected `{name}` in each turn"));
    let (role, content) = (column("role")?, column("content")?);
    let found = range.clone().map(|item| String::unpack(role, item)).collect::<Result<Vec<_>, _>>()?;
    if found != roles {
        return Err(format!("expected the turns {}, found {}", roles.join(", "), found.join(", ")));
    }
    range.map(|item| String::unpack(content, item)).collect()
}

/// A prompt and its completion as two turns.
pub(super) fn dialogue<'a>(prompt: &'a str, completion: &'a str) -> [Turn<'a>; 2] {
    [(USER, prompt), (ASSISTANT, completion)]
}

/// Prompt and completion of two turns.
pub(super) fn unpack_dialogue(array: &dyn Array, row: usize) -> Result<(String, String), String> {
    let mut turns = unpack(array, row, &[USER, ASSISTANT])?;
    let completion = turns.pop().unwrap_or_default();
    Ok((turns.pop().unwrap_or_default(), completion))
}

/// A text that is a conversation of one turn in the file.
macro_rules! one_turn {
    ($name:ident, $role:expr, $about:literal) => {
        #[doc = $about]
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub String);

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl Cell for $name {
            fn data_type() -> DataType {
                data_type()
            }

            fn pack<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Result<ArrayRef, Misfit> {
                pack(cells.map(|cell| ($role, &*cell.0)), 1)
            }

            fn unpack(array: &dyn Array, row: usize) -> Result<Self, String> {
                Ok(Self(unpack(array, row, &[$role])?.pop().unwrap_or_default()))
            }
        }
    };
}

one_turn!(UserTurn, USER, "What a user says, as a list of one turn.");
one_turn!(AssistantTurn, ASSISTANT, "What an assistant says, as a list of one turn.");
