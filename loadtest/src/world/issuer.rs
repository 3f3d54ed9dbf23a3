//! The dataspace's trusted issuer, with its status list.

use super::{Identity, now};
use anyhow::Result;
use cellspace_schemas::bitstring::{Bitstring, Encoding, MIN_BITS};
use serde_json::{Value, json};

/// How long a credential is valid, in seconds.
const VALIDITY: u64 = 86_400;

/// The issuer.
pub struct Issuer {
    /// Its DID and key.
    pub identity: Identity,
    /// URL of its status list.
    list: String,
}

impl Issuer {
    /// An issuer whose status list is at `list`.
    ///
    /// # Errors
    /// When the seed makes no key.
    pub fn new(did: String, list: String, seed: [u8; 32]) -> Result<Self> {
        Ok(Self { identity: Identity::new(did, seed)?, list })
    }

    /// A credential (VC Data Model 2.0, JOSE) of a type, with these claims about the subject, and a bit of the status list.
    #[must_use]
    pub fn issue(&self, kind: &str, mut subject: Value, bit: usize) -> String {
        let at = now() - 60;
        let id = format!("urn:uuid:{}", uuid::Uuid::new_v4());
        if let Some(about) = subject.as_object_mut() {
            about.entry("type").or_insert_with(|| "Organisation".into());
        }
        self.identity.typed(
            "vc+jwt",
            &json!({
                "@context": ["https://www.w3.org/ns/credentials/v2"], "id": id, "type": ["VerifiableCredential", kind],
                "issuer": self.identity.did, "validFrom": date(at), "validUntil": date(at + VALIDITY), "credentialSubject": subject,
                "credentialStatus": {"id": format!("{}#{bit}", self.list), "type": "BitstringStatusListEntry", "statusPurpose": "revocation",
                    "statusListIndex": bit.to_string(), "statusListCredential": self.list},
            }),
        )
    }

    /// The status list: nobody is revoked.
    #[must_use]
    pub fn status_list(&self) -> String {
        let at = now() - 60;
        let encoded = Bitstring::zeroes(MIN_BITS).encode(Encoding::Bitstring);
        self.identity.typed(
            "vc+jwt",
            &json!({
                "@context": ["https://www.w3.org/ns/credentials/v2"], "id": self.list, "type": ["VerifiableCredential", "BitstringStatusListCredential"],
                "issuer": self.identity.did, "validFrom": date(at), "validUntil": date(at + VALIDITY),
                "credentialSubject": {"id": format!("{}#list", self.list), "type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": encoded},
            }),
        )
    }
}

fn date(seconds: u64) -> String {
    cellspace_schemas::Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).to_rfc3339()
}
