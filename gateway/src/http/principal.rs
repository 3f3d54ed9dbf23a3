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
}

/// Longest id of a new participant context, in bytes.
const MAX_BYTES: usize = 128;

/// Whether the id is a path segment that needs no encoding (RFC 3986, 2.3): it is part of endpoints that others call.
fn stands_in_urls(id: &ParticipantContextId) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    id.as_str().len() <= MAX_BYTES && id.as_str().bytes().all(unreserved) && !matches!(id.as_str(), "." | "..")
}

impl Principal {
    /// Whether it may create the participant context `id`: a bound caller only its own, and nobody the installation's.
    ///
    /// # Errors
    /// Not authorised; invalid for the reserved id, under which the installation's own keys lie, and for one that would not stand in URLs as it is.
    pub fn may_create(&self, id: &ParticipantContextId) -> Result<(), ApiError> {
        if !stands_in_urls(id) {
            let rule =
                format!("a participant context id has at most {MAX_BYTES} of the characters A-Z a-z 0-9 . _ ~ - and is neither . nor ..");
            return Err(ApiError::invalid(rule));
        }
        if id.as_str() == Owner::installation().as_str() {
            return Err(ApiError::invalid(format!("the participant context id {id} is reserved")));
        }
        self.may_change(id)
    }

    /// Whether it may change the participant context `id`, which its path need not name: a bound caller only its own.
    ///
    /// # Errors
    /// Not authorised.
    pub fn may_change(&self, id: &ParticipantContextId) -> Result<(), ApiError> {
        match &self.participant {
            Some(own) if own != id => Err(ApiError::new(ErrorKind::NotAuthorized, "the token is bound to another participant context")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_participants_stand_in_urls() {
        let admin = Principal { subject: "a".to_owned(), role: Role::Admin, participant: None };
        let kind = |id: &str| admin.may_create(&id.parse().unwrap()).map_err(|e| e.kind);
        for good in ["4be1c0", "a.b_c~d-E", "...", &"x".repeat(MAX_BYTES)] {
            assert_eq!(kind(good), Ok(()), "{good}");
        }
        for bad in [".", "..", "a/b", "a%2Fb", "did:web:x", "a?b", "ä", "installation", &"x".repeat(MAX_BYTES + 1)] {
            assert_eq!(kind(bad), Err(ErrorKind::Invalid), "{bad}");
        }
        let bound = Principal { participant: Some("p".parse().unwrap()), role: Role::Provisioner, ..admin };
        assert!(bound.may_create(&"p".parse().unwrap()).is_ok());
        assert_eq!(bound.may_create(&"q".parse().unwrap()).unwrap_err().kind, ErrorKind::NotAuthorized);
    }
}
