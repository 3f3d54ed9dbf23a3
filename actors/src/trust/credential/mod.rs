//! Verifiable credentials as JWTs, in both profiles of DCP: `vc11-sl2021/jwt` (VC Data Model 1.1, 6.3.1) and `vc20-bssl/jwt` (VC Data Model 2.0,
//! Securing Verifiable Credentials using JOSE and COSE, 3.1).

mod error;
mod form;
mod kept;
#[cfg(test)]
mod tests;

pub use error::CredentialError;
pub(super) use form::body;
pub use kept::VerifiedCredential;
pub(super) use kept::{ByBytes, SignedForm};

use super::{
    PeerError, Trust,
    jws::{Jws, JwsError, MAX_CREDENTIAL_BYTES},
    replay::SKEW,
    said::Said,
    schema::SchemaEntry,
    status::StatusEntry,
};
use crate::settings::TrustedIssuer;
use cellspace_schemas::{
    Did, Timestamp,
    dcp::{CredentialFormat, Relationship},
};
use form::{Registered, agree, date, earliest, latest, names_of_dates, objects, signed_form};
use kept::Sought;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The type that every credential has.
pub const BASE_TYPE: &str = "VerifiableCredential";
/// Contexts and status entries that credentials mostly have at most: what is kept has no room for more than there are.
const USUAL: usize = 4;

/// A credential as its signed form says.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// Which form.
    pub format: CredentialFormat,
    /// Its own id.
    pub id: Option<String>,
    /// Its types.
    pub types: Vec<String>,
    /// Its contexts, those that are IRIs.
    pub contexts: Vec<String>,
    /// Who issued it.
    pub issuer: Did,
    /// Whom it speaks of.
    pub subjects: Vec<String>,
    /// From when.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_until: Option<Timestamp>,
    /// Where its status is found.
    pub status: Vec<StatusEntry>,
    /// What its issuer says that it is shaped like.
    pub schemas: Vec<SchemaEntry>,
    /// The credential as the signed form has it, when it has schemas.
    pub as_signed: Option<Value>,
    /// When its JWT was issued.
    issued: Option<Timestamp>,
}

/// What is tolerated in a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Its own id counts when its JWT's `jti` is another (VC Data Model 1.1, 6.3.1 has them the same).
    pub ids: bool,
    /// Its schemas are not looked at.
    pub schemas: bool,
    /// A status list may have fewer entries than its specification says.
    pub short_lists: bool,
}

impl Credential {
    /// Reads the claims of a credential JWT.
    ///
    /// # Errors
    /// [`CredentialError`] when they are not of either form or contradict themselves.
    pub fn read(claims: &Said<'_>) -> Result<Self, CredentialError> {
        Self::read_with(claims, Tolerance::default())
    }

    /// As [`Self::read`], with what is tolerated.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(claims: &Said<'_>, tolerance: Tolerance) -> Result<Self, CredentialError> {
        let mut jwt = Registered::of(claims)?;
        let (format, vc) = match claims.get("vc") {
            Some(vc) => (CredentialFormat::Vc1Jwt, vc),
            None => (CredentialFormat::Vc2Jose, claims),
        };
        if !vc.is_object() {
            return Err(CredentialError::Form);
        }
        let own_id = vc.text_of("id");
        if format == CredentialFormat::Vc1Jwt && tolerance.ids && own_id.is_some() {
            jwt.jti = None;
        }
        let types = vc.get("type").and_then(Said::texts).filter(|types| !types.is_empty()).ok_or(CredentialError::Form)?;
        let named_contexts = vc.get("@context").map(Said::items).unwrap_or_default();
        let mut contexts = Vec::with_capacity(named_contexts.len().min(USUAL));
        contexts.extend(named_contexts.iter().filter_map(Said::text).map(str::to_owned));
        let named_issuer = vc.get("issuer").and_then(|issuer| issuer.text_of("id").or_else(|| issuer.text()));
        let issuer = agree(named_issuer, jwt.iss)?.and_then(|issuer| Did::new(issuer).ok()).ok_or(CredentialError::Form)?;
        let id = agree(own_id, jwt.jti)?.map(str::to_owned);
        let named = vc.get("credentialSchema").filter(|_| !tolerance.schemas);
        let schemas = SchemaEntry::read_all(named).ok_or(CredentialError::SchemaForm)?;
        let as_signed = (!schemas.is_empty()).then(|| Value::Object(signed_form(claims, format)));

        let subjects = vc.get("credentialSubject").and_then(objects).filter(|all| !all.is_empty()).ok_or(CredentialError::Form)?;
        let subjects = match (subjects, jwt.sub) {
            // In the older form `sub` stands for the subject's id (6.3.1); some issuers put other things there, so an id that is given wins.
            ([subject], Some(sub)) if subject.get("id").is_none() => vec![sub.to_owned()],
            (subjects, _) => subjects.iter().map(|subject| subject.text_of("id").unwrap_or_default().to_owned()).collect(),
        };

        // A status that cannot be read must not pass for none.
        let status = match vc.get("credentialStatus") {
            None | Some(Said::Null) => Vec::new(),
            Some(given) => {
                let entries = objects(given).ok_or(CredentialError::StatusForm)?;
                let mut status = Vec::with_capacity(entries.len().min(USUAL));
                for entry in entries {
                    status.extend(StatusEntry::read(entry).ok_or(CredentialError::StatusForm)?);
                }
                status
            }
        };

        let [from, until] = names_of_dates(format);
        Ok(Self {
            format,
            id,
            types,
            contexts,
            issuer,
            subjects,
            valid_from: latest(date(vc.get(from))?, jwt.nbf),
            valid_until: earliest(date(vc.get(until))?, jwt.exp),
            status,
            schemas,
            as_signed,
            issued: jwt.iat,
        })
    }

    /// The credential in the JSON form of its data model: `type`, `credentialSubject` and `credentialStatus` are always lists, `issuer` is always the
    /// DID, whatever the signed form had. `claims` are those that it was read from.
    #[must_use]
    pub fn json(&self, claims: &Said<'_>) -> Value {
        let mut vc = signed_form(claims, self.format);
        for name in ["type", "credentialSubject", "credentialStatus"] {
            if let Some(one) = vc.get_mut(name).filter(|given| !given.is_array()) {
                *one = Value::Array(vec![one.take()]);
            }
        }
        if let (Some(Value::Array(subjects)), [id]) = (vc.get_mut("credentialSubject"), self.subjects.as_slice())
            && let [Value::Object(subject)] = subjects.as_mut_slice()
            && !id.is_empty()
        {
            subject.entry("id").or_insert_with(|| Value::String(id.clone()));
        }
        // One that is null, or a list of none.
        if vc.get("credentialStatus").and_then(Value::as_array).is_some_and(|entries| !entries.iter().any(Value::is_object)) {
            vc.remove("credentialStatus");
        }
        let dates = [self.valid_from.or(self.issued), self.valid_until];
        for (name, date) in names_of_dates(self.format).into_iter().zip(dates) {
            if let Some(date) = date {
                vc.insert(name.to_owned(), Value::String(date.to_rfc3339()));
            }
        }
        if let Some(id) = &self.id {
            vc.insert("id".to_owned(), Value::String(id.clone()));
        }
        vc.insert("issuer".to_owned(), Value::String(self.issuer.to_string()));
        Value::Object(vc)
    }

    /// Whether it is valid now.
    ///
    /// # Errors
    /// [`CredentialError::NotYetValid`] or [`CredentialError::Expired`].
    pub fn check_dates(&self, now: Timestamp) -> Result<(), CredentialError> {
        if self.valid_from.is_some_and(|from| from > now.plus(SKEW)) { Err(CredentialError::NotYetValid) } else { self.check_end(now) }
    }

    /// Whether it is valid now, or will be.
    ///
    /// # Errors
    /// [`CredentialError::Expired`].
    pub fn check_end(&self, now: Timestamp) -> Result<(), CredentialError> {
        if self.valid_until.is_some_and(|until| until <= now) { Err(CredentialError::Expired) } else { Ok(()) }
    }

    /// Whether it speaks of the holder alone.
    ///
    /// # Errors
    /// [`CredentialError::Holder`].
    pub fn check_holder(&self, holder: &Did) -> Result<(), CredentialError> {
        if self.subjects.iter().all(|subject| subject == holder.as_str()) { Ok(()) } else { Err(CredentialError::Holder) }
    }

    /// Whether its issuer is trusted for all its types: a policy reads all of them.
    ///
    /// # Errors
    /// [`CredentialError::Untrusted`].
    pub fn check_trust(&self, trusted: &[TrustedIssuer]) -> Result<(), CredentialError> {
        if is_trusted(&self.issuer, &self.types, trusted) { Ok(()) } else { Err(CredentialError::Untrusted) }
    }
}

/// Whether the issuer is trusted for all these types of a credential.
#[must_use]
pub fn is_trusted(issuer: &Did, types: &[String], trusted: &[TrustedIssuer]) -> bool {
    let for_type = |wanted: &String| {
        let supports = |known: &TrustedIssuer| known.supported_types.iter().any(|t| t == "*" || t == wanted);
        trusted.iter().any(|known| known.id == *issuer && supports(known))
    };
    let known = trusted.iter().any(|known| known.id == *issuer);
    known && types.iter().filter(|t| *t != BASE_TYPE).all(for_type)
}

impl Trust {
    /// Verifies the signature of a credential with a key of its issuer (DCP 1.0, "Presentation Validation", steps 4 and 5). `accept` sees what it says
    /// before anybody is asked for a key. Dates, trust and status are checked where it is used. The same bytes signed by the same key are verified once,
    /// and held once, however many of our participants they are presented to.
    ///
    /// # Errors
    /// [`PeerError`] names the rule.
    pub async fn verify_credential(
        &self,
        jwt: &str,
        now: Timestamp,
        accept: impl FnOnce(&Credential) -> Result<(), PeerError>,
    ) -> Result<Arc<VerifiedCredential>, PeerError> {
        let signed = |rule: JwsError| rule.of("credential");
        if let Some(known) = self.credentials.get(&Sought(jwt)) {
            accept(&known.credential)?;
            let key = self.resolver.key(&known.credential.issuer, Some(&known.signer.url), Relationship::AssertionMethod, now).await?;
            return if key.key == known.signer.key { Ok(known) } else { Err(signed(JwsError::Signature)) };
        }
        let jws = Jws::parse(jwt, MAX_CREDENTIAL_BYTES).map_err(signed)?;
        let kid = jws.key_id().map_err(signed)?;
        let credential = Credential::read_with(&jws.unverified().map_err(signed)?, self.options.tolerance())?;
        accept(&credential)?;
        if kid.is_some_and(|kid| kid.did != credential.issuer.as_str()) {
            return Err(CredentialError::KeyOwner.into());
        }
        let signer = self.resolver.key(&credential.issuer, kid.map(|kid| kid.url), Relationship::AssertionMethod, now).await?;
        jws.verify_signature(&signer.key).map_err(signed)?;
        let jwt: Arc<str> = jwt.into();
        let verified = Arc::new(VerifiedCredential { credential, signer, jwt: jwt.clone(), view: OnceLock::new() });
        self.credentials.insert(SignedForm(jwt), verified.clone());
        Ok(verified)
    }
}
