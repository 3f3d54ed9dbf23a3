//! Secure token service: self-issued ID tokens for a participant's own clients (DCP 1.0, "Using the OAuth 2 Client Credential Grant").

use super::CredentialService;
use crate::{
    Services,
    trust::{ID_TOKEN_SECONDS, TokenError, self_issued_token, token_with_access},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use cellspace_cluster::Address;
use cellspace_schemas::{Did, ParticipantContextId};
use sha2::{Digest, Sha256};

/// Lifetime of the tokens, in seconds.
pub const EXPIRES_IN: u64 = ID_TOKEN_SECONDS;

/// A token request.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The client: a participant context id.
    pub client: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// Whom the token is for.
    pub audience: &'a Did,
    /// Scopes of the access token in it.
    pub scopes: Vec<String>,
    /// An access token to pass on, instead of scopes.
    pub token: Option<&'a str>,
}

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StsError {
    /// Unknown client or wrong secret; not told apart.
    #[error("unknown client or wrong secret")]
    InvalidClient,
    /// No token can be made now.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Makes a self-issued ID token for a client.
///
/// # Errors
/// [`StsError`].
pub async fn token(services: &Services, request: &TokenRequest<'_>) -> Result<String, StsError> {
    let participant = ParticipantContextId::new(request.client).map_err(|_| StsError::InvalidClient)?;
    let address = Address::of::<CredentialService>(&participant);
    let account =
        services.cluster.read::<CredentialService, _>(&address, |state| state.active_context().is_some_and(|c| c.sts_account)).await;
    if !account.unwrap_or(false) {
        return Err(StsError::InvalidClient);
    }
    let held = services.tokens.sts_secret(&participant);
    // Hashes have the same length whatever was given.
    let (held, given) = (Sha256::digest(held.expose()), Sha256::digest(request.secret));
    verify_slices_are_equal(&held, &given).map_err(|_| StsError::InvalidClient)?;
    Ok(match request.token {
        Some(token) => token_with_access(services, &participant, request.audience, Some(token)).await?,
        None => self_issued_token(services, &participant, request.audience, &request.scopes).await?,
    })
}
