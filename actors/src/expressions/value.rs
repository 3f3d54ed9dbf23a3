//! Values of expressions: views into JSON, and what expressions make of them.

use super::{Budget, elements::Elements, this};
use cellspace_schemas::{Timestamp, odrl::AtomicConstraint};
use serde_json::{Map, Value};
use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, sync::Arc};

/// What comes of an evaluation.
pub(super) type Evaluated<'a> = Result<Val<'a>, Failure>;

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A field or variable is not there. In a policy: no match.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// The operation is not defined for these types.
    #[error("{0}")]
    Type(String),
    /// A number or date out of range or malformed, or a division by zero.
    #[error("{0}")]
    Range(String),
    /// Too many steps.
    #[error("the expression takes too many steps")]
    Budget,
}

/// A value; clones share what they point to.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A point in time.
    Time(Timestamp),
    /// A span of time in milliseconds.
    Span(i64),
    /// A JSON array.
    Array(&'a [Value]),
    /// A JSON object.
    Object(&'a Map<String, Value>),
    /// A list made by the expression.
    List(Arc<Vec<Val<'a>>>),
    /// A map made by the expression or by the caller.
    Record(Arc<BTreeMap<Cow<'a, str>, Val<'a>>>),
    /// A constraint as a map.
    This(&'a AtomicConstraint),
}

/// Whether two texts are the same; only texts of one length are compared.
pub(super) fn same_text(a: &str, b: &str, budget: &Budget) -> Result<bool, Failure> {
    if a.len() != b.len() {
        return Ok(false);
    }
    budget.take_text(a.len())?;
    Ok(a == b)
}

impl<'a> Val<'a> {
    /// A view of JSON.
    #[must_use]
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => number.as_i64().map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::Array(items),
            Value::Object(fields) => Self::Object(fields),
        }
    }

    /// A borrowed text.
    #[must_use]
    pub const fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A map with these entries.
    #[must_use]
    pub fn record<const N: usize>(entries: [(&'a str, Val<'a>); N]) -> Self {
        Self::Record(Arc::new(entries.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect()))
    }

    /// A list of these values.
    #[must_use]
    pub fn list(items: Vec<Val<'a>>) -> Self {
        Self::List(Arc::new(items))
    }

    /// Name of its type in messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Time(_) => "timestamp",
            Self::Span(_) => "duration",
            Self::Array(_) | Self::List(_) => "list",
            Self::Object(_) | Self::Record(_) | Self::This(_) => "map",
        }
    }

    /// Whether it is a map.
    #[must_use]
    pub const fn is_map(&self) -> bool {
        matches!(self, Self::Object(_) | Self::Record(_) | Self::This(_))
    }

    /// The field of a map; `None` when it is not there or this is no map.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<Self> {
        match self {
            Self::Object(fields) => fields.get(key).map(Val::of),
            Self::Record(fields) => fields.get(key).cloned(),
            Self::This(constraint) => this::field(constraint, key),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Time(_)
            | Self::Span(_)
            | Self::Array(_)
            | Self::List(_) => None,
        }
    }

    /// Elements of a list, keys of a map; `None` for anything else.
    #[must_use]
    pub fn elements(&self) -> Option<Elements<'_, 'a>> {
        match self {
            Self::Array(items) => Some(Elements::Array(items.iter())),
            Self::List(items) => Some(Elements::List(items.iter())),
            Self::Object(fields) => Some(Elements::Fields(fields.keys())),
            Self::Record(fields) => Some(Elements::Keys(fields.keys())),
            Self::This(_) => Some(Elements::Names(this::FIELDS.iter())),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Text(_) | Self::Time(_) | Self::Span(_) => None,
        }
    }

    /// One or many, as JSON-LD has it: the elements of a list, nothing of `null`, and anything else itself.
    pub(super) fn many(&self) -> Elements<'_, 'a> {
        match self {
            Self::Array(items) => Elements::Array(items.iter()),
            Self::List(items) => Elements::List(items.iter()),
            Self::Null => Elements::One(None),
            single => Elements::One(Some(single.clone())),
        }
    }

    /// Elements of a list, characters of a text, entries of a map.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Array(items) => Some(items.len()),
            Self::List(items) => Some(items.len()),
            Self::Object(fields) => Some(fields.len()),
            Self::Record(fields) => Some(fields.len()),
            Self::This(_) => Some(this::FIELDS.len()),
            Self::Text(text) => Some(text.chars().count()),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Time(_) | Self::Span(_) => None,
        }
    }

    /// Whether both are the same: numbers by value, lists and maps by their contents; different types are never the same.
    ///
    /// # Errors
    /// [`Failure::Budget`]
    pub fn same(&self, other: &Self, budget: &Budget) -> Result<bool, Failure> {
        budget.take(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => same_text(a, b, budget)?,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Span(a), Self::Span(b)) => a == b,
            (Self::Array(_) | Self::List(_), Self::Array(_) | Self::List(_)) => {
                if self.size() != other.size() {
                    return Ok(false);
                }
                for (a, b) in self.many().zip(other.many()) {
                    if !a.same(&b, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (ours, theirs) if ours.is_map() && theirs.is_map() => {
                if self.size() != other.size() {
                    return Ok(false);
                }
                for key in self.elements().into_iter().flatten() {
                    let Val::Text(key) = key else {
                        return Ok(false);
                    };
                    match (self.field(&key), other.field(&key)) {
                        (Some(a), Some(b)) if a.same(&b, budget)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            _ => self.numeric(other) == Some(Ordering::Equal),
        })
    }

    fn numeric(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            #[allow(clippy::cast_precision_loss)] // the comparison is one of doubles
            (Self::Int(a), Self::Double(b)) => (*a as f64).partial_cmp(b),
            #[allow(clippy::cast_precision_loss)]
            (Self::Double(a), Self::Int(b)) => a.partial_cmp(&(*b as f64)),
            _ => None,
        }
    }

    /// Order of two values of one ordered type.
    ///
    /// # Errors
    /// [`Failure::Type`] when there is no order between them.
    pub fn order(&self, other: &Self) -> Result<Ordering, Failure> {
        let order = match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Span(a), Self::Span(b)) => Some(a.cmp(b)),
            _ => self.numeric(other),
        };
        order.ok_or_else(|| Failure::Type(format!("{} and {} have no order", self.type_name(), other.type_name())))
    }
}
