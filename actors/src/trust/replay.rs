//! Used tokens: 16-byte hashes in buckets by the minute in which they expire, bounded. In a cell those of a slot go where the slot goes.

use super::{PeerError, Trust};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cellspace_cluster::{CallId, Opening, Slot, SlotMemory};
use cellspace_schemas::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
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
    by_minute: BTreeMap<i64, HashMap<Arc<str>, Tokens>>,
    count: usize,
    /// Slots whose used tokens were told by the node that had them before: since when all of them are known.
    told: HashMap<Slot, Option<Timestamp>>,
}

/// Used tokens of an audience.
#[derive(Default)]
struct Tokens {
    /// That of its owner, where there is more than one node.
    slot: Option<Slot>,
    /// With the call that used them.
    used: HashMap<[u8; 16], Option<CallId>>,
}

/// What is told of a slot.
#[derive(Serialize, Deserialize)]
struct Told {
    /// Of tokens from before it is not known whether they were used; `None`: of all it is.
    since: Option<Timestamp>,
    /// Audience, minute, and hashes one after another in base64.
    used: Vec<(Arc<str>, i64, String)>,
}

impl Used {
    fn forget_before(&mut self, minute: i64) {
        if self.by_minute.first_key_value().is_none_or(|(first, _)| *first >= minute) {
            return;
        }
        let live = self.by_minute.split_off(&minute);
        self.count -= self.by_minute.values().flat_map(HashMap::values).map(|tokens| tokens.used.len()).sum::<usize>();
        self.by_minute = live;
    }

    /// How many tokens for this audience are known.
    fn of(&self, audience: &str) -> usize {
        self.by_minute.values().filter_map(|audiences| audiences.get(audience)).map(|tokens| tokens.used.len()).sum()
    }

    /// Since when it is known which tokens were used for the owners of a slot.
    fn known_since(&self, slot: Opening) -> Option<Timestamp> {
        // What its last owner had let in was not issued after its lease and the skew, by its own clock; for what all others had, clocks differ by another skew.
        let served = slot.before.map(|before| before.others.max(before.owner.minus(SKEW)));
        let at = served.map_or(slot.at, |served| served.min(slot.at));
        self.told.get(&slot.slot).map_or(Some(at), |told| *told).max(slot.came)
    }

    fn put(&mut self, minute: i64, audience: Arc<str>, slot: Option<Slot>, hash: [u8; 16], call: Option<CallId>) {
        let tokens = self.by_minute.entry(minute).or_default().entry(audience).or_default();
        tokens.slot = slot;
        if let Entry::Vacant(place) = tokens.used.entry(hash) {
            place.insert(call);
            self.count += 1;
        }
    }
}

impl ReplayGuard {
    /// At most `capacity` tokens. `opened`: since when this node sees used tokens, when others before it may have seen some that it does not know.
    #[must_use]
    pub fn new(capacity: usize, opened: Option<Timestamp>) -> Self {
        Self { used: Mutex::default(), capacity, opened }
    }

    /// Admits a token once. `until` is when it expires, skew included. `call`: who uses it; the same call may use it again, since one command may have
    /// to be prepared more than once. `slot`: since when this node has the audience's slot, where other nodes may have had it before.
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
        slot: Option<Opening>,
    ) -> Result<(), PeerError> {
        // Whoever opens the slot after this node counts on it.
        if slot.and_then(|slot| slot.until).is_some_and(|until| issued > until.plus(SKEW)) {
            return Err(PeerError::TooEarly);
        }
        let mut used = self.used.lock();
        // The clock of the node that served the slot may have been ahead of this one's.
        let opened = self.opened.max(slot.and_then(|slot| used.known_since(slot)).map(|known| known.plus(SKEW)));
        if opened.is_some_and(|opened| issued <= opened.plus(SKEW)) {
            return Err(PeerError::TooEarly);
        }
        // A node that hears of them may be behind by that much.
        used.forget_before(minute(now.minus(SKEW)));
        // In every minute: another token with the same `jti` may end at another time.
        let mut buckets = used.by_minute.values().filter_map(|audiences| audiences.get(&token.audience));
        if let Some(earlier) = buckets.find_map(|bucket| bucket.used.get(&token.hash)) {
            if call.is_some() && *earlier == call {
                return Ok(());
            }
            return Err(PeerError::Refused("the jti of the token must not have been used before".to_owned()));
        }
        let is_full = |used: &Used| used.count >= self.capacity || used.of(&token.audience) >= self.capacity / SHARES;
        if used.count >= self.capacity / 2 && is_full(&used) {
            return Err(PeerError::Unreachable("too many tokens are in use, try again later".to_owned()));
        }
        used.put(minute(until), token.audience, slot.map(|slot| slot.slot), token.hash, call);
        Ok(())
    }

    /// The used tokens of a slot that was opened here then, for the node that opens it next; nothing is told when it cannot be written.
    #[must_use]
    pub fn tell(&self, slot: Opening) -> Option<Box<RawValue>> {
        let used = self.used.lock();
        let of_slot = |(audience, tokens): (&Arc<str>, &Tokens)| {
            let hashes = || BASE64.encode(tokens.used.keys().copied().collect::<Vec<_>>().as_flattened());
            (tokens.slot == Some(slot.slot)).then(|| (audience.clone(), hashes()))
        };
        let in_minute = |(minute, audiences): (&i64, &HashMap<Arc<str>, Tokens>)| {
            let minute = *minute;
            audiences.iter().filter_map(of_slot).map(|(audience, hashes)| (audience, minute, hashes)).collect::<Vec<_>>()
        };
        to_raw_value(&Told { since: used.known_since(slot), used: used.by_minute.iter().flat_map(in_minute).collect() }).ok()
    }

    /// A slot opens here, with what the node has told that had it before, if that is known.
    pub fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        // Read before anybody waits for it.
        let told = told.and_then(Told::read);
        let mut used = self.used.lock();
        used.told.remove(&slot);
        let Some((since, all)) = told.filter(|(_, all)| used.count + all.len() <= self.capacity) else { return };
        for (minute, audience, hash) in all {
            used.put(minute, audience, Some(slot), hash, None);
        }
        used.told.insert(slot, since);
    }
}

/// A used token: the minute in which it ends, audience and hash.
type UsedToken = (i64, Arc<str>, [u8; 16]);

impl Told {
    fn read(told: &RawValue) -> Option<(Option<Timestamp>, Vec<UsedToken>)> {
        let Self { since, used } = serde_json::from_str(told.get()).ok()?;
        let mut all = Vec::new();
        for (audience, minute, hashes) in used {
            let hashes = BASE64.decode(hashes).ok()?;
            let (hashes, []) = hashes.as_chunks() else { return None };
            all.extend(hashes.iter().map(|hash| (minute, audience.clone(), *hash)));
        }
        Some((since, all))
    }
}

fn minute(time: Timestamp) -> i64 {
    time.seconds().div_euclid(60)
}

/// What a node of a cell knows of its slots beside the store: the tokens that were used.
pub struct UsedTokens {
    trust: Arc<Trust>,
}

impl UsedTokens {
    /// Those that `trust` has seen.
    #[must_use]
    pub fn of(trust: Arc<Trust>) -> Self {
        Self { trust }
    }
}

impl SlotMemory for UsedTokens {
    fn tell(&self, opening: Opening) -> Option<Box<RawValue>> {
        self.trust.replay.tell(opening)
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        self.trust.replay.hear(slot, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_cluster::ServedBefore;
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
        assert!(guard.admit(token("3"), None, at(60), at(90), at(61), None).is_ok());
        assert!(matches!(guard.admit(token("4"), None, at(60), at(90), at(61), None), Err(PeerError::Unreachable(_))));
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
                let outcome = guard.admit(token(&issued.to_string()), None, at(issued), at(160), at(103), opened(100));
                assert_eq!(outcome.is_ok(), admitted, "{issued}");
                assert!(admitted || matches!(outcome, Err(PeerError::TooEarly)));
            }
        }
    }

    fn slot() -> Slot {
        Slot::numbered(7).unwrap()
    }

    fn opened(seconds: i64) -> Option<Opening> {
        Some(Opening { slot: slot(), at: at(seconds), before: None, came: None, until: None })
    }

    /// A second node knows what the first one knew: what was used is used, what was not is taken, whenever the slot came.
    #[test]
    fn used_tokens_go_where_their_slot_goes() {
        let [first, second, third] = [(); 3].map(|()| ReplayGuard::new(10, None));
        let admit = |guard: &ReplayGuard, jti: &str, issued, slot| guard.admit(token(jti), None, at(issued), at(260), at(200), slot);
        assert!(admit(&first, "1", 150, opened(100)).is_ok());
        let elsewhere = opened(0).map(|opening| Opening { slot: Slot::numbered(8).unwrap(), ..opening });
        assert!(first.admit(TokenHash::of("did:web:a", "did:web:c", "1"), None, at(150), at(260), at(200), elsewhere).is_ok());
        second.hear(slot(), first.tell(opened(100).unwrap()).as_deref());
        assert_eq!(second.used.lock().count, 1, "of this slot alone");
        assert!(matches!(admit(&second, "1", 150, opened(200)), Err(PeerError::Refused(_))));
        assert!(admit(&second, "2", 150, opened(200)).is_ok());
        // What the first did not know the second does not either.
        assert!(matches!(admit(&second, "3", 101, opened(200)), Err(PeerError::TooEarly)));
        third.hear(slot(), second.tell(opened(200).unwrap()).as_deref());
        assert!(matches!(admit(&third, "1", 150, opened(220)), Err(PeerError::Refused(_))));
        assert!(matches!(admit(&third, "2", 150, opened(220)), Err(PeerError::Refused(_))));
        assert!(matches!(admit(&third, "3", 101, opened(220)), Err(PeerError::TooEarly)));
        assert!(admit(&third, "3", 150, opened(220)).is_ok());
        // An opening of which nothing is told counts by itself.
        third.hear(slot(), None);
        assert!(matches!(admit(&third, "4", 150, opened(230)), Err(PeerError::TooEarly)));
    }

    /// What the dead owner's row and the one before it leave open is asked for anew, and no more; what this node's own row does not cover it does not take.
    #[test]
    fn of_a_dead_owner_its_row_tells_until_when_it_took_tokens() {
        let before = |others, owner| ServedBefore { others: at(others), owner: at(owner) };
        // Opened at 100: by itself all until 102 may have been used.
        let rows: [(_, i64); 5] = [
            (None, 102),
            (Some(before(80, 98)), 99),
            (Some(before(97, 98)), 99),
            (Some(before(98, 90)), 100),
            // The owner's clock was ahead: no more than without its row.
            (Some(before(80, 190)), 102),
        ];
        for (before, unknown) in rows {
            for (issued, is_taken) in [(unknown, false), (unknown + 1, true)] {
                let slot = opened(100).map(|opening| Opening { before, ..opening });
                let outcome = ReplayGuard::new(10, None).admit(token("1"), None, at(issued), at(260), at(103), slot);
                assert_eq!(outcome.is_ok(), is_taken, "{before:?}, {issued}");
                assert!(is_taken || matches!(outcome, Err(PeerError::TooEarly)));
            }
        }
        for (issued, is_taken) in [(151, true), (152, false)] {
            let slot = opened(100).map(|opening| Opening { until: Some(at(150)), ..opening });
            let outcome = ReplayGuard::new(10, None).admit(token("1"), None, at(issued), at(260), at(151), slot);
            assert_eq!(outcome.is_ok(), is_taken, "{issued}");
        }
        // It goes with what is told.
        let [second, third] = [(); 2].map(|()| ReplayGuard::new(10, None));
        let told = second.tell(opened(100).map(|opening| Opening { before: Some(before(80, 98)), ..opening }).unwrap());
        third.hear(slot(), told.as_deref());
        for (issued, is_taken) in [(99, false), (100, true)] {
            let outcome = third.admit(token(&issued.to_string()), None, at(issued), at(260), at(200), opened(200));
            assert_eq!(outcome.is_ok(), is_taken, "{issued}");
        }
    }

    #[test]
    fn what_is_told_is_taken_whole_or_not_at_all() {
        let first = ReplayGuard::new(10, None);
        for jti in ["1", "2", "3"] {
            assert!(first.admit(token(jti), None, at(150), at(260), at(200), opened(100)).is_ok());
        }
        let told = first.tell(opened(100).unwrap()).unwrap();
        for (capacity, told) in
            [(2, Some(told.get())), (10, Some("{}")), (10, Some(r#"{"since":null,"used":[["a",1,"AAAA"]]}"#)), (10, None)]
        {
            let told = told.map(|told| RawValue::from_string(told.to_owned()).unwrap());
            let guard = ReplayGuard::new(capacity, None);
            guard.hear(slot(), told.as_deref());
            assert_eq!(guard.used.lock().count, 0);
            let outcome = guard.admit(token("4"), None, at(150), at(260), at(200), opened(200));
            assert!(matches!(outcome, Err(PeerError::TooEarly)), "{outcome:?}");
        }
    }
}
