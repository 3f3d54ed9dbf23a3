//! Names, places and bits of status lists.

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
