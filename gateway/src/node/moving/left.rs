//! Cells of which every node is gone. What they have is in the database that all cells share, so that nodes of others may do for them what is left to do.

use super::{Mover, Waits, told};
use cellspace_storage::CellName;

impl Mover<'_> {
    /// Events of the cell's commits are on their way to the log. Its nodes bring them there; where none is left, this one does.
    pub(super) async fn events(&self, cell: &CellName, version: u64) -> Result<(), Waits> {
        if !self.is_left(cell, version).await? {
            return Err(format!("events of commits in cell {cell} are on their way to the log"));
        }
        for partition in self.partitions() {
            self.cells.publish(cell, &partition).await.map_err(told)?;
        }
        Ok(())
    }

    /// Whether every node of the cell is gone: none is reached, and the lease of each is over.
    async fn is_left(&self, cell: &CellName, version: u64) -> Result<bool, Waits> {
        if cell == self.elsewhere.own() && self.is_member {
            return Ok(false);
        }
        let members = self.present(cell).await?;
        let silent = self.silent(&members, version).await;
        Ok(silent.len() == members.len() && self.first_alive(cell, &silent).await?.is_none())
    }
}
