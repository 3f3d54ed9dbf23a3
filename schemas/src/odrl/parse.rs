//! Policies from compact JSON-LD.

use super::{
    AtomicConstraint, Constraint, LogicalOperator, MAX_CONSTRAINTS, MAX_DEPTH, MAX_OPERAND_BYTES, MAX_RULES, ODRL_NAMESPACE, Operator,
    Policy, PolicyType, Rule, term,
};
use crate::violation::{MAX_VIOLATIONS, Violation};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Terms that change what a rule means and that are not evaluated: accepting them silently would allow what was meant to be limited.
const NOT_EVALUATED: [&str; 5] = ["refinement", "remedy", "consequence", "inheritFrom", "failure"];

impl Policy {
    /// Reads a policy. Terms outside ODRL are left out; ODRL terms that would change the meaning and are not evaluated are refused.
    ///
    /// # Errors
    /// Every violated rule, with its path below `path`.
    pub fn from_json(value: &Value, path: &str) -> Result<Self, Vec<Violation>> {
        let mut parser = Parser { constraints: 0, found: Vec::new() };
        let policy = parser.policy(value, path);
        match policy {
            Some(policy) if parser.found.is_empty() => Ok(policy),
            Some(_) | None => Err(parser.found),
        }
    }
}

/// The value under a term, with or without prefix or namespace.
fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object
        .get(key)
        .or_else(|| object.get(&format!("odrl:{key}")))
        .or_else(|| object.get(&format!("{ODRL_NAMESPACE}{key}")))
        .filter(|value| !value.is_null())
}

/// One or many.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

/// The text of a string, of an `@id` or `@value` object, or of a list with one of these.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(object) => object.get("@id").or_else(|| object.get("@value")).and_then(Value::as_str),
        Value::Array(items) => match items.as_slice() {
            [single] => text(single),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A right operand without its JSON-LD wrapping, however often it is wrapped: the literal of a literal is itself.
fn literal(value: &Value) -> Value {
    match value {
        Value::Object(object) => match (object.get("@value"), object.get("@id"), object.get("@list")) {
            (Some(Value::String(text)), _, _) => typed(text, object.get("@type")),
            (Some(inner), _, _) => literal(inner),
            (None, Some(id), _) if object.len() == 1 => literal(id),
            (None, None, Some(items)) => literal(items),
            _ => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(literal).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A number or truth value in its lexical form; any other text is itself.
fn typed(text: &str, datatype: Option<&Value>) -> Value {
    let datatype = datatype.and_then(Value::as_str).unwrap_or_default();
    let name = datatype.strip_prefix("xsd:").or_else(|| datatype.strip_prefix("http://www.w3.org/2001/XMLSchema#"));
    let value = match name {
        Some("integer") => text.parse::<i64>().ok().map(Value::from),
        Some("decimal" | "double") => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        Some("boolean") => match text {
            "true" | "1" => Some(true.into()),
            "false" | "0" => Some(false.into()),
            _ => None,
        },
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}

struct Parser {
    constraints: usize,
    found: Vec<Violation>,
}

impl Parser {
    fn fail<T>(&mut self, path: &str, message: impl Into<String>, value: Option<&Value>) -> Option<T> {
        if self.found.len() < MAX_VIOLATIONS {
            let violation = Violation::new(path, message);
            self.found.push(match value {
                Some(value) => violation.showing(value),
                None => violation,
            });
        }
        None
    }

    fn policy(&mut self, value: &Value, path: &str) -> Option<Policy> {
        let Value::Object(object) = value else {
            return self.fail(path, "a policy must be an object", Some(value));
        };
        self.refuse_not_evaluated(object, path);
        let kind = match object.get("@type").and_then(text).map(term) {
            Some("Set") => Some(PolicyType::Set),
            Some("Offer") => Some(PolicyType::Offer),
            Some("Agreement") => Some(PolicyType::Agreement),
            _ => self.fail(&format!("{path}.@type"), "must be Set, Offer or Agreement", object.get("@type")),
        };
        let mut policy = Policy::empty(kind?);
        policy.id = self.optional(object, "@id", path);
        policy.target = self.optional(object, "target", path);
        policy.assigner = self.optional(object, "assigner", path);
        policy.assignee = self.optional(object, "assignee", path);
        policy.timestamp = self.optional(object, "timestamp", path);
        policy.profile = self.profiles(object, path);
        policy.permission = self.rules(object, "permission", path, true);
        policy.prohibition = self.rules(object, "prohibition", path, false);
        policy.obligation = self.rules(object, "obligation", path, false);
        Some(policy)
    }

    fn refuse_not_evaluated(&mut self, object: &Map<String, Value>, path: &str) {
        for key in NOT_EVALUATED {
            if get(object, key).is_some() {
                self.fail::<()>(&format!("{path}.{key}"), format!("{key} is not supported"), None);
            }
        }
    }

    fn short<'a>(&mut self, value: &'a Value, path: &str) -> Option<&'a str> {
        match text(value) {
            Some(text) if !text.is_empty() && text.len() <= MAX_OPERAND_BYTES => Some(text),
            Some(_) => self.fail(path, format!("must have 1 to {MAX_OPERAND_BYTES} bytes"), None),
            None => self.fail(path, "must be a string", Some(value)),
        }
    }

    /// What a term names; a prefix alone names nothing.
    fn named(&mut self, value: &Value, path: &str) -> Option<String> {
        match term(self.short(value, path)?) {
            "" => self.fail(path, "must name a term", Some(value)),
            named => Some(named.to_owned()),
        }
    }

    fn optional(&mut self, object: &Map<String, Value>, key: &str, path: &str) -> Option<String> {
        get(object, key).and_then(|value| self.short(value, &format!("{path}.{key}"))).map(str::to_owned)
    }

    fn profiles(&mut self, object: &Map<String, Value>, path: &str) -> Vec<String> {
        let path = format!("{path}.profile");
        let items = get(object, "profile").map_or(&[][..], list);
        if items.len() > MAX_RULES {
            self.fail::<()>(&path, format!("at most {MAX_RULES} profiles"), None);
            return Vec::new();
        }
        items.iter().filter_map(|item| self.short(item, &path)).map(str::to_owned).collect()
    }

    fn rules(&mut self, object: &Map<String, Value>, key: &str, path: &str, duties: bool) -> Vec<Rule> {
        let path = format!("{path}.{key}");
        let items = get(object, key).map_or(&[][..], list);
        if items.len() > MAX_RULES {
            self.fail::<()>(&path, format!("at most {MAX_RULES} rules"), None);
            return Vec::new();
        }
        items.iter().enumerate().filter_map(|(n, item)| self.rule(item, &format!("{path}[{n}]"), duties)).collect()
    }

    fn rule(&mut self, value: &Value, path: &str, duties: bool) -> Option<Rule> {
        let Value::Object(object) = value else {
            return self.fail(path, "a rule must be an object", Some(value));
        };
        self.refuse_not_evaluated(object, path);
        let action = match get(object, "action") {
            Some(action) => self.action(action, &format!("{path}.action")),
            None => self.fail(&format!("{path}.action"), "is required", None),
        };
        let constraint = self.constraints(object, "constraint", path, 0);
        let duty = if duties {
            self.rules(object, "duty", path, false)
        } else if get(object, "duty").is_some() {
            self.fail::<()>(&format!("{path}.duty"), "only a permission has duties", None);
            Vec::new()
        } else {
            Vec::new()
        };
        Some(Rule { action: action?, constraint, duty })
    }

    /// An action: a term, an `@id` object, or `{"odrl:type": ..}` as older messages have it.
    fn action(&mut self, value: &Value, path: &str) -> Option<String> {
        if let Value::Object(object) = value {
            self.refuse_not_evaluated(object, path);
            if let Some(inner) = get(object, "type") {
                return self.named(inner, path);
            }
        }
        self.named(value, path)
    }

    fn constraints(&mut self, object: &Map<String, Value>, key: &str, path: &str, depth: usize) -> Vec<Constraint> {
        let path = format!("{path}.{key}");
        let items = get(object, key).map_or(&[][..], list);
        self.constraints += items.len();
        if self.constraints > MAX_CONSTRAINTS {
            self.fail::<()>(&path, format!("at most {MAX_CONSTRAINTS} constraints in a policy"), None);
            return Vec::new();
        }
        if depth > MAX_DEPTH {
            self.fail::<()>(&path, format!("at most {MAX_DEPTH} levels of logical constraints"), None);
            return Vec::new();
        }
        items.iter().enumerate().filter_map(|(n, item)| self.constraint(item, &format!("{path}[{n}]"), depth)).collect()
    }

    fn constraint(&mut self, value: &Value, path: &str, depth: usize) -> Option<Constraint> {
        let Value::Object(object) = value else {
            return self.fail(path, "a constraint must be an object", Some(value));
        };
        self.refuse_not_evaluated(object, path);
        let mut logical = LogicalOperator::ALL.iter().copied().filter(|operator| get(object, operator.as_str()).is_some());
        match (logical.next(), logical.next()) {
            (None, _) => self.atomic(object, path),
            (Some(operator), None) if get(object, "leftOperand").is_none() => {
                let parts = self.constraints(object, operator.as_str(), path, depth + 1);
                if parts.is_empty() {
                    return self.fail(path, "a logical constraint needs at least one part", None);
                }
                Some(Constraint::Logical(operator, parts))
            }
            (Some(_), _) => self.fail(path, "a constraint is either one comparison or one of and, andSequence, or, xone", None),
        }
    }

    fn atomic(&mut self, object: &Map<String, Value>, path: &str) -> Option<Constraint> {
        let mut required = |key: &'static str| match get(object, key) {
            Some(value) => Some(value),
            None => self.fail(&format!("{path}.{key}"), "is required", None),
        };
        let (left, operator, right) = (required("leftOperand"), required("operator"), required("rightOperand"));
        let left_operand = left.and_then(|left| self.named(left, &format!("{path}.leftOperand")));
        let operator = operator.and_then(|operator| match text(operator).and_then(Operator::parse) {
            Some(known) => Some(known),
            None => self.fail(&format!("{path}.operator"), "is not an operator", Some(operator)),
        });
        let right_operand = right.and_then(|right| {
            let right = literal(right);
            if right.is_null() {
                return self.fail(&format!("{path}.rightOperand"), "is required", None);
            }
            let bytes = match &right {
                Value::String(text) => text.len(),
                other => serde_json::to_vec(other).map_or(usize::MAX, |json| json.len()),
            };
            if bytes > MAX_OPERAND_BYTES {
                return self.fail(&format!("{path}.rightOperand"), format!("must have at most {MAX_OPERAND_BYTES} bytes"), None);
            }
            Some(right)
        });
        let atomic = AtomicConstraint { left_operand: left_operand?, operator: operator?, right_operand: right_operand? };
        Some(Constraint::Atomic(Arc::new(atomic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(value: &Value) -> Policy {
        Policy::from_json(value, "$").unwrap_or_else(|found| panic!("{found:?}"))
    }

    #[test]
    fn typed_literals_are_what_they_say() {
        let table = [
            (json!({"@value": "5", "@type": "xsd:integer"}), json!(5)),
            (json!({"@value": "-5", "@type": "http://www.w3.org/2001/XMLSchema#integer"}), json!(-5)),
            (json!({"@value": "0.5", "@type": "xsd:decimal"}), json!(0.5)),
            (json!({"@value": "1e3", "@type": "xsd:double"}), json!(1000.0)),
            (json!({"@value": "true", "@type": "xsd:boolean"}), json!(true)),
            (json!({"@value": "0", "@type": "xsd:boolean"}), json!(false)),
            (json!({"@value": 5, "@type": "xsd:integer"}), json!(5)),
            (json!({"@value": "5", "@type": "xsd:string"}), json!("5")),
            (json!({"@value": "5"}), json!("5")),
            (json!({"@value": "five", "@type": "xsd:integer"}), json!("five")),
        ];
        for (given, expected) in table {
            assert_eq!(literal(&given), expected, "{given}");
        }
    }

    #[test]
    fn every_spelling_means_the_same() {
        let compact = json!({"@type": "Offer", "@id": "o-1", "target": "a-1", "assigner": "did:web:p", "permission": [
            {"action": "use", "constraint": [{"leftOperand": "spatial", "operator": "eq", "rightOperand": "EU"}]}]});
        let prefixed = json!({"@type": "odrl:Offer", "@id": "o-1", "odrl:target": {"@id": "a-1"}, "odrl:assigner": {"@id": "did:web:p"},
            "odrl:permission": {"odrl:action": {"@id": "odrl:use"}, "odrl:constraint": {"odrl:leftOperand": {"@id": "odrl:spatial"},
            "odrl:operator": {"@id": "odrl:eq"}, "odrl:rightOperand": {"@value": "EU"}}}});
        let iris = json!({"@type": ["http://www.w3.org/ns/odrl/2/Offer"], "@id": "o-1", "http://www.w3.org/ns/odrl/2/target": [{"@id": "a-1"}],
            "assigner": "did:web:p", "http://www.w3.org/ns/odrl/2/permission": [{"action": {"odrl:type": "odrl:use"}, "odrl:constraint": [
            {"leftOperand": "http://www.w3.org/ns/odrl/2/spatial", "operator": "odrl:eq", "rightOperand": "EU"}]}]});
        assert_eq!(parsed(&prefixed), parsed(&compact));
        assert_eq!(parsed(&iris), parsed(&compact));
        assert_eq!(parsed(&compact).to_json(), compact);
    }

    #[test]
    fn logical_constraints_nest() {
        let atom = json!({"leftOperand": "a", "operator": "neq", "rightOperand": ["x", 2]});
        let policy = json!({"@type": "Set", "prohibition": [{"action": "sell", "constraint": [{"or": [atom, {"and": [atom, atom]}]}]}]});
        let read = parsed(&policy);
        assert_eq!(read.atomic_constraints().count(), 3);
        assert_eq!(read.to_json(), policy);
    }

    #[test]
    fn what_is_refused() {
        let rule = |constraint: Value| json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraint}]});
        let mut deep = json!({"leftOperand": "a", "operator": "eq", "rightOperand": 1});
        for _ in 0..=MAX_DEPTH {
            deep = json!({"and": [deep]});
        }
        let many = vec![json!({"leftOperand": "a", "operator": "eq", "rightOperand": 1}); MAX_CONSTRAINTS + 1];
        let cases = [
            ("no object", json!("x"), "$"),
            ("no type", json!({}), "$.@type"),
            ("unknown type", json!({"@type": "Ticket"}), "$.@type"),
            ("no action", json!({"@type": "Set", "permission": [{}]}), "$.permission[0].action"),
            ("refinement", json!({"@type": "Set", "permission": [{"action": "use", "refinement": []}]}), "$.permission[0].refinement"),
            ("duty of a prohibition", json!({"@type": "Set", "prohibition": [{"action": "use", "duty": []}]}), "$.prohibition[0].duty"),
            ("operator", rule(json!({"leftOperand": "a", "operator": "~", "rightOperand": 1})), "$.permission[0].constraint[0].operator"),
            ("no right", rule(json!({"leftOperand": "a", "operator": "eq"})), "$.permission[0].constraint[0].rightOperand"),
            (
                "null right",
                rule(json!({"leftOperand": "a", "operator": "eq", "rightOperand": {"@value": null}})),
                "$.permission[0].constraint[0].rightOperand",
            ),
            (
                "no term left",
                rule(json!({"leftOperand": "odrl:", "operator": "eq", "rightOperand": 1})),
                "$.permission[0].constraint[0].leftOperand",
            ),
            ("no term of an action", json!({"@type": "Set", "permission": [{"action": {"@id": "odrl:odrl:"}}]}), "$.permission[0].action"),
            ("two joints", rule(json!({"and": [deep], "or": [deep]})), "$.permission[0].constraint[0]"),
            ("empty joint", rule(json!({"and": []})), "$.permission[0].constraint[0]"),
            ("too many", rule(Value::Array(many)), "$.permission[0].constraint"),
            (
                "long",
                rule(json!({"leftOperand": "a".repeat(5000), "operator": "eq", "rightOperand": 1})),
                "$.permission[0].constraint[0].leftOperand",
            ),
        ];
        for (what, value, path) in cases {
            let found = Policy::from_json(&value, "$").expect_err(what);
            assert!(found.iter().any(|v| v.path == path), "{what}: {found:?}");
        }
        let found = Policy::from_json(&rule(deep), "$").expect_err("deep");
        assert!(found.iter().any(|v| v.message.contains("levels")), "{found:?}");
    }

    #[test]
    fn serde_is_the_compact_form() {
        let policy = json!({"@type": "Agreement", "@id": "ag", "target": "a", "assigner": "did:web:p", "assignee": "did:web:c",
            "timestamp": "2026-01-01T00:00:00Z", "profile": ["p"], "obligation": [{"action": "compensate"}],
            "permission": [{"action": "use", "duty": [{"action": "inform"}]}]});
        let read: Policy = serde_json::from_value(policy.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), policy);
        assert!(serde_json::from_value::<Policy>(json!({"@type": "Set", "permission": [1]})).is_err());
    }
}
