//! Outbox rows that were given up: kept with the reason, at most so many per agent, the oldest going first; of those aside none takes the place of another.

use crate::{AdminError, Agent, OutboxId};
use cellspace_schemas::{Timestamp, TraceContext};
use cellspace_storage::{APART, RowKey};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Table that holds which letters there are, in one row: activations read this, and not the letters.
pub(crate) const LETTER_LIST: &str = "~dead";
/// Letters kept per agent.
pub(crate) const KEPT_LETTERS: usize = 100;
/// Longest reason kept, in characters.
const MAX_REASON: usize = 1_000;

/// Table of the letters themselves.
pub(crate) fn letters_table() -> String {
    format!("{APART}dead")
}

pub(crate) fn letter_key(id: OutboxId) -> RowKey {
    RowKey::new(&letters_table(), &id.to_string())
}

pub(crate) fn list_key() -> RowKey {
    RowKey::new(LETTER_LIST, "list")
}

/// Body of the list's row, oldest first.
pub(crate) type LetterList = VecDeque<OutboxId>;

/// Body of a dead letter.
#[derive(Serialize, Deserialize)]
pub(crate) struct Letter<E> {
    pub(crate) lane: String,
    pub(crate) message: Uuid,
    /// When it was given up.
    pub(crate) at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) reason: String,
    /// Whether something secret was left out of the effect: it cannot be sent again.
    pub(crate) redacted: bool,
    pub(crate) effect: E,
}

pub(crate) fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

/// What an operator does about a letter.
pub(crate) struct Redress<A: Agent> {
    pub(crate) id: OutboxId,
    /// The letter, when it is to be sent again; else it is thrown away.
    pub(crate) again: Option<(Letter<A::Effect>, Option<TraceContext>)>,
    pub(crate) actor: String,
    pub(crate) done: oneshot::Sender<Result<(), AdminError>>,
}
