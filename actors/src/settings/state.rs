//! The settings as the agent keeps them.

use super::{CelExpression, DataspaceProfile, DcpScope, Settings};
use cellspace_cluster::RowOf;
use cellspace_schemas::ProfileId;
use cellspace_storage::RowKey;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is stored.
#[derive(Debug, Clone, Default)]
pub struct SettingsState {
    /// Raised by every change; never falls, not even when something is removed.
    pub version: u64,
    /// Expressions by id.
    pub expressions: RedBlackTreeMapSync<String, Arc<CelExpression>>,
    /// Scopes by id.
    pub scopes: RedBlackTreeMapSync<String, Arc<DcpScope>>,
    /// Profiles by name, the default one only after it was changed.
    pub profiles: RedBlackTreeMapSync<ProfileId, Arc<DataspaceProfile>>,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The expression as it now is.
    Expression(Arc<CelExpression>),
    /// The expression is gone.
    ExpressionDeleted(String),
    /// The scope as it now is.
    Scope(Arc<DcpScope>),
    /// The scope is gone.
    ScopeDeleted(String),
    /// The profile as it now is.
    Profile(Arc<DataspaceProfile>),
    /// The profile is gone.
    ProfileDeleted(ProfileId),
    /// The version that came with the change.
    Version(u64),
}

impl Event {
    /// Which row the event writes.
    #[must_use]
    pub fn row(&self) -> RowOf {
        match self {
            Self::Expression(e) => RowOf::Put(RowKey::new("expression", &e.id)),
            Self::ExpressionDeleted(id) => RowOf::Delete(RowKey::new("expression", id)),
            Self::Scope(s) => RowOf::Put(RowKey::new("scope", &s.id)),
            Self::ScopeDeleted(id) => RowOf::Delete(RowKey::new("scope", id)),
            Self::Profile(p) => RowOf::Put(RowKey::new("profile", p.name.as_str())),
            Self::ProfileDeleted(name) => RowOf::Delete(RowKey::new("profile", name.as_str())),
            Self::Version(_) => RowOf::Put(RowKey::new("version", "")),
        }
    }
}

impl SettingsState {
    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Expression(e) => self.expressions.insert_mut(e.id.clone(), e.clone()),
            Event::ExpressionDeleted(id) => {
                self.expressions.remove_mut(id);
            }
            Event::Scope(s) => self.scopes.insert_mut(s.id.clone(), s.clone()),
            Event::ScopeDeleted(id) => {
                self.scopes.remove_mut(id);
            }
            Event::Profile(p) => self.profiles.insert_mut(p.name.clone(), p.clone()),
            Event::ProfileDeleted(name) => {
                self.profiles.remove_mut(name);
            }
            Event::Version(version) => self.version = *version,
        }
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> Vec<Event> {
        let expressions = self.expressions.values().cloned().map(Event::Expression);
        let scopes = self.scopes.values().cloned().map(Event::Scope);
        let profiles = self.profiles.values().cloned().map(Event::Profile);
        expressions.chain(scopes).chain(profiles).chain([Event::Version(self.version)]).collect()
    }

    /// The settings as everything else uses them.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::new(
            self.version,
            self.expressions.iter().map(|(id, e)| (id.clone(), CelExpression::clone(e))).collect(),
            self.scopes.iter().map(|(id, s)| (id.clone(), DcpScope::clone(s))).collect(),
            self.profiles.iter().map(|(name, p)| (name.clone(), DataspaceProfile::clone(p))).collect(),
        )
    }
}
