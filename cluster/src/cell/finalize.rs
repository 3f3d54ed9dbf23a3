//! An upgrade of a cell ends: the level at which its members write rows is raised to what all of them read by now.

use super::Cell;
use crate::{
    NodeName,
    membership::{behind, finalized},
};
use cellspace_storage::{StoreError, Swap};

/// So often the view may change in between.
const TRIES: usize = 8;

/// What became of raising the level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalized {
    /// The level at which rows are written now.
    pub level: u16,
    /// Whether that is higher than it was.
    pub raised: bool,
    /// Who reads less than another member: the level is what these read, until they run a newer build or are no members any more.
    pub behind: Vec<NodeName>,
}

impl Cell {
    /// Raises the level at which rows are written to the highest that all members read, and that this process reads. Nobody of an earlier build becomes a member after
    /// that, and nothing lowers it again.
    ///
    /// # Errors
    /// [`StoreError`] when the rows of the membership cannot be read, or changed again and again; some change may have taken place.
    pub async fn finalize(&self) -> Result<Finalized, StoreError> {
        let unavailable = |reason: &str| StoreError::Unavailable(reason.to_owned());
        let unread = || unavailable("the membership cannot be read");
        let mut before = None;
        for _ in 0..TRIES {
            let view = self.read(self.options.membership.view()).await.ok_or_else(unread)?;
            let view = view.ok_or_else(|| unavailable("the cell has no members yet"))?;
            let leases = self.read(self.options.membership.leases()).await.ok_or_else(unread)?;
            let before = *before.get_or_insert(view.format);
            let Some(next) = finalized(&view, &leases) else {
                let behind = behind(&view, &leases).into_iter().collect();
                return Ok(Finalized { level: view.format, raised: view.format > before, behind });
            };
            // Its own life would be over with it.
            if next.format > self.reads() {
                return Ok(Finalized { level: view.format, raised: view.format > before, behind: vec![self.options.node.clone()] });
            }
            // Whatever became of it is seen by the next look.
            if self.swap(self.options.membership.change_view(next.clone())).await == Swap::Applied {
                tracing::info!(category = "app", version = next.version, level = next.format, "the level of rows was raised");
                self.shown(next.clone()).map_err(|ended| StoreError::Unavailable(ended.to_string()))?;
                self.show(&next).await;
            }
        }
        Err(unavailable("the membership changes again and again"))
    }
}
