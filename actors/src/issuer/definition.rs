//! Credential definitions: what can be issued, on which attestations, by which rules.

use super::{approval::Approval, claims::Claims, mappings::Mapping, rules::Rule};
use crate::{PublicUrls, derived_id::derived_id, trust::schema::Schema};
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::{CredentialFormat, messages::OfferedCredential},
    issuer::{
        AttestationId, CredentialDefinitionId,
        admin::{DefinitionBody, DefinitionView},
        metadata::CredentialObject,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Rules, mappings, attestations and contexts of one definition at most, each.
pub const MAX_PARTS: usize = 64;
/// Longest validity: ten years.
pub const MAX_VALIDITY: Duration = Duration::from_secs(10 * 366 * 86_400);
/// Longest JSON schema, in bytes.
const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// What credentials are bound to: the holder's DID.
const BINDING: &str = "did:web";
/// Longest credential type or URL, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// A credential definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its id.
    pub id: CredentialDefinitionId,
    /// Type of the credentials, beside `VerifiableCredential`.
    pub credential_type: String,
    /// How they are written.
    pub format: CredentialFormat,
    /// How long they are valid.
    pub validity: Duration,
    /// JSON schema of the subject.
    pub json_schema: Option<String>,
    /// Where the schema is found.
    pub json_schema_url: Option<String>,
    /// JSON-LD contexts beside those of the format.
    pub additional_context: Vec<String>,
    /// Sources of claims.
    pub attestations: Vec<AttestationId>,
    /// What the claims must fulfil.
    pub rules: Vec<Rule>,
    /// How claims become members of the credential.
    pub mappings: Vec<Mapping>,
    /// Whether somebody has to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Whether holders may ask that nobody has registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous_allowed: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Definition {
    /// A definition from an operator's body.
    ///
    /// # Errors
    /// The first thing that is not valid.
    pub fn new(body: DefinitionBody, created_at: Timestamp) -> Result<Self, String> {
        let parts = [
            ("rules", body.rules.len()),
            ("mappings", body.mappings.len()),
            ("attestations", body.attestations.len()),
            ("contexts", body.additional_context.len()),
        ];
        if let Some((name, _)) = parts.into_iter().find(|(_, count)| *count > MAX_PARTS) {
            return Err(format!("a credential definition has at most {MAX_PARTS} {name}"));
        }
        let type_ok = |text: &str| {
            !text.is_empty()
                && text.len() <= MAX_TEXT_BYTES
                && text != "VerifiableCredential"
                && text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
        };
        if !type_ok(&body.credential_type) {
            return Err("credentialType must be a name of letters, digits, '_', '-' and '.', other than VerifiableCredential".to_owned());
        }
        let is_url = |text: &String| text.len() <= MAX_TEXT_BYTES && Url::parse(text).is_ok();
        if !body.additional_context.iter().chain(&body.json_schema_url).all(is_url) {
            return Err(format!("additionalContext and jsonSchemaUrl must be URLs of at most {MAX_TEXT_BYTES} bytes"));
        }
        if body.json_schema.as_ref().is_some_and(|schema| schema.len() > MAX_SCHEMA_BYTES) {
            return Err(format!("jsonSchema has at most {MAX_SCHEMA_BYTES} bytes"));
        }
        if body.json_schema.as_ref().is_some_and(|schema| compiled(schema).is_none()) {
            return Err("jsonSchema must be a JSON schema that refers to itself alone".to_owned());
        }
        let validity = Duration::from_secs(body.validity);
        if validity.is_zero() || validity > MAX_VALIDITY {
            return Err(format!("validity must be 1 to {} seconds", MAX_VALIDITY.as_secs()));
        }
        let rules = body.rules.iter().map(Rule::new).collect::<Result<_, _>>()?;
        let mappings = body.mappings.iter().map(Mapping::new).collect::<Result<Vec<_>, _>>()?;
        if mappings.iter().enumerate().any(|(n, a)| mappings.iter().take(n).any(|b| a.collides(b))) {
            return Err("two mappings write the same output".to_owned());
        }
        let approval = body.approval.as_ref().map(Approval::new).transpose()?;
        let anonymous_allowed = body.anonymous_allowed;
        let DefinitionBody { id, credential_type, format, json_schema, json_schema_url, additional_context, attestations, .. } = body;
        Ok(Self {
            id,
            credential_type,
            format,
            validity,
            json_schema,
            json_schema_url,
            additional_context,
            attestations,
            rules,
            mappings,
            approval,
            anonymous_allowed,
            created_at,
        })
    }

    /// The same for as long as what a credential has of the definition itself, whatever is claimed, stays the same: type, format, validity and contexts.
    #[must_use]
    pub fn terms(&self) -> Uuid {
        let validity = self.validity.as_secs().to_string();
        let named = [self.credential_type.as_str(), self.format.name(), &validity];
        derived_id(&named.into_iter().chain(self.additional_context.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    /// Whether a subject is as the JSON schema says, if there is one.
    #[must_use]
    pub fn describes(&self, holder: &Did, subject: &Claims) -> bool {
        let Some(text) = &self.json_schema else { return true };
        let mut whole = subject.clone();
        whole.insert("id".to_owned(), json!(holder));
        compiled(text).is_some_and(|schema| schema.describes(&whole.into()))
    }

    /// The first rule that the claims do not fulfil.
    #[must_use]
    pub fn unfulfilled(&self, claims: &Claims) -> Option<&Rule> {
        self.rules.iter().find(|rule| !rule.holds(claims))
    }

    /// As it is answered.
    #[must_use]
    pub fn view(&self, issuer: &ParticipantContextId) -> DefinitionView {
        let body = DefinitionBody {
            id: self.id.clone(),
            credential_type: self.credential_type.clone(),
            format: self.format,
            validity: self.validity.as_secs(),
            json_schema: self.json_schema.clone(),
            json_schema_url: self.json_schema_url.clone(),
            additional_context: self.additional_context.clone(),
            attestations: self.attestations.clone(),
            rules: self.rules.iter().map(Rule::body).collect(),
            mappings: self.mappings.iter().map(Mapping::body).collect(),
            approval: self.approval.as_ref().map(Approval::body),
            anonymous_allowed: self.anonymous_allowed,
        };
        DefinitionView { body, participant_context_id: issuer.clone(), created_at: self.created_at }
    }

    /// Where its schema is: where the operator says, or where the issuer serves it. Credentials do not name it, since what operators write there need not be a
    /// schema, and verifiers would have to refuse them then.
    fn schema_url(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> String {
        self.json_schema_url.clone().unwrap_or_else(|| urls.credential_schema(issuer, &self.id))
    }

    /// Its schema, as it is served; one that is fulfilled by everything when there is none.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        self.json_schema.as_deref().unwrap_or("{}")
    }

    /// As the issuer's metadata name it, with all that there is to say (DCP 1.0, 6.6.2 and 6.7.1). Claims come from registration, so nothing needs to be
    /// presented.
    #[must_use]
    pub fn credential_object(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> CredentialObject {
        CredentialObject {
            id: self.id.clone(),
            object_type: "CredentialObject",
            credential_type: self.credential_type.clone(),
            credential_schema: self.schema_url(issuer, urls),
            offer_reason: "reissue",
            binding_methods: vec![BINDING],
            profile: self.format.profile(),
            issuance_policy: json!({"id": self.id, "input_descriptors": []}),
        }
    }

    /// As offers name it.
    #[must_use]
    pub fn offered(&self, issuer: &ParticipantContextId, urls: &PublicUrls) -> OfferedCredential {
        OfferedCredential {
            id: self.id.to_string(),
            credential_type: Some(self.credential_type.clone()),
            credential_schema: Some(self.schema_url(issuer, urls)),
            binding_methods: vec![BINDING.to_owned()],
            profile: Some(self.format.profile().to_owned()),
            ..OfferedCredential::default()
        }
    }
}

/// The schema, under a name of its own: it is found nowhere else.
fn compiled(text: &str) -> Option<Schema> {
    Schema::compile(&Url::parse("https://json-schema.invalid/subject").ok()?, text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn body(change: impl FnOnce(&mut Value)) -> DefinitionBody {
        let mut body = json!({
            "id": "d", "credentialType": "MembershipCredential", "format": "vc20-bssl/jwt", "validity": "604800", "attestations": ["a"],
            "jsonSchema": "{}", "jsonSchemaUrl": "https://example.com/m.json",
            "rules": [{"type": "expression", "configuration": {"claim": "a", "operator": "eq", "value": true}}],
            "mappings": [{"input": "a", "output": "credentialSubject.a", "required": "true"}]
        });
        change(&mut body);
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn what_is_read_is_answered() {
        let definition = Definition::new(body(|_| {}), Timestamp(7)).unwrap();
        let view = definition.view(&ParticipantContextId::new("issuer").unwrap());
        assert_eq!(Definition::new(view.body, Timestamp(7)), Ok(definition));
    }

    #[test]
    fn subjects_are_held_against_the_schema() {
        let did = Did::new("did:web:acme").unwrap();
        let subject = |value: Value| value.as_object().unwrap().clone();
        let schema =
            json!({"required": ["id", "since"], "properties": {"since": {"type": "string"}, "id": {"const": "did:web:acme"}}}).to_string();
        let definition = Definition::new(body(|b| b["jsonSchema"] = json!(schema)), Timestamp(0)).unwrap();
        assert!(definition.describes(&did, &subject(json!({"since": "2026"}))));
        assert!(!definition.describes(&did, &subject(json!({"since": 2026}))) && !definition.describes(&did, &subject(json!({}))));
        assert!(!definition.describes(&Did::new("did:web:other").unwrap(), &subject(json!({"since": "2026"}))));
        let open = Definition::new(body(|b| b["jsonSchema"] = Value::Null), Timestamp(0)).unwrap();
        assert!(open.describes(&did, &subject(json!({}))));
    }

    #[test]
    fn what_is_not_valid() {
        let one = json!({"input": "a", "output": "credentialSubject.a"});
        let inside = json!({"input": "a", "output": "credentialSubject.a.b"});
        type Change = Box<dyn FnOnce(&mut Value)>;
        let table: [(&str, Change); 14] = [
            ("validity 0", Box::new(|b| b["validity"] = json!(0))),
            ("validity 100 years", Box::new(|b| b["validity"] = json!(100 * 366 * 86_400_u64))),
            ("type", Box::new(|b| b["credentialType"] = json!("VerifiableCredential"))),
            ("type with space", Box::new(|b| b["credentialType"] = json!("A B"))),
            ("context", Box::new(|b| b["additionalContext"] = json!(["no url"]))),
            ("schema", Box::new(|b| b["jsonSchema"] = json!("{\"type\": \"texts\"}"))),
            ("schema elsewhere", Box::new(|b| b["jsonSchema"] = json!("{\"$ref\": \"https://example.com/m.json\"}"))),
            ("rule", Box::new(|b| b["rules"] = json!([{"type": "script"}]))),
            ("collision", Box::new(move |b| b["mappings"] = json!([one, inside]))),
            ("hook", Box::new(|b| b["approval"] = json!({"hook": "mailto:office@example.com"}))),
            ("hook with a user", Box::new(|b| b["approval"] = json!({"hook": "https://u:p@example.com"}))),
            ("no time to approve", Box::new(|b| b["approval"] = json!({"timeout": 0}))),
            ("years to approve", Box::new(|b| b["approval"] = json!({"timeout": 366 * 86_400}))),
            ("many", Box::new(|b| b["attestations"] = json!(vec!["a"; MAX_PARTS + 1]))),
        ];
        for (name, change) in table {
            assert!(Definition::new(body(change), Timestamp(0)).is_err(), "{name}");
        }
    }
}
