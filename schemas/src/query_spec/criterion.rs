//! One condition of a query.

use super::FieldPath;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// How a criterion compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `in`
    In,
    /// `not in`
    NotIn,
    /// `like`: `%` for any text, `_` for one character.
    Like,
    /// `ilike`: as `like`, whatever the case.
    Ilike,
    /// `contains`: the list has the value, or the text has the part.
    Contains,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Operator {
    /// Reads the operator, whatever its case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "in" => Self::In,
            "not in" => Self::NotIn,
            "like" => Self::Like,
            "ilike" => Self::Ilike,
            "contains" => Self::Contains,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The operator as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Like => "like",
            Self::Ilike => "ilike",
            Self::Contains => "contains",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether the right operand is a list.
    #[must_use]
    pub const fn wants_list(self) -> bool {
        matches!(self, Self::In | Self::NotIn)
    }
}

/// A condition; serialises to and from the form of the API: a field, an operator, a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// The field.
    pub left: FieldPath,
    /// The operator.
    pub operator: Operator,
    /// The value or values.
    pub right: Value,
}

impl Criterion {
    /// The form of the API.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"@type": "Criterion", "operandLeft": self.left.to_string(), "operator": self.operator.as_str(), "operandRight": self.right})
    }

    /// Whether the condition holds for an entity with this view. A field that is not there meets no condition. A field with several values meets
    /// a condition when one of them does, and a negative one when none of them is excluded.
    #[must_use]
    pub fn matches(&self, view: &Value) -> bool {
        self.accepts(&self.left.values(view))
    }

    /// Whether the condition holds for an entity whose field has these values.
    #[must_use]
    pub fn accepts(&self, values: &[&Value]) -> bool {
        if values.is_empty() {
            return false;
        }
        let any = |test: &dyn Fn(&Value) -> bool| values.iter().any(|value| test(value));
        let right = &self.right;
        let listed = |value: &Value| right.as_array().is_some_and(|list| list.iter().any(|item| same(value, item)));
        let ordered = |accept: fn(Ordering) -> bool| any(&|value| compare(value, right).is_some_and(accept));
        match self.operator {
            Operator::Equal => any(&|value| same(value, right)),
            Operator::NotEqual => !any(&|value| same(value, right)),
            Operator::In => any(&listed),
            Operator::NotIn => !any(&listed),
            Operator::Like => any(&|value| both_text(value, right).is_some_and(|(text, pattern)| like(&text, &pattern))),
            Operator::Ilike => {
                any(&|value| both_text(value, right).is_some_and(|(text, pattern)| like(&text.to_lowercase(), &pattern.to_lowercase())))
            }
            Operator::Contains => any(&|value| {
                same(value, right) || matches!((value, right), (Value::String(text), Value::String(part)) if text.contains(part.as_str()))
            }),
            Operator::Less => ordered(Ordering::is_lt),
            Operator::LessOrEqual => ordered(Ordering::is_le),
            Operator::Greater => ordered(Ordering::is_gt),
            Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        }
    }
}

impl Serialize for Criterion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Criterion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stored {
            operand_left: String,
            operator: String,
            operand_right: Value,
        }
        let Stored { operand_left, operator, operand_right } = Stored::deserialize(deserializer)?;
        let left = operand_left.parse().map_err(D::Error::custom)?;
        let operator = Operator::parse(&operator).ok_or_else(|| D::Error::custom("not an operator"))?;
        Ok(Self { left, operator, right: operand_right })
    }
}

/// The text of a scalar.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn both_text(left: &Value, right: &Value) -> Option<(String, String)> {
    scalar(left).zip(scalar(right))
}

/// Equality: numbers by value, scalars of different types by their text, everything else as it is.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::String(a), Value::String(b)) => a == b,
        _ if left == right => true,
        _ => both_text(left, right).is_some_and(|(a, b)| a == b),
    }
}

/// Order: numbers by value, texts by their characters; a text against a number when it is one. `None` for anything else.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

/// SQL `LIKE`, in time proportional to text times pattern at most.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where the last `%` was, and how much text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = text.get(t) {
        match pattern.get(p) {
            Some('%') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == '_' || wanted == character => {
                t += 1;
                p += 1;
            }
            Some(_) | None => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                t = taken + 1;
                p = at + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operators() {
        let view = json!({"n": 5, "s": "Twin", "l": ["a", "b"], "o": {"k": 1}, "b": true, "state": ["STARTED", 600], "null": null});
        let cases = [
            ("n", "=", json!(5), true),
            ("n", "=", json!(5.0), true),
            ("n", "=", json!("5"), true),
            ("n", "!=", json!(6), true),
            ("n", "<", json!(6), true),
            ("n", "<", json!("x"), false),
            ("n", ">=", json!("5"), true),
            ("n", "<=", json!(4), false),
            ("n", ">", json!(4.5), true),
            ("s", "LIKE", json!("T%n"), true),
            ("s", "like", json!("t%n"), false),
            ("s", "ilike", json!("t_IN"), true),
            ("s", "like", json!("Tw"), false),
            ("s", "contains", json!("wi"), true),
            ("s", "in", json!(["x", "Twin"]), true),
            ("s", "not in", json!(["x"]), true),
            ("s", "Not In", json!(["Twin"]), false),
            ("l", "contains", json!("b"), true),
            ("l", "!=", json!("b"), false),
            ("o", "=", json!({"k": 1}), true),
            ("o", "=", json!("x"), false),
            ("b", "=", json!(true), true),
            ("b", "=", json!("true"), true),
            ("state", "=", json!("STARTED"), true),
            ("state", "=", json!(600), true),
            ("state", "=", json!("TERMINATED"), false),
            ("missing", "=", json!("x"), false),
            ("missing", "!=", json!("x"), false),
            ("null", "=", json!(null), false),
        ];
        for (left, operator, right, expected) in cases {
            let criterion = Criterion { left: left.parse().unwrap(), operator: Operator::parse(operator).unwrap(), right: right.clone() };
            assert_eq!(criterion.matches(&view), expected, "{left} {operator} {right}");
        }
        assert_eq!(Operator::parse("~"), None);
    }

    /// `LIKE` as it is defined, however long that takes.
    fn like_by_definition(text: &[char], pattern: &[char]) -> bool {
        match (text, pattern) {
            ([], []) => true,
            (_, ['%', rest @ ..]) => (0..=text.len()).any(|n| like_by_definition(&text[n..], rest)),
            ([character, text @ ..], [wanted, rest @ ..]) => (wanted == character || *wanted == '_') && like_by_definition(text, rest),
            _ => false,
        }
    }

    fn scalars() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-3..4_i64).prop_map(Value::from),
            (-3..4_i32).prop_map(|n| json!(f64::from(n) / 2.0)),
            "[aB1]{0,3}".prop_map(Value::from)
        ]
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]

        #[test]
        fn like_is_what_it_is_defined_as(text in "[aA%_é]{0,8}", pattern in "[aA%_é]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(like(&text, &pattern), like_by_definition(&chars(&text), &chars(&pattern)));
        }

        /// What the operators have to do with each other, for a field with one value.
        #[test]
        fn operators_agree(left in scalars(), right in scalars(), others in prop::collection::vec(scalars(), 0..4)) {
            let view = json!({"v": left});
            let holds = |operator: &str, right: &Value| {
                Criterion { left: "v".parse().unwrap(), operator: Operator::parse(operator).unwrap(), right: right.clone() }.matches(&view)
            };
            let list = Value::Array(std::iter::once(right.clone()).chain(others.clone()).collect());
            prop_assert_eq!(holds("=", &right), !holds("!=", &right));
            prop_assert_eq!(holds("in", &list), std::iter::once(&right).chain(&others).any(|item| holds("=", item)));
            prop_assert_eq!(holds("NOT IN", &list), !holds("In", &list));
            prop_assert!(!holds("like", &right) || holds("ILIKE", &right));
            prop_assert!(!holds("=", &right) || holds("Contains", &right));
            // Comparable values stand in exactly one order, others in none.
            let order = ["<", ">"].map(|operator| holds(operator, &right));
            prop_assert!(order != [true, true]);
            prop_assert_eq!(holds("<=", &right) && holds(">=", &right), order == [false, false] && compare(&left, &right).is_some());
            prop_assert_eq!(holds("<=", &right), order[0] || (holds("<=", &right) && holds(">=", &right)));
        }

        /// What is stored of a criterion is the criterion.
        #[test]
        fn criteria_are_stored_whole(left in "[a-c]{1,3}(\\.'https://[a-z./]{1,9}'|\\[[0-9]\\])?(\\.[a-c]{1,3})?", right in scalars()) {
            let criterion = Criterion { left: left.parse().unwrap(), operator: Operator::Equal, right };
            let stored: Criterion = serde_json::from_value(serde_json::to_value(&criterion).unwrap()).unwrap();
            prop_assert_eq!(stored, criterion);
        }
    }

    #[test]
    fn like_does_not_explode() {
        let text = "a".repeat(10_000);
        assert!(!like(&text, &"%a".repeat(40).replace("%a", "%a%b")));
        assert!(like("", "%%") && !like("", "_") && like("abc", "%b%") && like("aab", "%ab"));
    }
}
