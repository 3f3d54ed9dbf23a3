//! The order of sorted lists: total, whatever entities have in the field, so that a place in it stays one.

use super::SortOrder;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Characters of a text that count when lists are sorted: a place in the list is told to clients, and must be short.
pub const SORTED_CHARACTERS: usize = 256;

/// What an entity is sorted by: truth values before numbers before texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SortKey {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl SortKey {
    /// The key of a value; lists and objects have none.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::String(text) => {
                let end = text.char_indices().nth(SORTED_CHARACTERS).map_or(text.len(), |(end, _)| end);
                Some(Self::Text(text.get(..end).unwrap_or(text).to_owned()))
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The value that it is the key of.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Bool(flag) => (*flag).into(),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => text.as_str().into(),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => numbers(a, b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// By value. Whole numbers that are the same as floating point numbers are told apart by what they are exactly.
fn numbers(a: &Number, b: &Number) -> Ordering {
    #[allow(clippy::cast_possible_truncation)] // whole numbers of this size are exact, others were told apart before
    let exact = |n: &Number| n.as_i128().unwrap_or_else(|| n.as_f64().unwrap_or_default() as i128);
    let float = |n: &Number| n.as_f64().unwrap_or_default();
    float(a).total_cmp(&float(b)).then_with(|| exact(a).cmp(&exact(b)))
}

/// The order of two entities, each by its key and its id: those without a key last, in either direction; equals by their ids.
pub(super) fn places(order: SortOrder, a: (Option<&SortKey>, &str), b: (Option<&SortKey>, &str)) -> Ordering {
    let by_key = match (a.0, b.0) {
        (Some(a), Some(b)) if order == SortOrder::Desc => b.compare(a),
        (Some(a), Some(b)) => a.compare(b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    by_key.then_with(|| a.1.cmp(b.1))
}
