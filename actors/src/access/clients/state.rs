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
    mappings: RedBlackTreeMapSync<ClientId, MappingsOfClient>,
    mapping_count: usize,
    scopes: RedBlackTreeMapSync<String, Arc<ScopeMapping>>,
}

/// By participant context.
type MappingsOfClient = RedBlackTreeMapSync<ParticipantContextId, Arc<Mapping>>;

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
                let mut own = self.mappings.get(&mapping.client_identifier).cloned().unwrap_or_default();
                let before = own.size();
                own.insert_mut(mapping.participant_context.clone(), mapping.clone());
                self.mapping_count += own.size() - before;
                self.mappings.insert_mut(mapping.client_identifier.clone(), own);
            }
            Event::MappingDeleted(client, participant) => {
                let Some(mut own) = self.mappings.get(client).cloned() else { return };
                self.mapping_count -= usize::from(own.remove_mut(participant));
                if own.is_empty() {
                    self.mappings.remove_mut(client);
                } else {
                    self.mappings.insert_mut(client.clone(), own);
                }
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
        self.mappings.get(client)?.get(participant)
    }

    /// All mappings, by client and participant context.
    pub fn mappings(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.mappings.values().flat_map(|own| own.values())
    }

    /// The mappings of one client.
    pub fn mappings_of(&self, client: &ClientId) -> impl Iterator<Item = &Arc<Mapping>> {
        self.mappings.get(client).into_iter().flat_map(|own| own.values())
    }

    /// How many mappings there are.
    #[must_use]
    pub const fn mapping_count(&self) -> usize {
        self.mapping_count
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
