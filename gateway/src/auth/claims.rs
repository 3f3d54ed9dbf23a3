//! Claims of an access token, as different issuers spell them.

use cellspace_actors::trust::claims::{NumericDate, OneOrMany};
use serde::{Deserialize, Deserializer};

/// Longest accepted access token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

/// What this platform reads of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is about: a participant context id, or the caller's own name.
    #[serde(default)]
    pub sub: Option<String>,
    /// When it is not valid any more.
    pub exp: NumericDate,
    /// Before which it is not valid.
    #[serde(default)]
    pub nbf: Option<NumericDate>,
    /// When it was issued.
    #[serde(default)]
    pub iat: Option<NumericDate>,
    /// Granted scopes: space separated text, or a list.
    #[serde(default)]
    pub scope: Scopes,
    /// Role of seed-shaped tokens and of the embedded token service.
    #[serde(default)]
    pub role: Option<String>,
    /// Participant context of seed-shaped tokens; goes before `sub`.
    #[serde(default)]
    pub participant_context_id: Option<String>,
    /// The client that asked for it (RFC 9068, 2.2).
    #[serde(default)]
    pub client_id: Option<String>,
    /// Whom it is for.
    #[serde(default)]
    pub aud: Scopes,
    /// The client that it was issued to (OpenID Connect Core, 2).
    #[serde(default)]
    pub azp: Option<String>,
}

/// Scopes as text or as list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(pub Vec<String>);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let OneOrMany(texts) = OneOrMany::deserialize(deserializer)?;
        Ok(Self(match texts.as_slice() {
            [text] => text.split_ascii_whitespace().map(str::to_owned).collect(),
            _ => texts,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::Timestamp;
    use serde_json::json;

    #[test]
    fn spellings() {
        let claims: Claims = serde_json::from_value(json!({"iss": "i", "exp": 12.9, "scope": "a:read  b:write", "aud": ["x"]})).unwrap();
        assert_eq!((claims.exp.0, claims.scope.0.len(), claims.nbf), (Timestamp(12_900), 2, None));
        let claims: Claims = serde_json::from_value(json!({"iss": "i", "exp": 12, "nbf": 3, "scope": ["a:read"]})).unwrap();
        assert_eq!((claims.nbf, claims.scope.0), (Some(NumericDate(Timestamp(3_000))), vec!["a:read".to_owned()]));
        for bad in [json!({"iss": "i"}), json!({"exp": 1}), json!({"iss": "i", "exp": "1"}), json!({"iss": "i", "exp": 1, "nbf": "2"})] {
            assert!(serde_json::from_value::<Claims>(bad.clone()).is_err(), "{bad}");
        }
    }
}
