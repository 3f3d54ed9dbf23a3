//! Verifiable credentials as JWTs, in both profiles of DCP: `vc11-sl2021/jwt` (VC Data Model 1.1, 6.3.1) and `vc20-bssl/jwt` (VC Data Model 2.0,
//! Securing Verifiable Credentials using JOSE and COSE, 3.1).

use super::{
    PeerError, Trust,
    jws::{Jws, JwsError, MAX_CREDENTIAL_BYTES},
    keys::SelectedKey,
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
use serde_json::{Map, Value};
use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

/// The type that every credential has.
pub const BASE_TYPE: &str = "VerifiableCredential";
/// Contexts and status entries that credentials mostly have at most: what is kept has no room for more than there are.
const USUAL: usize = 4;

/// Why a credential does not count. Names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[allow(missing_docs)]
    #[error("a credential must have the form of the VC Data Model 1.1 (JWT with a vc claim) or 2.0 (JOSE)")]
    Form,
    #[allow(missing_docs)]
    #[error("the key of a credential must be one of its issuer")]
    KeyOwner,
    #[allow(missing_docs)]
    #[error("issuer, id and subject of a credential must be the same in all places that name them")]
    Contradiction,
    #[allow(missing_docs)]
    #[error("the dates of a credential must be valid date-times")]
    Dates,
    #[allow(missing_docs)]
    #[error("the credential must be valid already")]
    NotYetValid,
    #[allow(missing_docs)]
    #[error("the credential must not be expired")]
    Expired,
    #[allow(missing_docs)]
    #[error("every subject of the credential must be its holder")]
    Holder,
    #[allow(missing_docs)]
    #[error("the issuer must be trusted for every type of the credential")]
    Untrusted,
    #[allow(missing_docs)]
    #[error("the status of a credential must be a BitstringStatusListEntry or StatusList2021Entry with purpose, index and list")]
    StatusForm,
    #[allow(missing_docs)]
    #[error(
        "the schemas of a credential must be a few of the types JsonSchema, JsonSchemaCredential and JsonSchemaValidator2018, each with its URL"
    )]
    SchemaForm,
}

impl From<CredentialError> for PeerError {
    fn from(rule: CredentialError) -> Self {
        Self::Refused(rule.to_string())
    }
}

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

/// A credential whose signature was verified.
#[derive(Debug)]
pub struct VerifiedCredential {
    /// What it says.
    pub credential: Credential,
    /// The key of its issuer that signed it.
    pub signer: Arc<SelectedKey>,
    /// The signed form.
    jwt: Arc<str>,
    view: OnceLock<Arc<Value>>,
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
pub(super) struct SignedForm(Arc<str>);

/// One that is looked for.
struct Sought<'a>(&'a str);

/// Longest end of a signed form that is hashed, in bytes: what differs has another signature there, and nothing is kept that nobody signed.
const HASHED: usize = 64;

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
pub(super) struct ByBytes;

impl quick_cache::Weighter<SignedForm, Arc<VerifiedCredential>> for ByBytes {
    fn weight(&self, _: &SignedForm, verified: &Arc<VerifiedCredential>) -> u64 {
        verified.weight().saturating_add(256)
    }
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

/// The registered claims that a credential's JWT may have, which are no part of a credential of the VC Data Model 2.0; `aud` says nothing here.
struct Registered<'a> {
    iss: Option<&'a str>,
    sub: Option<&'a str>,
    jti: Option<&'a str>,
    iat: Option<Timestamp>,
    nbf: Option<Timestamp>,
    exp: Option<Timestamp>,
}

/// Their names.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "jti", "iat", "nbf", "exp"];

impl<'a> Registered<'a> {
    fn of(claims: &'a Said<'_>) -> Result<Self, CredentialError> {
        let text = |name| claims.text_of(name);
        let date = |name| match claims.get(name) {
            None | Some(Said::Null) => Ok(None),
            Some(date) => date.numeric_date().map(Some).ok_or(CredentialError::Dates),
        };
        Ok(Self { iss: text("iss"), sub: text("sub"), jti: text("jti"), iat: date("iat")?, nbf: date("nbf")?, exp: date("exp")? })
    }
}

/// Where the credential is in the claims.
pub(super) fn body<'s, 'a>(claims: &'s Said<'a>, format: CredentialFormat) -> Option<&'s Said<'a>> {
    match format {
        CredentialFormat::Vc1Jwt => claims.get("vc"),
        CredentialFormat::Vc2Jose => Some(claims),
    }
}

/// The credential in the claims, as they have it.
fn signed_form(claims: &Said<'_>, format: CredentialFormat) -> Map<String, Value> {
    let Some(Value::Object(mut vc)) = body(claims, format).map(Said::to_value) else { return Map::new() };
    if format == CredentialFormat::Vc2Jose {
        vc.retain(|name, _| !REGISTERED.contains(&name.as_str()));
    }
    vc
}

/// Begin and end of its validity.
const fn names_of_dates(format: CredentialFormat) -> [&'static str; 2] {
    match format {
        CredentialFormat::Vc1Jwt => ["issuanceDate", "expirationDate"],
        CredentialFormat::Vc2Jose => ["validFrom", "validUntil"],
    }
}

/// The value that two places name; they must not differ.
fn agree<'a>(one: Option<&'a str>, other: Option<&'a str>) -> Result<Option<&'a str>, CredentialError> {
    match (one, other) {
        (Some(a), Some(b)) if a != b => Err(CredentialError::Contradiction),
        (a, b) => Ok(a.or(b)),
    }
}

fn latest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.max(b)
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn date(said: Option<&Said<'_>>) -> Result<Option<Timestamp>, CredentialError> {
    match said {
        None | Some(Said::Null) => Ok(None),
        Some(date) => date.text().and_then(Timestamp::parse_rfc3339).map(Some).ok_or(CredentialError::Dates),
    }
}

/// One object, or a list of nothing but objects.
fn objects<'s, 'a>(said: &'s Said<'a>) -> Option<&'s [Said<'a>]> {
    Some(said.items()).filter(|items| items.iter().all(Said::is_object))
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

#[cfg(test)]
mod tests {
    use super::*;
    use quick_cache::sync::Cache;
    use serde::Deserialize as _;
    use serde_json::json;

    const NOW: i64 = 1_790_000_000;

    fn read(claims: Value) -> Result<Credential, CredentialError> {
        Credential::read(&Said::deserialize(&claims).unwrap())
    }

    fn shown(claims: &Value) -> Value {
        let claims = Said::deserialize(claims).unwrap();
        Credential::read(&claims).unwrap().json(&claims)
    }

    fn vc11() -> Value {
        json!({"iss": "did:web:issuer", "sub": "did:web:holder", "jti": "urn:uuid:1", "nbf": NOW - 10, "iat": NOW - 10, "exp": NOW + 100,
            "vc": {"@context": ["https://www.w3.org/2018/credentials/v1"], "type": ["VerifiableCredential", "Member"],
                "credentialSubject": {"id": "did:web:holder", "since": "2026-01-01"}}})
    }

    fn vc20() -> Value {
        json!({"@context": ["https://www.w3.org/ns/credentials/v2", {"x": "y"}], "id": "urn:uuid:1", "type": ["VerifiableCredential", "Member"],
            "issuer": {"id": "did:web:issuer", "name": "x"}, "validFrom": "2026-01-01T00:00:00Z", "validUntil": "2030-01-01T00:00:00Z",
            "credentialSubject": [{"id": "did:web:holder", "since": "2026-01-01"}], "iss": "did:web:issuer", "exp": 4_000_000_000_i64,
            "credentialStatus": {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "7",
                "statusListCredential": "https://issuer/list"}})
    }

    fn with_schema(schema: Value) -> Value {
        let mut claims = vc20();
        claims["credentialSchema"] = schema;
        claims
    }

    #[test]
    fn signed_forms_with_the_same_end_are_told_apart() {
        let end = "x".repeat(HASHED);
        let form = |begin: &str| SignedForm(format!("{begin}.{end}").into());
        let known = Cache::with_weighter(10, 1_000, quick_cache::UnitWeighter);
        known.insert(form("a.b"), 1);
        let sought = format!("a.b.{end}");
        assert_eq!((known.get(&Sought(&sought)), known.get(&Sought(&sought[1..]))), (Some(1), None));
        assert_eq!((known.get(&form("a.c")), known.get(&Sought("x"))), (None, None));
    }

    #[test]
    fn a_jti_of_its_own_is_tolerated_where_that_is_chosen() {
        let mut claims = vc11();
        claims["vc"]["id"] = json!("urn:uuid:2");
        assert_eq!(read(claims.clone()).err(), Some(CredentialError::Contradiction));
        let lenient =
            |claims: Value| Credential::read_with(&Said::deserialize(&claims).unwrap(), Tolerance { ids: true, ..Tolerance::default() });
        assert_eq!(lenient(claims.clone()).unwrap().id.as_deref(), Some("urn:uuid:2"));
        // Nothing else may differ, and the JWT's id counts where there is no other.
        claims["vc"]["issuer"] = json!("did:web:other");
        assert_eq!(lenient(claims).err(), Some(CredentialError::Contradiction));
        assert_eq!(lenient(vc11()).unwrap().id.as_deref(), Some("urn:uuid:1"));
    }

    #[test]
    fn both_forms_are_read_into_one() {
        let (old, json) = (read(vc11()).unwrap(), shown(&vc11()));
        assert_eq!((old.format, old.id.as_deref(), old.issuer.as_str()), (CredentialFormat::Vc1Jwt, Some("urn:uuid:1"), "did:web:issuer"));
        assert_eq!(old.valid_until, Some(Timestamp::from_seconds(NOW + 100)));
        assert_eq!(json["expirationDate"], Timestamp::from_seconds(NOW + 100).to_rfc3339());
        assert_eq!(json["issuer"], "did:web:issuer");
        assert_eq!(json["credentialSubject"], json!([{"id": "did:web:holder", "since": "2026-01-01"}]));

        let (new, json) = (read(vc20()).unwrap(), shown(&vc20()));
        assert_eq!((new.format, new.subjects.as_slice()), (CredentialFormat::Vc2Jose, ["did:web:holder".to_owned()].as_slice()));
        assert_eq!(new.valid_until, Timestamp::parse_rfc3339("2030-01-01T00:00:00Z"));
        assert_eq!(new.contexts, ["https://www.w3.org/ns/credentials/v2"]);
        assert_eq!((json.get("iss"), json.get("exp")), (None, None));
        assert_eq!(new.status.len(), 1);
        for credential in [old, new] {
            assert_eq!(credential.types, ["VerifiableCredential", "Member"]);
            assert!(credential.check_dates(Timestamp::from_seconds(NOW)).is_ok());
            assert!(credential.check_holder(&Did::new("did:web:holder").unwrap()).is_ok());
        }
    }

    #[test]
    fn bad_forms_are_refused() {
        use CredentialError::{Contradiction, Dates, Form, SchemaForm, StatusForm};
        let change = |base: fn() -> Value, path: &str, value: Value| {
            let mut claims = base();
            *claims.pointer_mut(path).unwrap() = value;
            claims
        };
        let table = [
            (json!({}), Form),
            (json!({"vc": "x"}), Form),
            (change(vc11, "/vc/type", json!([])), Form),
            (change(vc11, "/vc/type", json!([1])), Form),
            (change(vc11, "/vc/credentialSubject", json!("did:web:holder")), Form),
            (change(vc11, "/iss", json!("https://issuer")), Form),
            (change(vc20, "/issuer/id", json!("did:web:other")), Contradiction),
            (change(vc20, "/validFrom", json!("yesterday")), Dates),
            (change(vc20, "/validUntil", json!(7)), Dates),
            (change(vc11, "/exp", json!("soon")), Dates),
            (change(vc20, "/credentialStatus/type", json!("OtherStatus")), StatusForm),
            (change(vc20, "/credentialStatus/statusListIndex", json!("-1")), StatusForm),
            (change(vc20, "/credentialStatus", json!("https://issuer/list#7")), StatusForm),
            (change(vc20, "/credentialStatus", json!([vc20()["credentialStatus"], "https://issuer/list#7"])), StatusForm),
            (change(vc20, "/credentialStatus", json!(true)), StatusForm),
            (with_schema(json!("https://issuer/schema")), SchemaForm),
            (with_schema(json!({"id": "https://issuer/schema", "type": "JsonSchemaOfAnotherKind"})), SchemaForm),
            (with_schema(json!({"id": "schema", "type": "JsonSchema"})), SchemaForm),
            (with_schema(json!([{"id": "https://issuer/schema", "type": "JsonSchema"}, {"type": "JsonSchema"}])), SchemaForm),
            (with_schema((0..9).map(|_| json!({"id": "https://issuer/schema", "type": "JsonSchema"})).collect()), SchemaForm),
        ];
        for (claims, error) in table {
            assert_eq!(read(claims.clone()).err(), Some(error), "{claims}");
        }
    }

    #[test]
    fn dates_hold_in_both_places() {
        let at = |claims: Value| read(claims).unwrap().check_dates(Timestamp::from_seconds(NOW));
        let with = |name: &str, value: Value| {
            let mut claims = vc11();
            claims[name] = value;
            at(claims)
        };
        assert_eq!(with("nbf", json!(NOW + 1)), Ok(()));
        assert_eq!(with("nbf", json!(NOW + 2)), Err(CredentialError::NotYetValid));
        assert_eq!(with("exp", json!(NOW + 1)), Ok(()));
        assert_eq!(with("exp", json!(NOW)), Err(CredentialError::Expired));
        let mut claims = vc11();
        claims["vc"]["expirationDate"] = json!("2020-01-01T00:00:00Z");
        assert_eq!(at(claims), Err(CredentialError::Expired));
        let mut claims = vc11();
        claims["vc"]["issuanceDate"] = json!("2100-01-01T00:00:00Z");
        assert_eq!(at(claims), Err(CredentialError::NotYetValid));
    }

    #[test]
    fn the_holder_must_be_every_subject() {
        let holder = Did::new("did:web:holder").unwrap();
        let subjects = |subject: Value| {
            let mut claims = vc20();
            claims["credentialSubject"] = subject;
            read(claims).unwrap().check_holder(&holder)
        };
        assert_eq!(subjects(json!({"id": "did:web:holder"})), Ok(()));
        for bad in [json!({"id": "did:web:thief"}), json!({"since": "x"}), json!([{"id": "did:web:holder"}, {"id": "did:web:thief"}])] {
            assert_eq!(subjects(bad), Err(CredentialError::Holder));
        }
        // The older form's `sub` stands for the id, and loses against it.
        let mut claims = vc11();
        claims["vc"]["credentialSubject"] = json!({"since": "x"});
        assert_eq!(read(claims.clone()).unwrap().check_holder(&holder), Ok(()));
        claims["sub"] = json!("urn:uuid:1");
        claims["vc"]["credentialSubject"] = json!({"id": "did:web:holder"});
        assert_eq!(read(claims).unwrap().check_holder(&holder), Ok(()));
    }

    #[test]
    fn issuers_are_trusted_for_every_type() {
        let credential = read(vc20()).unwrap();
        let trusted = |id: &str, types: &[&str]| TrustedIssuer {
            id: Did::new(id).unwrap(),
            supported_types: types.iter().map(|t| (*t).to_owned()).collect(),
        };
        assert!(credential.check_trust(&[trusted("did:web:issuer", &["*"])]).is_ok());
        assert!(credential.check_trust(&[trusted("did:web:issuer", &["Other", "Member"])]).is_ok());
        assert!(credential.check_trust(&[]).is_err());
        assert!(credential.check_trust(&[trusted("did:web:issuer", &["Other"])]).is_err());
        assert!(credential.check_trust(&[trusted("did:web:other", &["*"])]).is_err());
        // A second type cannot be smuggled in by an issuer that is trusted for the first only.
        let mut claims = vc20();
        claims["type"] = json!(["VerifiableCredential", "Member", "Manufacturer"]);
        assert!(read(claims).unwrap().check_trust(&[trusted("did:web:issuer", &["Member"])]).is_err());
        // Nor does a credential of the base type alone pass without a known issuer.
        let mut claims = vc20();
        claims["type"] = json!("VerifiableCredential");
        assert!(read(claims).unwrap().check_trust(&[]).is_err());
    }
}
