//! Which tokens a client may exchange its own for: per participant context a list of scope names, each standing for scopes.

use super::{ClientsState, client::scopes_are_valid};
use cellspace_schemas::{ClientId, ParticipantContextId};
use serde::{Deserialize, Serialize};

/// A client may act for a participant context, with these scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Whose.
    pub client_identifier: ClientId,
    /// For whom.
    pub participant_context: ParticipantContextId,
    /// Names of scope mappings (tiers such as `read`), or scopes.
    pub scopes: Vec<String>,
    /// Audiences that may be asked for; empty allows any.
    #[serde(default)]
    pub audiences: Vec<String>,
}

impl Mapping {
    /// Whether its lists are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        scopes_are_valid(&self.scopes) && scopes_are_valid(&self.audiences)
    }
}

/// What a scope name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeMapping {
    /// The name.
    pub scope: String,
    /// Claims of the tokens; only `scope` is read.
    pub claims: ScopeClaims,
}

/// The claims of a [`ScopeMapping`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeClaims {
    /// Space-separated scopes.
    pub scope: String,
}

impl ScopeMapping {
    /// The scopes it stands for.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.claims.scope.split_ascii_whitespace()
    }

    /// Whether name and scopes are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let scopes: Vec<String> = self.scopes().map(str::to_owned).collect();
        scopes_are_valid(std::slice::from_ref(&self.scope)) && scopes_are_valid(&scopes)
    }
}

/// Why a token is not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No mapping.
    #[error("the client has no mapping for this resource")]
    NoMapping,
    /// A scope that the mapping does not list.
    #[error("the mapping does not list the scope {0}")]
    Scope(String),
    /// An audience that the mapping does not list.
    #[error("the mapping does not list the audience {0}")]
    Audience(String),
}

impl ClientsState {
    /// The scopes of a token that `client` asks for, to act for `participant`: all of the mapping when `requested` is empty. A requested scope
    /// is a name of the mapping, or one of the scopes that these names stand for.
    ///
    /// # Errors
    /// [`ExchangeError`] names the rule.
    pub fn exchange(
        &self,
        client: &ClientId,
        participant: &ParticipantContextId,
        requested: &[&str],
        audience: Option<&str>,
    ) -> Result<Vec<String>, ExchangeError> {
        let mapping = self.mapping(client, participant).ok_or(ExchangeError::NoMapping)?;
        if let Some(audience) =
            audience.filter(|audience| !mapping.audiences.is_empty() && !mapping.audiences.iter().any(|a| a == audience))
        {
            return Err(ExchangeError::Audience(audience.to_owned()));
        }
        let stands_for = |name: &str| match self.scope(name) {
            Some(scope) => scope.scopes().map(str::to_owned).collect(),
            None => vec![name.to_owned()],
        };
        let all: Vec<String> = mapping.scopes.iter().flat_map(|name| stands_for(name)).collect();
        let mut granted = Vec::new();
        for name in requested {
            if mapping.scopes.iter().any(|listed| listed == name) {
                granted.extend(stands_for(name));
            } else if all.iter().any(|scope| scope == name) {
                granted.push((*name).to_owned());
            } else {
                return Err(ExchangeError::Scope((*name).to_owned()));
            }
        }
        let mut granted = if requested.is_empty() { all } else { granted };
        granted.sort_unstable();
        granted.dedup();
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::clients::state::Event;
    use cellspace_cluster::Agent;
    use std::sync::Arc;

    fn state() -> ClientsState {
        let mut state = ClientsState::default();
        let scope = |name: &str, scopes: &str| ScopeMapping { scope: name.to_owned(), claims: ScopeClaims { scope: scopes.to_owned() } };
        let mapping = Mapping {
            client_identifier: "c".parse().unwrap(),
            participant_context: "p".parse().unwrap(),
            scopes: vec!["read".to_owned(), "x-api:admin".to_owned()],
            audiences: vec!["edcv".to_owned()],
        };
        for event in [
            Event::Scope(Arc::new(scope("read", "m:read i:read"))),
            Event::Scope(Arc::new(scope("write", "m:write"))),
            Event::Mapping(Arc::new(mapping)),
        ] {
            super::super::Clients::apply(&mut state, &event);
        }
        state
    }

    #[test]
    fn table() {
        let (state, c, p) = (state(), "c".parse().unwrap(), "p".parse().unwrap());
        let words = |text: &str| Ok(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let scope = |text: &str| Err(ExchangeError::Scope(text.to_owned()));
        for (requested, expected) in [
            (&["read"][..], words("i:read m:read")),
            (&["i:read"], words("i:read")),
            (&["x-api:admin", "read", "m:read"], words("i:read m:read x-api:admin")),
            (&[], words("i:read m:read x-api:admin")),
            (&["write"], scope("write")),
            (&["m:write"], scope("m:write")),
            (&["read", "admin"], scope("admin")),
        ] {
            assert_eq!(state.exchange(&c, &p, requested, Some("edcv")), expected, "{requested:?}");
        }
        assert_eq!(state.exchange(&c, &p, &["read"], Some("other")), Err(ExchangeError::Audience("other".to_owned())));
        assert!(state.exchange(&c, &p, &["read"], None).is_ok());
        assert_eq!(state.exchange(&c, &"q".parse().unwrap(), &["read"], None), Err(ExchangeError::NoMapping));
        assert_eq!(state.exchange(&"d".parse().unwrap(), &p, &["read"], None), Err(ExchangeError::NoMapping));
    }
}
