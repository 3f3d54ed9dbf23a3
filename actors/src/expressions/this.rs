//! A constraint as expressions see it: `this`.

use super::Val;
use cellspace_schemas::odrl::{AtomicConstraint, Operator};

/// Its fields, in order.
pub(super) static FIELDS: [&str; 3] = ["leftOperand", "operator", "rightOperand"];

/// A field of it.
pub(super) fn field<'a>(constraint: &'a AtomicConstraint, key: &str) -> Option<Val<'a>> {
    match key {
        "leftOperand" => Some(Val::text(&constraint.left_operand)),
        "operator" => Some(Val::text(operator_name(constraint.operator))),
        "rightOperand" => Some(Val::of(&constraint.right_operand)),
        _ => None,
    }
}

/// The operator with this name: as policies spell it, or as expressions know it.
#[must_use]
pub fn operator(name: &str) -> Option<Operator> {
    Operator::parse(name).or_else(|| Operator::ALL.iter().copied().find(|operator| operator_name(*operator) == name))
}

/// `this.operator`, as expressions written for other connectors know it.
const fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "EQ",
        Operator::Neq => "NEQ",
        Operator::Gt => "GT",
        Operator::Gteq => "GEQ",
        Operator::Lt => "LT",
        Operator::Lteq => "LEQ",
        Operator::HasPart => "HAS_PART",
        Operator::IsA => "IS_A",
        Operator::IsAllOf => "IS_ALL_OF",
        Operator::IsAnyOf => "IS_ANY_OF",
        Operator::IsNoneOf => "IS_NONE_OF",
        Operator::IsPartOf => "IS_PART_OF",
    }
}
