//! Who calls, as the authentication layer found out.

use cellspace_schemas::ParticipantContextId;

/// Role of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do everything its scopes allow, for every participant.
    Admin,
    /// May do the operations on the provisioner's list; bound to one participant when it is an agent's token.
    Provisioner,
    /// Acts for one participant.
    Participant,
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The token's subject.
    pub subject: String,
    /// Its role.
    pub role: Role,
    /// The participant context it is bound to; `None` for callers that act for all.
    pub participant: Option<ParticipantContextId>,
    /// Granted scopes.
    pub scopes: Vec<String>,
}
