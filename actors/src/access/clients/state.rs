//! State of the agent, and the events that change it.

use super::{Client, Mapping, ScopeMapping};
use cellspace_cluster::RowOf;
use cellspace_schemas::{ClientId, ParticipantContextId};
use cellspace_storage::RowKey;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Clients at most.
pub const MAX_CLIENTS: usize = 200_000;
/// Mappings at most.
pub const MAX_MAPPINGS: usize = 500_000;
/// Scope mappings at most.
pub const MAX_SCOPE_MAPPINGS: usize = 1_000;

/// Clients, mappings and scope mappings.
#[derive(Debug, Clone, Default)]
pub struct ClientsState {
    clients: HashTrieMapSync<ClientId, Arc<Client>>,
    mappings: RedBlackTreeMapSync<(ClientId, ParticipantContextId), Arc<Mapping>>,
    scopes: RedBlackTreeMapSync<String, Arc<ScopeMapping>>,
}

/// A change: the new value of one row, or its removal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A client as it is now.
    Client(Arc<Client>),
    /// A client is gone.
    ClientDeleted(ClientId),
    /// A mapping as it is now.
    Mapping(Arc<Mapping>),
    /// A mapping is gone.
    MappingDeleted(ClientId, ParticipantContextId),
    /// A scope mapping as it is now.
    Scope(Arc<ScopeMapping>),
    /// A scope mapping is gone.
    ScopeDeleted(String),
}

impl Event {
    /// Its row.
    #[must_use]
    pub fn row(&self) -> RowOf {
        let client = |id: &ClientId| RowKey::new("client", id.as_str());
        // Identifiers hold no white space, so the space keeps the two apart.
        let mapping = |c: &ClientId, p: &ParticipantContextId| RowKey::new("mapping", &format!("{c} {p}"));
        let scope = |name: &str| RowKey::new("scope", name);
        match self {
            Self::Client(c) => RowOf::Put(client(&c.id)),
            Self::ClientDeleted(id) => RowOf::Delete(client(id)),
            Self::Mapping(m) => RowOf::Put(mapping(&m.client_identifier, &m.participant_context)),
            Self::MappingDeleted(c, p) => RowOf::Delete(mapping(c, p)),
            Self::Scope(s) => RowOf::Put(scope(&s.scope)),
            Self::ScopeDeleted(name) => RowOf::Delete(scope(name)),
        }
    }
}

impl ClientsState {
    /// Folds an event in.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Client(client) => self.clients.insert_mut(client.id.clone(), client.clone()),
            Event::ClientDeleted(id) => {
                self.clients.remove_mut(id);
            }
            Event::Mapping(mapping) => {
                let key = (mapping.client_identifier.clone(), mapping.participant_context.clone());
                self.mappings.insert_mut(key, mapping.clone());
            }
            Event::MappingDeleted(client, participant) => {
                self.mappings.remove_mut(&(client.clone(), participant.clone()));
            }
            Event::Scope(scope) => self.scopes.insert_mut(scope.scope.clone(), scope.clone()),
            Event::ScopeDeleted(name) => {
                self.scopes.remove_mut(name);
            }
        }
    }

    /// A client.
    #[must_use]
    pub fn client(&self, id: &ClientId) -> Option<&Arc<Client>> {
        self.clients.get(id)
    }

    /// All clients, in no order.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.values()
    }

    /// How many clients there are.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.size()
    }

    /// A mapping.
    #[must_use]
    pub fn mapping(&self, client: &ClientId, participant: &ParticipantContextId) -> Option<&Arc<Mapping>> {
        self.mappings.get(&(client.clone(), participant.clone()))
    }

    /// All mappings, by client and participant context.
    pub fn mappings(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.mappings.values()
    }

    /// The mappings of one client.
    pub fn mappings_of<'a>(&'a self, client: &'a ClientId) -> impl Iterator<Item = &'a Arc<Mapping>> {
        self.mappings.values().filter(move |mapping| mapping.client_identifier == *client)
    }

    /// How many mappings there are.
    #[must_use]
    pub fn mapping_count(&self) -> usize {
        self.mappings.size()
    }

    /// A scope mapping.
    #[must_use]
    pub fn scope(&self, name: &str) -> Option<&Arc<ScopeMapping>> {
        self.scopes.get(name)
    }

    /// All scope mappings, by name.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<ScopeMapping>> {
        self.scopes.values()
    }

    /// How many scope mappings there are.
    #[must_use]
    pub fn scope_count(&self) -> usize {
        self.scopes.size()
    }
}
