//! The course of a copy: what is brought and what is taken away, by looks at both sides. Pure: a store has the rows.
//!
//! A look goes through all places in their order. It brings what is not there, and what was written since the look before it began; it takes away what is not here. So
//! the first one brings everything, and the one under the seal what was written last. Times of writing are the store's own: of one partition they rise from commit to
//! commit, whatever clocks say. How far a copy is is kept beside it, with what it tells of: whoever goes on goes on there.

use super::Ahead;
use crate::{Seq, backup::Blob};
use serde::{Deserialize, Serialize};

/// The part of a partition that holds the rows that an activation reads, those of the present generation.
pub const READ: i8 = 0;
/// The part that holds its audit rows, by the numbers of their commits.
pub const AUDIT: i8 = 1;

/// Where a row is; places go in the store's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Of its partition.
    pub part: i8,
    /// Of the rows of that part.
    pub generation: i32,
    /// The row's own.
    pub key: Blob,
}

/// A row that was found here, with what is known of what it holds.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// Where it is.
    pub place: Place,
    /// When it was written.
    pub written: Option<i64>,
    /// What it holds.
    pub holds: T,
}

/// What is to be done at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// Nothing.
    Pass(Place),
    /// The row is brought.
    Bring(Place, T),
    /// It is taken away.
    Remove(Place),
}

impl<T> Change<T> {
    /// Where.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Pass(place) | Self::Bring(place, _) | Self::Remove(place) => place,
        }
    }
}

/// How a partition stood: all commits up to one are seen by whoever reads after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The commit.
    pub seq: Seq,
    /// The generation that was read.
    pub generation: i32,
    /// When the commit was written; what is written after it has a later time. `None` before the first one.
    pub written: Option<i64>,
}

/// How far a copy is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The version of the owner's home that it was begun for.
    version: u64,
    /// Looks that have ended.
    looks: u32,
    /// When the last of them began.
    since: Moment,
    /// Places that were passed, in all looks.
    passed: u64,
    under_way: Option<Look>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    began: Moment,
    /// All is done up to this place.
    after: Option<Place>,
}

impl Progress {
    /// Nothing is there yet.
    #[must_use]
    pub fn none(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Whether it is for this version of the owner's home.
    #[must_use]
    pub const fn is_of(&self, version: u64) -> bool {
        self.version == version
    }

    /// Whether the last look that has ended saw the partition as it is.
    #[must_use]
    pub fn has_all_of(&self, seq: Seq, generation: i32) -> bool {
        self.looks > 0 && (self.since.seq, self.since.generation) == (seq, generation)
    }

    /// What others may know of it.
    #[must_use]
    pub const fn told(&self) -> Ahead {
        let Moment { seq, generation, .. } = self.since;
        Ahead { version: self.version, seq, generation, looks: self.looks, passed: self.passed }
    }

    /// The look under way goes on, or the next one begins: as well when the rows that it is at are of another generation by now, since whatever is brought of an earlier
    /// one is for nothing. What comes after the rows has no generations, and is as much as there ever was: it is brought once.
    #[must_use]
    pub fn going_on(self, now: Moment) -> Self {
        let is_past_rows = |look: &Look| look.after.as_ref().is_some_and(|place| place.part != READ);
        match &self.under_way {
            Some(look) if look.began.generation == now.generation || is_past_rows(look) => self,
            Some(_) | None => Self { under_way: Some(Look { began: now, after: None }), ..self },
        }
    }

    /// The generation before which no row is of use any more, where looks may have brought some.
    #[must_use]
    pub fn leaves_behind(&self) -> Option<i32> {
        let is_at_start = self.after().is_none();
        Some(self.began().generation).filter(|generation| is_at_start && self.brings_most() && *generation > 0)
    }

    /// All is done up to this place.
    pub fn pass(&mut self, place: Place) {
        self.passed = self.passed.saturating_add(1);
        if let Some(look) = &mut self.under_way {
            look.after = Some(place);
        }
    }

    /// The look has ended: both sides have.
    #[must_use]
    pub fn ended(mut self) -> Self {
        if let Some(look) = self.under_way.take() {
            (self.looks, self.since) = (self.looks.saturating_add(1), look.began);
        }
        self
    }

    /// Places that were passed, in all looks.
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// The place that the look under way has come to; `None` at its start.
    #[must_use]
    pub fn after(&self) -> Option<&Place> {
        self.under_way.as_ref()?.after.as_ref()
    }

    /// How the partition stood as the look under way began.
    #[must_use]
    pub fn began(&self) -> Moment {
        self.under_way.as_ref().map_or(self.since, |look| look.began)
    }

    /// Whether most rows are to be brought by the look under way: in another generation all of those that are read were written anew.
    #[must_use]
    pub fn brings_most(&self) -> bool {
        self.looks == 0 || self.began().generation != self.since.generation
    }

    /// What is to be done at the next place, of the first ones that are left of both sides. Those that it is about are taken: whoever calls puts the next ones there
    /// before. `None` at the end of both.
    pub fn next<T>(&self, here: &mut Option<Found<T>>, there: &mut Option<Place>) -> Option<Change<T>> {
        if let Some(gone) = there.take_if(|there| here.as_ref().is_none_or(|here| *there < here.place)) {
            return Some(Change::Remove(gone));
        }
        let Found { place, written, holds } = here.take()?;
        let is_there = there.take_if(|there| *there == place).is_some();
        Some(match (is_there, self.counts(&place)) {
            (true, false) => Change::Remove(place),
            (false, false) => Change::Pass(place),
            // It was brought, and not written since.
            (true, true) if written.zip(self.since.written).is_some_and(|(row, since)| row <= since) => Change::Pass(place),
            (_, true) => Change::Bring(place, holds),
        })
    }

    /// Whether the look is about it. Commits since it began are for the next one, or this one might follow them for good; generations that were left behind stay behind.
    fn counts(&self, place: &Place) -> bool {
        let Moment { seq, generation, .. } = self.began();
        match place.part {
            READ => place.generation == generation,
            AUDIT => place.key.0.as_slice() <= seq.0.to_be_bytes().as_slice(),
            _ => true,
        }
    }
}
