//! Rules of a policy: permissions and obligations must be met, prohibitions must not match.

use super::{
    Evaluation,
    constraint::{Holds, all_hold, holds, told},
};
use cellspace_schemas::odrl::{Policy, Rule};

/// Reasons told of one policy at most.
const MAX_REASONS: usize = 8;

/// The outcome of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    reasons: Vec<String>,
}

impl Verdict {
    /// Whether the policy is fulfilled.
    #[must_use]
    pub fn is_fulfilled(&self) -> bool {
        self.reasons.is_empty()
    }

    /// One reason per constraint that is not met: what was required, never what was found. Safe to be told to the counterparty.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// All reasons in one text.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reasons.join("; ")
    }

    fn add(&mut self, reason: String) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason);
        }
    }
}

/// Evaluates the policy. Every permission with its duties, and every obligation, must have all its constraints met. A prohibition matches when all
/// of its constraints are met, or when it forbids `use` without any. A policy without rules is fulfilled.
#[must_use]
pub fn evaluate(policy: &Policy, evaluation: &Evaluation<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for permission in &policy.permission {
        permission.duty.iter().for_each(|duty| require(duty, evaluation, &mut verdict));
        require(permission, evaluation, &mut verdict);
    }
    for prohibition in &policy.prohibition {
        forbid(prohibition, evaluation, &mut verdict);
    }
    for obligation in &policy.obligation {
        require(obligation, evaluation, &mut verdict);
    }
    verdict
}

fn require(rule: &Rule, evaluation: &Evaluation<'_>, verdict: &mut Verdict) {
    for constraint in &rule.constraint {
        match holds(constraint, &rule.action, evaluation) {
            Holds::Met | Holds::OutOfScope => {}
            Holds::Unmet => verdict.add(format!("{} requires {}", rule.action, told(constraint))),
            Holds::Undecidable(why) => verdict.add(format!("{} requires {}, but {why}", rule.action, told(constraint))),
        }
    }
}

fn forbid(rule: &Rule, evaluation: &Evaluation<'_>, verdict: &mut Verdict) {
    if rule.constraint.is_empty() {
        if rule.action == "use" {
            verdict.add("use is prohibited".to_owned());
        }
        return;
    }
    let when = || rule.constraint.iter().map(told).collect::<Vec<_>>().join(" and ");
    match all_hold(&rule.constraint, &rule.action, evaluation) {
        Holds::Unmet | Holds::OutOfScope => {}
        Holds::Met => verdict.add(format!("{} is prohibited when {}", rule.action, when())),
        Holds::Undecidable(why) => verdict.add(format!("{} is prohibited when {}, but {why}", rule.action, when())),
    }
}
