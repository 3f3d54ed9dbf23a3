//! Dead letters in Kafka.

use super::{clients::EVENT_BYTES, publisher::Record};
use crate::{DeadLetter, EventRecord, Topic};
use serde_json::Value;

/// The longest event that a letter holds itself: as a text in JSON it may become six times as long.
const LONGEST: usize = EVENT_BYTES / 8;

/// The letter, for the topic of dead letters that Kafka calls `name`. A very long event stays where it was, and the letter says where.
pub(super) fn record(name: String, topic: &Topic, event: &EventRecord, reason: String) -> Record {
    let mut letter = DeadLetter::of(topic, event, reason);
    if event.payload.len() > LONGEST {
        letter.event = Value::Null;
    }
    Record { topic: name, key: event.key.clone(), payload: letter.encode().into(), media_type: Some("application/json") }
}
