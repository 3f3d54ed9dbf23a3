//! Lists over all participant contexts (Identity API): the directory knows which there are, their agents what they have.

use super::{CredentialService, State};
use crate::{
    Services,
    directory::{self, DirectoryError, Kind, NewRow},
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::{
    Did, ParticipantContextId,
    fabric::{Page, Predicate},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Member of a directory row with the participant context's id.
const ID: &str = "participantContextId";

fn row(participant: &ParticipantContextId) -> NewRow {
    NewRow { kind: Kind::ParticipantContext, id: participant.as_str().into(), holder: None, references: Vec::new() }
}

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId, did: &Did) -> Value {
    json!({ID: participant, "did": did})
}

fn call(participant: &ParticipantContextId) -> Call {
    Call::by(format!("credential-service/{participant}"))
}

/// Takes the row before the participant context is made, so that nothing exists unlisted.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn reserve(services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
    directory::reserve(services, row(participant), &call(participant)).await
}

/// Puts a participant context into the directory.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn enlist(services: &Services, participant: &ParticipantContextId, did: &Did) -> Result<(), DirectoryError> {
    directory::put(services, row(participant), 1, Arc::new(body(participant, did)), &call(participant)).await
}

/// Takes a participant context out of the directory.
///
/// # Errors
/// [`DirectoryError`] when the shard cannot take it.
pub async fn delist(services: &Services, participant: &ParticipantContextId) -> Result<(), DirectoryError> {
    directory::remove(services, row(participant), &call(participant)).await
}

/// One page of the participant contexts, oldest first, each as `of` shows it; one that is on its way out is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory or an agent cannot be read.
pub async fn contexts<T>(services: &Services, page: Page, of: impl Fn(&State) -> Option<T>) -> Result<Vec<T>, DirectoryError> {
    let mut all = Vec::new();
    for id in ids(services, page).await? {
        all.extend(read(services, &id, &of).await?.flatten());
    }
    Ok(all)
}

/// One page of what all participant contexts have, oldest context first: `of` says what one has. The agents of the page and of those before it
/// are asked, one after the other.
///
/// # Errors
/// As [`contexts`].
pub async fn things<T>(services: &Services, page: Page, of: impl Fn(&State) -> Vec<T>) -> Result<Vec<T>, DirectoryError> {
    let (mut skip, limit, mut found) = (page.offset as usize, page.limit as usize, Vec::new());
    let mut batch = Page::default();
    loop {
        let ids = ids(services, batch).await?;
        for id in &ids {
            let all = read(services, id, &of).await?.unwrap_or_default();
            let passed = skip.min(all.len());
            skip -= passed;
            found.extend(all.into_iter().skip(passed).take(limit - found.len()));
            if found.len() == limit {
                return Ok(found);
            }
        }
        if ids.len() < batch.limit as usize {
            return Ok(found);
        }
        batch.offset += batch.limit;
    }
}

async fn ids(services: &Services, page: Page) -> Result<Vec<ParticipantContextId>, DirectoryError> {
    let found = directory::query(services, Kind::ParticipantContext, &Predicate::All, page).await?;
    let id = |body: &Arc<Value>| ParticipantContextId::new(body.get(ID)?.as_str()?).ok();
    Ok(found.bodies.iter().filter_map(id).collect())
}

async fn read<T>(services: &Services, id: &ParticipantContextId, of: impl Fn(&State) -> T) -> Result<Option<T>, DirectoryError> {
    match services.cluster.read::<CredentialService, _>(&Address::of::<CredentialService>(id), of).await {
        Ok(found) => Ok(Some(found)),
        Err(AskError::NotRegistered) => Ok(None),
        Err(error) => Err(DirectoryError::Unavailable(error.to_string())),
    }
}
