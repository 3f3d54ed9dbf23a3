//! Values in the vault that rows name: each in a record of its own that is never written again, so that a commit names the new one wholly or not at all.
//!
//! A value is in the vault before the commit that names it. What no commit names is removed again; only a crash between the two, or a store that does not
//! say what became of the commit, leaves a record behind, which goes with the owner's folder.

use cellspace_cluster::{Call, DeliveryError, PrepareError};
use cellspace_schemas::{KeyAlias, Owner};
use cellspace_storage::{Secret, Vault, VaultPath};
use std::{fmt, sync::Arc};
use tokio::runtime::Handle;
use uuid::Uuid;

/// Puts the value into a new record in this part of the owner's folder, from which it is removed should the call not be executed.
///
/// # Errors
/// The vault is out of reach.
pub async fn keep<R>(vault: &Arc<dyn Vault>, owner: &Owner, part: &str, value: &str, call: &Call) -> Result<KeyAlias, PrepareError<R>> {
    let unavailable = |e: &dyn fmt::Display| PrepareError::Unavailable(format!("the secret cannot be stored: {e}"));
    let record = KeyAlias::new(format!("{part}{}", Uuid::new_v4())).map_err(|e| unavailable(&e))?;
    let path = VaultPath { owner: owner.clone(), alias: record.clone() };
    let (removed, at) = (vault.clone(), path.clone());
    call.undo.by(move || {
        // Without a runtime the node has ended.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = removed.delete(&at).await {
                    tracing::warn!(category = "app", owner = %at.owner, record = %at.alias, %error, "a record that nothing names is left in the vault");
                }
            });
        }
    });
    let (vault, undo, value) = (vault.clone(), call.undo.clone(), Secret::from(value));
    // Goes on when its caller gives up: what is removed then must be there by then.
    let put = tokio::spawn(async move {
        let put = vault.put_secret(&path, value).await;
        drop(undo);
        put
    });
    put.await.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
    Ok(record)
}

/// Removes a record that nothing names any longer; may be repeated.
///
/// # Errors
/// When it has to be tried again.
pub async fn forget(vault: &dyn Vault, owner: &Owner, record: &KeyAlias) -> Result<(), DeliveryError> {
    let path = VaultPath { owner: owner.clone(), alias: record.clone() };
    vault.delete(&path).await.map_err(|e| DeliveryError::Retry(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::TestVault;
    use cellspace_schemas::ParticipantContextId;
    use std::convert::Infallible;

    /// Whatever becomes of a command that is not executed, its record goes, and no other one does.
    #[tokio::test]
    async fn what_no_commit_names_is_removed_again() {
        let vault: Arc<dyn Vault> = Arc::new(TestVault::default());
        let owner = Owner::from(&ParticipantContextId::new("acme").unwrap());
        let call = Call::by("test");
        let other = Call::by("test");
        let record = keep::<Infallible>(&vault, &owner, "part/", "s3cret", &call).await.unwrap();
        let kept = keep::<Infallible>(&vault, &owner, "part/", "s3cret", &other).await.unwrap();
        assert!(record.as_str().starts_with("part/") && record != kept);
        let at = |alias: &KeyAlias| VaultPath { owner: owner.clone(), alias: alias.clone() };
        let waiting = call.clone();
        drop(call);
        tokio::task::yield_now().await;
        assert!(vault.secret(&at(&record)).await.is_ok(), "it may still be executed");
        drop(waiting);
        while vault.secret(&at(&record)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(vault.secret(&at(&kept)).await.is_ok());
    }
}
