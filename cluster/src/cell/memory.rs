//! What nodes know of a slot beside the store, which goes where the slot goes.

use crate::{Opening, Slot, membership::Answer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Most bytes that one answer tells of all slots together.
pub(crate) const MOST_TOLD: usize = 4 << 20;

/// What a node knows of slots beside the store.
pub trait SlotMemory: Send + Sync + 'static {
    /// All that is known of a slot that has closed here, since this opening (or an earlier one); `None` when it is too much to be told.
    fn tell(&self, opening: Opening) -> Option<Box<RawValue>>;

    /// The slot opens here, with what the node has told that had it open last; `None` when that is not known. Nothing of the slot is asked for before.
    fn hear(&self, slot: Slot, told: Option<&RawValue>);
}

/// The answer to a question for a slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// How the node stands to it.
    pub answer: Answer,
    /// What it knows of it: when it has released it, and had it open until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Box<RawValue>>,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        Self { answer, memory: None }
    }
}

/// What was told of slots that are not open yet, with the view that took them from who told it.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<u16, (u64, Box<RawValue>)>);

impl Heard {
    pub(super) fn put(&mut self, slot: u16, since: u64, told: Box<RawValue>) {
        self.0.insert(slot, (since, told));
    }

    /// Of a slot that opens, which that view has taken from its last owner.
    pub(super) fn take(&mut self, slot: u16, since: Option<u64>) -> Option<Box<RawValue>> {
        self.0.remove(&slot).filter(|(told, _)| Some(*told) == since).map(|(_, told)| told)
    }
}
