//! Which slots a node may serve: its own under the view that it applied, once nobody else can serve them any more.

use super::{
    dealt::{Dealt, Rings},
    terms::{Moment, Terms},
};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Dead, Deal, Lease, Member, Settled, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a node stands to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It serves nothing of it.
    Nothing,
    /// It serves it, since this view.
    Open(u64),
    /// It admits nothing any more, but the last turns are still to end.
    Closing,
}

/// Somebody who may still serve a slot.
#[derive(Debug, Clone)]
struct Other {
    /// `None`: it is not known who.
    member: Option<Member>,
    /// The view that took the slot from it.
    since: u64,
    /// By then its lease has ended, or it has applied that view.
    until: Moment,
}

#[derive(Debug, Clone)]
struct Entry {
    hold: Hold,
    others: Vec<Other>,
    /// Since when it is its present owner's.
    owned: Since,
    /// Whose it was last before that, since when, and the view that took it from that one; `None` when that is not known.
    before: Option<Before>,
    /// The view that took it from this node last, and whether it was open until then.
    lost: Option<(u64, bool)>,
}

/// Since when nobody but its owner opens a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Since {
    /// As far as is known: a view since which it has been the same.
    view: u64,
    /// On this node's clock.
    moment: Moment,
}

#[derive(Debug, Clone)]
struct Before {
    member: Member,
    since: Since,
    /// The view that took it.
    taken: u64,
}

/// When others served a slot last whose last owner did not leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedLast {
    /// By then all others had stopped, on this node's clock.
    pub others: Moment,
    /// The same by the time of day at its last owner, as that has told it.
    pub told: Option<Timestamp>,
    /// By then that one had, by its own clock: what it took by its clock is not of a later time.
    pub owner: Timestamp,
}

/// What a node says to one that asks whether it may open a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It has applied that view, and serves nothing of the slot.
    Released,
    /// Its last turns are still to end.
    NotYet,
    /// It has not applied that view: it looks for it, and is to be asked again.
    Behind,
    /// It owns the slot under this newer view.
    Newer(u64),
}

/// The slots as one node sees them.
#[derive(Debug, Clone)]
pub(super) struct Table {
    me: Member,
    version: u64,
    dealt: Dealt,
    entries: Vec<Entry>,
    /// Its own slots that are not open.
    waiting: BTreeSet<u16>,
    /// [`View::dead`]
    dead: Vec<Dead>,
    /// The last row of the node's life before.
    former: Option<Lease>,
    /// When a slot was opened last.
    opened: Option<Moment>,
}

impl Table {
    /// Before the first view; `former` is the last row of the node's life before.
    pub(super) fn new(me: Member, former: Option<Lease>, rings: &Rings, terms: &Terms) -> Self {
        let entry = Entry { hold: Hold::Nothing, others: Vec::new(), owned: Since::default(), before: None, lost: None };
        Self {
            me,
            version: 0,
            dealt: Dealt::new(Deal::default(), rings),
            entries: vec![entry; usize::from(terms.slots)],
            waiting: BTreeSet::new(),
            dead: Vec::new(),
            former,
            opened: None,
        }
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn dealt(&self) -> &Dealt {
        &self.dealt
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Member> {
        self.dealt.owner(slot)
    }

    /// The view under which the slot is open here.
    pub(super) fn open(&self, slot: u16) -> Option<u64> {
        match self.entries.get(usize::from(slot))?.hold {
            Hold::Open(since) => Some(since),
            Hold::Nothing | Hold::Closing => None,
        }
    }

    /// Takes in a newer view: the slots that close now. They are admitted no more, and [`Table::ended`] says when their last turns have ended.
    pub(super) fn apply(&mut self, view: &View, rings: &Rings, terms: &Terms, now: Moment) -> Vec<u16> {
        if view.version <= self.version {
            return Vec::new();
        }
        let until = now + terms.patience();
        let deals: Vec<&Deal> = view.past.iter().chain([&view.deal]).collect();
        let missed = usize::try_from(view.version - self.version).unwrap_or(usize::MAX);
        let (is_first, knows) = (self.version == 0, missed <= deals.len());
        let mut closes = Vec::new();
        // Those that are new here.
        let mut between = deals.iter().skip(deals.len().saturating_sub(missed));
        let mut version = view.version - u64::try_from(between.len()).unwrap_or_default();
        if !knows && let Some(oldest) = between.next() {
            // Anybody may have owned anything before.
            version += 1;
            self.dealt = Dealt::new((*oldest).clone(), rings);
            for (slot, entry) in (0..).zip(&mut self.entries) {
                entry.others = vec![Other { member: None, since: view.version, until }];
                (entry.before, entry.lost) = (None, None);
                entry.owned = Since { view: version, moment: now };
                closes.extend(entry.close().then_some(slot));
            }
        }
        for deal in between {
            version += 1;
            let dealt = Dealt::new((*deal).clone(), rings);
            for slot in self.dealt.may_differ(&dealt) {
                let (before, after) = (self.dealt.owner(slot), dealt.owner(slot));
                let Some(entry) = self.entries.get_mut(usize::from(slot)).filter(|_| before != after) else { continue };
                let since = std::mem::replace(&mut entry.owned, Since { view: version, moment: now });
                if let Some(before) = before {
                    entry.before = Some(Before { member: before.clone(), since, taken: version });
                    if before == &self.me {
                        let open = entry.close();
                        entry.lost = Some((version, open));
                        closes.extend(open.then_some(slot));
                    } else if knows {
                        entry.taken_from(before, version, until);
                    }
                }
            }
            self.dealt = dealt;
        }
        self.version = view.version;
        self.dead.clone_from(&view.dead);
        if is_first {
            self.count_on_lives_before();
        }
        let members = view.deal.members();
        for (slot, entry) in (0..).zip(&mut self.entries) {
            // Who has left the view serves nothing.
            entry.others.retain(|other| other.member.as_ref().is_none_or(|member| members.contains(member)));
            if self.dealt.owner(slot) == Some(&self.me) && !matches!(entry.hold, Hold::Open(_)) {
                self.waiting.insert(slot);
            } else {
                self.waiting.remove(&slot);
            }
        }
        closes
    }

    /// What an earlier life of the node had open nobody else served any more, and nobody does as long as it is still that one's own, or this one's.
    fn count_on_lives_before(&mut self) {
        let Some(settled) = self.former.as_ref().and_then(|row| row.settled) else { return };
        let is_earlier = |member: &Member| member.node == self.me.node && *member != self.me;
        for (slot, entry) in (0..).zip(&mut self.entries) {
            let Some(owner) = self.dealt.owner(slot) else { continue };
            let before = entry.before.as_ref().filter(|before| *owner == self.me && is_earlier(&before.member));
            let (since, taken) = match before {
                Some(before) => (before.since, before.taken),
                None if is_earlier(owner) => (entry.owned, self.version + 1),
                None => continue,
            };
            if since.is_told_by(&settled, taken) {
                // That life itself is waited for when this one is put in its place, or has ended where it was.
                entry.others.clear();
            }
        }
    }

    /// Whether the node has had another life before.
    pub(super) const fn is_later_life(&self) -> bool {
        self.former.is_some()
    }

    /// What is known of an earlier life of the node.
    pub(super) fn earlier(&self, member: &Member) -> Option<Dead> {
        self.former.as_ref().filter(|row| row.node == member.node).and_then(|row| row.dead(member))
    }

    /// When the last of the node's slots was opened; `None` while one of them is still to open, and before any was.
    pub(super) fn settled(&self) -> Option<Moment> {
        self.opened.filter(|_| self.waiting.is_empty())
    }

    /// The last turns of a slot that closed have ended.
    pub(super) fn ended(&mut self, slot: u16) {
        if let Some(entry) = self.entries.get_mut(usize::from(slot))
            && entry.hold == Hold::Closing
        {
            entry.hold = Hold::Nothing;
        }
    }

    /// Opens what nobody else can serve any more.
    pub(super) fn open_free(&mut self, now: Moment) -> Vec<u16> {
        let mut opened = Vec::new();
        for slot in &self.waiting {
            if let Some(entry) = self.entries.get_mut(usize::from(*slot)) {
                entry.others.retain(|other| now < other.until);
                if entry.others.is_empty() && entry.hold == Hold::Nothing {
                    entry.hold = Hold::Open(self.version);
                    opened.push(*slot);
                }
            }
        }
        for slot in &opened {
            self.waiting.remove(slot);
            self.opened = Some(now);
        }
        opened
    }

    /// When the next slot opens by itself, if nobody answers before.
    pub(super) fn opens_by(&self) -> Option<Moment> {
        let until = |slot: &u16| self.entries.get(usize::from(*slot)).and_then(|entry| entry.others.iter().map(|other| other.until).max());
        self.waiting.iter().filter_map(until).min()
    }

    /// Whom to ask for which slots.
    pub(super) fn asks(&self) -> Vec<(Member, u16)> {
        let of = |slot: &u16| {
            let others = self.entries.get(usize::from(*slot)).into_iter().flat_map(|entry| &entry.others);
            others.filter_map(|other| Some((other.member.clone()?, *slot))).collect::<Vec<_>>()
        };
        self.waiting.iter().flat_map(of).collect()
    }

    /// What to say to a node that has applied the view `version`, owns the slot there and asks for it.
    pub(super) fn asked(&self, slot: u16, version: u64) -> Answer {
        if self.version < version {
            return Answer::Behind;
        }
        match self.entries.get(usize::from(slot)).map(|entry| entry.hold) {
            Some(Hold::Open(_)) => Answer::Newer(self.version),
            Some(Hold::Closing) => Answer::NotYet,
            Some(Hold::Nothing) | None => Answer::Released,
        }
    }

    /// Whether nobody can have served the slot since it was open here.
    pub(super) fn tells(&self, slot: u16) -> bool {
        self.entries.get(usize::from(slot)).is_some_and(|entry| entry.hold == Hold::Nothing && matches!(entry.lost, Some((_, true))))
    }

    /// The view that took the slot from its last owner; `None` when that is not known, or another one than `by`.
    pub(super) fn taken_from(&self, slot: u16, by: Option<&Member>) -> Option<u64> {
        let before = self.entries.get(usize::from(slot))?.before.as_ref()?;
        by.is_none_or(|by| *by == before.member).then_some(before.taken)
    }

    /// When others served the slot last, where its last owner did not leave it.
    pub(super) fn served_last(&self, slot: u16, terms: &Terms) -> Option<ServedLast> {
        let before = self.entries.get(usize::from(slot))?.before.as_ref()?;
        let dead = self.dead.iter().find(|dead| dead.member == before.member).cloned();
        let Dead { until, settled, .. } = dead.or_else(|| self.earlier(&before.member))?;
        let told = settled.filter(|settled| before.since.is_told_by(settled, before.taken)).map(|settled| settled.at);
        Some(ServedLast { others: before.since.moment + terms.patience(), told, owner: until })
    }

    /// A node has said [`Answer::Released`] to a question under the view `version`. Late and repeated answers are worth what they say: if the slot was its
    /// own again under a later view, they are about an earlier time.
    pub(super) fn released(&mut self, slot: u16, by: &Member, version: u64) {
        if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
            entry.others.retain(|other| other.member.as_ref() != Some(by) || version < other.since);
        }
    }
}

impl Since {
    /// Whether a node that says so had a slot open which has been its own since then, until the view `taken` took it.
    const fn is_told_by(self, settled: &Settled, taken: u64) -> bool {
        self.view <= settled.view && settled.view < taken
    }
}

impl Entry {
    /// Whether it was open.
    fn close(&mut self) -> bool {
        let open = matches!(self.hold, Hold::Open(_));
        if open {
            self.hold = Hold::Closing;
        }
        open
    }

    fn taken_from(&mut self, before: &Member, since: u64, until: Moment) {
        self.others.retain(|other| other.member.as_ref() != Some(before));
        self.others.push(Other { member: Some(before.clone()), since, until });
    }
}
