//! Who calls, as the authentication layer found out.

use super::{ApiError, ErrorKind};
use cellspace_schemas::{Owner, ParticipantContextId};

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

impl Principal {
    /// Whether it may create the participant context `id`: a bound caller only its own, and nobody the installation's.
    ///
    /// # Errors
    /// Not authorised; invalid for the reserved id, under which the installation's own keys lie.
    pub fn may_create(&self, id: &ParticipantContextId) -> Result<(), ApiError> {
        if id.as_str() == Owner::installation().as_str() {
            return Err(ApiError::invalid(format!("the participant context id {id} is reserved")));
        }
        match &self.participant {
            Some(own) if own != id => Err(ApiError::new(ErrorKind::NotAuthorized, "the token is bound to another participant context")),
            _ => Ok(()),
        }
    }
}
