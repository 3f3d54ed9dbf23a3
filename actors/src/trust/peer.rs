//! The counterparty of a protocol message, as verified.

use super::credential::VerifiedCredential;
use crate::settings::TrustedIssuer;
use cellspace_cluster::{CallId, Opening};
use cellspace_schemas::{Did, ParticipantContextId};
use std::sync::Arc;

/// What to verify.
#[derive(Debug, Clone)]
pub struct VerifyRequest<'a> {
    /// Who received the message.
    pub participant: &'a ParticipantContextId,
    /// The receiver's DID: the expected audience.
    pub own_did: &'a Did,
    /// The bearer token (without `Bearer `).
    pub token: &'a str,
    /// The call it came with, which may have to be prepared more than once.
    pub call: Option<CallId>,
    /// Scopes whose credentials must be there: without one of them the message is refused.
    pub required: &'a [String],
    /// Scopes whose credentials are asked for too; missing ones only leave constraints unmet.
    pub optional: &'a [String],
    /// Those of the optional ones that are asked for when the holder does not grant all of them.
    pub named: &'a [String],
    /// Issuers that count.
    pub trusted_issuers: &'a [TrustedIssuer],
    /// Since when this node has the participant's slot, where other nodes may have had it before.
    pub slot: Option<Opening>,
    /// Whether an absent optional credential may be believed for up to 5 s (catalogs) or must be asked for again (negotiations, transfers).
    pub believe_absence: bool,
}

/// A verified counterparty.
#[derive(Debug, Clone)]
pub struct VerifiedPeer {
    /// Its DID.
    pub did: Did,
    /// Its credentials that count for this message.
    pub credentials: Vec<Arc<VerifiedCredential>>,
}

/// The rule that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// The token or presentation is refused: 401.
    #[error("{0}")]
    Refused(String),
    /// The token was issued before this node took over: the sender signs anew (503, `Retry-After: 1`).
    #[error("the token is older than this node's view of used tokens")]
    TooEarly,
    /// The counterparty's DID document, credential service or a status list is out of reach.
    #[error("{0}")]
    Unreachable(String),
}

impl PeerError {
    /// For what another party does not answer: how our own request ended is for our own log, and nothing that a counterparty is told.
    pub(super) fn unreachable(what: String, cause: &dyn std::fmt::Display) -> Self {
        tracing::info!(category = "dcp", action = "peer.unreachable", what, %cause);
        Self::Unreachable(what)
    }

    /// For what fails on our own side: the reason is for our own log, and nothing that a counterparty is told.
    pub(super) fn ours(reason: &dyn std::error::Error) -> Self {
        tracing::warn!(category = "dcp", action = "peer.cannot_be_verified", %reason);
        Self::Unreachable("the sender cannot be verified now, try again later".to_owned())
    }
}

impl From<super::jws::JwsError> for PeerError {
    fn from(rule: super::jws::JwsError) -> Self {
        Self::Refused(rule.to_string())
    }
}
