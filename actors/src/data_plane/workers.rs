//! What the node's data workers share.

use super::{Admission, meter::Meter, signing_key::SigningKey};
use cellspace_storage::{Vault, VaultError};
use std::{sync::Arc, time::Duration};
use tokio::{sync::OnceCell, time::Instant};
use tokio_util::task::TaskTracker;

/// Shared by all responses that stream on this node.
#[derive(Debug, Default)]
pub struct Workers {
    /// Places for responses.
    pub admission: Arc<Admission>,
    /// What went through flows and is not told yet.
    pub meter: Arc<Meter>,
    /// Responses that stream.
    pub streams: TaskTracker,
    key: OnceCell<SigningKey>,
}

impl Workers {
    /// The installation's key of access tokens; made in the vault when it is first asked for.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn signing_key(&self, vault: &dyn Vault) -> Result<&SigningKey, VaultError> {
        self.key.get_or_try_init(|| SigningKey::open(vault)).await
    }

    /// Waits until responses have ended, whose clients are gone, and then until all that went through them is told; at most so long, half of it
    /// for the responses. For the end of the process, while agents still take commands.
    pub async fn drain(&self, limit: Duration) {
        let end = Instant::now() + limit;
        self.streams.close();
        if tokio::time::timeout(limit / 2, self.streams.wait()).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on responses that did not end in time");
        }
        self.meter.flush(end.duration_since(Instant::now())).await;
    }
}
