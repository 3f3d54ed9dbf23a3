//! Used tokens: 16-byte hashes in buckets by the minute in which they expire, bounded.

use super::PeerError;
use cellspace_cluster::CallId;
use cellspace_schemas::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Clock difference allowed for `iat`, `nbf` and `exp` (the same everywhere).
pub const SKEW: Duration = Duration::from_secs(1);

/// Hash of who used which `jti` for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 16]);

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
        Self(short)
    }
}

/// The set of used tokens of this node.
pub struct ReplayGuard {
    used: Mutex<Used>,
    capacity: usize,
    opened: Option<Timestamp>,
}

#[derive(Default)]
struct Used {
    /// Used tokens, with the call that used them.
    by_minute: BTreeMap<i64, HashMap<TokenHash, Option<CallId>>>,
    count: usize,
}

impl ReplayGuard {
    /// At most `capacity` tokens. `opened`: since when this node sees used tokens, when others before it may have seen some that it does not know.
    #[must_use]
    pub fn new(capacity: usize, opened: Option<Timestamp>) -> Self {
        Self { used: Mutex::default(), capacity, opened }
    }

    /// Admits a token once. `until` is when it expires, skew included. `call`: who uses it; the same call may use it again, since one command may have
    /// to be prepared more than once.
    ///
    /// # Errors
    /// [`PeerError::Refused`] for a second use; [`PeerError::TooEarly`] when it may have been used before this node took over;
    /// [`PeerError::Unreachable`] when the set is full.
    pub fn admit(
        &self,
        token: TokenHash,
        call: Option<CallId>,
        issued: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), PeerError> {
        if self.opened.is_some_and(|opened| issued <= opened.plus(SKEW)) {
            return Err(PeerError::TooEarly);
        }
        let minute = |t: Timestamp| t.seconds().div_euclid(60);
        let mut used = self.used.lock();
        let live = used.by_minute.split_off(&minute(now));
        let gone: usize = used.by_minute.values().map(HashMap::len).sum();
        used.by_minute = live;
        used.count -= gone;
        if let Some(earlier) = used.by_minute.get(&minute(until)).and_then(|bucket| bucket.get(&token)) {
            if call.is_some() && *earlier == call {
                return Ok(());
            }
            return Err(PeerError::Refused("the jti of the token must not have been used before".to_owned()));
        }
        if used.count >= self.capacity {
            return Err(PeerError::Unreachable("too many tokens are in use, try again later".to_owned()));
        }
        used.by_minute.entry(minute(until)).or_default().insert(token, call);
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
    fn a_token_is_admitted_once() {
        let guard = ReplayGuard::new(10, None);
        assert!(guard.admit(token("1"), None, at(0), at(61), at(0)).is_ok());
        assert!(guard.admit(token("2"), None, at(0), at(61), at(0)).is_ok());
        assert!(matches!(guard.admit(token("1"), None, at(0), at(61), at(60)), Err(PeerError::Refused(_))));
    }

    #[test]
    fn a_call_may_use_its_token_again_and_no_other_may() {
        let guard = ReplayGuard::new(10, None);
        let (first, second) = (CallId::fresh(), CallId::fresh());
        for _ in 0..2 {
            assert!(guard.admit(token("1"), Some(first), at(0), at(61), at(0)).is_ok());
        }
        for other in [Some(second), None] {
            assert!(matches!(guard.admit(token("1"), other, at(0), at(61), at(0)), Err(PeerError::Refused(_))));
        }
        // What no call used is used once.
        assert!(guard.admit(token("2"), None, at(0), at(61), at(0)).is_ok());
        assert!(matches!(guard.admit(token("2"), None, at(0), at(61), at(0)), Err(PeerError::Refused(_))));
    }

    #[test]
    fn parties_and_jti_are_not_mixed_up() {
        let (a, ab, b) = (Did::new("did:web:a").unwrap(), Did::new("did:web:ab").unwrap(), Did::new("did:web:b").unwrap());
        assert_ne!(TokenHash::of(&a, &b, "1"), TokenHash::of(&b, &a, "1"));
        assert_ne!(TokenHash::of(&a, &b, "1"), TokenHash::of(&ab, &b, "1"));
    }

    #[test]
    fn the_set_is_bounded_and_forgets_the_expired() {
        let guard = ReplayGuard::new(2, None);
        assert!(guard.admit(token("1"), None, at(0), at(30), at(0)).is_ok());
        assert!(guard.admit(token("2"), None, at(0), at(90), at(0)).is_ok());
        assert!(matches!(guard.admit(token("3"), None, at(0), at(90), at(59)), Err(PeerError::Unreachable(_))));
        assert!(guard.admit(token("3"), None, at(60), at(90), at(60)).is_ok());
        assert!(matches!(guard.admit(token("4"), None, at(60), at(90), at(60)), Err(PeerError::Unreachable(_))));
    }

    #[test]
    fn tokens_from_before_a_take_over_are_too_early() {
        let guard = ReplayGuard::new(10, Some(at(100)));
        for (issued, admitted) in [(99, false), (100, false), (101, false), (102, true)] {
            let outcome = guard.admit(token(&issued.to_string()), None, at(issued), at(160), at(102));
            assert_eq!(outcome.is_ok(), admitted, "{issued}");
            assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
        }
    }
}
