//! Finding what a criterion accepts by keys, instead of comparing it with everything.
//!
//! Whatever a criterion accepts is found by its keys, and a little more: whoever looks up still compares.

use super::{Criterion, Operator, criterion::scalar};
use serde_json::Value;

/// Characters of a `like` pattern that stand for others.
const WILDCARDS: [char; 2] = ['%', '_'];
/// Longest key, in bytes; of longer texts the beginning is one.
const MAX_KEY: usize = 64;

/// How the keys of a criterion lead to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// The value's key is one of the criterion's.
    Equal,
    /// The value's key begins with one of the criterion's.
    Beginning,
}

impl Lookup {
    /// The key of a value; `None` when no criterion with keys of this kind accepts it.
    #[must_use]
    pub fn key(self, value: &Value) -> Option<String> {
        let text = scalar(value)?;
        Some(match self {
            Self::Equal => equality(text),
            Self::Beginning => beginning(text),
        })
    }
}

impl Criterion {
    /// The ids of all that the criterion accepts, in their order, when it is about the id and lists them.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<String>> {
        if self.left.names("id") { self.texts() } else { None }
    }

    /// The texts that the criterion accepts, in their order, when it lists them. A field whose values are texts has no others that it accepts.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        let mut texts: Vec<String> = match (self.operator, &self.right) {
            (Operator::Equal, value) => scalar(value).into_iter().collect(),
            (Operator::In, Value::Array(values)) => values.iter().filter_map(scalar).collect(),
            _ => return None,
        };
        texts.sort_unstable();
        texts.dedup();
        Some(texts)
    }

    /// The keys of all that the criterion accepts; `None` when it has no such keys and must be compared with everything.
    #[must_use]
    pub fn keys(&self) -> Option<(Lookup, Vec<String>)> {
        let equal = |value: &Value| Lookup::Equal.key(value);
        match (self.operator, &self.right) {
            (Operator::Equal, value) => Some((Lookup::Equal, vec![equal(value)?])),
            (Operator::In, Value::Array(values)) => {
                let mut keys = values.iter().map(equal).collect::<Option<Vec<_>>>()?;
                keys.sort_unstable();
                keys.dedup();
                Some((Lookup::Equal, keys))
            }
            (Operator::Like, pattern) => {
                let mut literal = scalar(pattern)?;
                literal.truncate(literal.find(WILDCARDS).unwrap_or(literal.len()));
                (!literal.is_empty()).then(|| (Lookup::Beginning, vec![beginning(literal)]))
            }
            _ => None,
        }
    }
}

/// The same for values that are equal: numbers by what they are, also as text, and the rest by its text.
fn equality(text: String) -> String {
    match text.parse::<f64>() {
        // Minus zero is zero.
        Ok(number) if number.is_finite() => format!("{:e}", number + 0.0),
        Ok(_) | Err(_) => beginning(text),
    }
}

fn beginning(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_KEY));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-3..4_i64).prop_map(Value::from),
            (-3..4_i32).prop_map(|n| json!(f64::from(n) / 2.0)),
            prop_oneof![Just(i64::MAX), Just(i64::MAX - 1)].prop_map(Value::from),
            prop_oneof![Just(json!(u64::MAX)), Just(json!(-0.0)), Just(json!(1e300)), Just(json!("1e300")), Just(json!("NaN"))],
            "[a1é.%]{0,4}".prop_map(Value::from),
            "-?[0-2]{1,2}(\\.[05])?".prop_map(Value::from),
            (60..70_usize, "[aé]{0,2}").prop_map(|(n, end)| Value::from(format!("{}{end}", "a".repeat(n)))),
            Just(Value::Null),
            Just(json!({"k": 1})),
            Just(json!([1])),
        ]
    }

    fn criteria() -> impl Strategy<Value = Criterion> {
        let pattern =
            (values(), "[%_a]{0,2}").prop_map(|(value, end)| value.as_str().map_or(value.clone(), |text| format!("{text}{end}").into()));
        let of = |operator: Operator| move |right: Value| Criterion { left: "v".parse().unwrap(), operator, right };
        prop_oneof![
            values().prop_map(of(Operator::Equal)),
            prop::collection::vec(values(), 0..3).prop_map(Value::from).prop_map(of(Operator::In)),
            pattern.prop_map(of(Operator::Like)),
        ]
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]

        /// Nothing that a criterion accepts is missed by its keys.
        #[test]
        fn keys_find_all_that_is_accepted(criterion in criteria(), value in values()) {
            if let Some((lookup, keys)) = criterion.keys() {
                let key = lookup.key(&value);
                let found = key.is_some_and(|key| keys.iter().any(|known| match lookup {
                    Lookup::Equal => *known == key,
                    Lookup::Beginning => key.starts_with(known),
                }));
                prop_assert!(found || !criterion.accepts(&[&value]), "{criterion:?} {value}");
            }
            let criterion = Criterion { left: "id".parse().unwrap(), ..criterion };
            if let (Some(ids), Some(id)) = (criterion.ids(), value.as_str()) {
                prop_assert_eq!(ids.iter().any(|known| known == id), criterion.matches(&json!({"@id": id})));
            }
        }
    }

    #[test]
    fn which_criteria_list_ids() {
        let ids = |left: &str, operator: &str, right: Value| {
            let criterion = Criterion { left: left.parse().unwrap(), operator: Operator::parse(operator).unwrap(), right };
            criterion.ids().map(|ids| ids.join("|"))
        };
        for left in ["id", "@id", "edc:id", "https://w3id.org/edc/v0.0.1/ns/id"] {
            assert_eq!(ids(left, "=", json!("a")).as_deref(), Some("a"), "{left}");
        }
        assert_eq!(ids("id", "in", json!(["b", 7, {"k": 1}, "a", "b"])).as_deref(), Some("7|a|b"));
        assert_eq!(ids("id", "=", json!({"k": 1})).as_deref(), Some(""), "the id of nothing");
        assert_eq!((ids("id", "like", json!("a%")), ids("properties.id", "=", json!("a"))), (None, None));
    }

    #[test]
    fn which_criteria_have_keys() {
        let keys = |operator: &str, right: Value| {
            let criterion = Criterion { left: "v".parse().unwrap(), operator: Operator::parse(operator).unwrap(), right };
            criterion.keys().map(|(lookup, keys)| (lookup, keys.join("|")))
        };
        for (operator, right, expected) in [
            ("=", json!("red"), Some((Lookup::Equal, "red"))),
            ("=", json!("05.0"), Some((Lookup::Equal, "5e0"))),
            ("in", json!(["b", 1, "a", 1.0]), Some((Lookup::Equal, "1e0|a|b"))),
            ("in", json!([]), Some((Lookup::Equal, ""))),
            ("like", json!("part-1%"), Some((Lookup::Beginning, "part-1"))),
            ("like", json!("part"), Some((Lookup::Beginning, "part"))),
            ("like", json!("%part"), None),
            ("like", json!("_"), None),
            ("=", json!({"k": 1}), None),
            ("in", json!(["a", ["b"]]), None),
            ("ilike", json!("part"), None),
            ("!=", json!("red"), None),
        ] {
            assert_eq!(keys(operator, right.clone()), expected.map(|(lookup, text)| (lookup, text.to_owned())), "{operator} {right}");
        }
    }
}
