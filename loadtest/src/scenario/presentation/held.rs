//! What a participant holds over time, as the client knows it: an answer must show what was there while its request was under way.

use crate::world::{MEMBERSHIP, PARTNER};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Types of the credentials that every participant holds. The last one is granted to nobody.
pub const KINDS: [&str; 3] = [MEMBERSHIP, PARTNER, "LicenceCredential"];
/// Versions of a credential that an answer may still show: requests under way while it changed.
const HISTORY: usize = 16;

/// Some of the kinds, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(pub u8);

impl Kinds {
    /// What is granted, and asked for, by most.
    pub const BOTH: Self = Self(0b011);
    pub const ALL: Self = Self(0b111);

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn has(self, kind: usize) -> bool {
        self.0 & (1 << kind) != 0
    }

    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..KINDS.len()).filter(move |kind| self.has(*kind))
    }

    /// As scopes of DCP.
    pub fn scopes(self) -> impl Iterator<Item = String> {
        self.numbers().filter_map(|kind| KINDS.get(kind)).map(|kind| format!("org.eclipse.dspace.dcp.vc.type:{kind}:read"))
    }
}

struct Version {
    jwt: Arc<str>,
    sent: Instant,
    acknowledged: Option<Instant>,
}

/// The credentials of a participant, by kind.
pub struct Held(Mutex<[VecDeque<Version>; KINDS.len()]>);

impl Held {
    /// These are there.
    pub fn new(credentials: [Arc<str>; KINDS.len()]) -> Self {
        let now = Instant::now();
        Self(Mutex::new(credentials.map(|jwt| VecDeque::from([Version { jwt, sent: now, acknowledged: Some(now) }]))))
    }

    /// Another one is being put in the place of this kind. One at a time.
    pub fn changing(&self, kind: usize, jwt: Arc<str>) {
        if let Some(versions) = self.0.lock().get_mut(kind) {
            versions.push_back(Version { jwt, sent: Instant::now(), acknowledged: None });
            if versions.len() > HISTORY {
                versions.pop_front();
            }
        }
    }

    /// It is there: from now on every answer must show it.
    pub fn changed(&self, kind: usize) {
        if let Some(last) = self.0.lock().get_mut(kind).and_then(VecDeque::back_mut) {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// Whether exactly the credentials of these kinds are shown, each as it was at some moment since the request began.
    pub fn allows(&self, expected: Kinds, began: Instant, shown: &[&str]) -> bool {
        let held = self.0.lock();
        let ended = Instant::now();
        let is_shown = |kind: usize| {
            held.get(kind).is_some_and(|versions| {
                versions.iter().enumerate().rev().any(|(n, version)| {
                    let superseded = versions.get(n + 1).and_then(|next| next.acknowledged).is_some_and(|at| at < began);
                    !superseded && version.sent <= ended && shown.contains(&&*version.jwt)
                })
            })
        };
        shown.len() == expected.numbers().count() && expected.numbers().all(is_shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn exactly_what_is_expected_is_allowed() {
        let held = Held::new(["m".into(), "p".into(), "l".into()]);
        let began = Instant::now();
        for (kinds, shown, good) in [
            (Kinds::BOTH, &["m", "p"][..], true),
            (Kinds::BOTH, &["p", "m"], true),
            (Kinds::BOTH, &["m"], false),
            (Kinds::BOTH, &["m", "m"], false),
            (Kinds::BOTH, &["m", "l"], false),
            (Kinds::BOTH, &["m", "p", "l"], false),
            (Kinds(0b001), &["m"], true),
            (Kinds(0b001), &["p"], false),
            (Kinds(0), &[], true),
            (Kinds(0), &["m"], false),
        ] {
            assert_eq!(held.allows(kinds, began, shown), good, "{kinds:?} {shown:?}");
        }
    }

    #[test]
    fn a_change_must_be_shown_once_it_is_acknowledged() {
        let held = Held::new(["m".into(), "p".into(), "l".into()]);
        let partner = Kinds(0b010);
        let before = Instant::now();
        held.changing(1, "q".into());
        // Under way: either.
        assert!(held.allows(partner, before, &["p"]) && held.allows(partner, before, &["q"]));
        held.changed(1);
        // Begun before the acknowledgement: either; after it: the new one alone.
        let after = Instant::now() + Duration::from_millis(1);
        assert!(held.allows(partner, before, &["p"]) && held.allows(partner, before, &["q"]));
        assert!(!held.allows(partner, after, &["p"]) && held.allows(partner, after, &["q"]));
    }

    #[test]
    fn kinds_are_scopes() {
        assert_eq!(Kinds::BOTH.and(Kinds(0b110)), Kinds(0b010));
        assert_eq!(
            Kinds(0b101).scopes().collect::<Vec<_>>(),
            ["org.eclipse.dspace.dcp.vc.type:MembershipCredential:read", "org.eclipse.dspace.dcp.vc.type:LicenceCredential:read"]
        );
    }
}
