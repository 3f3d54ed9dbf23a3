//! Policy definitions (Management API `PolicyDefinition`).

use super::Reader;
use crate::{
    PolicyDefinitionId, Timestamp,
    odrl::{Policy, PolicyType},
    query_spec::PathRules,
    violation::Violation,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Largest policy definition in its JSON form, in bytes.
pub const MAX_POLICY_BYTES: usize = 64 << 10;

/// A policy definition as a client describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyDefinitionDraft {
    /// Its id; the platform makes one when the client has none.
    pub id: Option<PolicyDefinitionId>,
    /// The rules: a `Set`.
    pub policy: Policy,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
}

/// A policy definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyDefinition {
    /// Its id, unique for its participant.
    pub id: PolicyDefinitionId,
    /// The rules: a `Set`.
    pub policy: Policy,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl PolicyDefinitionDraft {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["PolicyDefinition"])?;
        let id = r.parsed("@id");
        r.require("policy");
        let path = r.path("policy");
        let policy = r.raw("policy").and_then(|policy| r.part(|| Policy::from_json(policy, &path)));
        if policy.as_ref().is_some_and(|policy| policy.kind != PolicyType::Set) {
            r.note_all(vec![Violation::new(format!("{path}.@type"), "must be Set")]);
        }
        let private_properties = r.object("privateProperties");
        if body.to_string().len() > MAX_POLICY_BYTES {
            r.note_all(vec![Violation::new("$", format!("a policy definition has at most {MAX_POLICY_BYTES} bytes"))]);
        }
        r.finish(|| Some(Self { id, policy: policy?, private_properties }))
    }
}

impl PolicyDefinition {
    /// Fields that queries may name.
    pub const PATHS: PathRules = PathRules {
        fields: &["id", "@id", "createdAt", "policy.*", "privateProperties.*", "participantContextId"],
        free_properties: false,
    };

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "@type": "PolicyDefinition",
            "@id": self.id.as_str(),
            "policy": self.policy.to_plain(),
            "privateProperties": self.private_properties,
            "createdAt": self.created_at.millis(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;

    #[test]
    fn bodies() {
        let body = |policy: Value| json!({"@context": [MANAGEMENT_CONTEXT], "@type": "PolicyDefinition", "@id": "p", "policy": policy});
        let set = json!({"@type": "Set", "permission": [{"action": "use"}]});
        let draft = PolicyDefinitionDraft::from_json(&body(set.clone())).unwrap();
        let PolicyDefinitionDraft { id, policy, private_properties } = draft;
        let definition = PolicyDefinition { id: id.unwrap(), policy, private_properties, created_at: Timestamp(1) };
        assert_eq!(definition.to_json()["policy"], set);
        for (policy, path) in [
            (json!(null), "$.policy"),
            (json!({"@type": "Offer"}), "$.policy.@type"),
            (json!({"@type": "Set", "permission": [{}]}), "$.policy.permission[0].action"),
        ] {
            let found = PolicyDefinitionDraft::from_json(&body(policy)).expect_err(path);
            assert_eq!(found.first().map(|v| v.path.as_str()), Some(path));
        }
    }
}
