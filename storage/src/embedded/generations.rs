//! Generations of a partition's rows. The database reads over the trace of each deleted row until it has merged it away, which it does by the bytes that are
//! written and not by what is read: what activations read must not depend on that. So a partition counts what it deletes, and when that is much, its rows move on
//! to the next generation, some with each commit and in the commit's own write; the traces stay in the old one, which nobody reads any more.
//!
//! Rows move in the order of their keys: those up to a mark are in the new generation, those behind it still in the old one. The head says so, so that it is true
//! at each moment, also after a crash. Rows that are [`APART`](crate::APART) are many and no activation reads them: they stay where they are. Pure.

use crate::{Row, RowChange, RowKey, partitions::is_apart};
use std::ops::Bound;

/// Where a partition's rows are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Generation {
    /// The generation of all rows; of those that have not moved yet while they move to the next one.
    pub(super) number: u64,
    /// Rows that it began with, and rows deleted since.
    pub(super) traces: Traces,
    /// When rows move on.
    pub(super) moving: Option<Moving>,
}

/// What tells how much a scan reads over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traces {
    /// Rows that a generation began with.
    pub(super) kept: u64,
    /// Rows deleted since.
    pub(super) deleted: u64,
}

/// Rows on their way to the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moving {
    /// Key of the last row that has moved.
    pub(super) last: RowKey,
    /// Of the next generation, so far.
    pub(super) traces: Traces,
}

/// Rows that move with a commit, in order: the first ones that have not moved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) rows: Vec<Row>,
    /// Whether none is left behind them.
    pub(super) ends: bool,
}

/// A range of row keys within one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) generation: u64,
    pub(super) start: Bound<&'a [u8]>,
    pub(super) end: Bound<&'a [u8]>,
}

impl Generation {
    /// As it must be taken for where nobody has counted: rows move on with the next commit.
    pub(super) const UNCOUNTED: Self = Self { number: 0, traces: Traces { kept: 0, deleted: u64::MAX }, moving: None };

    /// Whether rows are to move: when so many are deleted, and as many as are left of those that it began with.
    pub(super) fn is_worn(&self, deleted: u64) -> bool {
        let Traces { kept, deleted: gone } = self.traces;
        self.moving.is_some() || gone >= deleted.max(kept.saturating_sub(gone))
    }

    /// The generation that a row is in, or would be.
    pub(super) fn of(&self, row: &RowKey) -> u64 {
        if is_apart(row.as_bytes()) {
            return 0;
        }
        self.number + u64::from(self.moving.as_ref().is_some_and(|moving| *row <= moving.last))
    }

    /// Where rows from `start` to before `end` are, in their order; at most two spans, none of them empty. Both bounds are apart or neither is.
    pub(super) fn spans<'a>(&'a self, start: Bound<&'a [u8]>, end: &'a [u8]) -> Vec<Span<'a>> {
        let span = |generation, start, end| Span { generation, start, end };
        let apart = matches!(start, Bound::Included(key) | Bound::Excluded(key) if is_apart(key));
        let last = self.moving.as_ref().map(|moving| moving.last.as_bytes()).filter(|_| !apart);
        let whole = span(if apart { 0 } else { self.number }, start, Bound::Excluded(end));
        let mut spans = match last {
            None => vec![whole],
            Some(last) if end <= last => vec![Span { generation: self.number + 1, ..whole }],
            Some(last) => {
                let behind = match start {
                    Bound::Included(key) | Bound::Excluded(key) if key > last => start,
                    _ => Bound::Excluded(last),
                };
                vec![span(self.number + 1, start, Bound::Included(last)), span(self.number, behind, Bound::Excluded(end))]
            }
        };
        spans.retain(|span| !span.is_empty());
        spans
    }

    /// After a commit that moves these rows and makes these changes.
    pub(super) fn after(mut self, step: Option<&Step>, changes: &[RowChange]) -> Self {
        if let Some(step) = step {
            self.moved(step);
        }
        let present = self.moving.as_ref().map_or(self.number, |_| self.number + 1);
        let deleted =
            |change: &&RowChange| matches!(change, RowChange::Delete(key) if !is_apart(key.as_bytes()) && self.of(key) == present);
        let deleted = changes.iter().filter(deleted).count() as u64;
        // What is deleted where rows move away from is left behind with them.
        let traces = self.moving.as_mut().map_or(&mut self.traces, |moving| &mut moving.traces);
        traces.deleted = traces.deleted.saturating_add(deleted);
        self
    }

    fn moved(&mut self, step: &Step) {
        let mut traces = self.moving.as_ref().map_or_else(Traces::default, |moving| moving.traces);
        traces.kept += step.rows.len() as u64;
        if step.ends {
            *self = Self { number: self.number + 1, traces, moving: None };
        } else if let Some(last) = step.rows.last() {
            self.moving = Some(Moving { last: last.key.clone(), traces });
        }
    }
}

impl Span<'_> {
    fn is_empty(&self) -> bool {
        match (self.start, self.end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::ops::RangeBounds;

    const TABLES: [&str; 3] = ["a", "b", "\u{7f}x"];

    fn all() -> Vec<RowKey> {
        TABLES.iter().flat_map(|table| ["", "1", "2", "3"].map(|id| RowKey::new(table, id))).collect()
    }

    fn row(key: &RowKey) -> Row {
        Row { key: key.clone(), value: Bytes::new() }
    }

    fn holds(start: Bound<&[u8]>, end: Bound<&[u8]>, key: &RowKey) -> bool {
        RangeBounds::<[u8]>::contains(&(start, end), key.as_bytes())
    }

    /// Every row is in one span of the range, the one of its generation, and the spans are in order.
    #[test]
    fn spans_hold_the_rows_of_a_range_where_they_are() {
        let moving = |last: Option<RowKey>| Generation {
            number: 4,
            moving: last.map(|last| Moving { last, traces: Traces::default() }),
            ..Generation::default()
        };
        let keys = all();
        for generation in keys.iter().filter(|key| !is_apart(key.as_bytes())).map(|key| moving(Some(key.clone()))).chain([moving(None)]) {
            for (from, end) in keys.iter().flat_map(|from| keys.iter().map(move |end| (from.as_bytes(), end.as_bytes()))) {
                if is_apart(from) != is_apart(end) {
                    continue;
                }
                for start in [Bound::Included(from), Bound::Excluded(from)] {
                    let spans = generation.spans(start, end);
                    assert!(spans.len() <= 2);
                    let within = |span: &Span<'_>, key: &RowKey| holds(span.start, span.end, key);
                    let wanted: Vec<_> = keys.iter().filter(|key| holds(start, Bound::Excluded(end), key)).collect();
                    let found: Vec<_> =
                        spans.iter().flat_map(|span| keys.iter().filter(|key| within(span, key)).map(move |key| (span, key))).collect();
                    assert_eq!(found.iter().map(|(_, key)| *key).collect::<Vec<_>>(), wanted, "{generation:?} {start:?} {end:?}");
                    assert!(found.iter().all(|(span, key)| span.generation == generation.of(key)), "{generation:?} {start:?} {end:?}");
                    assert!(spans.iter().all(|span| !span.is_empty()));
                }
            }
        }
    }

    #[test]
    fn rows_move_when_as_many_are_deleted_as_are_left() {
        let [a, b] = ["1", "2"].map(|id| RowKey::new("a", id));
        let (delete, put) = (|key: &RowKey| RowChange::Delete(key.clone()), |key: &RowKey| RowChange::Put(key.clone(), Bytes::new()));
        let apart = RowKey::new("\u{7f}x", "1");
        let fresh = Generation::default().after(None, &[put(&a), put(&b), delete(&apart)]);
        assert!(fresh == Generation::default() && !fresh.is_worn(1));
        let worn = fresh.after(None, &[delete(&a)]);
        assert!(worn.is_worn(1) && !worn.is_worn(2));
        // What is deleted behind those that have moved is left with the old ones.
        let moving = worn.after(Some(&Step { rows: vec![row(&a)], ends: false }), &[delete(&b), delete(&a)]);
        assert!(moving.is_worn(u64::MAX) && (moving.of(&a), moving.of(&b), moving.of(&apart)) == (1, 0, 0));
        assert_eq!(moving.moving.as_ref().unwrap().traces, Traces { kept: 1, deleted: 1 });
        let moved = moving.after(Some(&Step { rows: vec![row(&b)], ends: true }), &[delete(&b)]);
        assert_eq!(moved, Generation { number: 1, traces: Traces { kept: 2, deleted: 2 }, moving: None });
        assert!(moved.is_worn(2) && !moved.is_worn(3));
        let many = |deleted| Generation { number: 1, traces: Traces { kept: 100_000, deleted }, moving: None };
        assert!(!many(49_999).is_worn(512) && many(50_000).is_worn(512));
        // Nothing was left to move.
        let empty = moved.after(Some(&Step { rows: Vec::new(), ends: true }), &[]);
        assert_eq!(empty, Generation { number: 2, traces: Traces::default(), moving: None });
    }
}
