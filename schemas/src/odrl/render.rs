//! Policies to compact JSON-LD.

use super::{Constraint, Policy, Rule};
use serde_json::{Map, Value, json};

/// How a right operand is written.
type Operand = fn(&Value) -> Value;

impl Policy {
    /// The compact form, without `@context`, as it stands in messages. Their schema has texts, objects and lists as right operands (DSP 2025-1,
    /// `contract-schema.json`, `RightOperand`): a number or truth value is a typed literal. It is read as the same policy as [`to_plain`](Self::to_plain).
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.written(|operand| {
            let datatype = match operand {
                Value::Bool(_) => "xsd:boolean",
                Value::Number(number) if number.is_f64() => "xsd:double",
                Value::Number(_) => "xsd:integer",
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => return operand.clone(),
            };
            json!({"@value": operand, "@type": datatype})
        })
    }

    /// The compact form as our own clients see it: right operands as they gave them.
    #[must_use]
    pub fn to_plain(&self) -> Value {
        self.written(Value::clone)
    }

    fn written(&self, operand: Operand) -> Value {
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
                object.insert(key.to_owned(), rules(list, operand));
            }
        }
        Value::Object(object)
    }
}

fn rules(list: &[Rule], operand: Operand) -> Value {
    list.iter().map(|rule| self::rule(rule, operand)).collect()
}

fn rule(rule: &Rule, operand: Operand) -> Value {
    let mut object = Map::new();
    object.insert("action".to_owned(), rule.action.as_str().into());
    if !rule.constraint.is_empty() {
        object.insert("constraint".to_owned(), rule.constraint.iter().map(|constraint| self::constraint(constraint, operand)).collect());
    }
    if !rule.duty.is_empty() {
        object.insert("duty".to_owned(), rules(&rule.duty, operand));
    }
    Value::Object(object)
}

fn constraint(constraint: &Constraint, operand: Operand) -> Value {
    match constraint {
        Constraint::Atomic(atomic) => json!({
            "leftOperand": atomic.left_operand,
            "operator": atomic.operator.as_str(),
            "rightOperand": operand(&atomic.right_operand),
        }),
        Constraint::Logical(operator, parts) => {
            let mut object = Map::new();
            object.insert(operator.as_str().to_owned(), parts.iter().map(|part| self::constraint(part, operand)).collect());
            Value::Object(object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_operands_in_messages_are_what_their_schema_has() {
        let policy = |right: &Value| {
            let atom = json!({"leftOperand": "a", "operator": "eq", "rightOperand": right});
            let rule = |key: &str| json!({"action": "use", "constraint": [{"or": [atom]}], key: [{"action": "use", "constraint": [atom]}]});
            json!({"@type": "Offer", "permission": [rule("duty")], "obligation": [{"action": "use", "constraint": [atom]}]})
        };
        for (right, written) in [
            (json!(5), json!({"@value": 5, "@type": "xsd:integer"})),
            (json!(-7), json!({"@value": -7, "@type": "xsd:integer"})),
            (json!(u64::MAX), json!({"@value": u64::MAX, "@type": "xsd:integer"})),
            (json!(0.5), json!({"@value": 0.5, "@type": "xsd:double"})),
            (json!(true), json!({"@value": true, "@type": "xsd:boolean"})),
            (json!("5"), json!("5")),
            (json!([1, true, "x"]), json!([1, true, "x"])),
            (json!({"from": 1}), json!({"from": 1})),
        ] {
            let read = Policy::from_json(&policy(&right), "$").unwrap();
            assert_eq!((read.to_plain(), read.to_json()), (policy(&right), policy(&written)), "{right}");
            // What was written is the same policy again, by whichever way it comes back: also that of rows.
            assert_eq!(Policy::from_json(&policy(&written), "$").as_ref(), Ok(&read));
            let row = serde_json::to_value(&read).unwrap();
            assert_eq!((&row, serde_json::from_value::<Policy>(row.clone()).unwrap()), (&policy(&written), read));
        }
    }
}
