//! Operators and functions of the language.

use super::{Budget, Failure, Val};
use cel::common::ast::operators as op;
use cellspace_schemas::Timestamp;
use std::{borrow::Cow, cmp::Ordering, ops::RangeInclusive};

/// How many values (receiver included) a function takes; `None` when there is none of this name.
pub(super) fn arity(name: &str) -> Option<RangeInclusive<usize>> {
    Some(match name {
        op::CONDITIONAL => 3..=3,
        op::LOGICAL_NOT | op::NEGATE | op::NOT_STRICTLY_FALSE => 1..=1,
        op::LOGICAL_AND | op::LOGICAL_OR | op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => 2..=2,
        op::EQUALS | op::NOT_EQUALS | op::GREATER | op::GREATER_EQUALS | op::LESS | op::LESS_EQUALS | op::IN | op::INDEX => 2..=2,
        "size" | "int" | "double" | "string" | "bool" | "timestamp" | "duration" | "dyn" => 1..=1,
        "startsWith" | "endsWith" | "contains" => 2..=2,
        _ => return None,
    })
}

/// Whether the function results in a boolean; `None` when that is only known from the values.
pub(super) fn gives_boolean(name: &str) -> Option<bool> {
    match name {
        op::LOGICAL_NOT | op::LOGICAL_AND | op::LOGICAL_OR | op::NOT_STRICTLY_FALSE => Some(true),
        op::EQUALS | op::NOT_EQUALS | op::GREATER | op::GREATER_EQUALS | op::LESS | op::LESS_EQUALS | op::IN => Some(true),
        "bool" | "startsWith" | "endsWith" | "contains" | "hasType" | "hasContext" | "hasCredential" | "hasClaim" => Some(true),
        op::NEGATE | op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => Some(false),
        "size" | "int" | "double" | "string" | "timestamp" | "duration" => Some(false),
        "withType" | "withContext" | "withIssuer" | "claims" => Some(false),
        _ => None,
    }
}

fn unfit<T>(name: &str, values: &[Val<'_>]) -> Result<T, Failure> {
    let types: Vec<_> = values.iter().map(Val::type_name).collect();
    Err(Failure::Type(format!("{name} is not defined for {}", types.join(", "))))
}

fn range<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::Range(what.to_owned()))
}

/// Calls a function; arities were checked when the expression was compiled.
pub(super) fn call<'a>(name: &str, values: &[Val<'a>], budget: &Budget) -> Result<Val<'a>, Failure> {
    match (name, values) {
        (op::LOGICAL_NOT, [Val::Bool(value)]) => Ok(Val::Bool(!value)),
        (op::NEGATE, [Val::Int(value)]) => value.checked_neg().map_or_else(|| range("a number out of range"), |v| Ok(Val::Int(v))),
        (op::NEGATE, [Val::Double(value)]) => Ok(Val::Double(-value)),
        (op::EQUALS, [a, b]) => a.same(b, budget).map(Val::Bool),
        (op::NOT_EQUALS, [a, b]) => a.same(b, budget).map(|same| Val::Bool(!same)),
        (op::LESS, [a, b]) => ordered(a, b, Ordering::is_lt),
        (op::LESS_EQUALS, [a, b]) => ordered(a, b, Ordering::is_le),
        (op::GREATER, [a, b]) => ordered(a, b, Ordering::is_gt),
        (op::GREATER_EQUALS, [a, b]) => ordered(a, b, Ordering::is_ge),
        (op::IN, [element, within]) => member(element, within, budget),
        (op::INDEX, [list, index]) => indexed(list, index),
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => arithmetic(name, a, b, budget),
        ("size", [value]) => match value.size() {
            Some(size) => Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            None => unfit(name, values),
        },
        ("contains" | "startsWith" | "endsWith", [Val::Text(text), Val::Text(part)]) => {
            budget.take_text(text.len() + part.len())?;
            Ok(Val::Bool(match name {
                "contains" => text.contains(part.as_ref()),
                "startsWith" => text.starts_with(part.as_ref()),
                _ => text.ends_with(part.as_ref()),
            }))
        }
        ("contains", [list @ (Val::Array(_) | Val::List(_)), element]) => member(element, list, budget),
        ("dyn", [value]) => Ok(value.clone()),
        ("int" | "double" | "string" | "bool" | "timestamp" | "duration", [value]) => converted(name, value),
        _ => unfit(name, values),
    }
}

fn ordered<'a>(a: &Val<'_>, b: &Val<'_>, accept: fn(Ordering) -> bool) -> Result<Val<'a>, Failure> {
    a.order(b).map(|order| Val::Bool(accept(order)))
}

fn member<'a>(element: &Val<'_>, within: &Val<'_>, budget: &Budget) -> Result<Val<'a>, Failure> {
    let Some(elements) = within.elements() else {
        return unfit("in", &[element.clone(), within.clone()]);
    };
    budget.take(elements.len())?;
    for candidate in elements {
        if candidate.same(element, budget)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn indexed<'a>(value: &Val<'a>, index: &Val<'_>) -> Result<Val<'a>, Failure> {
    match (value, index) {
        (Val::Object(_) | Val::Record(_), Val::Text(key)) => value.field(key).ok_or_else(|| Failure::NoSuchKey(key.to_string())),
        (Val::Array(items), Val::Int(n)) => {
            usize::try_from(*n).ok().and_then(|n| items.get(n)).map(Val::of).ok_or_else(|| Failure::NoSuchKey(n.to_string()))
        }
        (Val::List(items), Val::Int(n)) => {
            usize::try_from(*n).ok().and_then(|n| items.get(n)).cloned().ok_or_else(|| Failure::NoSuchKey(n.to_string()))
        }
        _ => unfit("[]", &[value.clone(), index.clone()]),
    }
}

fn arithmetic<'a>(name: &str, a: &Val<'a>, b: &Val<'a>, budget: &Budget) -> Result<Val<'a>, Failure> {
    let out_of_range = || Failure::Range("a number out of range".to_owned());
    match (name, a, b) {
        (op::DIVIDE | op::MODULO, Val::Int(_), Val::Int(0)) => range("division by zero"),
        (_, Val::Int(a), Val::Int(b)) => {
            let result = match name {
                op::ADD => a.checked_add(*b),
                op::SUBSTRACT => a.checked_sub(*b),
                op::MULTIPLY => a.checked_mul(*b),
                op::DIVIDE => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            result.map(Val::Int).ok_or_else(out_of_range)
        }
        (op::ADD, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (op::SUBSTRACT, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (op::MULTIPLY, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        (op::DIVIDE, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        (op::ADD, Val::Text(a), Val::Text(b)) => {
            budget.take_text(a.len() + b.len())?;
            Ok(Val::Text(Cow::Owned(format!("{a}{b}"))))
        }
        (op::ADD, Val::Array(_) | Val::List(_), Val::Array(_) | Val::List(_)) => {
            let mut all = a.elements().unwrap_or_default();
            all.extend(b.elements().unwrap_or_default());
            budget.take(all.len() / 8)?;
            Ok(Val::list(all))
        }
        (op::ADD, Val::Time(t), Val::Span(s)) | (op::ADD, Val::Span(s), Val::Time(t)) => {
            t.millis().checked_add(*s).map(|t| Val::Time(Timestamp(t))).ok_or_else(out_of_range)
        }
        (op::SUBSTRACT, Val::Time(t), Val::Span(s)) => t.millis().checked_sub(*s).map(|t| Val::Time(Timestamp(t))).ok_or_else(out_of_range),
        (op::SUBSTRACT, Val::Time(a), Val::Time(b)) => a.millis().checked_sub(b.millis()).map(Val::Span).ok_or_else(out_of_range),
        (op::ADD, Val::Span(a), Val::Span(b)) => a.checked_add(*b).map(Val::Span).ok_or_else(out_of_range),
        (op::SUBSTRACT, Val::Span(a), Val::Span(b)) => a.checked_sub(*b).map(Val::Span).ok_or_else(out_of_range),
        _ => unfit(name, &[a.clone(), b.clone()]),
    }
}

fn converted<'a>(name: &str, value: &Val<'a>) -> Result<Val<'a>, Failure> {
    let malformed = || Failure::Range(format!("not a {name}"));
    match (name, value) {
        ("int", Val::Int(_)) | ("double", Val::Double(_)) | ("string", Val::Text(_)) | ("bool", Val::Bool(_)) => Ok(value.clone()),
        ("timestamp", Val::Time(_)) | ("duration", Val::Span(_)) => Ok(value.clone()),
        #[allow(clippy::cast_possible_truncation)] // checked to be within the range just before
        ("int", Val::Double(number)) if number.abs() < 9.0e18 => Ok(Val::Int(*number as i64)),
        ("int", Val::Text(text)) => text.parse().map(Val::Int).map_err(|_| malformed()),
        ("int", Val::Time(time)) => Ok(Val::Int(time.seconds())),
        #[allow(clippy::cast_precision_loss)] // that is what the conversion means
        ("double", Val::Int(number)) => Ok(Val::Double(*number as f64)),
        ("double", Val::Text(text)) => text.parse().map(Val::Double).map_err(|_| malformed()),
        ("bool", Val::Text(text)) => text.parse().map(Val::Bool).map_err(|_| malformed()),
        ("string", Val::Int(number)) => Ok(Val::Text(Cow::Owned(number.to_string()))),
        ("string", Val::Double(number)) => Ok(Val::Text(Cow::Owned(number.to_string()))),
        ("string", Val::Bool(flag)) => Ok(Val::Text(Cow::Owned(flag.to_string()))),
        ("string", Val::Time(time)) => Ok(Val::Text(Cow::Owned(time.to_rfc3339()))),
        ("timestamp", Val::Text(text)) => Timestamp::parse_rfc3339(text).map(Val::Time).ok_or_else(malformed),
        ("timestamp", Val::Int(seconds)) => Ok(Val::Time(Timestamp::from_seconds(*seconds))),
        ("duration", Val::Text(text)) => span(text).map(Val::Span).ok_or_else(malformed),
        _ => unfit(name, std::slice::from_ref(value)),
    }
}

/// Milliseconds of a span such as `1h30m`, `-5s`, `250ms`.
fn span(text: &str) -> Option<i64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let number: i64 = number.parse().ok()?;
        let (millis, after) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("d", 86_400_000)]
            .into_iter()
            .find_map(|(name, millis)| unit.strip_prefix(name).map(|after| (millis, after)))?;
        total = total.checked_add(number.checked_mul(millis)?)?;
        rest = after;
    }
    total.checked_mul(sign)
}
