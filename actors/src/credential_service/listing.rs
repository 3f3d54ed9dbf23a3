//! Lists over all participant contexts (Identity API): the directory knows which there are, their agents what they have.

use super::{CredentialService, State};
use crate::{
    Services,
    directory::{
        DirectoryError, Kind,
        contexts::{Contexts, ID},
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{Did, ParticipantContextId, fabric::Page};
use serde_json::{Value, json};

/// Rows of participant contexts of the Identity API.
pub(super) const ROWS: Contexts = Contexts { kind: Kind::ParticipantContext, agent: "credential-service" };

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId, did: &Did) -> Value {
    json!({ID: participant, "did": did})
}

/// One page of the participant contexts, oldest first, each as `of` shows it; one that is on its way out is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory or an agent cannot be read.
pub async fn contexts<T>(services: &Services, page: Page, of: impl Fn(&State) -> Option<T>) -> Result<Vec<T>, DirectoryError> {
    let mut all = Vec::new();
    for id in ROWS.ids(services, page).await?.0 {
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
        let (ids, _) = ROWS.ids(services, batch).await?;
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

async fn read<T>(services: &Services, id: &ParticipantContextId, of: impl Fn(&State) -> T) -> Result<Option<T>, DirectoryError> {
    match services.cluster.read::<CredentialService, _>(&Address::of::<CredentialService>(id), of).await {
        Ok(found) => Ok(Some(found)),
        Err(AskError::NotRegistered) => Ok(None),
        Err(error) => Err(DirectoryError::Unavailable(error.to_string())),
    }
}
