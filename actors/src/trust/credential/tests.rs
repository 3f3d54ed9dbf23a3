//! Credentials in both profiles as they are read, and what is refused.

use super::kept::HASHED;
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
