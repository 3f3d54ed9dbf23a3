//! Contract definitions: which assets are offered under which policies (Management API `ContractDefinition`).

use super::{Asset, Reader};
use crate::{
    ContractDefinitionId, PolicyDefinitionId, QuerySpec, Timestamp,
    query_spec::{Criterion, PathRules},
    violation::Violation,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Largest contract definition in its JSON form, in bytes.
pub const MAX_DEFINITION_BYTES: usize = 64 << 10;

/// A contract definition as a client describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContractDefinitionDraft {
    /// Its id; the platform makes one when the client has none.
    pub id: Option<ContractDefinitionId>,
    /// Who sees the offers.
    pub access_policy_id: PolicyDefinitionId,
    /// Under which terms.
    pub contract_policy_id: PolicyDefinitionId,
    /// Which assets: all criteria must hold; none means all assets.
    pub assets_selector: Vec<Criterion>,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
}

/// A contract definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContractDefinition {
    /// Its id, unique for its participant.
    pub id: ContractDefinitionId,
    /// Who sees the offers.
    pub access_policy_id: PolicyDefinitionId,
    /// Under which terms.
    pub contract_policy_id: PolicyDefinitionId,
    /// Which assets: all criteria must hold; none means all assets.
    pub assets_selector: Vec<Criterion>,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl ContractDefinitionDraft {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["ContractDefinition"])?;
        let id = r.parsed("@id");
        let (access, contract) = (r.required_parsed("accessPolicyId"), r.required_parsed("contractPolicyId"));
        let path = r.path("assetsSelector");
        let assets_selector = match r.raw("assetsSelector") {
            None => Vec::new(),
            Some(selector) => r.part(|| QuerySpec::criteria_from_json(selector, &path, &Asset::PATHS)).unwrap_or_default(),
        };
        let private_properties = r.object("privateProperties");
        if body.to_string().len() > MAX_DEFINITION_BYTES {
            r.note_all(vec![Violation::new("$", format!("a contract definition has at most {MAX_DEFINITION_BYTES} bytes"))]);
        }
        r.finish(|| Some(Self { id, access_policy_id: access?, contract_policy_id: contract?, assets_selector, private_properties }))
    }
}

impl ContractDefinition {
    /// Fields that queries may name.
    pub const PATHS: PathRules = PathRules {
        fields: &[
            "id",
            "@id",
            "createdAt",
            "accessPolicyId",
            "contractPolicyId",
            "assetsSelector.operandLeft",
            "assetsSelector.operator",
            "assetsSelector.operandRight.*",
            "privateProperties.*",
            "participantContextId",
        ],
        free_properties: false,
    };

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "@type": "ContractDefinition",
            "@id": self.id.as_str(),
            "accessPolicyId": self.access_policy_id.as_str(),
            "contractPolicyId": self.contract_policy_id.as_str(),
            "assetsSelector": self.assets_selector.iter().map(Criterion::to_json).collect::<Value>(),
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
        let body = |selector: Value| {
            json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ContractDefinition", "@id": "cd", "accessPolicyId": "p", "contractPolicyId": "q",
                "assetsSelector": selector})
        };
        let selector =
            json!([{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "in", "operandRight": ["a"]}]);
        let draft = ContractDefinitionDraft::from_json(&body(selector.clone())).unwrap();
        let stored: ContractDefinitionDraft = serde_json::from_value(serde_json::to_value(&draft).unwrap()).unwrap();
        assert_eq!(stored, draft);
        assert_eq!(draft.assets_selector.iter().map(Criterion::to_json).collect::<Value>(), selector);
        assert!(ContractDefinitionDraft::from_json(&body(json!([{"operandLeft": "id", "operator": "~", "operandRight": 1}]))).is_err());
        assert!(ContractDefinitionDraft::from_json(&json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ContractDefinition"})).is_err());
        assert_eq!(ContractDefinitionDraft::from_json(&body(json!(null))).unwrap().assets_selector, []);
    }
}
