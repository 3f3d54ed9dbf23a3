//! Claims of an access token, as different issuers spell them.

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
    /// First second at which it is not valid any more.
    #[serde(deserialize_with = "seconds")]
    pub exp: i64,
    /// First second at which it is valid.
    #[serde(default, deserialize_with = "optional_seconds")]
    pub nbf: Option<i64>,
    /// When it was issued.
    #[serde(default, deserialize_with = "optional_seconds")]
    pub iat: Option<i64>,
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
}

/// Scopes as text or as list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(pub Vec<String>);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Form::List(list) => list,
        }))
    }
}

/// A `NumericDate` (RFC 7519, 2): seconds, maybe with a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    #[allow(clippy::cast_possible_truncation)] // saturates, and a date so far away is as good as any other
    let whole = || number.as_f64().map(|f| f.floor() as i64);
    number.as_i64().or_else(whole).ok_or_else(|| serde::de::Error::custom("not a date"))
}

fn optional_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    seconds(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spellings() {
        let claims: Claims = serde_json::from_value(json!({"iss": "i", "exp": 12.9, "scope": "a:read  b:write", "aud": ["x"]})).unwrap();
        assert_eq!((claims.exp, claims.scope.0.len(), claims.nbf), (12, 2, None));
        let claims: Claims = serde_json::from_value(json!({"iss": "i", "exp": 12, "nbf": 3, "scope": ["a:read"]})).unwrap();
        assert_eq!((claims.nbf, claims.scope.0), (Some(3), vec!["a:read".to_owned()]));
        for bad in [json!({"iss": "i"}), json!({"exp": 1}), json!({"iss": "i", "exp": "1"}), json!({"iss": "i", "exp": 1, "nbf": null})] {
            assert!(serde_json::from_value::<Claims>(bad.clone()).is_err(), "{bad}");
        }
    }
}
