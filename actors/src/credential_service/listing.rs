//! Lists over all participant contexts (Identity API): the directory knows which there are, their agents what they have.

use super::{CredentialService, questions::Listed};
use crate::{
    Services,
    directory::{
        DirectoryError, Kind,
        contexts::{Contexts, ID},
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{Did, ParticipantContextId, fabric::Page};
use serde_json::{Value, json, value::RawValue};

/// Rows of participant contexts of the Identity API.
pub(super) const ROWS: Contexts = Contexts { kind: Kind::ParticipantContext, agent: "credential-service" };

/// What the directory says of a participant context.
pub(crate) fn body(participant: &ParticipantContextId, did: &Did) -> Value {
    json!({ID: participant, "did": did})
}

/// One page of the participant contexts, oldest first, each as it is listed; one that is on its way out is left out.
///
/// # Errors
/// [`DirectoryError::Unavailable`] when the directory or an agent cannot be read.
pub async fn contexts(services: &Services, page: Page, of: Listed) -> Result<Vec<Box<RawValue>>, DirectoryError> {
    let mut all = Vec::new();
    for id in ROWS.ids(services, page).await?.0 {
        all.extend(listed(services, &id, of).await?);
    }
    Ok(all)
}

/// One page of what all participant contexts have, oldest context first. The agents of the page and of those before it are asked, one after the other.
///
/// # Errors
/// As [`contexts`].
pub async fn things(services: &Services, page: Page, of: Listed) -> Result<Vec<Box<RawValue>>, DirectoryError> {
    let (mut skip, limit, mut found) = (page.offset as usize, page.limit as usize, Vec::new());
    let mut batch = Page::default();
    loop {
        let (ids, _) = ROWS.ids(services, batch).await?;
        for id in &ids {
            let all = listed(services, id, of).await?;
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

async fn listed(services: &Services, id: &ParticipantContextId, of: Listed) -> Result<Vec<Box<RawValue>>, DirectoryError> {
    match services.cluster.query_patiently::<CredentialService, _>(&Address::of::<CredentialService>(id), &of).await {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(Vec::new()),
        Err(error) => Err(DirectoryError::Unavailable(error.to_string())),
    }
}
