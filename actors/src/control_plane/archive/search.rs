//! Goes through archived processes: in order of their ids through all of them, or through those alone that have the marks that are sought; or from the newest
//! or the oldest on. In small steps: each is one read, and between them others have their turn.

use super::{
    Field, Filed, Sought,
    key::table,
    list::{Limits, ListError},
    marks::newest_first,
};
use crate::control_plane::ControlPlane;
use cellspace_cluster::Apart;
use cellspace_schemas::Timestamp;
use cellspace_storage::RowKey;
use itertools::Itertools;
use std::{cmp::Reverse, collections::VecDeque, sync::Arc};

/// Rows read at once.
const PAGE: usize = 256;
/// Rows of each value by which it is seen which field has the fewest, and ids that are looked up at once under other fields.
const SAMPLE: usize = 64;
/// Rows looked at in a step that finds nothing, about.
const STEP: usize = 2_048;
/// Processes read in a step that were found by their marks, at most.
const FOUND: usize = 64;

/// Where archived processes and their marks are read.
type Rows<'a> = Apart<'a, ControlPlane>;

/// A way through the archive.
pub(super) struct Search {
    left: Left,
    way: Way,
    /// Behind what it goes on: an id; from the newest or the oldest on, with the time before it.
    after: Option<String>,
    /// How many are read next: more each time, since what is read one by one may not meet the query.
    step: usize,
}

/// Which processes are looked at, and in which order.
pub(super) enum Way {
    /// All, in order of their ids.
    All,
    /// Those with the marks that are sought, in order of their ids.
    Marked(Common),
    /// From the newest on. All must be marked.
    Newest,
    /// From the oldest on, of those that began at the same time in either order. All must be marked.
    Oldest,
}

impl Way {
    pub(super) fn marked<T: Filed>(sought: &[Sought]) -> Self {
        Self::Marked(Common::of::<T>(sought))
    }

    /// Whether it is that of the times at which processes began.
    pub(super) const fn is_by_time(&self) -> bool {
        matches!(self, Self::Newest | Self::Oldest)
    }

    /// What this way goes on behind, after one that began at this time and has this id. From the oldest on that one may come again, with all that began
    /// at its time: among those it has no place.
    pub(super) fn behind(&self, at: Timestamp, id: &str) -> String {
        match self {
            Self::Newest => format!("{}\n{id}", newest_first(at)),
            Self::Oldest => format!("{}\n{}", newest_first(at), char::MAX),
            Self::All | Self::Marked(_) => id.to_owned(),
        }
    }
}

/// How much may still be read.
struct Left(Limits);

impl Left {
    fn count(&mut self, rows: usize) -> Result<(), ListError> {
        self.0.rows = self.0.rows.checked_sub(rows).ok_or(ListError::TooMany)?;
        Ok(())
    }

    fn count_reads(&mut self, reads: usize) -> Result<(), ListError> {
        self.0.reads = self.0.reads.checked_sub(reads).ok_or(ListError::TooMany)?;
        Ok(())
    }
}

/// What a step has found, and whether nothing follows.
pub(super) struct Step<T> {
    pub(super) found: Vec<T>,
    pub(super) ended: bool,
}

impl Search {
    /// Goes this way, behind `after`.
    pub(super) const fn new(limits: Limits, way: Way, after: Option<String>) -> Self {
        Self { left: Left(limits), way, after, step: 0 }
    }

    /// Some that follow, no more than `wanted` at first where that saves reading; there may be more when there are none among them.
    pub(super) fn next<T: Filed>(&mut self, rows: &Rows<'_>, wanted: usize) -> Result<Step<Arc<T>>, ListError> {
        if matches!(self.way, Way::All) {
            let page = rows.after(&table(T::TABLE), self.after.as_deref(), PAGE)?;
            self.left.count(page.len())?;
            let ended = page.len() < PAGE;
            if let Some((last, _)) = page.last() {
                self.after = Some(last.clone());
            }
            return Ok(Step { found: page.into_iter().filter_map(|(_, event)| T::read(event)).collect(), ended });
        }
        let step = wanted.max(self.step).min(FOUND);
        self.step = step * 2;
        let Step { found: ids, ended } = self.ids::<T>(rows, step)?;
        self.left.count_reads(ids.len())?;
        let keys: Vec<RowKey> = ids.iter().filter_map(|id| T::key(id)).map(|key| key.row()).collect();
        // What is marked may be gone when it is read.
        let found = rows.get_all(&keys)?.into_iter().flatten().filter_map(T::read).collect();
        Ok(Step { found, ended })
    }

    /// The ids of some that follow and are marked.
    pub(super) fn ids<T: Filed>(&mut self, rows: &Rows<'_>, wanted: usize) -> Result<Step<String>, ListError> {
        match &mut self.way {
            Way::Marked(common) => common.next(rows, &mut self.left, &mut self.after, wanted),
            Way::All | Way::Newest | Way::Oldest => {
                let (table, prefix) = (T::KIND.marks(), Field::Created.prefix());
                let marks = if matches!(self.way, Way::Oldest) {
                    rows.ids_back(&table, &prefix, self.after.as_deref(), wanted)?
                } else {
                    rows.ids(&table, &prefix, self.after.as_deref().unwrap_or_default(), wanted)?
                };
                self.left.count(marks.len())?;
                let found = marks.iter().filter_map(|mark| mark.split_once('\n').map(|(_, id)| id.to_owned())).collect();
                let ended = marks.len() < wanted;
                if let Some(last) = marks.into_iter().next_back() {
                    self.after = Some(last);
                }
                Ok(Step { found, ended })
            }
        }
    }

    /// The id of the last one that was looked at.
    pub(super) fn last(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Whether nothing that would come before this one in a list can still be found. From the oldest on that is so once another time was come to.
    pub(super) fn is_past<T: Filed>(&self, process: &T) -> bool {
        let time = self.after.as_deref().and_then(|after| after.split_once('\n')).map(|(time, _)| time);
        !matches!(self.way, Way::Oldest) || time != process.value(Field::Created).as_deref()
    }
}

/// Ids that are under one of the sought values of every field. The field that has the fewest leads: its ids are gone through, and looked up under the values
/// of the others. Which one that is may change on the way, and is asked again, each time after twice as many ids.
pub(super) struct Common {
    table: String,
    fields: Vec<Vec<Ids>>,
    /// After how many ids it is asked again, and how many there were since.
    ask_after: usize,
    since: usize,
}

impl Common {
    fn of<T: Filed>(sought: &[Sought]) -> Self {
        let ids = |sought: &Sought| sought.values.iter().map(|value| Ids::new(sought.field.beginning(value))).collect();
        Self { table: T::KIND.marks(), fields: sought.iter().map(ids).collect(), ask_after: 0, since: 0 }
    }

    /// Some behind `after`, which goes on to the last one that was looked at.
    fn next(&mut self, rows: &Rows<'_>, left: &mut Left, after: &mut Option<String>, wanted: usize) -> Result<Step<String>, ListError> {
        let (mut found, mut looked) = (Vec::new(), 0);
        while found.len() < wanted && looked < STEP {
            let behind = after.as_deref().unwrap_or_default();
            if self.fields.len() > 1 && self.since >= self.ask_after {
                self.choose(rows, left, behind)?;
            }
            let Some((leader, others)) = self.fields.split_first_mut() else { break };
            let few = if others.is_empty() { wanted - found.len() } else { SAMPLE };
            let mut ids = leading(leader, rows, left, &self.table, behind, few)?;
            let Some(last) = ids.last().cloned() else { return Ok(Step { found, ended: true }) };
            looked += ids.len();
            self.since += ids.len();
            for field in others.iter() {
                let mut there = vec![false; ids.len()];
                for values in field {
                    let open: Vec<usize> = there.iter().positions(|there| !there).collect();
                    let keys: Vec<RowKey> = open.iter().filter_map(|n| ids.get(*n)).map(|id| values.row(&self.table, id)).collect();
                    left.count(keys.len())?;
                    looked += keys.len();
                    for (n, has) in open.into_iter().zip(rows.has(&keys)?) {
                        there.get_mut(n).into_iter().for_each(|there| *there = has);
                    }
                }
                let mut there = there.into_iter();
                ids.retain(|_| there.next().unwrap_or_default());
            }
            *after = Some(last);
            found.extend(ids);
        }
        Ok(Step { found, ended: false })
    }

    /// Puts the field first that has the fewest ids behind `after`, as far as can be seen: as many of its ids reach furthest.
    fn choose(&mut self, rows: &Rows<'_>, left: &mut Left, after: &str) -> Result<(), ListError> {
        for ids in self.fields.iter_mut().flatten() {
            ids.skip_to(after);
            if ids.read.is_empty() && !ids.ended {
                ids.go_on(rows, left, &self.table, after, SAMPLE)?;
            }
        }
        let reach = |field: &Vec<Ids>| {
            let nearest = field.iter().filter(|ids| !ids.ended).map(|ids| ids.last.clone()).min();
            let read = field.iter().map(|ids| ids.read.len()).sum::<usize>();
            (nearest.is_none(), nearest, Reverse(read))
        };
        if let Some((leader, _)) = self.fields.iter().enumerate().max_by_key(|(_, field)| reach(field)) {
            self.fields.swap(0, leader);
        }
        (self.ask_after, self.since) = ((self.ask_after * 2).max(SAMPLE), 0);
        Ok(())
    }
}

/// Ids under one value of one field, in their order.
struct Ids {
    beginning: String,
    read: VecDeque<String>,
    /// The last one read.
    last: String,
    ended: bool,
}

impl Ids {
    const fn new(beginning: String) -> Self {
        Self { beginning, read: VecDeque::new(), last: String::new(), ended: false }
    }

    /// Reads more, behind `after` at least.
    fn go_on(&mut self, rows: &Rows<'_>, left: &mut Left, table: &str, after: &str, limit: usize) -> Result<(), ListError> {
        let ids = rows.ids(table, &self.beginning, after.max(&self.last), limit)?;
        left.count(ids.len())?;
        self.ended = ids.len() < limit;
        if let Some(last) = ids.last() {
            self.last.clone_from(last);
        }
        self.read.extend(ids);
        Ok(())
    }

    /// Leaves out what is not behind `after`.
    fn skip_to(&mut self, after: &str) {
        while self.read.front().is_some_and(|id| id.as_str() <= after) {
            self.read.pop_front();
        }
    }

    /// Where it says of this id that it is under the value.
    fn row(&self, table: &str, id: &str) -> RowKey {
        RowKey::new(table, &format!("{}{id}", self.beginning))
    }
}

/// The next ids, at most so many, that are under any of these values: in their order, behind `after`.
fn leading(values: &mut [Ids], rows: &Rows<'_>, left: &mut Left, table: &str, after: &str, limit: usize) -> Result<Vec<String>, ListError> {
    let mut ids = Vec::new();
    while ids.len() < limit {
        for values in values.iter_mut().filter(|values| values.read.is_empty() && !values.ended) {
            values.go_on(rows, left, table, after, limit.min(PAGE))?;
        }
        let least = values.iter_mut().filter(|values| !values.read.is_empty()).min_by(|a, b| a.read.front().cmp(&b.read.front()));
        let Some(id) = least.and_then(|values| values.read.pop_front()) else { break };
        ids.push(id);
    }
    Ok(ids)
}
