//! What went through flows: the facts to bill by.

use super::state::DataPlaneState;
use crate::fabric::topics::USAGE;
use cellspace_cluster::Fact;
use cellspace_schemas::{ParticipantContextId, Timestamp, TransferId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// `CloudEvents` type of the facts.
pub const KIND: &str = "org.cellspace.usage.data";
/// Flows of one batch at most.
pub const MAX_BATCH: usize = 256;
/// Senders whose last batch is remembered; who was silent longest is forgotten for a newer one.
pub const MAX_SENDERS: usize = 64;

/// Responses and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Responses that ended, whole or cut.
    pub responses: u64,
    /// Bytes of bodies that were handed on, also of responses that still go on.
    pub bytes: u64,
}

impl Amount {
    /// Both together; saturates.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self { responses: self.responses.saturating_add(more.responses), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

/// What a node tells at once. A sender tells a participant's batches one after the other, so that one mark per sender knows repeats, whatever
/// flows they name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Who tells: a run of a node.
    pub sender: Uuid,
    /// Grows with every batch of the sender; that of a repeat is the same.
    pub counter: u64,
    /// By flow, at most [`MAX_BATCH`].
    pub amounts: BTreeMap<TransferId, Amount>,
}

/// The last batch of a sender that is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its counter.
    pub counter: u64,
    /// When it was counted in.
    pub at: Timestamp,
}

/// Whether the batch is counted in already.
#[must_use]
pub fn is_counted(state: &DataPlaneState, batch: &Batch) -> bool {
    state.marks.get(&batch.sender).is_some_and(|mark| mark.counter >= batch.counter)
}

/// The sender whose mark makes room for that of `sender`, when there is none left.
#[must_use]
pub fn displaced(state: &DataPlaneState, sender: Uuid) -> Option<Uuid> {
    if state.marks.size() < MAX_SENDERS || state.marks.contains_key(&sender) {
        return None;
    }
    state.marks.iter().min_by_key(|(sender, mark)| (mark.at, **sender)).map(|(sender, _)| *sender)
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
    Fact { topic: USAGE.into(), key: participant.to_string(), kind: KIND, data }
}
