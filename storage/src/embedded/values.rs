//! Stored values of this crate's own rows. Each starts with its format level, so that a newer one is refused instead of guessed at.

use super::generations::{Generation, Moving, Traces};
use crate::{Epoch, Head, RowKey, Seq, StoreError, Wake};
use bytes::Bytes;
use cellspace_schemas::Timestamp;

/// Format level of every value but heads that this build writes, and the newest that it reads.
pub(super) const LEVEL: u8 = 1;
/// The same of heads. Those of level 1 say nothing of generations: nobody counted what was deleted.
pub(super) const HEAD_LEVEL: u8 = 2;

/// A partition's static row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredHead {
    /// Epoch and seq of the last commit.
    pub(super) head: Head,
    /// What the wake index says of the partition.
    pub(super) wake: Wake,
    /// Where its rows are.
    pub(super) rows: Generation,
}

impl StoredHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let last = self.rows.moving.as_ref().map_or(0, |moving| 16 + moving.last.as_bytes().len());
        let mut value = Vec::with_capacity(60 + last);
        value.push(HEAD_LEVEL);
        value.extend_from_slice(&self.head.epoch.view.to_be_bytes());
        value.extend_from_slice(&self.head.epoch.count.to_be_bytes());
        value.extend_from_slice(&self.head.seq.0.to_be_bytes());
        value.push(u8::from(self.wake.awake));
        value.push(u8::from(self.wake.due.is_some()));
        value.extend_from_slice(&self.wake.due.unwrap_or_default().0.to_be_bytes());
        let push = |value: &mut Vec<u8>, number: u64| value.extend_from_slice(&number.to_be_bytes());
        let Generation { number, traces, moving } = &self.rows;
        [*number, traces.kept, traces.deleted].into_iter().for_each(|number| push(&mut value, number));
        value.push(u8::from(moving.is_some()));
        if let Some(Moving { traces, last }) = moving {
            [traces.kept, traces.deleted].into_iter().for_each(|number| push(&mut value, number));
            value.extend_from_slice(last.as_bytes());
        }
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let (level, mut fields) = Fields::up_to(HEAD_LEVEL, value, "head")?;
        let epoch = Epoch { view: fields.number()?, count: fields.number()? };
        let seq = Seq(fields.number()?);
        let awake = fields.flag()?;
        let has_due = fields.flag()?;
        let due = fields.number()?.cast_signed();
        let rows = if level < HEAD_LEVEL { Generation::UNCOUNTED } else { fields.generation()? };
        Ok(Self { head: Head { epoch, seq }, wake: Wake { awake, due: has_due.then_some(Timestamp(due)) }, rows })
    }
}

/// A topic's own row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredTopic {
    /// Offset that the next event gets; never goes back, also when all events are trimmed.
    pub(super) next: u64,
    /// Lowest offset that may still be there.
    pub(super) oldest: u64,
}

impl StoredTopic {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = vec![LEVEL];
        value.extend_from_slice(&self.next.to_be_bytes());
        value.extend_from_slice(&self.oldest.to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::of(value, "topic")?;
        Ok(Self { next: fields.number()?, oldest: fields.number()? })
    }
}

/// One number: a group's position, the boot counter, the number of the last group of commits.
pub(super) fn encode_number(number: u64) -> Vec<u8> {
    let mut value = vec![LEVEL];
    value.extend_from_slice(&number.to_be_bytes());
    value
}

/// Reads what [`encode_number`] wrote; `what` names the row in the error.
pub(super) fn decode_number(value: &[u8], what: &'static str) -> Result<u64, StoreError> {
    Fields::of(value, what)?.number()
}

/// An event: its key's length, its key, the payload.
pub(super) fn encode_event(key: &str, payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(9 + key.len() + payload.len());
    value.push(LEVEL);
    value.extend_from_slice(&(key.len() as u64).to_be_bytes());
    value.extend_from_slice(key.as_bytes());
    value.extend_from_slice(payload);
    value
}

/// Key and payload of an event.
pub(super) fn decode_event(value: &[u8]) -> Result<(String, Bytes), StoreError> {
    let mut fields = Fields::of(value, "event")?;
    let length = usize::try_from(fields.number()?).unwrap_or(usize::MAX);
    let (key, payload) = fields.rest.split_at_checked(length).ok_or_else(|| unreadable("event"))?;
    let key = std::str::from_utf8(key).map_err(|_| unreadable("event"))?;
    Ok((key.to_owned(), Bytes::copy_from_slice(payload)))
}

/// The error for a row whose bytes are not what this crate writes.
pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a stored {what} cannot be read"))
}

struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(value: &'a [u8], what: &'static str) -> Result<Self, StoreError> {
        Ok(Self::up_to(LEVEL, value, what)?.1)
    }

    /// The fields of a value of this level or an earlier one, and which it is.
    fn up_to(newest: u8, value: &'a [u8], what: &'static str) -> Result<(u8, Self), StoreError> {
        match value.split_first() {
            Some((level, rest)) if (1..=newest).contains(level) => Ok((*level, Self { what, rest })),
            Some((level, _)) if *level > newest => {
                Err(StoreError::Corrupt(format!("a stored {what} has format level {level}, this build reads up to {newest}")))
            }
            _ => Err(unreadable(what)),
        }
    }

    fn generation(mut self) -> Result<Generation, StoreError> {
        let number = self.number()?;
        let traces = self.traces()?;
        let moving = if self.flag()? {
            let traces = self.traces()?;
            Some(Moving { last: RowKey::from_bytes(Bytes::copy_from_slice(self.rest)), traces })
        } else {
            None
        };
        Ok(Generation { number, traces, moving })
    }

    fn traces(&mut self) -> Result<Traces, StoreError> {
        Ok(Traces { kept: self.number()?, deleted: self.number()? })
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        let (number, rest) = self.rest.split_first_chunk::<8>().ok_or_else(|| unreadable(self.what))?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn flag(&mut self) -> Result<bool, StoreError> {
        let (flag, rest) = self.rest.split_first().ok_or_else(|| unreadable(self.what))?;
        self.rest = rest;
        Ok(*flag != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let traces = |kept, deleted| Traces { kept, deleted };
        for due in [None, Some(Timestamp(-5)), Some(Timestamp(i64::MAX))] {
            for moving in [None, Some(Moving { last: RowKey::new("t", "a"), traces: traces(9, 10) })] {
                let wake = Wake { awake: due.is_some(), due };
                let rows = Generation { number: 6, traces: traces(7, 8), moving };
                let head = StoredHead { head: Head { epoch: Epoch { view: 3, count: 4 }, seq: Seq(5) }, wake, rows };
                assert_eq!(StoredHead::decode(&head.encode()).unwrap(), head);
            }
        }
        let topic = StoredTopic { next: 9, oldest: 2 };
        assert_eq!(StoredTopic::decode(&topic.encode()).unwrap(), topic);
        assert_eq!(decode_event(&encode_event("ké", b"\0x")).unwrap(), ("ké".to_owned(), Bytes::from_static(b"\0x")));
        assert_eq!(decode_number(&encode_number(7), "n").unwrap(), 7);
    }

    /// As builds before generations wrote it: where rows are follows, and that nobody has counted.
    #[test]
    fn a_head_of_level_1_is_read() {
        let wake = Wake { awake: true, due: Some(Timestamp(9)) };
        let head = StoredHead { head: Head { epoch: Epoch { view: 3, count: 4 }, seq: Seq(5) }, wake, rows: Generation::UNCOUNTED };
        let mut value = head.encode();
        value[0] = 1;
        value.truncate(35);
        assert_eq!(StoredHead::decode(&value).unwrap(), head);
        assert!(head.rows.is_worn(u64::MAX) && head.rows.of(&RowKey::new("t", "a")) == 0);
    }

    #[test]
    fn short_and_newer_values_are_refused() {
        let head = StoredHead { head: Head::default(), wake: Wake::default(), rows: Generation::default() }.encode();
        for cut in 0..head.len() {
            assert!(StoredHead::decode(head.get(..cut).unwrap()).is_err(), "{cut}");
        }
        let mut newer = head;
        newer[0] = HEAD_LEVEL + 1;
        let error = StoredHead::decode(&newer).unwrap_err();
        assert!(error.to_string().contains("format level 3"), "{error}");
        assert!(decode_event(&encode_event("key", b"")[..10]).is_err());
    }
}
