//! Answers to presentation queries (DCP 1.0, "Resolution API").

use super::{State, credential::StoredCredential, key::KeyPair};
use crate::{
    Services,
    trust::{
        PeerError, SigningKey,
        claims::{NumericDate, OneOrMany},
        jwk::VerifyingKey,
        jws::{Jws, JwsHeader, MAX_TOKEN_BYTES, sign},
        replay::SKEW,
        tell_refusal, verify_sender,
    },
};
use cellspace_cluster::Address;
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    dcp::{CredentialFormat, CredentialScope, PresentationQueryMessage, PresentationResponseMessage, VC1_CONTEXT, VC2_CONTEXT, messages},
    identity::key_pair::KeyUsage,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};
use uuid::Uuid;

/// Credentials in one answer at most; the newest count.
const MAX_PRESENTED: usize = 32;

/// How long a presentation counts: verifiers may keep it so long.
pub const PRESENTATION_LIFETIME: Duration = Duration::from_secs(600);

/// Why a query is not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// No such participant context, or it is not active.
    #[error("the participant context does not exist")]
    NoContext,
    /// Malformed.
    #[error("{0}")]
    Invalid(&'static str),
    /// A presentation definition was given.
    #[error("presentationDefinition is not supported, use scope")]
    NotSupported,
    /// It asks for more than its access token grants, and this node is told to refuse that.
    #[error("the scopes must be granted by the access token")]
    NotGranted,
    /// The ID token or its access token is refused.
    #[error(transparent)]
    Sender(#[from] PeerError),
    /// No active key signs presentations.
    #[error("the participant context has no active key with the usage {}", KeyUsage::Presentation)]
    NoKey,
    /// The participant cannot be looked at now; nothing was done with the token.
    #[error("{0}")]
    Unread(String),
    /// Something underneath failed.
    #[error("{0}")]
    Unavailable(String),
}

/// Claims of the access tokens that [`SigningKey::access_token`] makes.
#[derive(Debug, Clone, Deserialize)]
struct AccessClaims {
    iss: Did,
    sub: Did,
    aud: OneOrMany,
    exp: NumericDate,
    scope: String,
}

/// What is asked for, after the checks that need no key.
///
/// # Errors
/// [`QueryError::Invalid`] or [`QueryError::NotSupported`].
pub fn scopes(query: &PresentationQueryMessage) -> Result<Vec<CredentialScope>, QueryError> {
    match (&query.scope, &query.presentation_definition) {
        (Some(_), Some(_)) => Err(QueryError::Invalid("scope and presentationDefinition exclude each other")),
        (None, None) => Err(QueryError::Invalid("scope is required")),
        (None, Some(Value::Object(definition))) if !definition.is_empty() => Err(QueryError::NotSupported),
        (None, Some(_)) => Err(QueryError::Invalid("presentationDefinition must not be empty")),
        (Some(scopes), None) if scopes.is_empty() => Err(QueryError::Invalid("scope must not be empty")),
        (Some(scopes), None) if scopes.len() > messages::MAX_SCOPES => Err(QueryError::Invalid("scope has too many entries")),
        (Some(scopes), None) => {
            let parsed = scopes.iter().map(|scope| CredentialScope::parse(scope)).collect::<Result<_, _>>();
            parsed.map_err(|_| QueryError::Invalid("a scope must be of the alias vc.type or vc.id"))
        }
    }
}

/// Credentials that are asked for, granted and valid, newest first: of each issuer, type and format the newest, unless one is asked for by its id, and
/// not more than a presentation can carry. A verifier may read one format alone, and each has a presentation of its own. A scope beyond the grant is answered by fewer credentials (DCP 1.0, "Scopes").
#[must_use]
pub fn select<'a>(
    state: &'a State,
    asked: &[CredentialScope],
    granted: &[CredentialScope],
    now: Timestamp,
) -> Vec<&'a Arc<StoredCredential>> {
    let meant = |credential: &StoredCredential, scopes: &[CredentialScope]| scopes.iter().any(|scope| credential.is_meant_by(scope));
    let mut found: Vec<_> = state.credentials.values().filter(|c| c.is_valid(now) && meant(c, asked) && meant(c, granted)).collect();
    found.sort_by(|a, b| b.valid_from.cmp(&a.valid_from).then_with(|| a.id.cmp(&b.id)));
    let by_id: Vec<_> = asked.iter().filter(|scope| matches!(scope, CredentialScope::Id(_))).cloned().collect();
    let mut seen = HashSet::new();
    found.retain(|c| seen.insert((c.format, &c.issuer, &c.types)) || meant(c, &by_id));
    // One of each kind before a second one.
    let mut kinds = HashSet::new();
    let (first, again): (Vec<_>, Vec<_>) = found.into_iter().partition(|c| kinds.insert((&c.issuer, &c.types)));
    first.into_iter().chain(again).take(MAX_PRESENTED).collect()
}

/// Which scopes an access token of our own grants to `verifier`.
///
/// # Errors
/// [`PeerError::Refused`] when it is not ours, not for this verifier, or expired.
pub fn granted(state: &State, own_did: &Did, verifier: &Did, token: &str, now: Timestamp) -> Result<Vec<CredentialScope>, PeerError> {
    let refused = || PeerError::Refused("the token claim must be an access token of this participant for the sender".to_owned());
    let jws = Jws::parse(token, MAX_TOKEN_BYTES)?;
    let kid = jws.key_id()?.ok_or_else(refused)?;
    let signs_tokens = |key: &&Arc<KeyPair>| key.is_published() && key.is_for(KeyUsage::Token) && key.key_id == kid.url;
    let key = state.keys.values().find(signs_tokens).ok_or_else(refused)?;
    let key = VerifyingKey::from_jwk(&key.public.jwk).ok_or_else(refused)?;
    let claims: AccessClaims = jws.verify(&key)?;
    if claims.iss != *own_did || claims.sub != *verifier || !claims.aud.is_only(own_did.as_str()) {
        return Err(refused());
    }
    if claims.exp.0.plus(SKEW) <= now {
        return Err(PeerError::Refused("the access token must not be expired".to_owned()));
    }
    Ok(claims.scope.split(' ').filter_map(|scope| CredentialScope::parse(scope).ok()).collect())
}

/// Answers a query with the sender's bearer token.
///
/// # Errors
/// [`QueryError`].
pub async fn answer(
    services: &Services,
    participant: &ParticipantContextId,
    bearer: &str,
    query: &PresentationQueryMessage,
) -> Result<PresentationResponseMessage, QueryError> {
    let address = Address::of::<super::CredentialService>(participant);
    let state = services.cluster.read::<super::CredentialService, _>(&address, Clone::clone).await;
    let state = state.map_err(|e| match e {
        cellspace_cluster::AskError::NotRegistered => QueryError::NoContext,
        other => QueryError::Unread(other.to_string()),
    })?;
    let own_did = state.active_context().ok_or(QueryError::NoContext)?.did.clone();
    let now = services.cluster.now();
    let sender = verify_sender(services, (participant, &own_did), bearer, None).await?;
    let asked = scopes(query)?;
    let token = sender.token.ok_or_else(|| PeerError::Refused("the token must carry a token claim".to_owned()));
    let granted = token.and_then(|token| granted(&state, &own_did, &sender.issuer, &token, now));
    let granted = granted.inspect_err(|error| tell_refusal(&own_did, Some(&address), error))?;
    if services.dcp.refuse_beyond_grant && !asked.iter().all(|scope| granted.contains(scope)) {
        return Err(QueryError::NotGranted);
    }
    let credentials = select(&state, &asked, &granted, now);
    let key = state.signing_key(KeyUsage::Presentation).ok_or(QueryError::NoKey)?;
    let mut presentation = Vec::new();
    for format in CredentialFormat::ALL {
        let raw: Vec<&str> = credentials.iter().filter(|c| c.format == format).map(|c| c.raw.as_str()).collect();
        if !raw.is_empty() {
            let jwt = present(services, &key, format, &raw, &sender.issuer, now).await;
            presentation.push(Value::String(jwt.map_err(|e| QueryError::Unavailable(e.to_string()))?));
        }
    }
    tracing::info!(category = "dcp", action = "presentation.query", vpa = %Address::of::<super::CredentialService>(participant), counterparty = %sender.issuer, credentials = credentials.len());
    Ok(PresentationResponseMessage {
        context: messages::context(),
        message_type: messages::types::PresentationResponseMessage,
        presentation,
    })
}

async fn present(
    services: &Services,
    key: &SigningKey,
    format: CredentialFormat,
    credentials: &[&str],
    audience: &Did,
    now: Timestamp,
) -> Result<String, cellspace_storage::VaultError> {
    let id = format!("urn:uuid:{}", Uuid::new_v4());
    let mut claims = presentation(format, &id, &key.did, credentials);
    if let Some(claims) = claims.as_object_mut() {
        let registered = json!({"iss": key.did, "sub": key.did, "aud": audience, "jti": id, "iat": now.seconds(), "nbf": now.seconds(),
            "exp": now.plus(PRESENTATION_LIFETIME).seconds()});
        claims.extend(registered.as_object().cloned().unwrap_or_default());
    }
    let header = match format {
        CredentialFormat::Vc1Jwt => JwsHeader::new(key.algorithm, &key.kid, "JWT"),
        CredentialFormat::Vc2Jose => JwsHeader::new(key.algorithm, &key.kid, "vp+jwt").content_type("vp"),
    };
    sign(services.vault.as_ref(), &key.path, &header, &claims).await
}

/// The presentation itself: with a `vp` claim around the older form, else the claims are the presentation.
pub(crate) fn presentation(format: CredentialFormat, id: &str, holder: &Did, credentials: &[&str]) -> Value {
    match format {
        CredentialFormat::Vc1Jwt => {
            json!({"vp": {"@context": [VC1_CONTEXT], "id": id, "type": ["VerifiablePresentation"], "holder": holder,
            "verifiableCredential": credentials}})
        }
        CredentialFormat::Vc2Jose => {
            let enveloped = |jwt: &&str| json!({"@context": VC2_CONTEXT, "id": format!("data:application/vc+jwt,{jwt}"), "type": "EnvelopedVerifiableCredential"});
            let credentials: Vec<Value> = credentials.iter().map(enveloped).collect();
            json!({"@context": [VC2_CONTEXT], "id": id, "type": ["VerifiablePresentation"], "holder": holder, "verifiableCredential": credentials})
        }
    }
}
