//! Whether one constraint holds, and how it is told.

use super::{Evaluation, PolicyScope, in_force, rules::passes};
use crate::expressions::{Budget, Failure};
use crate::settings::{Compiled, Settings};
use cellspace_schemas::odrl::{AtomicConstraint, Constraint, LogicalOperator, Policy};
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest right operand told in a reason, in characters.
const TOLD: usize = 120;

/// What is known of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// It holds.
    Met,
    /// It does not.
    Unmet,
    /// It cannot be judged here, for this reason: it counts against the counterparty in every rule.
    Undecidable(&'static str),
    /// It is not for this policy scope: as if it were not there.
    OutOfScope,
    /// What it asks is not asked of running transfers. It was met when they began, and counts against nobody now.
    Open,
}

/// Judges all constraints of a rule with this action together: they are joined by "and" (ODRL Information Model, 2.5).
pub(super) fn all_hold<'a>(constraints: &'a [Constraint], action: &'a str, evaluation: &Evaluation<'a>) -> Holds {
    joined(LogicalOperator::And, constraints.iter().map(|constraint| holds(constraint, action, evaluation)))
}

/// Judges a constraint of a rule with this action.
pub(super) fn holds<'a>(constraint: &'a Constraint, action: &'a str, evaluation: &Evaluation<'a>) -> Holds {
    match constraint {
        Constraint::Atomic(atomic) => evaluation.holds(atomic, action),
        Constraint::Logical(operator, parts) => joined(*operator, parts.iter().map(|part| holds(part, action, evaluation))),
    }
}

/// Joins the parts; one that decides is the last that is judged.
fn joined(operator: LogicalOperator, parts: impl Iterator<Item = Holds>) -> Holds {
    let (mut met, mut unmet, mut open, mut undecidable) = (0usize, 0usize, false, None);
    for part in parts {
        match (part, operator) {
            (Holds::Unmet, LogicalOperator::And | LogicalOperator::AndSequence) | (Holds::Met, LogicalOperator::Or) => return part,
            (Holds::Met, _) => met += 1,
            (Holds::Unmet, _) => unmet += 1,
            (Holds::Undecidable(why), _) => undecidable = Some(why),
            (Holds::Open, _) => open = true,
            (Holds::OutOfScope, _) => {}
        }
    }
    let decided = |holds: bool| if holds { Holds::Met } else { Holds::Unmet };
    match (operator, undecidable) {
        (LogicalOperator::Or, _) | (_, None) if open => Holds::Open,
        (_, None) if met + unmet == 0 => Holds::OutOfScope,
        (_, Some(why)) => Holds::Undecidable(why),
        (LogicalOperator::And | LogicalOperator::AndSequence, None) => Holds::Met,
        (LogicalOperator::Or, None) => Holds::Unmet,
        (LogicalOperator::Xone, None) => decided(met == 1),
    }
}

/// A left operand means what its expressions say: all of those for this scope and action must be true. One without any has no meaning here.
pub(super) fn atomic<'a>(constraint: &'a AtomicConstraint, action: &str, evaluation: &Evaluation<'a>) -> Holds {
    if in_force::is_in_force_date(&constraint.left_operand) {
        return in_force::holds(constraint, evaluation);
    }
    let (mut means, mut in_scope, mut applies) = (false, false, false);
    for expression in evaluation.settings.expressions_for(&constraint.left_operand) {
        means |= expression.judges();
        if !is_for(expression, evaluation.scope) {
            continue;
        }
        in_scope = true;
        if !expression.applies_to(action) {
            continue;
        }
        applies = true;
        let Ok(program) = &expression.program else {
            return Holds::Undecidable("its expression is not valid");
        };
        match program.evaluate(constraint, &evaluation.context, &Budget::default()) {
            Ok(true) => {}
            // What the claims lack does not match.
            Ok(false) | Err(Failure::NoSuchKey(_)) => return Holds::Unmet,
            Err(Failure::Type(_) | Failure::Range(_)) => return Holds::Undecidable("its expression does not fit the claims"),
            Err(Failure::Budget) => return Holds::Undecidable("its expression takes too long"),
        }
    }
    match (in_scope, applies) {
        (false, _) if !means => Holds::Undecidable("its left operand has no meaning here"),
        (false, _) if evaluation.scope == PolicyScope::PolicyMonitor => Holds::Open,
        (false, _) => Holds::OutOfScope,
        (true, false) => Holds::Undecidable("its left operand has no meaning for this action"),
        (true, true) => Holds::Met,
    }
}

/// Whether an expression is judged in this scope. In that of running transfers, where nobody presents anything, only if it names it: one that means all
/// scopes would end every transfer.
fn is_for(expression: &Compiled, scope: PolicyScope) -> bool {
    match scope {
        PolicyScope::PolicyMonitor => expression.names(scope.as_str()),
        PolicyScope::Catalog | PolicyScope::ContractNegotiation | PolicyScope::TransferProcess => expression.covers(scope.as_str()),
    }
}

/// Whether running transfers under the policy are judged by it: by its dates, which need not settle anything for good, or by an expression for that.
#[must_use]
pub fn is_monitored(policy: &Policy, settings: &Settings) -> bool {
    policy.atomic_constraints().any(|constraint| {
        let expressions = settings.expressions_for(&constraint.left_operand);
        in_force::is_in_force_date(&constraint.left_operand)
            || expressions.iter().any(|expression| is_for(expression, PolicyScope::PolicyMonitor))
    })
}

/// What keeps the policy from being evaluated, whoever asks, one text each: left operands that have no meaning here, or none for the action of their
/// rule; expressions that are not valid; dates that cannot be read.
#[must_use]
pub fn flaws(policy: &Policy, settings: &Settings) -> Vec<String> {
    let rules = policy.permission.iter().flat_map(|permission| permission.duty.iter().chain([permission]));
    let rules = rules.chain(&policy.prohibition).chain(&policy.obligation);
    let mut flaws = BTreeSet::new();
    for rule in rules {
        let mut open: Vec<&Constraint> = rule.constraint.iter().collect();
        while let Some(constraint) = open.pop() {
            match constraint {
                Constraint::Atomic(atomic) => flaws.extend(flaw(atomic, &rule.action, settings)),
                Constraint::Logical(_, parts) => open.extend(parts),
            }
        }
    }
    flaws.into_iter().collect()
}

fn flaw(constraint: &AtomicConstraint, action: &str, settings: &Settings) -> Option<String> {
    let operand = &constraint.left_operand;
    if in_force::is_in_force_date(operand) {
        return in_force::flaw(constraint).map(|why| format!("{}: {why}", atomic_told(constraint)));
    }
    let expressions = settings.expressions_for(operand);
    if !expressions.iter().any(Compiled::judges) {
        return Some(format!("the left operand {operand} has no meaning here: an administrator can give it one with a CEL expression"));
    }
    if let Some(error) = expressions.iter().find_map(|expression| expression.program.as_ref().err()) {
        return Some(format!("the expression for the left operand {operand} is not valid: {error}"));
    }
    let applies = expressions.iter().any(|expression| expression.judges() && expression.applies_to(action));
    (!applies).then(|| format!("the left operand {operand} has no meaning for the action {action}"))
}

/// What was found where the constraint is not met: for the owner of the policy alone.
pub(super) fn found<'a>(constraint: &'a Constraint, action: &'a str, evaluation: &Evaluation<'a>) -> Vec<String> {
    match constraint {
        Constraint::Logical(_, parts) => parts.iter().flat_map(|part| found(part, action, evaluation)).collect(),
        Constraint::Atomic(_) if passes(holds(constraint, action, evaluation)) => Vec::new(),
        Constraint::Atomic(atomic) if in_force::is_in_force_date(&atomic.left_operand) => {
            vec![format!("it is {}", evaluation.context.now().to_rfc3339())]
        }
        Constraint::Atomic(atomic) => {
            let expressions = evaluation.settings.expressions_for(&atomic.left_operand).iter();
            let judged = expressions.filter(|expression| is_for(expression, evaluation.scope) && expression.applies_to(action));
            let programs = judged.filter_map(|expression| expression.program.as_ref().ok());
            let unmet = programs.filter(|program| program.evaluate(atomic, &evaluation.context, &Budget::default()) != Ok(true));
            unmet.flat_map(|program| program.found(atomic, &evaluation.context)).collect()
        }
    }
}

/// The constraint in words: what is required, never what was found.
pub(super) fn told(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Atomic(atomic) => atomic_told(atomic),
        Constraint::Logical(operator, parts) => {
            let word = match operator {
                LogicalOperator::And | LogicalOperator::AndSequence => " and ",
                LogicalOperator::Or => " or ",
                LogicalOperator::Xone => " or else ",
            };
            format!("({})", parts.iter().take(8).map(told).collect::<Vec<_>>().join(word))
        }
    }
}

fn atomic_told(atomic: &AtomicConstraint) -> String {
    let right = match &atomic.right_operand {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut short: String = right.chars().take(TOLD).collect();
    if short.len() < right.len() {
        short.push('…');
    }
    format!("{} {} {short}", atomic.left_operand, atomic.operator)
}
