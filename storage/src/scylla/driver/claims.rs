//! Claims of this process: what each activation may write next. The fence itself is in the database; this saves a look at it before each commit.

use super::heads::Position;
use crate::{Epoch, PartitionKey, Seq};
use parking_lot::Mutex;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<PartitionKey, Held>>);

#[derive(Debug)]
struct Held {
    epoch: Epoch,
    /// The generation that is read.
    generation: i32,
    /// `None` while a commit is under way, and after one that failed: then nothing more is written under this claim.
    at: Option<Position>,
}

impl Claims {
    /// Opens the partition for the claim's commits, unless a newer claim is there.
    pub(super) fn hold(&self, partition: &PartitionKey, epoch: Epoch, at: Position) {
        let mut claims = self.0.lock();
        if claims.get(partition).is_none_or(|held| held.epoch < epoch) {
            claims.insert(partition.clone(), Held { epoch, generation: at.rows.number, at: Some(at) });
        }
    }

    /// Takes the right to commit this seq; [`Claims::put`] gives back the right to the next one.
    pub(super) fn take(&self, partition: &PartitionKey, epoch: Epoch, seq: Seq) -> Option<Position> {
        let mut claims = self.0.lock();
        let held = claims.get_mut(partition).filter(|held| held.epoch == epoch)?;
        held.at.take_if(|at| at.seq.0.checked_add(1) == Some(seq.0))
    }

    pub(super) fn put(&self, partition: &PartitionKey, epoch: Epoch, at: Position) {
        if let Some(held) = self.0.lock().get_mut(partition).filter(|held| held.epoch == epoch) {
            *held = Held { epoch, generation: at.rows.number, at: Some(at) };
        }
    }

    /// Readers look at another generation from now on.
    pub(super) fn move_to(&self, partition: &PartitionKey, epoch: Epoch, generation: i32) {
        if let Some(held) = self.0.lock().get_mut(partition).filter(|held| held.epoch == epoch) {
            held.generation = generation;
        }
    }

    /// The generation to read, when the partition is claimed here.
    pub(super) fn generation(&self, partition: &PartitionKey) -> Option<i32> {
        self.0.lock().get(partition).map(|held| held.generation)
    }

    /// Forgets the claim, unless a newer one has taken its place.
    pub(super) fn release(&self, partition: &PartitionKey, epoch: Epoch) {
        let mut claims = self.0.lock();
        if claims.get(partition).is_some_and(|held| held.epoch == epoch) {
            claims.remove(partition);
        }
    }
}
