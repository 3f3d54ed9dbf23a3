//! The types of a policy.

use super::{LogicalOperator, Operator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use std::sync::Arc;

/// What kind of policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyType {
    /// Rules without parties, as in a policy definition.
    Set,
    /// Rules offered by an assigner.
    Offer,
    /// Rules agreed between assigner and assignee.
    Agreement,
}

impl PolicyType {
    /// The term in the vocabulary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "Set",
            Self::Offer => "Offer",
            Self::Agreement => "Agreement",
        }
    }
}

/// A policy; serialises to and from its compact JSON-LD form in messages (without `@context`).
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Kind.
    pub kind: PolicyType,
    /// `@id`, for offers the offer id.
    pub id: Option<String>,
    /// The dataset it is about.
    pub target: Option<String>,
    /// Who offers or grants.
    pub assigner: Option<String>,
    /// Who receives.
    pub assignee: Option<String>,
    /// `xsd:dateTime` of an agreement.
    pub timestamp: Option<String>,
    /// ODRL profiles.
    pub profile: Vec<String>,
    /// What is allowed.
    pub permission: Vec<Rule>,
    /// What is forbidden.
    pub prohibition: Vec<Rule>,
    /// What must be done.
    pub obligation: Vec<Rule>,
}

/// A permission, prohibition or duty.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The action, `use` mostly.
    pub action: String,
    /// All must hold for the rule to apply.
    pub constraint: Vec<Constraint>,
    /// Duties of a permission; empty for other rules.
    pub duty: Vec<Rule>,
}

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// One comparison, which others may share.
    Atomic(Arc<AtomicConstraint>),
    /// Conditions joined.
    Logical(LogicalOperator, Vec<Constraint>),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AtomicConstraint {
    /// What is compared, by name or IRI.
    pub left_operand: String,
    /// How.
    pub operator: Operator,
    /// With what.
    pub right_operand: Value,
}

impl Policy {
    /// A policy of this kind without any rule or party.
    #[must_use]
    pub const fn empty(kind: PolicyType) -> Self {
        Self {
            kind,
            id: None,
            target: None,
            assigner: None,
            assignee: None,
            timestamp: None,
            profile: Vec::new(),
            permission: Vec::new(),
            prohibition: Vec::new(),
            obligation: Vec::new(),
        }
    }

    /// Whether both policies have the same rules, whatever their kind, ids and parties.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        self.permission == other.permission && self.prohibition == other.prohibition && self.obligation == other.obligation
    }

    /// Every atomic constraint of every rule and duty.
    pub fn atomic_constraints(&self) -> impl Iterator<Item = &Arc<AtomicConstraint>> {
        let rules = self.permission.iter().chain(&self.prohibition).chain(&self.obligation);
        let mut open: Vec<&Constraint> = rules.flat_map(|r| r.constraint.iter().chain(r.duty.iter().flat_map(|d| &d.constraint))).collect();
        std::iter::from_fn(move || {
            loop {
                match open.pop()? {
                    Constraint::Atomic(atomic) => return Some(atomic),
                    Constraint::Logical(_, parts) => open.extend(parts),
                }
            }
        })
    }

    /// The policy with each comparison replaced.
    #[must_use]
    pub fn with_atoms(&self, replace: &mut dyn FnMut(&Arc<AtomicConstraint>) -> Arc<AtomicConstraint>) -> Self {
        let mut policy = self.clone();
        for rule in policy.permission.iter_mut().chain(&mut policy.prohibition).chain(&mut policy.obligation) {
            rule.replace_atoms(replace);
        }
        policy
    }
}

impl Rule {
    fn replace_atoms(&mut self, replace: &mut dyn FnMut(&Arc<AtomicConstraint>) -> Arc<AtomicConstraint>) {
        let mut open: Vec<&mut Constraint> = self.constraint.iter_mut().collect();
        while let Some(constraint) = open.pop() {
            match constraint {
                Constraint::Atomic(atomic) => *atomic = replace(atomic),
                Constraint::Logical(_, parts) => open.extend(parts),
            }
        }
        for duty in &mut self.duty {
            duty.replace_atoms(replace);
        }
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value, "$")
            .map_err(|found| D::Error::custom(found.first().map_or_else(String::new, |v| format!("{}: {}", v.path, v.message))))
    }
}
