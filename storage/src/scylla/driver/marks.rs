//! Marks: the names of what lies beside a partition. Each is that of the commit that it was written for, so that no key is ever used twice and no clocks are compared.

use super::heads::StoredHead;
use crate::{Epoch, Seq, StoreError};

/// The commit that a row beside a partition was written for, and the hour that the row lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Hours since 1970.
    pub(super) hour: i64,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// What becomes of a row beside a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The head names it.
    Named,
    /// No commit needs it, or ever will.
    Stale,
    /// Its commit may be on its way.
    Open,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&self.hour.to_be_bytes());
        for number in [self.epoch.view, self.epoch.count, self.seq.0] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return Err(StoreError::Corrupt("a stored mark cannot be read".to_owned())) };
        let [hour, view, count, seq] = numbers else { return Err(StoreError::Corrupt("a stored mark cannot be read".to_owned())) };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        Ok(Self { hour: i64::from_be_bytes(*hour), epoch: Epoch { view: number(view), count: number(count) }, seq: Seq(number(seq)) })
    }

    /// What is known of a row under this mark, which the head names or not.
    ///
    /// Its own commit, and those after it that still need the row, are of one activation and name it in the head from that commit on. A head that does not name it
    /// although the commit's number is taken, or although the activation is fenced, will never name it.
    pub(super) fn fate(&self, head: &StoredHead, named: Option<Self>) -> Fate {
        if named == Some(*self) {
            Fate::Named
        } else if head.fence > self.epoch || head.seq() >= self.seq {
            Fate::Stale
        } else {
            Fate::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Head;

    #[test]
    fn marks_come_back() {
        let mark = Mark { hour: -7, epoch: Epoch { view: 1, count: u64::MAX }, seq: Seq(9) };
        assert_eq!(Mark::decode(&mark.encode()).unwrap(), mark);
        for length in (0..=40).filter(|length| *length != 32) {
            assert!(Mark::decode(&vec![0; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn only_what_can_land_is_open() {
        let epoch = |count| Epoch { view: 1, count };
        let head = |fence, seq| StoredHead {
            fence: epoch(fence),
            head: (seq > 0).then_some(Head { epoch: epoch(fence), seq: Seq(seq) }),
            at: super::super::heads::Position { seq: Seq(seq), ..Default::default() },
            ..StoredHead::default()
        };
        let mark = Mark { hour: 0, epoch: epoch(5), seq: Seq(3) };
        let other = Mark { seq: Seq(2), ..mark };
        for (head, named, fate) in [
            (head(5, 2), None, Fate::Open),
            (head(5, 2), Some(other), Fate::Open),
            (head(5, 0), None, Fate::Open),
            // A stale read.
            (head(4, 1), None, Fate::Open),
            (head(5, 3), None, Fate::Stale),
            (head(5, 3), Some(mark), Fate::Named),
            (head(6, 2), None, Fate::Stale),
            // A newer activation relies on the row.
            (head(6, 7), Some(mark), Fate::Named),
            (head(6, 7), Some(other), Fate::Stale),
        ] {
            assert_eq!(mark.fate(&head, named), fate, "{head:?} {named:?}");
        }
    }
}
