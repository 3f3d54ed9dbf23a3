//! What an honest party would show: its document, credentials, presentations and lists.

use super::{Inner, TYPE, now};
use aws_lc_rs::signature::KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::bitstring::{Bitstring, Encoding, MIN_BITS};
use serde_json::{Value, json};

impl Inner {
    pub(super) fn document(&self, name: &str) -> Value {
        let did = self.did(name);
        let kid = format!("{did}#key-1");
        let x = URL_SAFE_NO_PAD.encode(self.key(name).public_key().as_ref());
        let service =
            |kind: &str, path: &str| json!({"id": format!("{did}#{kind}"), "type": kind, "serviceEndpoint": self.url(name, path)});
        json!({"@context": ["https://www.w3.org/ns/did/v1"], "id": did,
            "verificationMethod": [{"id": kid, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}],
            "authentication": [kid], "assertionMethod": [kid], "capabilityInvocation": [kid],
            "service": [service("CredentialService", "/cs"), service("IssuerService", "/issuance")]})
    }

    pub(super) fn credential(&self, name: &str) -> Value {
        let (holder, issuer) = (self.did(name), self.did(&format!("{name}-issuer")));
        json!({"@context": ["https://www.w3.org/ns/credentials/v2"], "type": ["VerifiableCredential", TYPE], "issuer": issuer,
            "credentialSubject": {"id": holder}, "exp": now() + 3_600,
            "credentialStatus": {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "7",
                "statusListCredential": self.url(name, "/list")}})
    }

    pub(super) fn presentation(&self, name: &str, aud: &str, credential: &str) -> Value {
        json!({"@context": ["https://www.w3.org/ns/credentials/v2"], "type": "VerifiablePresentation", "iss": self.did(name), "aud": aud,
            "iat": now(), "exp": now() + 60, "verifiableCredential":
                [{"@context": "https://www.w3.org/ns/credentials/v2", "type": "EnvelopedVerifiableCredential", "id": format!("data:application/vc+jwt,{credential}")}]})
    }

    pub(super) fn list(&self, issuer: &str) -> Value {
        let encoded = Bitstring::zeroes(MIN_BITS).encode(Encoding::Bitstring);
        json!({"type": ["VerifiableCredential", "BitstringStatusListCredential"], "issuer": self.did(issuer),
            "credentialSubject": {"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": encoded}})
    }
}
