//! The built-in left operand `inForceDate`: a date, or a span from the signing of the agreement such as `contractAgreement+7d`.

use super::{Evaluation, PolicyScope, constraint::Holds};
use cellspace_schemas::{
    Timestamp,
    odrl::{AtomicConstraint, Operator},
};
use std::cmp::Ordering;

/// Names of the left operand.
const NAMES: [&str; 3] = ["https://w3id.org/edc/v0.0.1/ns/inForceDate", "edc:inForceDate", "inForceDate"];

const UNREADABLE: &str = "its date cannot be read";
const NO_COMPARISON: &str = "its operator does not compare dates";

/// Whether the left operand is this one.
pub(super) fn is_in_force_date(left_operand: &str) -> bool {
    NAMES.contains(&left_operand)
}

/// What keeps the constraint from being judged, whenever that is.
pub(super) fn flaw(constraint: &AtomicConstraint) -> Option<&'static str> {
    let readable = constraint.right_operand.as_str().is_some_and(|text| date(text, Some(Timestamp(0))).is_some());
    if !readable {
        return Some(UNREADABLE);
    }
    comparison(constraint.operator).is_none().then_some(NO_COMPARISON)
}

/// Compares the time with the date. Before there is an agreement the constraint is not looked at.
pub(super) fn holds(constraint: &AtomicConstraint, evaluation: &Evaluation<'_>) -> Holds {
    match evaluation.scope {
        PolicyScope::Catalog | PolicyScope::ContractNegotiation => return Holds::OutOfScope,
        PolicyScope::TransferProcess => {}
    }
    let signed = evaluation.signed;
    let Some(date) = constraint.right_operand.as_str().and_then(|text| date(text, signed)) else {
        return Holds::Undecidable(UNREADABLE);
    };
    let Some(comparison) = comparison(constraint.operator) else {
        return Holds::Undecidable(NO_COMPARISON);
    };
    if comparison(evaluation.context.now().cmp(&date)) { Holds::Met } else { Holds::Unmet }
}

fn comparison(operator: Operator) -> Option<fn(Ordering) -> bool> {
    match operator {
        Operator::Eq => Some(Ordering::is_eq),
        Operator::Neq => Some(Ordering::is_ne),
        Operator::Gt => Some(Ordering::is_gt),
        Operator::Gteq => Some(Ordering::is_ge),
        Operator::Lt => Some(Ordering::is_lt),
        Operator::Lteq => Some(Ordering::is_le),
        Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsAnyOf | Operator::IsNoneOf | Operator::IsPartOf => None,
    }
}

fn date(text: &str, signed: Option<Timestamp>) -> Option<Timestamp> {
    let span = text.strip_prefix("contractAgreement").or_else(|| text.strip_prefix("contractagreement"));
    let Some(span) = span else {
        return Timestamp::parse_rfc3339(text);
    };
    let unit = span.chars().last()?;
    let number: i64 = span.strip_suffix(unit)?.strip_prefix('+')?.parse().ok()?;
    let millis = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    signed?.millis().checked_add(number.checked_mul(millis)?).map(Timestamp)
}
