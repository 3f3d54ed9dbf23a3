//! What a provider offers, and what each counterparty must therefore see: kept by the client, and never taken from the platform.

use crate::world::{Party, Region, Tier};
use parking_lot::Mutex;
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, OnceLock},
    time::Instant,
};

/// Versions of a provider that an answer may still show: requests under way while it changed.
const HISTORY: usize = 64;
/// Offers on the first page.
const PAGE: usize = 50;
/// Kinds of parties: all that have one region and one tier see the same.
const KINDS: usize = 8;

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

fn kind(party: &Party) -> usize {
    usize::from(party.region.0 % 4) + 4 * usize::from(party.tier.0 % 2)
}

/// Positions of the offers that parties of this kind see on their first page.
fn visible(offers: &[Offer], kind: usize) -> impl Iterator<Item = usize> {
    let (region, tier) = (Region(u8::try_from(kind % 4).unwrap_or(0)), Tier(u8::try_from(kind / 4).unwrap_or(0)));
    offers.iter().enumerate().filter_map(move |(n, offer)| offer.access.admits(region, tier).then_some(n)).take(PAGE)
}

/// Who sees something else after a change than before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shows([bool; KINDS]);

impl Shows {
    /// Between these offers and those.
    pub fn between(before: &[Offer], after: &[Offer]) -> Self {
        let page = |offers: &'_ [Offer], kind| -> Vec<(usize, u64)> {
            visible(offers, kind).map(|n| (n, offers.get(n).map_or(0, |offer| offer.revision))).collect()
        };
        Self(std::array::from_fn(|kind| page(before, kind) != page(after, kind)))
    }

    pub fn to(self, party: &Party) -> bool {
        self.0.get(kind(party)).copied().unwrap_or(false)
    }

    pub fn to_nobody(self) -> bool {
        self == Self([false; KINDS])
    }
}

/// A version of a provider.
struct Version {
    offers: Vec<Offer>,
    /// What each kind of parties sees of it: positions in `offers`.
    seen: [OnceLock<Vec<usize>>; KINDS],
    sent: Instant,
    acknowledged: Option<Instant>,
}

impl Version {
    fn new(offers: Vec<Offer>, sent: Instant) -> Self {
        Self { offers, seen: Default::default(), sent, acknowledged: None }
    }

    fn seen_by(&self, party: &Party) -> &[usize] {
        let kind = kind(party);
        self.seen.get(kind).map_or(&[], |seen| seen.get_or_init(|| visible(&self.offers, kind).collect()))
    }

    fn matches(&self, party: &Party, answer: &[Seen<'_>], ids: &mut HashSet<String>) -> bool {
        let expected = self.seen_by(party);
        let mut same = |(n, seen): (&usize, &Seen<'_>)| {
            self.offers
                .get(*n)
                .is_some_and(|offer| offer.asset == seen.asset && offer.revision == seen.revision && is_of(&offer.id, seen.offer, ids))
        };
        expected.len() == answer.len() && expected.iter().zip(answer).all(&mut same)
    }
}

/// Whether this is the id of an offer. When none is known yet it becomes that, unless it is another one's.
fn is_of(known: &OnceLock<String>, id: &str, ids: &mut HashSet<String>) -> bool {
    match known.get() {
        Some(known) => known == id,
        None => ids.insert(id.to_owned()) && known.set(id.to_owned()).is_ok(),
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
    known: Mutex<Known>,
}

struct Known {
    versions: VecDeque<Version>,
    /// Ids of offers that were seen: each is that of one offer.
    ids: HashSet<String>,
}

impl Model {
    pub fn new(offers: Vec<Offer>) -> Self {
        let mut first = Version::new(offers, Instant::now());
        first.acknowledged = Some(first.sent);
        Self { known: Mutex::new(Known { versions: VecDeque::from([first]), ids: HashSet::new() }) }
    }

    /// The offers as they are now.
    pub fn offers(&self) -> Vec<Offer> {
        self.known.lock().versions.back().map(|version| version.offers.clone()).unwrap_or_default()
    }

    /// A change is being sent. One at a time.
    pub fn changing(&self, offers: Vec<Offer>) {
        let versions = &mut self.known.lock().versions;
        versions.push_back(Version::new(offers, Instant::now()));
        while versions.len() > HISTORY {
            versions.pop_front();
        }
    }

    /// The change was acknowledged: from now on every answer must show it.
    pub fn changed(&self) {
        if let Some(last) = self.known.lock().versions.back_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// Whether an answer to a request that began then shows what the party may see: a version that may have been there while the request was under way.
    pub fn allows(&self, party: &Party, began: Instant, answer: &[Seen<'_>]) -> bool {
        let Known { versions, ids } = &mut *self.known.lock();
        let ended = Instant::now();
        versions.iter().enumerate().rev().any(|(n, version)| {
            let superseded = versions.get(n + 1).and_then(|next| next.acknowledged).is_some_and(|at| at < began);
            !superseded && version.sent <= ended && version.matches(party, answer, ids)
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
            policy: format!("policy-{n}"),
            id: Arc::default(),
        };
        (0..all).map(offer).collect()
    }

    fn answer<'a>(offers: &'a [Offer], version: &Version, party: &Party) -> Vec<Seen<'a>> {
        version
            .seen_by(party)
            .iter()
            .map(|n| Seen { asset: &offers[*n].asset, revision: offers[*n].revision, offer: &offers[*n].policy })
            .collect()
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
    #[test]
    fn one_id_is_that_of_one_offer() {
        let all = offers(24);
        let (model, who, began) = (Model::new(all.clone()), party(0), Instant::now());
        let right = answer(&all, &Version::new(all.clone(), began), &who);
        let same: Vec<_> = right.iter().map(|seen| Seen { offer: "one", ..*seen }).collect();
        assert!(!Model::new(offers(24)).allows(&who, began, &same), "one id for all");
        assert!(model.allows(&who, began, &right));
        let turned: Vec<_> =
            right.iter().zip(right.iter().cycle().skip(1)).map(|(seen, next)| Seen { offer: next.offer, ..*seen }).collect();
        assert!(!model.allows(&who, began, &turned), "another one's");
        // Another party sees offers that nobody has seen yet, by ids that are known.
        let (other, known) = (party(1), right[0].offer);
        let taken: Vec<_> = answer(&all, &Version::new(all.clone(), began), &other);
        let fresh = taken.iter().position(|seen| right.iter().all(|known| known.asset != seen.asset)).unwrap();
        let stolen: Vec<_> =
            taken.iter().enumerate().map(|(n, seen)| if n == fresh { Seen { offer: known, ..*seen } } else { *seen }).collect();
        assert!(!model.allows(&other, began, &stolen) && model.allows(&other, began, &taken));
    }

    #[test]
    fn a_change_shows_to_those_whose_page_differs() {
        let all = offers(240);
        let changed = |n: usize, change: fn(&mut Offer)| {
            let mut new = all.clone();
            change(&mut new[n]);
            let shows = Shows::between(&all, &new);
            (0..KINDS).filter(|number| shows.to(&party(*number))).collect::<Vec<_>>()
        };
        assert_eq!(changed(1, |offer| offer.revision += 1), [1, 2, 5, 6], "those of its two regions");
        assert_eq!(changed(1, |offer| offer.access = offer.access.turned()), [1, 3, 5, 7], "a region that loses it, and one that gets it");
        assert_eq!(changed(239, |offer| offer.revision += 1), [0; 0], "on a later page");
        assert!(Shows::between(&all, &all).to_nobody());
    }
}
