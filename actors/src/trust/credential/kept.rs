//! Verified credentials as they are kept: once for the same bytes.

use super::Credential;
use crate::trust::{
    jws::{Jws, MAX_CREDENTIAL_BYTES},
    keys::SelectedKey,
    said::Said,
};
use serde_json::Value;
use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

/// A credential whose signature was verified.
#[derive(Debug)]
pub struct VerifiedCredential {
    /// What it says.
    pub credential: Credential,
    /// The key of its issuer that signed it.
    pub signer: Arc<SelectedKey>,
    /// The signed form.
    pub(super) jwt: Arc<str>,
    pub(super) view: OnceLock<Arc<Value>>,
}

impl VerifiedCredential {
    /// What it takes in memory, in bytes, roughly: the read form costs several times the signed one.
    #[must_use]
    pub fn weight(&self) -> u64 {
        u64::try_from(self.jwt.len() * 6).unwrap_or(u64::MAX)
    }

    /// As [`Credential::json`], put together at every call.
    #[must_use]
    pub fn json(&self) -> Value {
        // It was read before.
        let Ok(jws) = Jws::parse(&self.jwt, MAX_CREDENTIAL_BYTES) else { return Value::Null };
        jws.unverified().map_or(Value::Null, |claims: Said<'_>| self.credential.json(&claims))
    }

    /// The form that `view` gives [`Self::json`], at most once; every caller must ask with the same function.
    #[must_use]
    pub fn viewed(&self, view: fn(Value) -> Value) -> Arc<Value> {
        self.view.get_or_init(|| Arc::new(view(self.json()))).clone()
    }
}

/// The signed form of a credential that is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct SignedForm(pub(super) Arc<str>);

/// One that is looked for.
pub(super) struct Sought<'a>(pub(super) &'a str);

/// Longest end of a signed form that is hashed, in bytes: what differs has another signature there, and nothing is kept that nobody signed.
pub(super) const HASHED: usize = 64;

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        bytes.get(bytes.len().saturating_sub(HASHED)..).hash(state);
    }
}

impl Hash for SignedForm {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Sought(&self.0).hash(state);
    }
}

impl quick_cache::Equivalent<SignedForm> for Sought<'_> {
    fn equivalent(&self, known: &SignedForm) -> bool {
        *self.0 == *known.0
    }
}

/// Weighs what is kept of verified credentials.
#[derive(Debug, Clone)]
pub(in crate::trust) struct ByBytes;

impl quick_cache::Weighter<SignedForm, Arc<VerifiedCredential>> for ByBytes {
    fn weight(&self, _: &SignedForm, verified: &Arc<VerifiedCredential>) -> u64 {
        verified.weight().saturating_add(256)
    }
}
