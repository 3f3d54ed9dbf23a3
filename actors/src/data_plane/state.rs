//! State of a data plane in memory; a clone is the published snapshot and costs O(1).

use super::{
    flow::Flow,
    source::Source,
    usage::{Amount, Mark},
};
use crate::records::{self, Notes};
use cellspace_cluster::RowOf;
use cellspace_schemas::{KeyAlias, SourceName, Timestamp, TransferId};
use cellspace_storage::RowKey;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// Everything one data plane knows.
#[derive(Debug, Clone, Default)]
pub struct DataPlaneState {
    /// The tenant of the participant, as its context said when something was last begun.
    pub tenant: Option<Arc<str>>,
    /// Whether its participant is gone for good: nothing begins any more.
    pub disposed: bool,
    /// Where data comes from.
    pub sources: HashTrieMapSync<SourceName, Arc<Source>>,
    /// Secrets of the sources: from their alias to the vault's present record.
    pub secrets: HashTrieMapSync<KeyAlias, KeyAlias>,
    /// Data flows.
    pub flows: HashTrieMapSync<TransferId, Arc<Flow>>,
    /// Flows in a final state, by the time of their end.
    pub finished: RedBlackTreeSetSync<(Timestamp, TransferId)>,
    /// What went through each flow.
    pub usage: HashTrieMapSync<TransferId, Amount>,
    /// The last batch of usage of each sender.
    pub marks: HashTrieMapSync<Uuid, Mark>,
    /// Records in the vault that nothing here names.
    pub notes: Notes,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The participant's tenant as it now is.
    TenantSet(Option<Arc<str>>),
    /// The participant is gone for good.
    Disposed,
    /// A source as it now is.
    SourceSet(SourceName, Arc<Source>),
    /// A source is gone.
    SourceRemoved(SourceName),
    /// A secret's present record.
    SecretSet {
        /// Its alias.
        alias: KeyAlias,
        /// The vault's record.
        record: KeyAlias,
    },
    /// A secret is gone.
    SecretRemoved(KeyAlias),
    /// A flow as it now is.
    FlowSet(Arc<Flow>),
    /// A flow that ended long ago is forgotten.
    FlowForgotten(TransferId),
    /// What went through a flow so far.
    UsageSet(TransferId, Amount),
    /// What went through a forgotten flow is forgotten.
    UsageForgotten(TransferId),
    /// The last batch of a sender that is counted in.
    MarkSet(Uuid, Mark),
    /// A sender that was silent long is forgotten.
    MarkForgotten(Uuid),
    /// A record in the vault that nothing here names.
    Record(records::Event),
}

impl DataPlaneState {
    /// Flows that are not in a final state.
    #[must_use]
    pub fn open_flows(&self) -> usize {
        self.flows.size().saturating_sub(self.finished.size())
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::TenantSet(tenant) => self.tenant.clone_from(tenant),
            Event::Disposed => self.disposed = true,
            Event::SourceSet(name, source) => self.sources.insert_mut(name.clone(), source.clone()),
            Event::SourceRemoved(name) => {
                self.sources.remove_mut(name);
            }
            Event::SecretSet { alias, record } => self.secrets.insert_mut(alias.clone(), record.clone()),
            Event::SecretRemoved(alias) => {
                self.secrets.remove_mut(alias);
            }
            Event::FlowSet(flow) => {
                if flow.state.is_final() {
                    self.finished.insert_mut((flow.updated_at, flow.id.clone()));
                }
                self.flows.insert_mut(flow.id.clone(), flow.clone());
            }
            Event::FlowForgotten(id) => {
                if let Some(flow) = self.flows.get(id).cloned() {
                    self.finished.remove_mut(&(flow.updated_at, flow.id.clone()));
                    self.flows.remove_mut(id);
                }
            }
            Event::UsageSet(flow, usage) => self.usage.insert_mut(flow.clone(), *usage),
            Event::UsageForgotten(flow) => {
                self.usage.remove_mut(flow);
            }
            Event::MarkSet(sender, mark) => self.marks.insert_mut(*sender, *mark),
            Event::MarkForgotten(sender) => {
                self.marks.remove_mut(sender);
            }
            Event::Record(event) => self.notes.apply(event),
        }
    }
}

impl Event {
    /// Which row it writes.
    #[must_use]
    pub fn row(&self) -> RowOf {
        let put = |table, id: &str| RowOf::Put(RowKey::new(table, id));
        let delete = |table, id: &str| RowOf::Delete(RowKey::new(table, id));
        match self {
            Self::TenantSet(_) => put("tenant", ""),
            Self::Disposed => put("disposed", ""),
            Self::SourceSet(name, _) => put("source", name.as_str()),
            Self::SourceRemoved(name) => delete("source", name.as_str()),
            Self::SecretSet { alias, .. } => put("secret", alias.as_str()),
            Self::SecretRemoved(alias) => delete("secret", alias.as_str()),
            Self::FlowSet(flow) => put("flow", flow.id.as_str()),
            Self::FlowForgotten(id) => delete("flow", id.as_str()),
            Self::UsageSet(flow, _) => put("usage", flow.as_str()),
            Self::UsageForgotten(flow) => delete("usage", flow.as_str()),
            Self::MarkSet(sender, _) => put("mark", &sender.to_string()),
            Self::MarkForgotten(sender) => delete("mark", &sender.to_string()),
            Self::Record(event) => records::row(event),
        }
    }
}
