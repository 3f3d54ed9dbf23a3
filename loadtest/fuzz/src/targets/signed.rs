//! Signed texts and what they say: tokens, credentials, presentations, status lists.

use cellspace::auth::{Claims, KeySet, planes::Named};
use cellspace_actors::trust::{
    credential::Credential,
    id_token::{IdTokenClaims, MAX_LIFETIME},
    jwk::VerifyingKey,
    jws::{Jws, MAX_TOKEN_BYTES},
    presentation::{Content, MAX_CREDENTIALS, PresentationClaims},
    replay::SKEW,
    said::Said,
    status::{StatusEntry, StatusList},
};
use cellspace_schemas::{
    Did, Timestamp,
    bitstring::{Bitstring, Encoding, MAX_BYTES},
    dcp::CredentialFormat,
    json,
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn did(name: &str) -> Did {
    Did::new(format!("did:web:{name}")).expect("a DID")
}

/// Compact JWS. No key of ours signed any of them.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Named::in_token(text);
    let Ok(jws) = Jws::parse(text, MAX_TOKEN_BYTES) else { return };
    assert!(text.len() <= MAX_TOKEN_BYTES && text.split('.').count() == 3);
    let (kid, claims) = (jws.key_id(), jws.unverified::<Value>());
    for jwk in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}),
        json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}),
    ] {
        let key = VerifyingKey::from_jwk(&jwk).expect("a key");
        assert!(jws.verify::<Value>(&key).is_err(), "nobody signed that");
    }
    if let Ok(claims) = claims {
        assert!(!json::is_too_deep(claims.to_string().as_bytes()));
    }
    drop(jws.unverified::<Claims>());
    if let (Ok(claims), Ok(kid)) = (jws.unverified::<IdTokenClaims<'_>>(), kid)
        && let Ok(until) = claims.check(&did("receiver"), kid, NOW)
    {
        // So long its `jti` is remembered, and no longer.
        assert!(until > NOW && until <= NOW.plus(MAX_LIFETIME).plus(SKEW).plus(SKEW));
    }
}

/// Claims of credentials, in both forms.
pub fn credentials(data: &[u8]) {
    let Ok(claims) = json::from_slice::<Said<'_>>(data) else { return };
    drop(StatusEntry::read(&claims));
    let Ok(credential) = Credential::read(&claims) else { return };
    assert!(!credential.types.is_empty() && !credential.subjects.is_empty());
    assert!(credential.check_trust(&[]).is_err(), "trusted by nobody");
    drop(credential.check_dates(NOW));
    if credential.check_holder(&did("holder")).is_ok() {
        assert!(credential.subjects.iter().all(|subject| subject == "did:web:holder"));
    }
    // What policies see of it says the same.
    if credential.format == CredentialFormat::Vc2Jose {
        let shown = credential.json(&claims).to_string();
        let again = serde_json::from_str(&shown).map(|claims: Said<'_>| Credential::read(&claims));
        let again = again.expect("JSON").expect("what was read of a credential is one");
        assert_eq!((&again.issuer, &again.types, &again.subjects), (&credential.issuer, &credential.types, &credential.subjects));
        assert_eq!((&again.status, again.valid_until), (&credential.status, credential.valid_until));
    }
}

/// Claims of presentations.
pub fn presentations(data: &[u8]) {
    let Ok(claims) = json::from_slice::<PresentationClaims<'_>>(data) else { return };
    match claims.check(&did("holder"), &did("verifier"), NOW) {
        Ok(Content::Credentials(_, credentials)) => assert!(credentials.len() <= MAX_CREDENTIALS),
        Ok(Content::Enveloped(_)) | Err(_) => {}
    }
}

/// Status list credentials, their bit strings, entries of credentials in them, and key sets.
pub fn status_lists(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        for encoding in [Encoding::Bitstring, Encoding::StatusList2021] {
            let Ok(bits) = Bitstring::decode(text, encoding) else { continue };
            assert!(bits.as_bytes().len() <= MAX_BYTES && bits.get(bits.len()).is_err());
            assert_eq!(Bitstring::decode(&bits.encode(encoding), encoding).as_ref(), Ok(&bits));
        }
    }
    let Ok(claims) = json::from_slice::<Said<'_>>(data) else { return };
    let _ = KeySet::parse(&claims.to_value());
    let entry = claims.get("entry").and_then(StatusEntry::read).flatten();
    if let Ok(credential) = Credential::read(&claims)
        && let Ok(list) = StatusList::read(&credential, &claims)
        && let Some(entry) = entry
        && list.check(&entry, &credential.issuer).is_ok()
    {
        assert!(list.check(&entry, &did("another")).is_err() || credential.issuer == did("another"));
    }
}
