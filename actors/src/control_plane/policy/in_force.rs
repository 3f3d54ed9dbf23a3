//! The built-in left operand `inForceDate`: a date, or a span from the signing of the agreement such as `contractAgreement+7d`.

use super::{Evaluation, PolicyScope, constraint::Holds};
use cellspace_schemas::{
    Timestamp,
    odrl::{AtomicConstraint, Constraint, LogicalOperator, Operator, Policy},
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
        PolicyScope::TransferProcess | PolicyScope::PolicyMonitor => {}
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

/// When the next of the dates in the policy of an agreement that was signed then has passed.
#[must_use]
pub fn next_date(policy: &Policy, signed: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let dates = policy.atomic_constraints().filter(|constraint| is_in_force_date(&constraint.left_operand));
    let dates = dates.filter_map(|constraint| date(constraint.right_operand.as_str()?, Some(signed)));
    dates.map(|date| Timestamp(date.0.saturating_add(1))).filter(|passed| *passed > now).min()
}

/// From when on the dates in the policy of an agreement that was signed then keep it from being fulfilled, for good and whatever else holds; `None`
/// when they do not. Dates under a `xone` are left aside: what is fulfilled then hangs on the other constraints too, and is judged at each date.
#[must_use]
pub fn ends_at(policy: &Policy, signed: Timestamp) -> Option<Timestamp> {
    let permitted = policy.permission.iter().flat_map(|permission| permission.duty.iter().chain([permission]));
    let required = permitted.chain(&policy.obligation).flat_map(|rule| &rule.constraint);
    let required = required.filter_map(|constraint| settles(constraint, false, signed));
    let prohibited = policy.prohibition.iter().filter(|rule| !rule.constraint.is_empty());
    let prohibited = prohibited.filter_map(|rule| latest(rule.constraint.iter().map(|constraint| settles(constraint, true, signed))));
    required.chain(prohibited).min()
}

/// From when on a constraint holds for good, or does not hold.
fn settles(constraint: &Constraint, held: bool, signed: Timestamp) -> Option<Timestamp> {
    match constraint {
        Constraint::Atomic(atomic) => settles_by_date(atomic, held, signed),
        Constraint::Logical(operator, parts) => {
            let parts = parts.iter().map(|part| settles(part, held, signed));
            match (operator, held) {
                (LogicalOperator::And | LogicalOperator::AndSequence, false) | (LogicalOperator::Or, true) => parts.flatten().min(),
                (LogicalOperator::And | LogicalOperator::AndSequence, true) | (LogicalOperator::Or, false) => latest(parts),
                (LogicalOperator::Xone, _) => None,
            }
        }
    }
}

fn settles_by_date(constraint: &AtomicConstraint, held: bool, signed: Timestamp) -> Option<Timestamp> {
    if !is_in_force_date(&constraint.left_operand) {
        return None;
    }
    let date = date(constraint.right_operand.as_str()?, Some(signed))?;
    let past = comparison(constraint.operator)?(Ordering::Greater) == held;
    // The date itself may be the last moment of what was before.
    let on_the_date = comparison(constraint.operator)?(Ordering::Equal) == held;
    past.then(|| if on_the_date { date } else { Timestamp(date.0.saturating_add(1)) })
}

/// The last of them, when there are some and all are known.
fn latest(times: impl Iterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    times.collect::<Option<Vec<_>>>()?.into_iter().max()
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SIGNED: Timestamp = Timestamp(1_000_000);
    const DAY: i64 = 86_400_000;

    fn ends(rules: &Value) -> Option<i64> {
        let mut policy = json!({"@type": "Agreement"});
        policy.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
        ends_at(&serde_json::from_value(policy).unwrap(), SIGNED).map(|at| at.0 - SIGNED.0)
    }

    #[test]
    fn policies_that_end_by_themselves() {
        let date = |operator: &str, right: &str| json!({"leftOperand": "inForceDate", "operator": operator, "rightOperand": right});
        let days = |operator: &str, n: i64| date(operator, &format!("contractAgreement+{n}d"));
        let claim = json!({"leftOperand": "Membership", "operator": "eq", "rightOperand": "active"});
        let rule = |constraints: Value| json!([{"action": "use", "constraint": constraints}]);
        let permission = |constraints: Value| json!({"permission": rule(constraints)});
        let prohibition = |constraints: Value| json!({"prohibition": rule(constraints)});
        let table = [
            (permission(json!([])), None),
            (permission(json!([claim])), None),
            // The date itself is in or out as the operator says.
            (permission(json!([days("lteq", 3)])), Some(3 * DAY + 1)),
            (permission(json!([days("lt", 3)])), Some(3 * DAY)),
            (permission(json!([days("eq", 3)])), Some(3 * DAY + 1)),
            (permission(json!([days("gteq", 3)])), None),
            (permission(json!([days("gt", 3)])), None),
            (permission(json!([days("neq", 3)])), None),
            (permission(json!([date("lt", "1970-01-01T01:00:00Z")])), Some(3_600_000 - SIGNED.0)),
            (permission(json!([date("lt", "some day")])), None),
            // All of them, the first counts; claims do not matter.
            (permission(json!([days("gteq", 1), claim, days("lt", 5), days("lt", 4)])), Some(4 * DAY)),
            (permission(json!([{"and": [claim, days("lt", 2)]}])), Some(2 * DAY)),
            // Any of them, the last counts; a claim may still hold.
            (permission(json!([{"or": [days("lt", 2), days("lt", 6)]}])), Some(6 * DAY)),
            (permission(json!([{"or": [days("lt", 2), claim]}])), None),
            (permission(json!([{"xone": [days("lt", 2), days("lt", 6)]}])), None),
            // Duties and obligations are required too.
            (json!({"permission": [{"action": "use", "duty": rule(json!([days("lt", 2)]))}]}), Some(2 * DAY)),
            (json!({"obligation": rule(json!([days("lt", 2)]))}), Some(2 * DAY)),
            // A prohibition begins to match once all of it does.
            (prohibition(json!([])), None),
            (prohibition(json!([days("gteq", 3)])), Some(3 * DAY)),
            (prohibition(json!([days("gt", 3), days("neq", 9)])), Some(9 * DAY + 1)),
            (prohibition(json!([days("gteq", 3), claim])), None),
            (prohibition(json!([days("lt", 3)])), None),
            (prohibition(json!([{"or": [days("gteq", 3), claim]}])), Some(3 * DAY)),
            (json!({"permission": rule(json!([days("lt", 7)])), "prohibition": rule(json!([days("gteq", 3)]))}), Some(3 * DAY)),
        ];
        for (rules, expected) in table {
            assert_eq!(ends(&rules), expected, "{rules}");
        }
    }
}
