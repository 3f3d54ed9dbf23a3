//! What the turn under way will write.

use crate::{About, Happening, Undo, codec::CodecError, idempotency::StoredReply};
use cellspace_schemas::TraceContext;
use cellspace_storage::{Publication, RowChange, RowKey};
use serde::Serialize;
use std::collections::HashMap;

/// One line of the audit row.
#[derive(Debug, Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) action: &'static str,
    pub(crate) actor: String,
    #[serde(flatten)]
    pub(crate) about: About,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceContext>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) happened: Vec<Happening>,
}

#[derive(Default)]
pub(crate) struct Plan {
    rows: Vec<RowChange>,
    /// Where each row stands in `rows`, so that a row changed twice is written once.
    places: HashMap<RowKey, usize>,
    facts: Vec<Publication>,
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) replies: Vec<StoredReply>,
    /// Of the commands that changed something.
    pub(crate) undo: Vec<Undo>,
    /// Outbox rows aside for which there was no room.
    pub(crate) left_out: u64,
    /// Bytes so far, rows and facts.
    pub(crate) bytes: usize,
    n: u32,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.facts.is_empty()
    }

    /// The next number within the commit.
    pub(crate) fn number(&mut self) -> u32 {
        let n = self.n;
        self.n += 1;
        n
    }

    pub(crate) fn put(&mut self, key: RowKey, value: Result<bytes::Bytes, CodecError>) -> Result<(), CodecError> {
        let value = value?;
        self.bytes += key.as_bytes().len() + value.len();
        self.write(RowChange::Put(key, value));
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: RowKey) {
        self.write(RowChange::Delete(key));
    }

    /// Deletes the row unless this turn has written it.
    pub(crate) fn delete_unless_written(&mut self, key: RowKey) {
        if !self.places.contains_key(&key) {
            self.write(RowChange::Delete(key));
        }
    }

    pub(crate) fn publish(&mut self, fact: Publication) {
        self.bytes += fact.payload.len();
        self.facts.push(fact);
    }

    /// The rows and the facts, once.
    pub(crate) fn take(&mut self) -> (Vec<RowChange>, Vec<Publication>) {
        self.places.clear();
        (std::mem::take(&mut self.rows), std::mem::take(&mut self.facts))
    }

    fn write(&mut self, change: RowChange) {
        let key = change.key();
        match self.places.get(key).and_then(|place| self.rows.get_mut(*place)) {
            Some(earlier) => *earlier = change,
            None => {
                self.places.insert(key.clone(), self.rows.len());
                self.rows.push(change);
            }
        }
    }
}
