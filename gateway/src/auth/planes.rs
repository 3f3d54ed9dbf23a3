//! Data planes that call their control plane back with tokens of their own (data plane signaling, "Authorization Profiles").
//!
//! Such a token speaks for one registration of one participant: signed with a key of that registration, `sub` the data plane, `aud` the
//! participant's signaling endpoint or DID.

use super::{IssuerConfig, KeySet, MAX_TOKEN_BYTES, RemoteIssuer, claims::Scopes};
use crate::http::{ApiError, ErrorKind};
use cellspace_actors::{
    OutboundHttp,
    control_plane::data_planes::{Authorization, CallbackKeys, DataPlane},
    trust::{
        PeerError,
        replay::{ReplayGuard, SKEW, TokenHash},
    },
};
use cellspace_cluster::Opening;
use cellspace_schemas::Timestamp;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use url::Url;

/// Key sets of data planes kept.
const MAX_KEY_SETS: usize = 4_096;
/// Used tokens remembered.
const MAX_USED: usize = 1 << 18;
/// Longest life of a token that a data plane signed for itself: so long its `jti` is remembered.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// Whose token it says it is, before any verification: only to learn whose keys to ask for.
#[derive(Debug, Clone, Deserialize)]
pub struct Named {
    /// The issuer.
    pub iss: String,
    /// The data plane.
    pub sub: String,
}

impl Named {
    /// Reads the claims; `None` when it is no JWT that names both.
    #[must_use]
    pub fn in_token(token: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
    }
}

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    jti: Option<String>,
    participant_context: Option<String>,
    #[serde(default)]
    scope: Scopes,
}

/// Whom a token must speak to, about what.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// The participant context.
    pub participant: &'a str,
    /// What it is called in `aud`.
    pub names: &'a [String],
    /// The scope that a broker must have granted.
    pub scope: &'a str,
    /// Since when this node has the participant's slot, where other nodes may have had it before.
    pub slot: Option<Opening>,
}

/// Verifies tokens of data planes.
pub struct PlaneCallers {
    http: OutboundHttp,
    keys: quick_cache::sync::Cache<Url, RemoteIssuer>,
    used: ReplayGuard,
}

impl PlaneCallers {
    /// Fetches key sets by `http`. `opened`: since when this node sees used tokens, when an earlier run may have seen some.
    #[must_use]
    pub fn new(http: OutboundHttp, opened: Option<Timestamp>) -> Self {
        Self { http, keys: quick_cache::sync::Cache::new(MAX_KEY_SETS), used: ReplayGuard::new(MAX_USED, opened) }
    }

    /// Verifies that the data plane made the token, for this audience.
    ///
    /// # Errors
    /// 401 with the rule that failed; 503 when its keys cannot be had, or when the token is older than this node's view of used ones.
    pub async fn verify(&self, token: &str, plane: &DataPlane, audience: Audience<'_>, now: Timestamp) -> Result<(), ApiError> {
        let refused = |message: &str| ApiError::new(ErrorKind::BadToken, message);
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("the access token must be a signed JWT"))?;
        if header.crit.is_some() {
            return Err(refused("the access token has critical header extensions, none is supported"));
        }
        if !matches!(header.alg, Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256) {
            return Err(refused("the access token must be signed with EdDSA, ES256 or RS256"));
        }
        let mut rules = Validation::new(header.alg);
        rules.leeway = SKEW.as_secs();
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        rules.set_audience(audience.names);
        rules.sub = Some(plane.id.to_string());
        let keys = match &plane.authorization {
            Some(Authorization::ClientCredentials { keys: Some(CallbackKeys::Inline(jwks)), .. }) => {
                Arc::new(KeySet::parse(jwks).unwrap_or_else(KeySet::empty))
            }
            Some(Authorization::ClientCredentials { keys: Some(CallbackKeys::At(jwks)), .. }) => {
                self.fetched(plane.id.as_str(), jwks.url(), header.kid.as_deref(), header.alg).await?
            }
            Some(Authorization::TokenExchange { issuer, jwks_uri, .. }) => {
                rules.set_issuer(&[issuer]);
                self.fetched(issuer, jwks_uri.url(), header.kid.as_deref(), header.alg).await?
            }
            Some(Authorization::ClientCredentials { keys: None, .. }) | None => {
                return Err(refused("the data plane has registered no keys"));
            }
        };
        let key = keys.find(header.kid.as_deref(), header.alg);
        let key = key.ok_or_else(|| refused("the access token names a key that the data plane does not have"))?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &rules);
        let claims = claims.map_err(|error| refused(&format!("the access token of the data plane is not valid: {error}")))?.claims;
        if claims.iat > now.plus(SKEW).seconds() {
            return Err(refused("the access token is not valid yet"));
        }
        match &plane.authorization {
            // A broker's token is meant to be used until it expires (data plane signaling, "Token Rotation").
            Some(Authorization::TokenExchange { .. }) if claims.participant_context.as_deref() != Some(audience.participant) => {
                Err(refused("the access token is for another participant context"))
            }
            Some(Authorization::TokenExchange { .. }) if !claims.scope.0.iter().any(|scope| scope == audience.scope) => {
                Err(ApiError::new(ErrorKind::MissingScope, format!("the token lacks the scope {}", audience.scope)))
            }
            Some(Authorization::TokenExchange { .. }) => Ok(()),
            Some(Authorization::ClientCredentials { .. }) | None => self.once(plane, audience, &claims, now),
        }
    }

    /// A token that the data plane made for itself is used once.
    fn once(&self, plane: &DataPlane, audience: Audience<'_>, claims: &Claims, now: Timestamp) -> Result<(), ApiError> {
        let refused = |message: String| ApiError::new(ErrorKind::BadToken, message);
        let Some(jti) = &claims.jti else { return Ok(()) };
        let until = Timestamp::from_seconds(claims.exp).plus(SKEW);
        if until > now.plus(MAX_LIFETIME).plus(SKEW) {
            return Err(refused(format!("an access token with a jti must be valid for at most {} seconds", MAX_LIFETIME.as_secs())));
        }
        let hash = TokenHash::of(&plane.id, audience.participant, jti);
        self.used.admit(hash, None, Timestamp::from_seconds(claims.iat), until, now, audience.slot).map_err(|error| match error {
            PeerError::Refused(rule) => refused(rule),
            PeerError::TooEarly | PeerError::Unreachable(_) => ApiError::unavailable(error.to_string(), Duration::from_secs(1)),
        })
    }

    async fn fetched(&self, issuer: &str, url: &Url, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<KeySet>, ApiError> {
        let unavailable = |error: &dyn std::fmt::Display| ApiError::unavailable(error.to_string(), Duration::from_secs(1));
        let make = || {
            Ok::<_, std::convert::Infallible>(RemoteIssuer::new(
                IssuerConfig { issuer: issuer.to_owned(), jwks: url.clone(), audience: None },
                self.http.clone(),
            ))
        };
        let remote = match self.keys.get_or_insert_with(url, make) {
            Ok(remote) => remote,
            Err(never) => match never {},
        };
        Ok(remote.keys(kid, algorithm).await.map_err(|error| unavailable(&error))?.set)
    }
}
