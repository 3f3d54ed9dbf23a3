//! Policies that are nothing but comparisons.

use super::{Evaluation, rules::passes};
use cellspace_schemas::odrl::{AtomicConstraint, Constraint, Policy};
use std::sync::Arc;

/// All that a policy says, when it only permits, with one action, and requires comparisons that must all hold: what most policies are. In one piece of
/// memory, since a catalog judges every access policy in every request.
#[derive(Debug, Clone)]
pub struct Comparisons {
    action: Box<str>,
    all: Box<[Arc<AtomicConstraint>]>,
}

impl Comparisons {
    /// Those of a policy; `None` for one that says anything else.
    #[must_use]
    pub fn of(policy: &Policy) -> Option<Self> {
        if !(policy.prohibition.is_empty() && policy.obligation.is_empty()) {
            return None;
        }
        let action = policy.permission.first().map_or("", |permission| permission.action.as_str());
        let mut all = Vec::new();
        for permission in &policy.permission {
            for rule in permission.duty.iter().chain([permission]) {
                if rule.action != action {
                    return None;
                }
                for constraint in &rule.constraint {
                    let Constraint::Atomic(atomic) = constraint else { return None };
                    all.push(atomic.clone());
                }
            }
        }
        Some(Self { action: action.into(), all: all.into() })
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// As [`super::is_fulfilled`] for the policy.
    #[must_use]
    pub fn are_fulfilled<'a>(&'a self, evaluation: &Evaluation<'a>) -> bool {
        self.all.iter().all(|comparison| passes(evaluation.holds(comparison, &self.action)))
    }
}
