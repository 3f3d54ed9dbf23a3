//! Why a command is refused.

use crate::trust::PeerError;

/// Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// No such participant context.
    #[error("the participant context does not exist")]
    NoContext,
    /// The participant context exists already.
    #[error("the participant context exists already")]
    ContextExists,
    /// There was one of this id.
    #[error("the participant context was deleted, its id is not used again")]
    Deleted,
    /// The participant context is deactivated.
    #[error("the participant context is not active")]
    Inactive,
    /// The DID belongs to another participant context.
    #[error("the DID is in use by another participant context")]
    DidInUse,
    /// The DID is not of this installation.
    #[error("the DID must be a did:web of this installation: did:web:{host} and at most {max} path segments, the first none of the platform's own paths", max = crate::name::MAX_SEGMENTS)]
    DidNotServed {
        /// The host part of DIDs that are served here.
        host: String,
    },
    /// The DID is not that of the participant context.
    #[error("the DID does not belong to the participant context")]
    OtherDid,
    /// No such key pair.
    #[error("the key pair does not exist")]
    NoKey,
    /// Its id, key id or alias is taken by another key pair of the participant.
    #[error("a key pair with this resourceId, keyId or privateKeyAlias exists already")]
    KeyExists,
    /// The key descriptor breaks a rule.
    #[error("{0}")]
    BadKey(&'static str),
    /// The key pair's state does not allow it.
    #[error("a key pair in state {from} cannot be {wanted}")]
    KeyState {
        /// Its state.
        from: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// No such service.
    #[error("the DID document has no service with this id")]
    NoService,
    /// A service with this id exists.
    #[error("the DID document has a service with this id already")]
    ServiceExists,
    /// No such credential.
    #[error("the credential does not exist")]
    NoCredential,
    /// A credential with this id exists.
    #[error("a credential with this id exists already")]
    CredentialExists,
    /// No such request, or it went to another issuer.
    #[error("the credential request does not exist")]
    NoRequest,
    /// A request with this id exists.
    #[error("a credential request with this holderPid exists already")]
    RequestExists,
    /// A credential breaks a rule.
    #[error("{0}")]
    BadCredential(String),
    /// Too many of a kind.
    #[error("the participant context has as many {0} as it may have")]
    Full(&'static str),
    /// The sender of a message is not who it must be, or it cannot be known now whether what it sent is good.
    #[error(transparent)]
    Sender(PeerError),
}
