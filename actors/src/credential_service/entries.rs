//! Which entry of a request each credential is for: one alone, and no entry has two.

use super::credential::StoredCredential;
use cellspace_schemas::identity::RequestedCredential;
use std::{mem, sync::Arc};

/// Whether a credential may be for an entry: its type decides, since the format may be named wrongly.
pub fn may_be_for(credential: &StoredCredential, entry: &RequestedCredential) -> bool {
    credential.types.contains(&entry.credential_type)
}

fn is_as_named(credential: &StoredCredential, entry: &RequestedCredential) -> bool {
    may_be_for(credential, entry) && entry.format == credential.format
}

/// For each credential that a request brought the index of its entry; `None` for those beyond what was asked for, which an earlier version took.
pub fn of_held(asked: &[RequestedCredential], held: &[&Arc<StoredCredential>]) -> Vec<Option<usize>> {
    assign(asked.len(), held.len(), &[&|n, entry| is_as_named(held[n], &asked[entry]), &|n, entry| may_be_for(held[n], &asked[entry])])
}

/// The same for those of a delivery, when `same` has the held credential that each one is again. Such a one stays at its entry, others go first to entries
/// of their format, and of these to those that nothing was brought for; `None` for those beyond what was asked for.
pub fn of_delivered(
    asked: &[RequestedCredential],
    came: &[Arc<StoredCredential>],
    same: &[Option<usize>],
    of_held: &[Option<usize>],
) -> Vec<Option<usize>> {
    let stays = |n: usize, entry: usize| same[n].and_then(|held| of_held[held]) == Some(entry) && may_be_for(&came[n], &asked[entry]);
    let as_named = |n: usize, entry: usize| stays(n, entry) || is_as_named(&came[n], &asked[entry]);
    let open = |n: usize, entry: usize| stays(n, entry) || as_named(n, entry) && !of_held.contains(&Some(entry));
    assign(asked.len(), came.len(), &[&stays, &open, &as_named, &|n, entry| may_be_for(&came[n], &asked[entry])])
}

/// Gives entries to as many as can have one, the narrower choices first: nobody who has one loses it, but may have to change it.
fn assign(entries: usize, credentials: usize, choices: &[&dyn Fn(usize, usize) -> bool]) -> Vec<Option<usize>> {
    let mut holders = vec![None; entries];
    for may_have in choices {
        for credential in 0..credentials {
            if !holders.contains(&Some(credential)) {
                place(credential, may_have, &mut holders, &mut vec![false; entries]);
            }
        }
    }
    (0..credentials).map(|credential| holders.iter().position(|holder| *holder == Some(credential))).collect()
}

/// Finds an entry that is free, or that its holder can change for another one.
fn place(credential: usize, may_have: &dyn Fn(usize, usize) -> bool, holders: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    let choice = |entry: &usize| may_have(credential, *entry);
    if let Some(free) = (0..holders.len()).filter(choice).find(|entry| holders[*entry].is_none()) {
        holders[free] = Some(credential);
        return true;
    }
    for entry in (0..holders.len()).filter(choice) {
        if !mem::replace(&mut seen[entry], true) && holders[entry].is_some_and(|other| place(other, may_have, holders, seen)) {
            holders[entry] = Some(credential);
            return true;
        }
    }
    false
}
