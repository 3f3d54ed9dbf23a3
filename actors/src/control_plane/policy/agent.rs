//! The counterparty and the agreement as expressions see them.

use crate::expressions::Val;
use cellspace_schemas::{AgreementId, AssetId, Did, Timestamp};
use serde_json::{Map, Value, json};

/// A verified counterparty: `ctx.agent`.
#[derive(Debug, Clone)]
pub struct ParticipantAgent {
    did: Did,
    json: Value,
}

impl ParticipantAgent {
    /// The counterparty with its verified credentials, brought into one shape whatever their version: `type`, `@context` and
    /// `credentialSubject` are lists, `issuer` is an object, `issuanceDate` and `expirationDate` are there when `validFrom` and `validUntil` are.
    #[must_use]
    pub fn new(did: Did, credentials: &[Value]) -> Self {
        let credentials: Vec<Value> = credentials.iter().filter_map(Value::as_object).map(uniform).collect();
        let json = json!({"id": did.as_str(), "attributes": {}, "claims": {"vc": credentials}});
        Self { did, json }
    }

    /// Its DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// `ctx.agent`
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }
}

fn uniform(credential: &Map<String, Value>) -> Value {
    let mut uniform = credential.clone();
    for key in ["type", "@context", "credentialSubject"] {
        if let Some(value) = uniform.get_mut(key)
            && !value.is_array()
        {
            *value = Value::Array(vec![value.take()]);
        }
    }
    if let Some(Value::String(id)) = uniform.get("issuer") {
        let issuer = json!({ "id": id });
        uniform.insert("issuer".to_owned(), issuer);
    }
    for (new, old) in [("validFrom", "issuanceDate"), ("validUntil", "expirationDate")] {
        if let (Some(date), None) = (uniform.get(new).cloned(), uniform.get(old)) {
            uniform.insert(old.to_owned(), date);
        }
    }
    Value::Object(uniform)
}

/// What expressions see of an agreement: `ctx.agreement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementFacts {
    /// Its id.
    pub id: AgreementId,
    /// What it is about.
    pub asset: AssetId,
    /// Who grants.
    pub provider: Did,
    /// Who receives.
    pub consumer: Did,
    /// When it was signed.
    pub signed: Timestamp,
}

impl AgreementFacts {
    /// `ctx.agreement`; the signing date in seconds.
    #[must_use]
    pub fn value(&self) -> Val<'_> {
        Val::record([
            ("id", Val::text(self.id.as_str())),
            ("agreementId", Val::text(self.id.as_str())),
            ("assetId", Val::text(self.asset.as_str())),
            ("providerId", Val::text(self.provider.as_str())),
            ("consumerId", Val::text(self.consumer.as_str())),
            ("contractSigningDate", Val::Int(self.signed.seconds())),
        ])
    }
}
