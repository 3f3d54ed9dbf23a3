//! Self-issued ID tokens of others (DCP 1.0, "Validating Self-Issued ID Tokens").

use super::{
    PeerError, Trust,
    claims::{NumericDate, OneOrMany},
    jws::{Jws, KeyId, MAX_TOKEN_BYTES},
    replay::{SKEW, TokenHash},
    said::Text,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_cluster::{CallId, Opening};
use cellspace_schemas::{Did, SecretText, Timestamp, dcp::Relationship};
use serde::Deserialize;
use std::time::Duration;

/// A token counts at most so long after its `iat`, whatever its `exp` says: this bounds how long a `jti` is remembered.
pub const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// A verified ID token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdToken {
    /// Who sent it.
    pub issuer: Did,
    /// Access token for the sender's credential service, opaque to us.
    pub token: Option<String>,
}

/// Claims as received.
#[derive(Debug, Clone, Deserialize)]
pub struct IdTokenClaims<'a> {
    iss: Did,
    #[serde(borrow)]
    sub: Text<'a>,
    aud: OneOrMany,
    jti: Text<'a>,
    iat: NumericDate,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    token: Option<Text<'a>>,
}

/// The rules for claims. Each text says what must be, not what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    #[allow(missing_docs)]
    #[error("iss and sub of the token must be the same DID")]
    Subject,
    #[allow(missing_docs)]
    #[error("aud of the token must be the DID of the receiver, and only that")]
    Audience,
    #[allow(missing_docs)]
    #[error("the key of the token must be one of its issuer")]
    KeyOwner,
    #[allow(missing_docs)]
    #[error("jti of the token must not be empty")]
    Jti,
    #[allow(missing_docs)]
    #[error("the token must not be expired: exp lies in the future, iat at most five minutes back")]
    Expired,
    #[allow(missing_docs)]
    #[error("the token must be valid already: iat and nbf lie in the past")]
    NotYet,
}

impl IdTokenClaims<'_> {
    /// Checks everything that needs neither key nor memory; answers until when the token counts.
    ///
    /// # Errors
    /// [`IdTokenError`] names the rule.
    pub fn check(&self, own_did: &Did, kid: Option<KeyId<'_>>, now: Timestamp) -> Result<Timestamp, IdTokenError> {
        if self.iss.as_str() != self.sub.0 {
            return Err(IdTokenError::Subject);
        }
        if !self.aud.is_only(own_did.as_str()) {
            return Err(IdTokenError::Audience);
        }
        if kid.is_some_and(|kid| kid.did != self.iss.as_str()) {
            return Err(IdTokenError::KeyOwner);
        }
        if self.jti.0.is_empty() {
            return Err(IdTokenError::Jti);
        }
        let begins = self.nbf.map_or(self.iat.0, |nbf| nbf.0.max(self.iat.0));
        if begins > now.plus(SKEW) {
            return Err(IdTokenError::NotYet);
        }
        let until = self.exp.0.min(self.iat.0.plus(MAX_LIFETIME)).plus(SKEW);
        if until <= now { Err(IdTokenError::Expired) } else { Ok(until) }
    }
}

/// Who a token says it is from, before anything is verified: enough to know what its sender would have to be asked for, and for the audit row of a
/// message that was verified afterwards.
#[must_use]
pub fn claimed_sender(token: &SecretText) -> Option<Did> {
    #[derive(Deserialize)]
    struct Claims {
        iss: Did,
    }
    let payload = token.expose().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Claims>(&payload).ok().map(|claims| claims.iss)
}

impl Trust {
    /// Verifies the ID token of a message to `own_did`: claims first, then the key, then that it is used for the first time. Admitting a token uses
    /// it up, so each is verified once, or, when `call` is given, by that call alone. `slot`: since when this node has the slot of `own_did`'s owner, where
    /// other nodes may have had it before.
    ///
    /// # Errors
    /// [`PeerError`] names the rule.
    pub async fn verify_id_token(
        &self,
        own_did: &Did,
        token: &str,
        call: Option<CallId>,
        now: Timestamp,
        slot: Option<Opening>,
    ) -> Result<IdToken, PeerError> {
        let jws = Jws::parse(token, MAX_TOKEN_BYTES)?;
        let kid = jws.key_id()?;
        let claims: IdTokenClaims<'_> = jws.unverified()?;
        let until = claims.check(own_did, kid, now).map_err(|rule| PeerError::Refused(rule.to_string()))?;
        let key = self.resolver.key(&claims.iss, kid.map(|kid| kid.url), Relationship::CapabilityInvocation, now).await?;
        // Of the text that the claims above were read from.
        jws.verify_signature(&key.key)?;
        self.replay.admit(TokenHash::of(&claims.iss, own_did, claims.jti.as_ref()), call, claims.iat.0, until, now, slot)?;
        Ok(IdToken { issuer: claims.iss, token: claims.token.map(|token| token.0.into_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_790_000_000;

    fn checked(change: &Value) -> Result<i64, IdTokenError> {
        let mut claims = json!({"iss": "did:web:a", "sub": "did:web:a", "aud": "did:web:b", "jti": "1", "iat": NOW, "exp": NOW + 60});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let kid = claims.as_object_mut().unwrap().remove("kid");
        let kid = kid.as_ref().map(|kid| KeyId::parse(kid.as_str().unwrap()).unwrap());
        let claims = claims.to_string();
        let claims: IdTokenClaims<'_> = serde_json::from_str(&claims).unwrap();
        claims.check(&Did::new("did:web:b").unwrap(), kid, Timestamp::from_seconds(NOW)).map(|until| until.seconds() - NOW)
    }

    #[test]
    fn every_rule_for_claims() {
        use IdTokenError::{Audience, Expired, Jti, KeyOwner, NotYet, Subject};
        let table = [
            (json!({}), Ok(61)),
            (json!({"kid": "did:web:a#k"}), Ok(61)),
            (json!({"kid": "did:web:c#k"}), Err(KeyOwner)),
            (json!({"sub": "did:web:c"}), Err(Subject)),
            (json!({"iss": "did:web:c"}), Err(Subject)),
            (json!({"aud": "did:web:a"}), Err(Audience)),
            (json!({"aud": ["did:web:b"]}), Ok(61)),
            (json!({"aud": ["did:web:b", "did:web:c"]}), Err(Audience)),
            (json!({"jti": ""}), Err(Jti)),
            // One second of skew, the same for iat, nbf and exp.
            (json!({"exp": NOW}), Ok(1)),
            (json!({"exp": NOW - 1}), Err(Expired)),
            (json!({"iat": NOW + 1}), Ok(61)),
            (json!({"iat": NOW + 2}), Err(NotYet)),
            (json!({"nbf": NOW + 1}), Ok(61)),
            (json!({"nbf": NOW + 2}), Err(NotYet)),
            // A long-lived token counts for five minutes after its iat.
            (json!({"exp": NOW + 86_400}), Ok(301)),
            (json!({"iat": NOW - 300, "exp": NOW + 60}), Ok(1)),
            (json!({"iat": NOW - 301, "exp": NOW + 60}), Err(Expired)),
        ];
        for (change, expected) in table {
            assert_eq!(checked(&change), expected, "{change}");
        }
    }

    #[test]
    fn claims_that_must_be_there() {
        let claims = json!({"iss": "did:web:a", "sub": "did:web:a", "aud": "did:web:b", "jti": "1", "iat": NOW, "exp": NOW + 60});
        let readable = |claims: &Value| serde_json::from_str::<IdTokenClaims<'_>>(&claims.to_string()).is_ok();
        assert!(readable(&claims));
        for name in ["iss", "sub", "aud", "jti", "iat", "exp"] {
            let mut claims = claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(!readable(&claims), "{name}");
        }
        let mut claims = claims;
        claims["token"] = json!({"scope": "*"});
        assert!(!readable(&claims), "token must be a text");
    }
}
