//! Participants of the platform with a credential service and nothing else: context, key, DID document, client of the secure token service.

use super::catalog::must;
use crate::{
    http::{Call, Connection},
    subject::Subject,
    world::PublicKey,
};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const IDENTITY: &str = "/api/identity/v1beta/participants";
/// Made at once.
const AT_ONCE: usize = 16;

/// The participant.
pub struct Hosted {
    /// Participant context id, and client id at the secure token service.
    pub context: String,
    pub did: String,
    /// Secret of that client.
    pub secret: String,
    /// The key in its DID document.
    pub key: PublicKey,
}

impl Hosted {
    /// Makes one; `token` has all rights.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn make(subject: &Subject, token: &str, context: String) -> Result<Self> {
        let (mut admin, mut public) = (Connection::new(&subject.admin, None)?, Connection::new(&subject.public, None)?);
        let did = format!("did:web:{}:{context}", subject.did_host());
        let service = format!("{}{}", subject.public, service_of(&context));
        let manifest = json!({
            "participantContextId": context, "did": did, "active": true, "provisionStsAccount": true,
            "serviceEndpoints": [{"id": "cs", "type": "CredentialService", "serviceEndpoint": service}],
            "key": {"keyId": "key-1", "privateKeyAlias": "key-1", "keyGeneratorParams": {"algorithm": "EdDSA", "curve": "Ed25519"}},
        });
        let made = must(&mut admin, Call::json(Method::POST, IDENTITY, token, manifest.to_string())).await?;
        let made: Value = serde_json::from_slice(&made.body)?;
        let secret = made["clientSecret"].as_str().context("no clientSecret")?.to_owned();
        let document = must(&mut public, Call::get(format!("/{context}/did.json"), "")).await?;
        let key = PublicKey::of(&serde_json::from_slice(&document.body)?)?;
        Ok(Self { context, did, secret, key })
    }

    /// Makes so many, whose names begin alike.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn many(subject: &Subject, token: &str, name: &str, count: usize) -> Result<Vec<Arc<Self>>> {
        eprintln!("making {count} participants");
        let made = stream::iter(0..count).map(|n| Self::make(subject, token, format!("{name}-{n}")));
        made.buffered(AT_ONCE).map_ok(Arc::new).try_collect().await
    }

    /// Path of one of its resources in the Identity API.
    pub fn path(&self, resource: &str) -> String {
        format!("{IDENTITY}/{}/{resource}", self.context)
    }

    /// Path of its credential service.
    pub fn service(&self) -> String {
        service_of(&self.context)
    }
}

fn service_of(context: &str) -> String {
    format!("/api/credentials/v1/participants/{context}")
}
