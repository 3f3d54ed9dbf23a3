//! Used tokens: 16-byte hashes in buckets by the minute in which they expire, bounded.

use super::PeerError;
use cellspace_cluster::CallId;
use cellspace_schemas::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// Clock difference allowed for `iat`, `nbf` and `exp` (the same everywhere).
pub const SKEW: Duration = Duration::from_secs(1);

/// Hash of who used which `jti` for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash {
    audience: Arc<str>,
    hash: [u8; 16],
}

impl TokenHash {
    /// Of a token of `issuer` for `audience`. The parts are length-prefixed, so that no two triples hash the same text.
    #[must_use]
    pub fn of(issuer: impl AsRef<str>, audience: impl AsRef<str>, jti: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [issuer.as_ref(), audience.as_ref(), jti] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let full = hash.finalize();
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(full.iter()) {
            *to = *from;
        }
        Self { audience: audience.as_ref().into(), hash: short }
    }
}

/// The set of used tokens of this node. Whoever makes up DIDs can make up tokens, so no audience can fill all of it: one half is open to whoever
/// needs it, of the other half each audience has a share of one in [`SHARES`].
pub struct ReplayGuard {
    used: Mutex<Used>,
    capacity: usize,
    opened: Option<Timestamp>,
}

/// An audience's share of the set is the capacity divided by this.
const SHARES: usize = 64;

#[derive(Default)]
struct Used {
    /// Used tokens of each audience, with the call that used them.
    by_minute: BTreeMap<i64, HashMap<Arc<str>, HashMap<[u8; 16], Option<CallId>>>>,
    count: usize,
}

impl Used {
    fn forget_before(&mut self, minute: i64) {
        if self.by_minute.first_key_value().is_none_or(|(first, _)| *first >= minute) {
            return;
        }
        let live = self.by_minute.split_off(&minute);
        self.count -= self.by_minute.values().flat_map(HashMap::values).map(HashMap::len).sum::<usize>();
        self.by_minute = live;
    }

    /// How many tokens for this audience are known.
    fn of(&self, audience: &str) -> usize {
        self.by_minute.values().filter_map(|audiences| audiences.get(audience)).map(HashMap::len).sum()
    }
}

impl ReplayGuard {
    /// At most `capacity` tokens. `opened`: since when this node sees used tokens, when others before it may have seen some that it does not know.
    #[must_use]
    pub fn new(capacity: usize, opened: Option<Timestamp>) -> Self {
        Self { used: Mutex::default(), capacity, opened }
    }

    /// Admits a token once. `until` is when it expires, skew included. `call`: who uses it; the same call may use it again, since one command may have
    /// to be prepared more than once. `slot`: since when this node serves the audience's slot, where other nodes may have served it before.
    ///
    /// # Errors
    /// [`PeerError::Refused`] for a second use; [`PeerError::TooEarly`] when it may have been used before this node took over;
    /// [`PeerError::Unreachable`] when too many tokens for its audience are in use.
    pub fn admit(
        &self,
        token: TokenHash,
        call: Option<CallId>,
        issued: Timestamp,
        until: Timestamp,
        now: Timestamp,
        slot: Option<Timestamp>,
    ) -> Result<(), PeerError> {
        // The clock of the node that served the slot may have been ahead of this one's.
        let opened = self.opened.max(slot.map(|slot| slot.plus(SKEW)));
        if opened.is_some_and(|opened| issued <= opened.plus(SKEW)) {
            return Err(PeerError::TooEarly);
        }
        let minute = |t: Timestamp| t.seconds().div_euclid(60);
        let mut used = self.used.lock();
        used.forget_before(minute(now));
        // In every minute: another token with the same `jti` may end at another time.
        let mut buckets = used.by_minute.values().filter_map(|audiences| audiences.get(&token.audience));
        if let Some(earlier) = buckets.find_map(|bucket| bucket.get(&token.hash)) {
            if call.is_some() && *earlier == call {
                return Ok(());
            }
            return Err(PeerError::Refused("the jti of the token must not have been used before".to_owned()));
        }
        let is_full = |used: &Used| used.count >= self.capacity || used.of(&token.audience) >= self.capacity / SHARES;
        if used.count >= self.capacity / 2 && is_full(&used) {
            return Err(PeerError::Unreachable("too many tokens are in use, try again later".to_owned()));
        }
        used.by_minute.entry(minute(until)).or_default().entry(token.audience).or_default().insert(token.hash, call);
        used.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::Did;

    fn token(jti: &str) -> TokenHash {
        TokenHash::of("did:web:a", "did:web:b", jti)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn another_token_with_the_same_jti_is_refused_whenever_it_ends() {
        let guard = ReplayGuard::new(100, None);
        let admit = |jti: &str, until| guard.admit(token(jti), None, at(0), at(until), at(1), None);
        assert!(admit("1", 59).is_ok());
        for until in [59, 60, 119, 300] {
            assert!(matches!(admit("1", until), Err(PeerError::Refused(_))), "{until}");
        }
        assert!(admit("2", 60).is_ok());
    }

    #[test]
    fn a_token_is_admitted_once() {
        let guard = ReplayGuard::new(10, None);
        assert!(guard.admit(token("1"), None, at(0), at(61), at(0), None).is_ok());
        assert!(guard.admit(token("2"), None, at(0), at(61), at(0), None).is_ok());
        assert!(matches!(guard.admit(token("1"), None, at(0), at(61), at(60), None), Err(PeerError::Refused(_))));
    }

    #[test]
    fn a_call_may_use_its_token_again_and_no_other_may() {
        let guard = ReplayGuard::new(10, None);
        let (first, second) = (CallId::fresh(), CallId::fresh());
        for _ in 0..2 {
            assert!(guard.admit(token("1"), Some(first), at(0), at(61), at(0), None).is_ok());
        }
        for other in [Some(second), None] {
            assert!(matches!(guard.admit(token("1"), other, at(0), at(61), at(0), None), Err(PeerError::Refused(_))));
        }
        // What no call used is used once.
        assert!(guard.admit(token("2"), None, at(0), at(61), at(0), None).is_ok());
        assert!(matches!(guard.admit(token("2"), None, at(0), at(61), at(0), None), Err(PeerError::Refused(_))));
    }

    #[test]
    fn parties_and_jti_are_not_mixed_up() {
        let (a, ab, b) = (Did::new("did:web:a").unwrap(), Did::new("did:web:ab").unwrap(), Did::new("did:web:b").unwrap());
        assert_ne!(TokenHash::of(&a, &b, "1"), TokenHash::of(&b, &a, "1"));
        assert_ne!(TokenHash::of(&a, &b, "1"), TokenHash::of(&ab, &b, "1"));
    }

    #[test]
    fn the_set_is_bounded_and_forgets_the_expired() {
        let guard = ReplayGuard::new(4, None);
        assert!(guard.admit(token("1"), None, at(0), at(30), at(0), None).is_ok());
        assert!(guard.admit(token("2"), None, at(0), at(90), at(0), None).is_ok());
        assert!(matches!(guard.admit(token("3"), None, at(0), at(90), at(59), None), Err(PeerError::Unreachable(_))));
        assert!(guard.admit(token("3"), None, at(60), at(90), at(60), None).is_ok());
        assert!(matches!(guard.admit(token("4"), None, at(60), at(90), at(60), None), Err(PeerError::Unreachable(_))));
    }

    #[test]
    fn one_audience_cannot_shut_out_another() {
        let of = |audience: usize, jti: usize| TokenHash::of("did:key:z6Mk", format!("did:web:audience-{audience}"), &jti.to_string());
        let capacity = SHARES * 8;
        let guard = ReplayGuard::new(capacity, None);
        let admit = |audience, jti| guard.admit(of(audience, jti), None, at(0), at(200), at(0), None).is_ok();
        // One that is flooded takes the open half and no more.
        assert_eq!((0..capacity).filter(|jti| admit(0, *jti)).count(), capacity / 2);
        // Every other one still has its share, in whichever minutes its tokens end.
        for audience in 1..=SHARES / 2 {
            assert_eq!((0..100).filter(|jti| admit(audience, *jti)).count(), 8, "{audience}");
        }
        assert!(!admit(SHARES, 0), "the set is full");
    }

    #[test]
    fn tokens_from_before_a_take_over_are_too_early() {
        let guard = ReplayGuard::new(10, Some(at(100)));
        for (issued, admitted) in [(99, false), (100, false), (101, false), (102, true)] {
            let outcome = guard.admit(token(&issued.to_string()), None, at(issued), at(160), at(102), None);
            assert_eq!(outcome.is_ok(), admitted, "{issued}");
            assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
        }
    }

    /// The clock that judged it there may have been ahead, as the one that dated it may.
    #[test]
    fn tokens_from_before_a_slot_was_opened_here_are_too_early() {
        for process in [None, Some(at(50))] {
            let guard = ReplayGuard::new(10, process);
            for (issued, admitted) in [(99, false), (101, false), (102, false), (103, true)] {
                let outcome = guard.admit(token(&issued.to_string()), None, at(issued), at(160), at(103), Some(at(100)));
                assert_eq!(outcome.is_ok(), admitted, "{issued}");
                assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
            }
        }
    }
}
