//! Status lists as credentials: what a verifier fetches.

use super::{
    credential::{BASE_TYPE, STATUS_LIST_2021_CONTEXT, secured, validity_names},
    status_list::StatusListId,
};
use cellspace_schemas::{
    Did, Timestamp,
    dcp::{CredentialFormat, VC1_CONTEXT, VC2_CONTEXT},
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Everything that a status list credential says.
#[derive(Debug, Clone)]
pub struct ListCredential<'a> {
    /// Which list.
    pub id: StatusListId,
    /// Where it is served.
    pub url: &'a str,
    /// The issuer's DID.
    pub issuer: &'a Did,
    /// Its bits as they are written (`encodedList`).
    pub encoded: &'a str,
    /// How long a verifier may keep it.
    pub ttl: Duration,
    /// From when it is valid.
    pub valid_from: Timestamp,
    /// Until when it is valid.
    pub valid_until: Timestamp,
}

impl ListCredential<'_> {
    /// The credential (Bitstring Status List 1.0, 2.2; `StatusList2021` for credentials of data model 1.1).
    #[must_use]
    pub fn credential(&self) -> Map<String, Value> {
        let (contexts, kind) = match self.id.format {
            CredentialFormat::Vc2Jose => (json!([VC2_CONTEXT]), "BitstringStatusList"),
            CredentialFormat::Vc1Jwt => (json!([VC1_CONTEXT, STATUS_LIST_2021_CONTEXT]), "StatusList2021"),
        };
        let (from, until) = validity_names(self.id.format);
        let mut subject = Map::from_iter([
            ("id".to_owned(), json!(format!("{}#list", self.url))),
            ("type".to_owned(), json!(kind)),
            ("statusPurpose".to_owned(), json!(self.id.purpose.name())),
            ("encodedList".to_owned(), json!(self.encoded)),
        ]);
        if self.id.format == CredentialFormat::Vc2Jose {
            // Unknown to the older data model.
            subject.insert("ttl".to_owned(), json!(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)));
        }
        Map::from_iter([
            ("@context".to_owned(), contexts),
            ("id".to_owned(), json!(self.url)),
            ("type".to_owned(), json!([BASE_TYPE, format!("{kind}Credential")])),
            ("issuer".to_owned(), json!(self.issuer)),
            (from.to_owned(), json!(self.valid_from.to_rfc3339())),
            (until.to_owned(), json!(self.valid_until.to_rfc3339())),
            ("credentialSubject".to_owned(), Value::Object(subject)),
        ])
    }

    /// The claims to be signed around [`Self::credential`].
    #[must_use]
    pub fn jwt_claims(&self, credential: Map<String, Value>) -> Map<String, Value> {
        let registered = [
            ("iss", json!(self.issuer)),
            ("sub", json!(format!("{}#list", self.url))),
            ("jti", json!(self.url)),
            ("iat", json!(self.valid_from.seconds())),
            ("nbf", json!(self.valid_from.seconds())),
            ("exp", json!(self.valid_until.seconds())),
        ];
        secured(self.id.format, credential, registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::status_list::Purpose;
    use cellspace_schemas::bitstring::{Bitstring, Encoding, MIN_BITS};

    #[test]
    fn both_forms_hold_the_bits() {
        let mut bits = Bitstring::zeroes(MIN_BITS);
        bits.set(7, true).unwrap();
        let issuer = Did::new("did:web:issuer").unwrap();
        for (format, encoding) in [(CredentialFormat::Vc2Jose, Encoding::Bitstring), (CredentialFormat::Vc1Jwt, Encoding::StatusList2021)] {
            let list = ListCredential {
                id: StatusListId { format, purpose: Purpose::Revocation, number: 1 },
                url: "https://issuer/list",
                issuer: &issuer,
                encoded: &bits.encode(encoding),
                ttl: Duration::from_secs(2),
                valid_from: Timestamp(0),
                valid_until: Timestamp(1_000),
            };
            let credential = list.credential();
            let encoded = credential["credentialSubject"]["encodedList"].as_str().unwrap();
            assert_eq!(Bitstring::decode(encoded, encoding).unwrap(), bits);
            let claims = list.jwt_claims(credential);
            match format {
                CredentialFormat::Vc2Jose => {
                    assert_eq!(claims["type"], json!(["VerifiableCredential", "BitstringStatusListCredential"]));
                    assert_eq!(claims["credentialSubject"]["ttl"], 2_000);
                }
                CredentialFormat::Vc1Jwt => assert_eq!(claims["vc"]["type"], json!(["VerifiableCredential", "StatusList2021Credential"])),
            }
            assert_eq!(claims["exp"], 1);
        }
    }
}
