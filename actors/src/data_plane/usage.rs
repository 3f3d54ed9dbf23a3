//! What went through flows: the facts to bill by.

use super::state::DataPlaneState;
use cellspace_cluster::Fact;
use cellspace_schemas::{ParticipantContextId, TransferId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Topic of the facts.
pub const TOPIC: &str = "usage";
/// `CloudEvents` type of the facts.
pub const KIND: &str = "org.cellspace.usage.data";
/// Flows of one batch at most.
pub const MAX_BATCH: usize = 256;

/// Responses and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Responses that ended, whole or cut.
    pub responses: u64,
    /// Bytes of their bodies that were handed on.
    pub bytes: u64,
}

impl Amount {
    /// Both together; saturates.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self { responses: self.responses.saturating_add(more.responses), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

/// What went through one flow so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All of it.
    pub total: Amount,
    /// The last batch that is counted in.
    pub batch: Uuid,
}

/// What ended on one node since its last batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id: a repeat is not counted twice.
    pub id: Uuid,
    /// By flow, at most [`MAX_BATCH`].
    pub amounts: BTreeMap<TransferId, Amount>,
}

/// The flow's new total, unless the batch is counted in already.
#[must_use]
pub fn counted(state: &DataPlaneState, flow: &TransferId, batch: Uuid, amount: Amount) -> Option<Usage> {
    let before = state.usage.get(flow);
    if before.is_some_and(|usage| usage.batch == batch) {
        return None;
    }
    Some(Usage { total: before.map(|usage| usage.total).unwrap_or_default().plus(amount), batch })
}

/// The fact that this amount went through the flow.
#[must_use]
pub fn fact(participant: &ParticipantContextId, state: &DataPlaneState, flow: &TransferId, amount: Amount) -> Fact {
    let terms = state.flows.get(flow).map(|flow| &flow.terms);
    let data = json!({
        "participantContextId": participant,
        "dataFlowId": flow,
        "agreementId": terms.map(|t| &t.agreement),
        "datasetId": terms.map(|t| &t.dataset),
        "counterPartyId": terms.map(|t| &t.counter_party),
        "responses": amount.responses,
        "bytes": amount.bytes,
    });
    Fact { topic: TOPIC.into(), key: participant.to_string(), kind: KIND, data }
}
