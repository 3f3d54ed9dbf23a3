//! The end of a participant's secrets: they go when neither the Identity nor the Management API has a participant context of its id.
//!
//! Each of the two asks after the commit that removed its own, so that the later one finds both gone. What the deleted participant still ends with
//! its counterparties and data planes needs its secrets, so that they go after that.

use super::CredentialService;
use crate::{
    Services,
    control_plane::{ControlPlane, ControlPlaneState},
};
use cellspace_cluster::{Address, AskError, DeliveryError, RetryPolicy};
use cellspace_schemas::Owner;
use std::time::Duration;

/// What is left behind by a participant context is worked on for most of a day before it is a dead letter; what is to leave the vault is
/// then begun again.
pub const RETRY: RetryPolicy =
    RetryPolicy { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(60), attempts: 1_000 };

/// Removes everything that the vault keeps for the owner, unless a participant context of that id is left.
///
/// # Errors
/// When it has to be tried again.
pub async fn delete_unless_used(services: &Services, owner: &Owner) -> Result<(), DeliveryError> {
    let (identity, management) = (Address::of::<CredentialService>(owner.clone()), Address::of::<ControlPlane>(owner.clone()));
    let identity = services.cluster.read::<CredentialService, _>(&identity, |state| state.context.is_some()).await;
    let of_management = |state: &ControlPlaneState| (state.participant.is_some(), !state.is_at_rest());
    let (there, ending) = found(services.cluster.read::<ControlPlane, _>(&management, of_management).await)?;
    if there || found(identity)? {
        return Ok(());
    }
    if ending {
        return Err(DeliveryError::Retry("the participant still ends what it has with others".to_owned()));
    }
    services.vault.delete_folder(owner, "").await.map_err(|e| DeliveryError::Retry(e.to_string()))
}

fn found<T: Default, R: std::error::Error>(found: Result<T, AskError<R>>) -> Result<T, DeliveryError> {
    match found {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(T::default()),
        Err(error) => Err(DeliveryError::Retry(error.to_string())),
    }
}
