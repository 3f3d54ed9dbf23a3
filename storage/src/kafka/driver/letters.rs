//! Dead letters in Kafka.

use super::{clients::EVENT_BYTES, publisher::Record};
use crate::{DeadLetter, EventRecord, Topic};
use serde_json::Value;

/// The letter, for the topic of dead letters that Kafka calls `name`. As a text in JSON an event may become six times as long: one that fits no more stays
/// where it was, when it was somewhere, and the letter says where.
pub(super) fn record(name: String, topic: &Topic, event: &EventRecord, reason: String) -> Record {
    let mut letter = DeadLetter::of(topic, event, reason);
    let mut payload = letter.encode();
    if payload.len() + event.key.len() > EVENT_BYTES && event.offset.0 > 0 {
        letter.event = Value::Null;
        payload = letter.encode();
    }
    Record { topic: name, key: event.key.clone(), payload: payload.into(), media_type: Some("application/json") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offset;

    #[test]
    fn what_fits_is_in_the_letter_and_what_stands_nowhere_else_too() {
        let letter = |bytes: usize, offset: u64| {
            let event = EventRecord { offset: Offset(offset), key: "k".to_owned(), payload: vec![b'x'; bytes].into() };
            let record = record("t.dead".to_owned(), &Topic("t".to_owned()), &event, "why".to_owned());
            let has_it = serde_json::from_slice::<DeadLetter>(&record.payload).unwrap().event.is_string();
            (has_it, record.payload.len() > EVENT_BYTES)
        };
        assert_eq!(letter(EVENT_BYTES / 2, 7), (true, false));
        assert_eq!(letter(EVENT_BYTES, 7), (false, false));
        assert_eq!(letter(EVENT_BYTES, 0), (true, true), "refused, and nothing is lost");
    }
}
