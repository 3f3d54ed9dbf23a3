//! Rules: what attested claims must fulfil before anything is issued.

use super::claims::{ClaimPath, Claims};
use cellspace_schemas::issuer::admin::RuleBody;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{cmp::Ordering, fmt};

/// The only kind of rule.
const EXPRESSION: &str = "expression";
/// Longest value compared with, in bytes.
const MAX_VALUE_BYTES: usize = 1024;

/// How the claim is compared with the rule's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// Equal, as text.
    Eq,
    /// Not equal, as text.
    Neq,
    /// Greater, as number.
    Gt,
    /// Greater or equal, as number.
    Geq,
    /// Less, as number.
    Lt,
    /// Less or equal, as number.
    Leq,
}

impl Operator {
    const ALL: [Self; 6] = [Self::Eq, Self::Neq, Self::Gt, Self::Geq, Self::Lt, Self::Leq];

    const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Gt => "gt",
            Self::Geq => "geq",
            Self::Lt => "lt",
            Self::Leq => "leq",
        }
    }

    const fn compares_numbers(self) -> bool {
        match self {
            Self::Eq | Self::Neq => false,
            Self::Gt | Self::Geq | Self::Lt | Self::Leq => true,
        }
    }
}

/// A rule of the kind `expression`: `claim operator value`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    claim: ClaimPath,
    operator: Operator,
    value: Value,
}

impl Rule {
    /// A rule from a definition's body.
    ///
    /// # Errors
    /// What is missing or unknown.
    pub fn new(body: &RuleBody) -> Result<Self, String> {
        if body.rule_type != EXPRESSION {
            return Err(format!("unknown type of rule, use {EXPRESSION}"));
        }
        let member = |name: &str| body.configuration.get(name);
        let claim = member("claim").and_then(Value::as_str).ok_or("a rule needs the text claim")?;
        let claim = claim.parse().map_err(|e| format!("claim of a rule: {e}"))?;
        let operator = member("operator").and_then(Value::as_str).ok_or("a rule needs the text operator")?;
        let known = || Operator::ALL.map(Operator::name).join(", ");
        let operator = Operator::ALL.into_iter().find(|o| operator.eq_ignore_ascii_case(o.name()));
        let operator = operator.ok_or_else(|| format!("unknown operator of a rule, use one of: {}", known()))?;
        let value = member("value").filter(|v| text(v).is_some_and(|t| t.len() <= MAX_VALUE_BYTES)).cloned();
        let value = value.ok_or_else(|| format!("a rule needs a value: text of at most {MAX_VALUE_BYTES} bytes, a number or a boolean"))?;
        if operator.compares_numbers() && number(&value).is_none() {
            return Err(format!("a rule with the operator {} needs a number as value", operator.name()));
        }
        Ok(Self { claim, operator, value })
    }

    /// Whether the claims fulfil it. A missing claim fulfils nothing.
    #[must_use]
    pub fn holds(&self, claims: &Claims) -> bool {
        let Some(found) = self.claim.get(claims) else { return false };
        let order = || number(found)?.partial_cmp(&number(&self.value)?);
        match self.operator {
            Operator::Eq => text(found).is_some_and(|found| Some(found) == text(&self.value)),
            Operator::Neq => text(found).is_none_or(|found| Some(found) != text(&self.value)),
            Operator::Gt => order() == Some(Ordering::Greater),
            Operator::Geq => order().is_some_and(Ordering::is_ge),
            Operator::Lt => order() == Some(Ordering::Less),
            Operator::Leq => order().is_some_and(Ordering::is_le),
        }
    }

    /// As it is answered.
    #[must_use]
    pub fn body(&self) -> RuleBody {
        let configuration = Map::from_iter([
            ("claim".to_owned(), Value::String(self.claim.to_string())),
            ("operator".to_owned(), Value::String(self.operator.name().to_owned())),
            ("value".to_owned(), self.value.clone()),
        ]);
        RuleBody { rule_type: EXPRESSION.to_owned(), configuration }
    }
}

impl fmt::Display for Rule {
    /// What is required; never what was found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.claim, self.operator.name(), self.value)
    }
}

/// A scalar as text, so that `true` and `"true"` are equal, as clients send both.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    text(value)?.trim().parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(operator: &str, value: Value) -> Result<Rule, String> {
        let configuration = json!({"claim": "a.b", "operator": operator, "value": value}).as_object().unwrap().clone();
        Rule::new(&RuleBody { rule_type: EXPRESSION.to_owned(), configuration })
    }

    #[test]
    fn every_operator() {
        let table = [
            ("eq", json!(true), json!(true), true),
            ("EQ", json!("true"), json!(true), true),
            ("eq", json!("x"), json!("y"), false),
            ("neq", json!("x"), json!("y"), true),
            ("neq", json!(7), json!("7"), false),
            ("neq", json!("x"), json!(["x"]), true),
            ("eq", json!("x"), json!(["x"]), false),
            ("gt", json!(7), json!(8), true),
            ("gt", json!(7), json!(7), false),
            ("geq", json!("7"), json!(7), true),
            ("geq", json!(7), json!(6.9), false),
            ("lt", json!(7), json!("6"), true),
            ("lt", json!(7), json!("six"), false),
            ("leq", json!(7), json!(7), true),
            ("leq", json!(7), json!(7.1), false),
        ];
        for (operator, value, found, holds) in table {
            let claims = json!({"a": {"b": found}}).as_object().unwrap().clone();
            assert_eq!(rule(operator, value.clone()).unwrap().holds(&claims), holds, "{found} {operator} {value}");
        }
    }

    #[test]
    fn a_missing_claim_fulfils_nothing() {
        for operator in ["eq", "neq", "gt", "geq", "lt", "leq"] {
            assert!(!rule(operator, json!(1)).unwrap().holds(&Claims::new()), "{operator}");
        }
    }

    #[test]
    fn what_is_no_rule() {
        for (operator, value) in
            [("like", json!(1)), ("gt", json!("many")), ("eq", json!(null)), ("eq", json!({})), ("eq", json!("x".repeat(2000)))]
        {
            assert!(rule(operator, value).is_err(), "{operator}");
        }
        assert!(Rule::new(&RuleBody { rule_type: "script".to_owned(), configuration: Map::new() }).is_err());
        assert!(Rule::new(&RuleBody { rule_type: EXPRESSION.to_owned(), configuration: Map::new() }).is_err());
        let good = rule("geq", json!("7")).unwrap();
        assert_eq!(Rule::new(&good.body()), Ok(good));
    }
}
