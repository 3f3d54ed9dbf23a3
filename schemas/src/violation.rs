//! A violated rule of a message or body, as it is told to the sender.

use serde_json::Value;

/// Violations told of one body at most; the first ones count.
pub const MAX_VIOLATIONS: usize = 32;

/// One violated rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// What the rule is; lower case, no full stop.
    pub message: String,
    /// Where, as a JSON path such as `$.policy.permission[0].action`.
    pub path: String,
    /// The offending value, when it is short enough to be shown.
    pub value: Option<Value>,
}

impl Violation {
    /// A rule violated at `path`, without a value.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), path: path.into(), value: None }
    }

    /// Shows the offending value when it is a scalar of at most 200 bytes.
    #[must_use]
    pub fn showing(mut self, value: &Value) -> Self {
        let short = match value {
            Value::String(text) => text.len() <= 200,
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
            Value::Array(_) | Value::Object(_) => false,
        };
        self.value = short.then(|| value.clone());
        self
    }
}
