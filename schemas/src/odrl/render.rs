//! Policies to compact JSON-LD.

use super::{Constraint, Policy, Rule};
use serde_json::{Map, Value, json};

impl Policy {
    /// The compact form, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("@type".to_owned(), self.kind.as_str().into());
        let texts = [
            ("@id", &self.id),
            ("target", &self.target),
            ("assigner", &self.assigner),
            ("assignee", &self.assignee),
            ("timestamp", &self.timestamp),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                object.insert(key.to_owned(), text.as_str().into());
            }
        }
        if !self.profile.is_empty() {
            object.insert("profile".to_owned(), self.profile.clone().into());
        }
        for (key, list) in [("permission", &self.permission), ("prohibition", &self.prohibition), ("obligation", &self.obligation)] {
            if !list.is_empty() {
                object.insert(key.to_owned(), rules(list));
            }
        }
        Value::Object(object)
    }
}

fn rules(list: &[Rule]) -> Value {
    list.iter().map(rule).collect()
}

fn rule(rule: &Rule) -> Value {
    let mut object = Map::new();
    object.insert("action".to_owned(), rule.action.as_str().into());
    if !rule.constraint.is_empty() {
        object.insert("constraint".to_owned(), rule.constraint.iter().map(constraint).collect());
    }
    if !rule.duty.is_empty() {
        object.insert("duty".to_owned(), rules(&rule.duty));
    }
    Value::Object(object)
}

fn constraint(constraint: &Constraint) -> Value {
    match constraint {
        Constraint::Atomic(atomic) => json!({
            "leftOperand": atomic.left_operand,
            "operator": atomic.operator.as_str(),
            "rightOperand": atomic.right_operand,
        }),
        Constraint::Logical(operator, parts) => {
            let mut object = Map::new();
            object.insert(operator.as_str().to_owned(), parts.iter().map(self::constraint).collect());
            Value::Object(object)
        }
    }
}
