//! Status lists: one bit per credential and purpose (Bitstring Status List 1.0; `StatusList2021` for credentials of data model 1.1).
//!
//! Nothing of a list is stored: its bits follow from the stored credentials, so that a credential and its bit cannot disagree.

mod list_id;
mod status;
#[cfg(test)]
mod tests;

pub use list_id::{NoStatusList, Purpose, StatusListId};
pub use status::{RevokedForGood, Status, StatusCommand};

use super::bits::Bits;
use cellspace_schemas::{
    bitstring::{Bitstring, MIN_BITS},
    dcp::CredentialFormat,
};
use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};

/// How many bits lists have: a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListBits(u32);

impl ListBits {
    /// The least that keeps holders apart: 131,072.
    #[allow(clippy::cast_possible_truncation)] // 131,072
    pub const LEAST: Self = Self(MIN_BITS as u32);
    /// The most: 8,388,608, a megabyte where nothing can be compressed.
    pub const MOST: Self = Self(1 << 23);

    /// So many bits; `None` when lists cannot have as many.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        if bits.is_power_of_two() && Self::LEAST.0 <= bits && bits <= Self::MOST.0 { Some(Self(bits)) } else { None }
    }
}

impl Default for ListBits {
    fn default() -> Self {
        Self::LEAST
    }
}

/// A credential's place: the same position on the lists of both purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Number of the lists.
    pub number: u32,
    /// Position on them.
    pub index: u32,
}

/// How often the bits of a credential have changed: an odd number means that the bit is set, and the sums over a list are the versions of its
/// content, also after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusChanges {
    revocation: u64,
    suspension: u64,
}

impl StatusChanges {
    /// The status that the bits say.
    #[must_use]
    pub const fn status(self) -> Status {
        if self.bit(Purpose::Revocation) {
            Status::Revoked
        } else if self.bit(Purpose::Suspension) {
            Status::Suspended
        } else {
            Status::Active
        }
    }

    /// Whether the bit on the list of this purpose is set.
    #[must_use]
    pub const fn bit(self, purpose: Purpose) -> bool {
        self.count(purpose) % 2 == 1
    }

    const fn count(self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Revocation => self.revocation,
            Purpose::Suspension => self.suspension,
        }
    }

    /// The bits after the command; the same when it is already so. Revoking leaves the suspension bit as it is: a verifier that reads the two
    /// lists at different times must not find a moment in which neither is set.
    ///
    /// # Errors
    /// [`RevokedForGood`]
    pub const fn after(self, command: StatusCommand) -> Result<Self, RevokedForGood> {
        use {Status::*, StatusCommand::*};
        match (self.status(), command) {
            // active, suspended --revoke--> revoked
            (Active | Suspended, Revoke) => Ok(Self { revocation: self.revocation + 1, ..self }),
            // active --suspend--> suspended, suspended --resume--> active
            (Active, Suspend) | (Suspended, Resume) => Ok(Self { suspension: self.suspension + 1, ..self }),
            // it is already so
            (Active, Resume) | (Suspended, Suspend) | (Revoked, Revoke) => Ok(self),
            // revoked is final
            (Revoked, Suspend | Resume) => Err(RevokedForGood),
        }
    }
}

/// The lists of one number and form: which positions are taken, and their bits.
#[derive(Debug, Clone, Default)]
struct List {
    taken: Bits,
    revoked: Bits,
    suspended: Bits,
    revocations: u64,
    suspensions: u64,
    /// Behind the last position that was ever taken.
    end: u32,
}

/// All lists of an issuer.
#[derive(Debug, Clone, Default)]
pub struct StatusLists {
    lists: HashTrieMapSync<(CredentialFormat, u32), List>,
}

/// What the state of a list was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListContent {
    /// Raised by every change of a bit.
    pub version: u64,
    /// The bits.
    pub bits: Bitstring,
}

impl StatusLists {
    /// A free slot on lists of this size: the first free position from the random `start` on, so that neither position nor neighbourhood tells when a
    /// credential was issued. When a list is full, on the next one. Whoever asks for more than one slot before they are taken names those in `reserved`.
    #[must_use]
    pub fn free_slot(&self, format: CredentialFormat, size: ListBits, start: u32, reserved: &[Slot]) -> Slot {
        let mut number = 1;
        loop {
            let taken = self.lists.get(&(format, number)).map(|list| list.taken.clone());
            let mut taken = taken.unwrap_or_default();
            // A full list is passed by without a look at its bits.
            if taken.count() < size.0 as usize {
                for slot in reserved.iter().filter(|slot| slot.number == number) {
                    taken.set(slot.index, true);
                }
                if let Some(index) = taken.first_unset(start, size.0) {
                    return Slot { number, index };
                }
            }
            number += 1;
        }
    }

    /// Takes note of a credential's bits; `before` is what was noted last, the default for a new credential.
    pub fn note(&mut self, format: CredentialFormat, slot: Slot, before: StatusChanges, now: StatusChanges) {
        let key = (format, slot.number);
        if !self.lists.contains_key(&key) {
            self.lists.insert_mut(key, List::default());
        }
        // Where it is: a copy would have all its chunks be copied as well.
        let Some(list) = self.lists.get_mut(&key) else { return };
        list.taken.set(slot.index, true);
        list.end = list.end.max(slot.index.saturating_add(1));
        list.revoked.set(slot.index, now.bit(Purpose::Revocation));
        list.suspended.set(slot.index, now.bit(Purpose::Suspension));
        list.revocations += now.revocation.saturating_sub(before.revocation);
        list.suspensions += now.suspension.saturating_sub(before.suspension);
    }

    /// The list's content, `size` bits; more, where credentials were put farther behind when lists were larger. `None` when the issuer has no such list. Lists
    /// of both purposes exist as soon as a credential is on them.
    #[must_use]
    pub fn content(&self, id: StatusListId, size: ListBits) -> Option<ListContent> {
        let list = self.lists.get(&(id.format, id.number))?;
        let (version, bits) = match id.purpose {
            Purpose::Revocation => (list.revocations, &list.revoked),
            Purpose::Suspension => (list.suspensions, &list.suspended),
        };
        Some(ListContent { version, bits: bits.bitstring(size.0.max(list.end.next_power_of_two())) })
    }

    /// What the places and bits of all lists take in memory at most, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lists.values().map(|list| size_of::<List>() + list.taken.bytes() + list.revoked.bytes() + list.suspended.bytes()).sum()
    }

    /// The version of a list's content, without the content.
    #[must_use]
    pub fn version(&self, id: StatusListId) -> Option<u64> {
        let list = self.lists.get(&(id.format, id.number))?;
        Some(match id.purpose {
            Purpose::Revocation => list.revocations,
            Purpose::Suspension => list.suspensions,
        })
    }
}
