//! Status lists: one bit per credential and purpose (Bitstring Status List 1.0; `StatusList2021` for credentials of data model 1.1).
//!
//! Nothing of a list is stored: its bits follow from the stored credentials, so that a credential and its bit cannot disagree.

use super::bits::Bits;
use cellspace_schemas::{
    bitstring::{Bitstring, Encoding, MIN_BITS},
    dcp::CredentialFormat,
};
use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

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

/// What a set bit means (`statusPurpose`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Withdrawn for good.
    Revocation,
    /// Withdrawn until further notice.
    Suspension,
}

impl Purpose {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Revocation, Self::Suspension];

    /// The word of the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Suspension => "suspension",
        }
    }
}

/// Name of a status list among those of its issuer, the last segment of its URL: system, purpose and number, as in `bssl-revocation-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusListId {
    /// Format of the credentials on it, which also says the list's own form.
    pub format: CredentialFormat,
    /// What a set bit means.
    pub purpose: Purpose,
    /// Which of the issuer's lists of that form; the first has 1.
    pub number: u32,
}

impl StatusListId {
    /// How its bits are written.
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self.format {
            CredentialFormat::Vc2Jose => Encoding::Bitstring,
            CredentialFormat::Vc1Jwt => Encoding::StatusList2021,
        }
    }

    const fn system(format: CredentialFormat) -> &'static str {
        match format {
            CredentialFormat::Vc2Jose => "bssl",
            CredentialFormat::Vc1Jwt => "sl2021",
        }
    }
}

impl fmt::Display for StatusListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", Self::system(self.format), self.purpose.name(), self.number)
    }
}

/// The text names no status list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a status list")]
pub struct NoStatusList;

impl FromStr for StatusListId {
    type Err = NoStatusList;
    fn from_str(text: &str) -> Result<Self, NoStatusList> {
        let read = || {
            let (system, rest) = text.split_once('-')?;
            let (purpose, number) = rest.split_once('-')?;
            let id = Self {
                format: CredentialFormat::ALL.into_iter().find(|format| Self::system(*format) == system)?,
                purpose: Purpose::ALL.into_iter().find(|p| p.name() == purpose)?,
                number: number.parse().ok()?,
            };
            // One spelling per list: `+1` and `01` are numbers, but not names.
            (id.to_string() == text).then_some(id)
        };
        read().ok_or(NoStatusList)
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

/// Status of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Valid, as far as its issuer is concerned.
    #[default]
    Active,
    /// Withdrawn until further notice.
    Suspended,
    /// Withdrawn for good.
    Revoked,
}

impl Status {
    /// All.
    pub const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Revoked];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

/// A request to change the status of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCommand {
    /// Withdraw for good.
    Revoke,
    /// Withdraw until further notice.
    Suspend,
    /// Undo a suspension.
    Resume,
}

impl StatusCommand {
    /// All.
    pub const ALL: [Self; 3] = [Self::Revoke, Self::Suspend, Self::Resume];
}

/// A revoked credential stays revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential is revoked for good")]
pub struct RevokedForGood;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMAT: CredentialFormat = CredentialFormat::Vc2Jose;

    fn id(purpose: Purpose, number: u32) -> StatusListId {
        StatusListId { format: FORMAT, purpose, number }
    }

    #[test]
    fn names_are_read_in_one_spelling() {
        for format in CredentialFormat::ALL {
            for purpose in Purpose::ALL {
                let id = StatusListId { format, purpose, number: 12 };
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
        for bad in [
            "",
            "bssl",
            "bssl-revocation",
            "bssl-revocation-",
            "bssl-revocation-01",
            "bssl-revocation-+1",
            "x-revocation-1",
            "bssl-x-1",
            "bssl-revocation-1-",
        ] {
            assert_eq!(bad.parse::<StatusListId>(), Err(NoStatusList), "{bad}");
        }
    }

    #[test]
    fn every_status_and_command() {
        use {Status::*, StatusCommand::*};
        let expected = |from, command| match (from, command) {
            (_, Revoke) => Ok(Revoked),
            (Revoked, _) => Err(RevokedForGood),
            (_, Suspend) => Ok(Suspended),
            (_, Resume) => Ok(Active),
        };
        for from in Status::ALL {
            let way: &[StatusCommand] = match from {
                Active => &[],
                Suspended => &[Suspend],
                Revoked => &[Revoke],
            };
            let changes = way.iter().fold(StatusChanges::default(), |changes, command| changes.after(*command).unwrap());
            assert_eq!(changes.status(), from);
            for command in StatusCommand::ALL {
                let after = changes.after(command);
                assert_eq!(after.map(StatusChanges::status), expected(from, command), "{from:?} {command:?}");
                if after.is_ok_and(|after| after.status() == from) {
                    assert_eq!(after, Ok(changes), "nothing changes without a reason");
                }
            }
        }
    }

    #[test]
    fn a_suspended_credential_that_is_revoked_keeps_both_bits() {
        let suspended = StatusChanges::default().after(StatusCommand::Suspend).unwrap();
        let revoked = suspended.after(StatusCommand::Revoke).unwrap();
        assert!(revoked.bit(Purpose::Revocation) && revoked.bit(Purpose::Suspension));
    }

    #[test]
    fn lists_have_the_smallest_private_size() {
        let mut lists = StatusLists::default();
        let size = ListBits::default();
        assert_eq!(lists.content(id(Purpose::Revocation, 1), size), None);
        let slot = lists.free_slot(FORMAT, size, 7 + size.0, &[]);
        assert_eq!(slot, Slot { number: 1, index: 7 });
        lists.note(FORMAT, slot, StatusChanges::default(), StatusChanges::default());
        for purpose in Purpose::ALL {
            let content = lists.content(id(purpose, 1), size).unwrap();
            assert_eq!((content.version, content.bits.len()), (0, MIN_BITS));
            assert_eq!(lists.content(id(purpose, 2), size), None);
        }
        assert_eq!(lists.content(StatusListId { format: CredentialFormat::Vc1Jwt, ..id(Purpose::Revocation, 1) }, size), None);
    }

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        for (bits, good) in
            [(131_072, true), (1 << 20, true), (1 << 23, true), (1 << 16, false), (1 << 24, false), (1_000_000, false), (0, false)]
        {
            assert_eq!(ListBits::new(bits).is_some(), good, "{bits}");
        }
    }

    /// A million credentials are on one list, each where it was put, whatever size lists have later.
    #[test]
    fn a_list_holds_a_million_and_keeps_them_when_lists_become_smaller() {
        let (large, small) = (ListBits(1 << 20), ListBits::LEAST);
        let mut lists = StatusLists::default();
        let revoked = StatusChanges::default().after(StatusCommand::Revoke).unwrap();
        for index in 0..1_000_000 {
            let now = if index % 3 == 0 { revoked } else { StatusChanges::default() };
            lists.note(FORMAT, Slot { number: 1, index }, StatusChanges::default(), now);
        }
        assert_eq!(lists.free_slot(FORMAT, large, 17, &[]), Slot { number: 1, index: 1_000_000 });
        let list = id(Purpose::Revocation, 1);
        let content = lists.content(list, large).unwrap();
        assert_eq!((content.bits.len(), content.version), (1 << 20, 333_334));
        assert!((0..1 << 20).all(|n| content.bits.get(n).unwrap() == (n < 1_000_000 && n % 3 == 0)));
        assert_eq!(lists.content(list, small), Some(content));
        assert_eq!(lists.free_slot(FORMAT, small, 17, &[]), Slot { number: 2, index: 17 });
    }

    #[test]
    fn a_full_list_is_followed_by_the_next() {
        let mut lists = StatusLists::default();
        let mut seen = std::collections::HashSet::new();
        for n in 0..10 {
            let slot = lists.free_slot(FORMAT, ListBits(4), 2, &[]);
            assert_eq!(slot.number, 1 + n / 4);
            assert!(seen.insert(slot));
            lists.note(FORMAT, slot, StatusChanges::default(), StatusChanges::default());
        }
    }

    #[test]
    fn slots_of_a_full_list_that_are_reserved_count_as_taken() {
        let mut lists = StatusLists::default();
        lists.note(FORMAT, Slot { number: 1, index: 0 }, StatusChanges::default(), StatusChanges::default());
        assert_eq!(lists.free_slot(FORMAT, ListBits(2), 0, &[Slot { number: 1, index: 1 }]), Slot { number: 2, index: 0 });
    }

    #[test]
    fn reserved_slots_are_not_given_twice() {
        let lists = StatusLists::default();
        let mut slots = Vec::new();
        for _ in 0..5 {
            let slot = lists.free_slot(FORMAT, ListBits(2), 1, &slots);
            assert!(!slots.contains(&slot));
            slots.push(slot);
        }
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// Bits follow the statuses, and versions tell contents apart: equal versions of one history mean equal bits.
        #[test]
        fn versions_follow_the_bits(steps in proptest::collection::vec((0_u32..4, 0_usize..3), 1..40)) {
            let mut lists = StatusLists::default();
            let mut credentials = [StatusChanges::default(); 4];
            let mut history = std::collections::HashMap::new();
            for (n, command) in steps {
                let changes = &mut credentials[n as usize];
                if let Ok(after) = changes.after(StatusCommand::ALL[command]) {
                    lists.note(FORMAT, Slot { number: 1, index: n }, *changes, after);
                    *changes = after;
                }
                for purpose in Purpose::ALL {
                    if let Some(content) = lists.content(id(purpose, 1), ListBits(8)) {
                        prop_assert_eq!(lists.version(id(purpose, 1)), Some(content.version));
                        let bits = history.entry((purpose, content.version)).or_insert_with(|| content.bits.clone());
                        prop_assert_eq!(&*bits, &content.bits);
                        for (n, changes) in credentials.iter().enumerate() {
                            prop_assert_eq!(content.bits.get(n).unwrap(), changes.bit(purpose));
                        }
                    }
                }
            }
        }
    }
}
