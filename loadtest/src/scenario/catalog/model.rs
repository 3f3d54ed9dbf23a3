//! What a provider offers, and what each counterparty must therefore see: kept by the client, and never taken from the platform.

use crate::world::{Party, Region, Tier};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Instant,
};

/// Versions of a provider that an answer may still show: requests under way while it changed.
const HISTORY: usize = 64;
/// Offers on the first page.
const PAGE: usize = 50;

/// Who sees an offer, as its access policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The first of two neighbouring regions.
    pub region: u8,
    /// Exactly this tier; any without.
    pub tier: Option<u8>,
}

impl Access {
    /// Of offer `n` of `all`: every party sees ten of twenty-four, parties of another region or tier other ones.
    pub fn of(n: usize, all: usize) -> Self {
        let tier = match n * 6 / all.max(1) {
            4 => Some(0),
            5 => Some(1),
            _ => None,
        };
        Self { region: u8::try_from(n % 4).unwrap_or(0), tier }
    }

    pub const fn regions(self) -> [Region; 2] {
        [Region(self.region), Region((self.region + 1) % 4)]
    }

    fn admits(self, region: Region, tier: Tier) -> bool {
        self.regions().contains(&region) && self.tier.is_none_or(|only| only == tier.0)
    }

    /// The same for the neighbours: another policy for the same offer.
    pub const fn turned(self) -> Self {
        Self { region: (self.region + 1) % 4, tier: self.tier }
    }
}

/// An offer of the model.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Id of its asset; in the order of the catalog.
    pub asset: String,
    /// What the asset says of itself, counted up by changes.
    pub revision: u64,
    /// What its access policy says.
    pub access: Access,
    /// Id of that policy.
    pub policy: String,
    /// Its id, as first seen: it stays as long as the contract definition lives.
    pub id: Arc<OnceLock<String>>,
}

/// A version of a provider.
struct Version {
    offers: Vec<Offer>,
    /// What each of the eight kinds of parties sees of it: positions in `offers`.
    seen: [OnceLock<Vec<usize>>; 8],
    sent: Instant,
    acknowledged: Option<Instant>,
}

impl Version {
    fn new(offers: Vec<Offer>, sent: Instant) -> Self {
        Self { offers, seen: Default::default(), sent, acknowledged: None }
    }

    fn seen_by(&self, party: &Party) -> &[usize] {
        let kind = usize::from(party.region.0 % 4) + 4 * usize::from(party.tier.0 % 2);
        let see = || {
            let visible = |(n, offer): (usize, &Offer)| offer.access.admits(party.region, party.tier).then_some(n);
            self.offers.iter().enumerate().filter_map(visible).take(PAGE).collect()
        };
        self.seen.get(kind).map_or(&[], |seen| seen.get_or_init(see))
    }

    fn matches(&self, party: &Party, answer: &[Seen<'_>]) -> bool {
        let expected = self.seen_by(party);
        let same = |(n, seen): (&usize, &Seen<'_>)| {
            self.offers.get(*n).is_some_and(|offer| {
                offer.asset == seen.asset && offer.revision == seen.revision && offer.id.get_or_init(|| seen.offer.to_owned()) == seen.offer
            })
        };
        expected.len() == answer.len() && expected.iter().zip(answer).all(same)
    }
}

/// An offer as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Dataset.
    pub asset: &'a str,
    /// Revision it tells of itself.
    pub revision: u64,
    /// Offer id.
    pub offer: &'a str,
}

/// A provider's offers over time.
pub struct Model {
    versions: Mutex<VecDeque<Version>>,
}

impl Model {
    pub fn new(offers: Vec<Offer>) -> Self {
        let mut first = Version::new(offers, Instant::now());
        first.acknowledged = Some(first.sent);
        Self { versions: Mutex::new(VecDeque::from([first])) }
    }

    /// The offers as they are now.
    pub fn offers(&self) -> Vec<Offer> {
        self.versions.lock().back().map(|version| version.offers.clone()).unwrap_or_default()
    }

    /// A change is being sent. One at a time.
    pub fn changing(&self, offers: Vec<Offer>) {
        let mut versions = self.versions.lock();
        versions.push_back(Version::new(offers, Instant::now()));
        while versions.len() > HISTORY {
            versions.pop_front();
        }
    }

    /// The change was acknowledged: from now on every answer must show it.
    pub fn changed(&self) {
        if let Some(last) = self.versions.lock().back_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// Whether an answer to a request that began then shows what the party may see: a version that may have been there while the request was under way.
    pub fn allows(&self, party: &Party, began: Instant, answer: &[Seen<'_>]) -> bool {
        let versions = self.versions.lock();
        let ended = Instant::now();
        versions.iter().enumerate().rev().any(|(n, version)| {
            let superseded = versions.get(n + 1).and_then(|next| next.acknowledged).is_some_and(|at| at < began);
            !superseded && version.sent <= ended && version.matches(party, answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(number: usize) -> Party {
        Party::new(format!("did:web:x:{number}"), number, [7; 32]).unwrap()
    }

    fn offers(all: usize) -> Vec<Offer> {
        let offer = |n| Offer {
            asset: format!("asset-{n:04}"),
            revision: 0,
            access: Access::of(n, all),
            policy: String::new(),
            id: Arc::default(),
        };
        (0..all).map(offer).collect()
    }

    fn answer<'a>(offers: &'a [Offer], version: &Version, party: &Party) -> Vec<Seen<'a>> {
        version.seen_by(party).iter().map(|n| Seen { asset: &offers[*n].asset, revision: offers[*n].revision, offer: "o" }).collect()
    }

    #[test]
    fn everybody_sees_ten_and_not_the_same_ten() {
        let version = Version::new(offers(24), Instant::now());
        let kinds: Vec<_> = (0..8).map(|number| version.seen_by(&party(number)).to_vec()).collect();
        assert!(kinds.iter().all(|seen| seen.len() == 10), "{kinds:?}");
        let different: std::collections::BTreeSet<_> = kinds.iter().collect();
        assert_eq!(different.len(), 8);
        assert_eq!(Version::new(offers(240), Instant::now()).seen_by(&party(0)).len(), 50, "one page of a hundred");
    }

    #[test]
    fn a_change_must_show_once_it_was_acknowledged() {
        let all = offers(24);
        let model = Model::new(all.clone());
        let who = party(0);
        let old = answer(&all, &Version::new(all.clone(), Instant::now()), &who);
        let before = Instant::now();
        assert!(model.allows(&who, before, &old));
        assert!(!model.allows(&party(1), before, &old), "another party's offers");
        let mut new = all.clone();
        new[0].revision = 1;
        model.changing(new.clone());
        let shown = answer(&new, &Version::new(new.clone(), Instant::now()), &who);
        let under_way = Instant::now();
        assert!(model.allows(&who, under_way, &old) && model.allows(&who, under_way, &shown), "either, while it is under way");
        model.changed();
        assert!(model.allows(&who, under_way, &old), "the request began before");
        let after = Instant::now();
        assert!(model.allows(&who, after, &shown) && !model.allows(&who, after, &old), "stale");
    }
}
