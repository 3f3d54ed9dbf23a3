//! Compact JWS (RFC 7515): the one way in which signed texts are read and verified, and that in which the vault's keys sign.

mod sign;
#[cfg(test)]
mod tests;

pub use sign::{JwsHeader, sign, sign_detached};

use super::{PeerError, jwk::VerifyingKey};
use cellspace_schemas::{Did, json};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

/// Longest self-issued token or access token accepted, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Longest credential or presentation accepted, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 512 << 10;
/// Longest status list credential accepted, in bytes: a list of [`cellspace_schemas::bitstring::MAX_BYTES`] that compresses badly.
pub const MAX_STATUS_LIST_BYTES: usize = 3 << 20;

/// Protected header of what others sign; what else it says is of no use here.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Algorithms of what participants sign, those of their keys in DID documents.
const PARTICIPANTS: [Algorithm; 5] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::PS256, Algorithm::RS256];

/// Why a text is not a JWS that may be relied on. Names the rule, never what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than allowed here.
    #[error("the token must not be longer than {0} bytes")]
    TooLong(usize),
    /// Not three base64url parts with a JSON object as header, or without a known `alg` (`none` is unknown).
    #[error("the token must be a compact JWS with a known alg")]
    Malformed,
    /// The claims are not JSON of the expected form.
    #[error("the claims of the token must be of the expected form")]
    Claims,
    /// An algorithm that is not accepted here, symmetric ones among them.
    #[error("the alg of the token must be one that is accepted here")]
    Algorithm,
    /// A `crit` header: no extension is understood here (RFC 7515 4.1.11).
    #[error("the token has critical header extensions, none is supported")]
    Critical,
    /// The `kid` is not a DID URL `did#key`.
    #[error("the kid of the token must be a DID URL with a fragment")]
    KeyId,
    /// The key is of another type than `alg` says.
    #[error("the alg of the token must be that of the key")]
    KeyType,
    /// Wrong signature.
    #[error("the signature of the token must verify with the key that its kid names")]
    Signature,
}

impl JwsError {
    /// The rule, as one for `what`, where more than one signed text comes with a message.
    #[must_use]
    pub fn of(self, what: &str) -> PeerError {
        PeerError::Refused(format!("{what}: {self}"))
    }
}

/// A parsed, not yet verified JWS. Its claims can be read by [`Jws::unverified`] to find out whose key to ask for, nothing else.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    text: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    payload: Vec<u8>,
}

/// A `kid` of the form `did#fragment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId<'a> {
    /// The DID of whose key it is.
    pub did: &'a str,
    /// The DID URL itself, as in the DID document's `verificationMethod`.
    pub url: &'a str,
}

impl<'a> KeyId<'a> {
    /// Reads a DID URL with a fragment.
    ///
    /// # Errors
    /// [`JwsError::KeyId`].
    pub fn parse(url: &'a str) -> Result<Self, JwsError> {
        let (did, fragment) = url.split_once('#').ok_or(JwsError::KeyId)?;
        let fragment_ok = !fragment.is_empty() && fragment.len() <= 256 && fragment.bytes().all(|b| b.is_ascii_graphic());
        if fragment_ok && Did::check(did).is_ok() { Ok(Self { did, url }) } else { Err(JwsError::KeyId) }
    }
}

impl<'a> Jws<'a> {
    /// Splits what a participant signed, and checks everything that needs no key.
    ///
    /// # Errors
    /// [`JwsError`] names the rule.
    pub fn parse(text: &'a str, max_bytes: usize) -> Result<Self, JwsError> {
        Self::parse_signed_by(&PARTICIPANTS, text, max_bytes)
    }

    /// As [`Self::parse`], for signatures with these algorithms.
    ///
    /// # Errors
    /// [`JwsError`] names the rule.
    pub fn parse_signed_by(algorithms: &[Algorithm], text: &'a str, max_bytes: usize) -> Result<Self, JwsError> {
        if text.len() > max_bytes {
            return Err(JwsError::TooLong(max_bytes));
        }
        // No part has a point in it: that of a fourth one would be none of base64url.
        let (signed, _) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        // Most of what is read lies in base64 in base64: this library takes a fraction of the time.
        let decoded = |part: &str| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| JwsError::Malformed);
        let header = decoded(header)?;
        if json::is_too_deep(&header) {
            return Err(JwsError::Malformed);
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Malformed)?;
        let (Header { alg: algorithm, kid, typ, crit }, payload) = (header, decoded(payload)?);
        if crit.is_some() {
            return Err(JwsError::Critical);
        }
        if !algorithms.contains(&algorithm) {
            return Err(JwsError::Algorithm);
        }
        // What is read of the claims is stored in part.
        if json::is_too_deep(&payload) {
            return Err(JwsError::Claims);
        }
        Ok(Self { text, algorithm, kid, typ, payload })
    }

    /// The algorithm it names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key it names, as the signer calls it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key it names, as one of a DID document.
    ///
    /// # Errors
    /// [`JwsError::KeyId`] when it names one that is none.
    pub fn key_id(&self) -> Result<Option<KeyId<'_>>, JwsError> {
        self.kid().map(KeyId::parse).transpose()
    }

    /// The media type it names.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The claims before any verification: only to learn whose key to ask for.
    ///
    /// # Errors
    /// [`JwsError::Claims`].
    pub fn unverified<'s, T: Deserialize<'s>>(&'s self) -> Result<T, JwsError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwsError::Claims)
    }

    /// The claims, after the signature was verified.
    ///
    /// # Errors
    /// [`JwsError::KeyType`], [`JwsError::Signature`] or [`JwsError::Claims`].
    pub fn verify<'s, T: Deserialize<'s>>(&'s self, key: &VerifyingKey) -> Result<T, JwsError> {
        self.verify_signature(key)?;
        // The payload was taken out of the text that is signed.
        self.unverified()
    }

    /// The signature alone, when the claims were read before.
    ///
    /// # Errors
    /// [`JwsError::KeyType`] or [`JwsError::Signature`].
    pub fn verify_signature(&self, key: &VerifyingKey) -> Result<(), JwsError> {
        if !key.algorithms().contains(&self.algorithm) {
            return Err(JwsError::KeyType);
        }
        let (signed, signature) = self.text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        if key.verifies(self.algorithm, signed.as_bytes(), signature) { Ok(()) } else { Err(JwsError::Signature) }
    }

    /// As [`Self::verify`], with a key of the library's.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with<T: DeserializeOwned>(&self, key: &DecodingKey) -> Result<T, JwsError> {
        let verified = jsonwebtoken::decode(self.text, key, &signature_by(self.algorithm));
        verified.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => JwsError::KeyType,
            ErrorKind::Json(_) => JwsError::Claims,
            _ => JwsError::Signature,
        })
    }
}

/// The library verifies the signature, by this algorithm alone. Rules for claims are not left to it: it reads the clock of the system instead of the
/// one it is given, rounds dates to seconds, and takes an audience among others for the only one.
fn signature_by(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}
