//! Rows of participant contexts. Each API has rows of a kind of its own, which its agents put.

use super::{
    query::{self, DirectoryError},
    row::{Kind, NewRow},
};
use crate::Services;
use cellspace_cluster::Call;
use cellspace_schemas::{
    ParticipantContextId,
    fabric::{Page, Predicate},
};
use serde_json::Value;
use std::sync::Arc;

/// Member of a row's body with the participant context's id.
pub const ID: &str = "participantContextId";

/// Rows of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Contexts {
    /// Which.
    pub kind: Kind,
    /// The kind of agent that puts them.
    pub agent: &'static str,
}

impl Contexts {
    fn row(self, participant: &ParticipantContextId) -> NewRow {
        NewRow { kind: self.kind, id: participant.as_str().into(), holder: None, references: Vec::new() }
    }

    fn call(self, participant: &ParticipantContextId) -> Call {
        Call::by(format!("{}/{participant}", self.agent))
    }

    /// Takes the row before the participant context is made, so that nothing exists unlisted.
    ///
    /// # Errors
    /// [`DirectoryError`] when the shard cannot take it.
    pub async fn reserve(self, services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
        query::reserve(services, self.row(participant), &self.call(participant)).await
    }

    /// Puts a participant context into the directory.
    ///
    /// # Errors
    /// [`DirectoryError`] when the shard cannot take it.
    pub async fn put(self, services: &Services, participant: &ParticipantContextId, body: Value) -> Result<(), DirectoryError> {
        query::put(services, self.row(participant), 1, Arc::new(body), &self.call(participant)).await
    }

    /// Takes a participant context out of the directory.
    ///
    /// # Errors
    /// [`DirectoryError`] when the shard cannot take it.
    pub async fn remove(self, services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
        query::remove(services, self.row(participant), &self.call(participant)).await
    }

    /// One page of them, oldest first, and how many there are.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`] when the directory cannot be read.
    pub async fn ids(self, services: &Services, page: Page) -> Result<(Vec<ParticipantContextId>, usize), DirectoryError> {
        let found = query::query(services, self.kind, &Predicate::All, page).await?;
        let id = |body: &Arc<Value>| ParticipantContextId::new(body.get(ID)?.as_str()?).ok();
        Ok((found.bodies.iter().filter_map(id).collect(), found.total))
    }
}
