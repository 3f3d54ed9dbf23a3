//! Which slots a node may serve: its own under the view that it applied, once nobody else can serve them any more.

use super::{
    dealt::{Dealt, Rings},
    terms::{Moment, Terms},
};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Deal, Member, View};
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
    /// Whose it was last before its present owner, and the view that took it from that one; `None` when that is not known.
    before: Option<(Member, u64)>,
    /// The view that took it from this node last, and whether it was open until then.
    lost: Option<(u64, bool)>,
    /// Since when nobody but its present owner opens it.
    since: Moment,
    /// The same of the owner before.
    before_since: Moment,
}

/// When others served a slot last whose last owner was found dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedLast {
    /// By then all others had stopped.
    pub others: Moment,
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
    dead: Vec<(Member, Timestamp)>,
}

impl Table {
    pub(super) fn new(me: Member, rings: &Rings, terms: &Terms) -> Self {
        let entries = vec![
            Entry {
                hold: Hold::Nothing,
                others: Vec::new(),
                before: None,
                lost: None,
                since: Moment::default(),
                before_since: Moment::default()
            };
            usize::from(terms.slots)
        ];
        Self { me, version: 0, dealt: Dealt::new(Deal::default(), rings), entries, waiting: BTreeSet::new(), dead: Vec::new() }
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
        let missed = usize::try_from(view.version - self.version - 1).unwrap_or(usize::MAX);
        let mut closes = Vec::new();
        if missed <= view.past.len() {
            let between = view.past.iter().skip(view.past.len() - missed).chain([&view.deal]);
            let first = self.version + 1;
            for (version, deal) in (first..).zip(between) {
                let dealt = Dealt::new(deal.clone(), rings);
                for slot in self.dealt.may_differ(&dealt) {
                    let (before, after) = (self.dealt.owner(slot), dealt.owner(slot));
                    let Some(entry) = self.entries.get_mut(usize::from(slot)).filter(|_| before != after) else { continue };
                    (entry.before_since, entry.since) = (entry.since, now);
                    if let Some(before) = before {
                        entry.before = Some((before.clone(), version));
                        if before == &self.me {
                            let open = entry.close();
                            entry.lost = Some((version, open));
                            closes.extend(open.then_some(slot));
                        } else {
                            entry.taken_from(before, version, until);
                        }
                    }
                }
                self.dealt = dealt;
            }
        } else {
            // Anybody may have owned anything in between.
            self.dealt = Dealt::new(view.deal.clone(), rings);
            for (slot, entry) in (0..).zip(&mut self.entries) {
                entry.others = vec![Other { member: None, since: view.version, until }];
                (entry.before, entry.lost) = (None, None);
                entry.since = now;
                closes.extend(entry.close().then_some(slot));
            }
        }
        self.version = view.version;
        self.dead.clone_from(&view.dead);
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
        let (before, since) = self.entries.get(usize::from(slot))?.before.as_ref()?;
        by.is_none_or(|by| by == before).then_some(*since)
    }

    /// When others served the slot last, where its last owner was found dead.
    pub(super) fn served_last(&self, slot: u16, terms: &Terms) -> Option<ServedLast> {
        let entry = self.entries.get(usize::from(slot))?;
        let (owner, _) = entry.before.as_ref()?;
        let (_, clock) = self.dead.iter().find(|(member, _)| member == owner)?;
        Some(ServedLast { others: entry.before_since + terms.patience(), owner: clock.plus(terms.lease) })
    }

    /// A node has said [`Answer::Released`] to a question under the view `version`. Late and repeated answers are worth what they say: if the slot was its
    /// own again under a later view, they are about an earlier time.
    pub(super) fn released(&mut self, slot: u16, by: &Member, version: u64) {
        if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
            entry.others.retain(|other| other.member.as_ref() != Some(by) || version < other.since);
        }
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
