//! Stored values of this crate's own rows. Each starts with its format level, so that a newer one is refused instead of guessed at.

use crate::{Epoch, Head, Seq, StoreError, Wake};
use bytes::Bytes;
use cellspace_schemas::Timestamp;

/// Format level of every value that this build writes, and the newest that it reads.
pub(super) const LEVEL: u8 = 1;

/// A partition's static row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredHead {
    /// Epoch and seq of the last commit.
    pub(super) head: Head,
    /// What the wake index says of the partition.
    pub(super) wake: Wake,
}

impl StoredHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(35);
        value.push(LEVEL);
        value.extend_from_slice(&self.head.epoch.view.to_be_bytes());
        value.extend_from_slice(&self.head.epoch.count.to_be_bytes());
        value.extend_from_slice(&self.head.seq.0.to_be_bytes());
        value.push(u8::from(self.wake.awake));
        value.push(u8::from(self.wake.due.is_some()));
        value.extend_from_slice(&self.wake.due.unwrap_or_default().0.to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::of(value, "head")?;
        let epoch = Epoch { view: fields.number()?, count: fields.number()? };
        let seq = Seq(fields.number()?);
        let awake = fields.flag()?;
        let has_due = fields.flag()?;
        let due = fields.number()?.cast_signed();
        Ok(Self { head: Head { epoch, seq }, wake: Wake { awake, due: has_due.then_some(Timestamp(due)) } })
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
        match value.split_first() {
            Some((level, rest)) if (1..=LEVEL).contains(level) => Ok(Self { what, rest }),
            Some((level, _)) if *level > LEVEL => {
                Err(StoreError::Corrupt(format!("a stored {what} has format level {level}, this build reads up to {LEVEL}")))
            }
            _ => Err(unreadable(what)),
        }
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
        for due in [None, Some(Timestamp(-5)), Some(Timestamp(i64::MAX))] {
            let head =
                StoredHead { head: Head { epoch: Epoch { view: 3, count: 4 }, seq: Seq(5) }, wake: Wake { awake: due.is_some(), due } };
            assert_eq!(StoredHead::decode(&head.encode()).unwrap(), head);
        }
        let topic = StoredTopic { next: 9, oldest: 2 };
        assert_eq!(StoredTopic::decode(&topic.encode()).unwrap(), topic);
        assert_eq!(decode_event(&encode_event("ké", b"\0x")).unwrap(), ("ké".to_owned(), Bytes::from_static(b"\0x")));
        assert_eq!(decode_number(&encode_number(7), "n").unwrap(), 7);
    }

    #[test]
    fn short_and_newer_values_are_refused() {
        let head = StoredHead { head: Head::default(), wake: Wake::default() }.encode();
        for cut in 0..head.len() {
            assert!(StoredHead::decode(head.get(..cut).unwrap()).is_err(), "{cut}");
        }
        let mut newer = head;
        newer[0] = LEVEL + 1;
        let error = StoredHead::decode(&newer).unwrap_err();
        assert!(error.to_string().contains("format level 2"), "{error}");
        assert!(decode_event(&encode_event("key", b"")[..10]).is_err());
    }
}
