//! What a predicate says of an entity. Pure, and linear in the entity's size for every field named.

use super::{Literal, Operator, Predicate};
use serde_json::Value;
use std::cmp::Ordering;

impl Predicate {
    /// Whether the entity satisfies the predicate.
    #[must_use]
    pub fn matches(&self, entity: &Value) -> bool {
        match self {
            Self::All => true,
            Self::Compare { field, operator, literal } => some_value(entity, field, &|value| compare(value, *operator, literal)),
            Self::In { field, literals, negated } => {
                some_value(entity, field, &|value| literals.iter().any(|l| equal(value, l)) != *negated)
            }
            Self::Null { field, negated } => some_value(entity, field, &|_| true) == *negated,
            Self::And(parts) => parts.iter().all(|part| part.matches(entity)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(entity)),
        }
    }
}

/// Whether some value at the path, other than `null`, passes the test.
fn some_value(value: &Value, path: &str, test: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| some_value(item, path, test)),
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => path.is_empty() && test(value),
        Value::Object(_) if path.is_empty() => test(value),
        Value::Object(map) => {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| {
                let (Some(key), Some(rest)) = (path.get(..end), path.get(end..)) else { return false };
                map.get(key).is_some_and(|inner| some_value(inner, rest.strip_prefix('.').unwrap_or(rest), test))
            })
        }
    }
}

fn equal(value: &Value, literal: &Literal) -> bool {
    order(value, literal) == Some(Ordering::Equal)
}

/// How the value stands to the literal; `None` when they cannot be compared.
fn order(value: &Value, literal: &Literal) -> Option<Ordering> {
    match literal {
        Literal::Text(text) => value.as_str().map(|v| v.cmp(text.as_str())),
        Literal::Number(number) => value.as_f64().and_then(|v| v.partial_cmp(number)),
        Literal::Bool(flag) => value.as_bool().map(|v| v.cmp(flag)),
    }
}

fn compare(value: &Value, operator: Operator, literal: &Literal) -> bool {
    let text = |test: fn(&str, &str) -> bool| match (value, literal) {
        (Value::String(value), Literal::Text(literal)) => test(value, literal),
        _ => false,
    };
    match operator {
        Operator::Equal => equal(value, literal),
        Operator::NotEqual => !equal(value, literal),
        Operator::Greater => order(value, literal) == Some(Ordering::Greater),
        Operator::GreaterOrEqual => order(value, literal).is_some_and(Ordering::is_ge),
        Operator::Less => order(value, literal) == Some(Ordering::Less),
        Operator::LessOrEqual => order(value, literal).is_some_and(Ordering::is_le),
        Operator::Like => text(like),
        Operator::NotLike => text(|value, pattern| !like(value, pattern)),
        Operator::Contains => text(|value, part| value.contains(part)),
        Operator::StartsWith => text(|value, part| value.starts_with(part)),
        Operator::EndsWith => text(|value, part| value.ends_with(part)),
    }
}

/// SQL's `LIKE`. Remembers only the last `%`, so that it takes at most length of text times length of pattern steps.
fn like(text: &str, pattern: &str) -> bool {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    let mut last_any: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut after = pattern.clone();
        match after.next() {
            Some('%') => {
                pattern = after;
                last_any = Some((text.clone(), pattern.clone()));
                continue;
            }
            Some(wanted) if text.clone().next().is_some_and(|c| wanted == '_' || c == wanted) => {
                text.next();
                pattern = after;
                continue;
            }
            None if text.clone().next().is_none() => return true,
            Some(_) | None => {}
        }
        // A dead end: let the last `%` take one character more.
        let Some((mut start, rest)) = last_any.take() else { return false };
        if start.next().is_none() {
            return false;
        }
        (text, pattern) = (start.clone(), rest.clone());
        last_any = Some((start, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn holds(predicate: &str, entity: &Value) -> bool {
        predicate.parse::<Predicate>().unwrap().matches(entity)
    }

    #[test]
    fn fields_operators_and_absence() {
        let profile = json!({"identifier": "did:web:acme", "version": 3, "error": false, "errorDetail": null,
            "properties": {"name": "Acme", "cfm.vpa.state": {"participantContextId": "pc-1"}},
            "vpas": [{"state": "active", "version": 1}, {"state": "pending", "version": 2}], "tags": ["a", "b"], "none": []});
        for yes in [
            "identifier = 'did:web:acme'",
            "identifier LIKE 'did:%:ac_e'",
            "properties.name STARTS_WITH 'Ac' AND properties.name ENDS_WITH 'me'",
            "properties.cfm.vpa.state.participantContextId = 'pc-1'",
            "vpas.state = 'pending'",
            "vpas.state != 'active'",
            "vpas.version > 1",
            "tags = 'b'",
            "version >= 3 AND version <= 3 AND version < 4",
            "error = false",
            "errorDetail IS NULL",
            "nothing IS NULL AND none IS NULL",
            "properties IS NOT NULL",
            "version IN (1, 3)",
            "identifier NOT IN ('x', 'y')",
            "identifier NOT LIKE '%x'",
            "properties.name > 'Abc'",
            "true",
            "identifier = 'x' OR version = 3",
        ] {
            assert!(holds(yes, &profile), "{yes}");
        }
        for no in [
            "identifier = 'did:web'",
            "nothing = 'x'",
            "nothing != 'x'",
            "nothing NOT IN ('x')",
            "nothing NOT LIKE 'x'",
            "version = '3'",
            "identifier > 1",
            "identifier IS NULL",
            "vpas.state IN ('error', 'disposed')",
            "identifier LIKE 'acme'",
            "version LIKE '3'",
            "identifier.name = 'x'",
        ] {
            assert!(!holds(no, &profile), "{no}");
        }
    }

    #[test]
    fn like_takes_few_steps() {
        assert!(!like(&"a".repeat(4_000), &format!("{}b", "%a".repeat(60))));
        assert!(like(&"ä".repeat(40), "%ä_%ä"));
    }

    /// The obvious definition, exponential.
    fn like_plain(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|n| like_plain(&text[n..], rest)),
            Some((wanted, rest)) => text.split_first().is_some_and(|(c, more)| (*wanted == '_' || c == wanted) && like_plain(more, rest)),
        }
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]
        #[test]
        fn like_is_the_obvious_definition(text in "[ab]{0,8}", pattern in "[ab%_]{0,6}") {
            let (chars, wanted): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
            prop_assert_eq!(like(&text, &pattern), like_plain(&chars, &wanted));
        }

        /// A value that is there satisfies exactly one of each pair of opposites; one that is not there satisfies neither.
        #[test]
        fn opposites(value in "[a-c]{0,3}", literal in "[a-c%_]{0,3}", there in any::<bool>()) {
            let entity = if there { json!({"a": value}) } else { json!({"b": value}) };
            for (one, other) in [("=", "!="), ("LIKE", "NOT LIKE")] {
                let count = [one, other].into_iter().filter(|op| holds(&format!("a {op} '{literal}'"), &entity)).count();
                prop_assert_eq!(count, usize::from(there));
            }
        }
    }
}
