//! What the operators and functions of the language do.

use super::{
    Budget, Failure, Val, credentials,
    function::Function,
    value::{Evaluated, same_text},
};
use cellspace_schemas::Timestamp;
use std::{borrow::Cow, cmp::Ordering};

fn unfit<T>(function: Function, values: &[Val<'_>]) -> Result<T, Failure> {
    let types: Vec<_> = values.iter().map(Val::type_name).collect();
    Err(Failure::Type(format!("{} is not defined for {}", function.name(), types.join(", "))))
}

fn range<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::Range(what.to_owned()))
}

/// Calls a function; how many values it takes was checked when the expression was compiled.
pub(super) fn call<'a>(function: Function, values: &[Val<'a>], now: Timestamp, budget: &Budget) -> Evaluated<'a> {
    use Function as F;
    match (function, values) {
        (F::Not, [Val::Bool(value)]) => Ok(Val::Bool(!value)),
        (F::Negate, [Val::Int(value)]) => value.checked_neg().map_or_else(|| range("a number out of range"), |v| Ok(Val::Int(v))),
        (F::Negate, [Val::Double(value)]) => Ok(Val::Double(-value)),
        (F::Equals, [a, b]) => a.same(b, budget).map(Val::Bool),
        (F::NotEquals, [a, b]) => a.same(b, budget).map(|same| Val::Bool(!same)),
        (F::Less, [a, b]) => ordered(a, b, Ordering::is_lt),
        (F::LessEquals, [a, b]) => ordered(a, b, Ordering::is_le),
        (F::Greater, [a, b]) => ordered(a, b, Ordering::is_gt),
        (F::GreaterEquals, [a, b]) => ordered(a, b, Ordering::is_ge),
        (F::In, [element, within]) => member(element, within, budget),
        (F::Index, [list, index]) => indexed(list, index),
        (F::Add | F::Subtract | F::Multiply | F::Divide | F::Modulo, [a, b]) => arithmetic(function, a, b, budget),
        (F::Size, [value]) => match value.size() {
            Some(size) => Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            None => unfit(function, values),
        },
        (F::Contains | F::StartsWith | F::EndsWith, [Val::Text(text), Val::Text(part)]) => {
            budget.take_text(text.len() + part.len())?;
            Ok(Val::Bool(match function {
                F::Contains => text.contains(part.as_ref()),
                F::StartsWith => text.starts_with(part.as_ref()),
                _ => text.ends_with(part.as_ref()),
            }))
        }
        (F::Contains, [list @ (Val::Array(_) | Val::List(_)), element]) => member(element, list, budget),
        (F::Dyn, [value]) => Ok(value.clone()),
        (F::Int | F::Double | F::String | F::Bool | F::Timestamp | F::Duration, [value]) => converted(function, value),
        (helper, [receiver, arguments @ ..]) if helper.is_helper() => credentials::call(helper, receiver, arguments, now, budget),
        _ => unfit(function, values),
    }
}

fn ordered<'a>(a: &Val<'_>, b: &Val<'_>, accept: fn(Ordering) -> bool) -> Evaluated<'a> {
    a.order(b).map(|order| Val::Bool(accept(order)))
}

fn member<'a>(element: &Val<'_>, within: &Val<'_>, budget: &Budget) -> Evaluated<'a> {
    let Some(elements) = within.elements() else {
        return unfit(Function::In, &[element.clone(), within.clone()]);
    };
    budget.take_each(elements.len())?;
    if let (Val::Text(element), Val::Array(items)) = (element, within) {
        // The steps are those of the comparisons below, without a view of each item.
        for item in *items {
            budget.take(1)?;
            if let Some(item) = item.as_str()
                && same_text(item, element, budget)?
            {
                return Ok(Val::Bool(true));
            }
        }
        return Ok(Val::Bool(false));
    }
    for candidate in elements {
        if candidate.same(element, budget)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn indexed<'a>(value: &Val<'a>, index: &Val<'_>) -> Evaluated<'a> {
    match (value, index) {
        (Val::Object(_) | Val::Record(_) | Val::This(_), Val::Text(key)) => {
            value.field(key).ok_or_else(|| Failure::NoSuchKey(key.to_string()))
        }
        (Val::Array(items), Val::Int(n)) => {
            usize::try_from(*n).ok().and_then(|n| items.get(n)).map(Val::of).ok_or_else(|| Failure::NoSuchKey(n.to_string()))
        }
        (Val::List(items), Val::Int(n)) => {
            usize::try_from(*n).ok().and_then(|n| items.get(n)).cloned().ok_or_else(|| Failure::NoSuchKey(n.to_string()))
        }
        _ => unfit(Function::Index, &[value.clone(), index.clone()]),
    }
}

fn arithmetic<'a>(function: Function, a: &Val<'a>, b: &Val<'a>, budget: &Budget) -> Evaluated<'a> {
    use Function as F;
    let out_of_range = || Failure::Range("a number out of range".to_owned());
    match (function, a, b) {
        (F::Divide | F::Modulo, Val::Int(_), Val::Int(0)) => range("division by zero"),
        (_, Val::Int(a), Val::Int(b)) => {
            let result = match function {
                F::Add => a.checked_add(*b),
                F::Subtract => a.checked_sub(*b),
                F::Multiply => a.checked_mul(*b),
                F::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            result.map(Val::Int).ok_or_else(out_of_range)
        }
        (F::Add, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (F::Subtract, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (F::Multiply, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        (F::Divide, Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        (F::Add, Val::Text(a), Val::Text(b)) => {
            budget.take_text(a.len() + b.len())?;
            Ok(Val::Text(Cow::Owned(format!("{a}{b}"))))
        }
        (F::Add, Val::Array(_) | Val::List(_), Val::Array(_) | Val::List(_)) => {
            let all: Vec<_> = a.many().chain(b.many()).collect();
            budget.take_each(all.len() / 8)?;
            Ok(Val::list(all))
        }
        (F::Add, Val::Time(t), Val::Span(s)) | (F::Add, Val::Span(s), Val::Time(t)) => {
            t.millis().checked_add(*s).map(|t| Val::Time(Timestamp(t))).ok_or_else(out_of_range)
        }
        (F::Subtract, Val::Time(t), Val::Span(s)) => t.millis().checked_sub(*s).map(|t| Val::Time(Timestamp(t))).ok_or_else(out_of_range),
        (F::Subtract, Val::Time(a), Val::Time(b)) => a.millis().checked_sub(b.millis()).map(Val::Span).ok_or_else(out_of_range),
        (F::Add, Val::Span(a), Val::Span(b)) => a.checked_add(*b).map(Val::Span).ok_or_else(out_of_range),
        (F::Subtract, Val::Span(a), Val::Span(b)) => a.checked_sub(*b).map(Val::Span).ok_or_else(out_of_range),
        _ => unfit(function, &[a.clone(), b.clone()]),
    }
}

fn converted<'a>(function: Function, value: &Val<'a>) -> Evaluated<'a> {
    use Function as F;
    let malformed = || Failure::Range(format!("not a {}", function.name()));
    match (function, value) {
        (F::Int, Val::Int(_)) | (F::Double, Val::Double(_)) | (F::String, Val::Text(_)) | (F::Bool, Val::Bool(_)) => Ok(value.clone()),
        (F::Timestamp, Val::Time(_)) | (F::Duration, Val::Span(_)) => Ok(value.clone()),
        #[allow(clippy::cast_possible_truncation)] // checked to be within the range just before
        (F::Int, Val::Double(number)) if number.abs() < 9.0e18 => Ok(Val::Int(*number as i64)),
        (F::Int, Val::Text(text)) => text.parse().map(Val::Int).map_err(|_| malformed()),
        (F::Int, Val::Time(time)) => Ok(Val::Int(time.seconds())),
        #[allow(clippy::cast_precision_loss)] // that is what the conversion means
        (F::Double, Val::Int(number)) => Ok(Val::Double(*number as f64)),
        (F::Double, Val::Text(text)) => text.parse().map(Val::Double).map_err(|_| malformed()),
        (F::Bool, Val::Text(text)) => text.parse().map(Val::Bool).map_err(|_| malformed()),
        (F::String, Val::Int(number)) => Ok(Val::Text(Cow::Owned(number.to_string()))),
        (F::String, Val::Double(number)) => Ok(Val::Text(Cow::Owned(number.to_string()))),
        (F::String, Val::Bool(flag)) => Ok(Val::Text(Cow::Owned(flag.to_string()))),
        (F::String, Val::Time(time)) => Ok(Val::Text(Cow::Owned(time.to_rfc3339()))),
        (F::Timestamp, Val::Text(text)) => Timestamp::parse_rfc3339(text).map(Val::Time).ok_or_else(malformed),
        (F::Timestamp, Val::Int(seconds)) => Ok(Val::Time(Timestamp::from_seconds(*seconds))),
        (F::Duration, Val::Text(text)) => span(text).map(Val::Span).ok_or_else(malformed),
        _ => unfit(function, std::slice::from_ref(value)),
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
