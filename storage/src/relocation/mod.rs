//! Relocation: an owner's partitions go from one cell of an installation to another.

pub mod copying;
pub mod course;
mod home;
mod seal;

pub use course::{Ahead, Seen, Side, Standing, Step, Want, decide};
pub use home::{CellName, Home, Homes, Phase};
pub use seal::Seal;

use crate::{PartitionKey, StoreError};
use futures::future::BoxFuture;

/// What a relocation does with partitions in the store of one cell. Each names what it was decided on, and does nothing when that does not hold any more.
pub trait Movable: Send + Sync + 'static {
    /// How the partition stands there.
    fn standing<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<Standing, StoreError>>;

    /// Puts a seal for this version over whatever the partition has: every activation that there is or will be is fenced.
    fn seal<'a>(&'a self, partition: &'a PartitionKey, version: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes this seal off.
    fn unseal<'a>(&'a self, partition: &'a PartitionKey, seal: Seal) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Removes what the partition holds under this seal, in whose place another one stays: who copies under the old one copies nothing more.
    fn clear<'a>(&'a self, partition: &'a PartitionKey, seal: Seal) -> BoxFuture<'a, Result<(), StoreError>>;
}
