//! Rules of a policy: permissions and obligations must be met, prohibitions must not match.

use super::{
    Evaluation,
    constraint::{Holds, all_hold, found, holds, told},
};
use cellspace_schemas::odrl::{Constraint, Policy, Rule};
use std::{fmt, iter};

/// Reasons told of one policy at most.
const MAX_REASONS: usize = 8;

/// Characters of all reasons with what was found, and of what was presented, at most.
const MAX_TOLD: usize = 4_000;
/// What was found told of one reason, at most.
const MAX_FINDINGS: usize = 8;

/// The outcome of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    reasons: Vec<String>,
    /// As the reasons, each with what was found.
    findings: Vec<String>,
    /// What the counterparty presented; empty when the policy is fulfilled.
    presented: String,
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

    /// All reasons in one text. Safe to be told to the counterparty.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reasons.join("; ")
    }

    /// All reasons in one text, each with what was found, and what the counterparty presented. For the owner of the policy alone.
    #[must_use]
    pub fn in_full(&self) -> String {
        if self.is_fulfilled() {
            return String::new();
        }
        let mut text: String = self.findings.join("; ").chars().take(MAX_TOLD).collect();
        text.push_str("; presented: ");
        text.extend(self.presented.chars().take(MAX_TOLD));
        text
    }
}

/// Evaluates the policy, with what was found where it is not fulfilled. Every permission with its duties, and every obligation, must have all its
/// constraints met. A prohibition matches when all of its constraints are met, or when it forbids `use` without any. A policy without rules is
/// fulfilled.
#[must_use]
pub fn evaluate<'a>(policy: &'a Policy, evaluation: &Evaluation<'a>) -> Verdict {
    let unmet: Vec<Unmet<'_>> = unmet(policy, evaluation).take(MAX_REASONS).collect();
    if unmet.is_empty() {
        return Verdict::default();
    }
    let findings = unmet.iter().map(|unmet| unmet.with_findings(evaluation)).collect();
    let reasons = unmet.iter().map(ToString::to_string).collect();
    Verdict { reasons, findings, presented: evaluation.agent.presented() }
}

/// Why the policy is not fulfilled, for those who are told only what is required; `None` when it is.
#[must_use]
pub fn reason_against<'a>(policy: &'a Policy, evaluation: &Evaluation<'a>) -> Option<String> {
    let reasons: Vec<String> = unmet(policy, evaluation).take(MAX_REASONS).map(|unmet| unmet.to_string()).collect();
    if reasons.is_empty() { None } else { Some(reasons.join("; ")) }
}

/// Whether the policy is fulfilled, for those whom no reason is told. Catalogs ask this of every access policy: what [`unmet`] says without its
/// iterators.
#[must_use]
pub fn is_fulfilled<'a>(policy: &'a Policy, evaluation: &Evaluation<'a>) -> bool {
    let met = |rule: &'a Rule| rule.constraint.iter().all(|constraint| passes(holds(constraint, &rule.action, evaluation)));
    policy.permission.iter().all(|permission| permission.duty.iter().all(met) && met(permission))
        && policy.prohibition.iter().all(|rule| forbidden(rule, evaluation).is_none())
        && policy.obligation.iter().all(met)
}

/// Whether the policy may be fulfilled, as far as that can be judged here: what cannot be judged may be, since others may give left operands a meaning.
#[must_use]
pub fn may_be_fulfilled<'a>(policy: &'a Policy, evaluation: &Evaluation<'a>) -> bool {
    let met = |rule: &'a Rule| rule.constraint.iter().all(|constraint| holds(constraint, &rule.action, evaluation) != Holds::Unmet);
    let matches = |rule: &'a Rule| forbidden(rule, evaluation).is_some_and(|unmet| unmet.but.is_none());
    policy.permission.iter().all(|permission| permission.duty.iter().all(met) && met(permission))
        && !policy.prohibition.iter().any(matches)
        && policy.obligation.iter().all(met)
}

/// Whether a constraint that a permission or obligation requires lets it pass.
pub(super) const fn passes(holds: Holds) -> bool {
    matches!(holds, Holds::Met | Holds::OutOfScope | Holds::Open)
}

/// What keeps a policy from being fulfilled.
struct Unmet<'a> {
    rule: &'a Rule,
    /// The constraint that a permission or obligation requires; `None` for a prohibition, which counts as a whole.
    required: Option<&'a Constraint>,
    /// Why it cannot be judged.
    but: Option<&'static str>,
}

fn unmet<'e, 'a: 'e>(policy: &'a Policy, evaluation: &'e Evaluation<'a>) -> impl Iterator<Item = Unmet<'a>> + 'e {
    let permitted = policy.permission.iter().flat_map(|permission| permission.duty.iter().chain(iter::once(permission)));
    let prohibited = policy.prohibition.iter().filter_map(|rule| forbidden(rule, evaluation));
    permitted
        .flat_map(|rule| required(rule, evaluation))
        .chain(prohibited)
        .chain(policy.obligation.iter().flat_map(|rule| required(rule, evaluation)))
}

fn required<'e, 'a: 'e>(rule: &'a Rule, evaluation: &'e Evaluation<'a>) -> impl Iterator<Item = Unmet<'a>> + 'e {
    rule.constraint.iter().filter_map(|constraint| {
        let but = match holds(constraint, &rule.action, evaluation) {
            outcome if passes(outcome) => return None,
            Holds::Undecidable(why) => Some(why),
            _ => None,
        };
        Some(Unmet { rule, required: Some(constraint), but })
    })
}

fn forbidden<'a>(rule: &'a Rule, evaluation: &Evaluation<'a>) -> Option<Unmet<'a>> {
    let but = match all_hold(&rule.constraint, &rule.action, evaluation) {
        Holds::OutOfScope if rule.constraint.is_empty() && rule.action == "use" => None,
        Holds::Unmet | Holds::OutOfScope | Holds::Open => return None,
        Holds::Met => None,
        Holds::Undecidable(why) => Some(why),
    };
    Some(Unmet { rule, required: None, but })
}

impl<'a> Unmet<'a> {
    fn with_findings(&self, evaluation: &Evaluation<'a>) -> String {
        let constraints = self.required.map_or(self.rule.constraint.as_slice(), std::slice::from_ref);
        let mut found: Vec<String> =
            constraints.iter().flat_map(|constraint| found(constraint, &self.rule.action, evaluation)).take(MAX_FINDINGS).collect();
        found.dedup();
        if found.is_empty() { self.to_string() } else { format!("{self}, found {}", found.join(" and ")) }
    }
}

impl fmt::Display for Unmet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { action, constraint, .. } = self.rule;
        match self.required {
            Some(required) => write!(f, "{action} requires {}", told(required))?,
            None if constraint.is_empty() => write!(f, "{action} is prohibited")?,
            None => write!(f, "{action} is prohibited when {}", constraint.iter().map(told).collect::<Vec<_>>().join(" and "))?,
        }
        self.but.map_or(Ok(()), |why| write!(f, ", but {why}"))
    }
}
