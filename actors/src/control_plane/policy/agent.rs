//! The counterparty and the agreement as expressions see them.

use crate::{control_plane::negotiation::Agreement, expressions::Val};
use cellspace_schemas::{AgreementId, AssetId, Did, Timestamp};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A verified counterparty: `ctx.agent`.
#[derive(Debug, Clone)]
pub struct ParticipantAgent {
    did: Did,
    credentials: Vec<Arc<Value>>,
}

impl ParticipantAgent {
    /// The counterparty with its verified credentials, in their [`uniform`] shape.
    #[must_use]
    pub const fn of(did: Did, credentials: Vec<Arc<Value>>) -> Self {
        Self { did, credentials }
    }

    /// The counterparty with its verified credentials, in any shape.
    #[must_use]
    pub fn new(did: Did, credentials: &[Value]) -> Self {
        Self::of(did, credentials.iter().cloned().map(uniform).map(Arc::new).collect())
    }

    /// Its DID.
    #[must_use]
    pub const fn did(&self) -> &Did {
        &self.did
    }

    /// What it presented, in words: types of credentials with their issuers.
    pub(super) fn presented(&self) -> String {
        const TOLD: usize = 8;
        let word = |credential: &Value| {
            let types = credential.get("type").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let types: Vec<&str> = types.filter(|name| *name != "VerifiableCredential").take(TOLD).collect();
            let issuer = credential.pointer("/issuer/id").and_then(Value::as_str).unwrap_or("nobody");
            format!("{} of {issuer}", types.join(" and "))
        };
        let mut words: Vec<String> = self.credentials.iter().take(TOLD).map(|credential| word(credential)).collect();
        if self.credentials.len() > TOLD {
            words.push("…".to_owned());
        }
        if words.is_empty() { "no credential".to_owned() } else { words.join(", ") }
    }

    /// `ctx.agent.claims`
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let credentials = self.credentials.iter().map(|credential| credential.as_ref().clone()).collect();
        Map::from_iter([("vc".to_owned(), credentials)])
    }

    /// `ctx.agent`
    #[must_use]
    pub fn value(&self) -> Val<'_> {
        let credentials = Val::list(self.credentials.iter().map(|credential| Val::of(credential)).collect());
        let attributes = Val::record([]);
        Val::record([("id", Val::text(self.did.as_str())), ("attributes", attributes), ("claims", Val::record([("vc", credentials)]))])
    }
}

/// A credential in one shape whatever its version: `type`, `@context` and `credentialSubject` are lists, `issuer` is an object, `issuanceDate` and
/// `expirationDate` are there when `validFrom` and `validUntil` are.
#[must_use]
pub fn uniform(credential: Value) -> Value {
    let Value::Object(mut uniform) = credential else { return Value::Null };
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

impl From<&Agreement> for AgreementFacts {
    fn from(agreement: &Agreement) -> Self {
        Self {
            id: agreement.id.clone(),
            asset: agreement.asset.clone(),
            provider: agreement.provider.clone(),
            consumer: agreement.consumer.clone(),
            signed: agreement.signed_at,
        }
    }
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
