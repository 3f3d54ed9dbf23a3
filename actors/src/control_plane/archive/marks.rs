//! What processes are found by in lists besides their ids: fields with one text, and for each text of each field the ids of the archived processes that have it.

use super::{Filed, key::table};
use cellspace_schemas::{Timestamp, ids::MAX_ID_BYTES, query_spec::Criterion};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Texts in a criterion at most; one that lists more is compared with everything.
const MAX_TEXTS: usize = 16;

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Negotiations, and the agreements that they led to.
    Negotiation,
    /// Transfers.
    Transfer,
}

impl Kind {
    /// Table of the marks.
    pub(super) fn marks(self) -> String {
        table(match self {
            Self::Negotiation => "negotiation-by",
            Self::Transfer => "transfer-by",
        })
    }
}

/// A field by which processes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// The word of its state.
    State,
    /// The word of our role.
    Role,
    /// The counterparty's DID.
    Counterparty,
    /// The asset that it is about.
    Asset,
    /// The agreement that a transfer is under.
    Contract,
    /// [`AGREED`], when a negotiation led to an agreement.
    Agreed,
    /// When it began, as [`newest_first`] writes it.
    Created,
}

/// The only value of [`Field::Agreed`].
pub const AGREED: &str = "true";

impl Field {
    /// All.
    pub const ALL: [Self; 7] = [Self::State, Self::Role, Self::Counterparty, Self::Asset, Self::Contract, Self::Agreed, Self::Created];

    const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Role => "role",
            Self::Counterparty => "counterparty",
            Self::Asset => "asset",
            Self::Contract => "contract",
            Self::Agreed => "agreed",
            Self::Created => "created",
        }
    }

    /// What values and ids of all marks of this field stand behind.
    pub(super) fn prefix(self) -> String {
        format!("{}\n", self.name())
    }

    /// What the ids of all marks of this value stand behind. Neither values nor ids have white space, so the separator is unambiguous.
    pub(super) fn beginning(self, value: &str) -> String {
        format!("{}{value}\n", self.prefix())
    }
}

/// Says that an archived process has a value in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    of: Kind,
    field: Field,
    value: String,
    id: String,
}

impl Mark {
    /// Those of a process.
    pub(super) fn all<T: Filed>(process: &T) -> impl Iterator<Item = Self> {
        let mark = |field: Field| Some(Self { of: T::KIND, field, value: process.value(field)?.into_owned(), id: process.id().to_owned() });
        Field::ALL.into_iter().filter_map(mark)
    }

    /// Where it is kept.
    pub(super) fn row(&self) -> RowKey {
        RowKey::new(&self.of.marks(), &(self.field.beginning(&self.value) + &self.id))
    }
}

/// What a query asks of a field: whatever meets it has one of these values there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The field.
    pub field: Field,
    /// The values.
    pub values: Vec<String>,
}

impl Sought {
    /// What the criterion, which is about this field of such processes, asks: a process meets the one as it meets the other. `None` when it must be
    /// compared with everything.
    #[must_use]
    pub fn of<T: Filed>(field: Field, criterion: &Criterion) -> Option<Self> {
        // `1200.0` is the number of a state, and the text of nothing.
        let fraction = criterion.right.is_f64() || criterion.right.as_array().is_some_and(|list| list.iter().any(Value::is_f64));
        let texts = criterion.texts().filter(|texts| !fraction && texts.len() <= MAX_TEXTS)?;
        let mut values: Vec<String> = match field {
            // Queries may name a state by its number.
            Field::State => texts.into_iter().map(word::<T>).collect(),
            Field::Role | Field::Counterparty | Field::Asset | Field::Contract | Field::Agreed | Field::Created => texts,
        };
        // Longer than any value there is, and maybe than a key can be.
        values.retain(|value| value.len() <= MAX_ID_BYTES);
        values.sort_unstable();
        values.dedup();
        Some(Self { field, values })
    }

    /// Whether the process is one of those that are sought.
    #[must_use]
    pub fn admits<T: Filed>(&self, process: &T) -> bool {
        process.value(self.field).is_some_and(|value| self.values.iter().any(|sought| *sought == value))
    }
}

/// A time as a text that sorts before those of earlier times.
pub(super) fn newest_first(at: Timestamp) -> String {
    format!("{:016x}", !(at.0.cast_unsigned() ^ (1 << 63)))
}

/// The word of the state with this number; any other text as it is.
fn word<T: Filed>(text: String) -> String {
    let named = T::states().find(|(_, code)| code.to_string() == text);
    named.map_or(text, |(word, _)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::negotiation::Negotiation;
    use cellspace_schemas::query_spec::Operator;
    use serde_json::json;

    #[test]
    fn what_no_key_could_hold_is_the_value_of_nothing() {
        let long = "x".repeat(70_000);
        let criterion = Criterion { left: "counterPartyId".parse().unwrap(), operator: Operator::In, right: json!([long, "did:web:a"]) };
        let sought = Sought::of::<Negotiation>(Field::Counterparty, &criterion).unwrap();
        assert_eq!(sought.values, ["did:web:a"]);
    }

    #[test]
    fn newer_times_sort_first() {
        let times = [i64::MAX, 7, 1, 0, -1, i64::MIN].map(|at| newest_first(Timestamp(at)));
        assert!(times.is_sorted(), "{times:?}");
    }
}
