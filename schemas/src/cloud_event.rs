//! `CloudEvents` 1.0 in JSON, structured mode: the envelope of everything on the event log.

use crate::{Timestamp, TraceContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// The one version of the specification spoken here.
pub const SPEC_VERSION: &str = "1.0";

/// Where an event stands among the events of its source: the turn that published it, and its number in that turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct EventPosition {
    /// Number of the turn.
    pub seq: u64,
    /// Number of the event within the turn.
    pub n: u32,
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.n)
    }
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is two numbers, <seq>.<n>")]
pub struct EventPositionError;

impl FromStr for EventPosition {
    type Err = EventPositionError;

    fn from_str(text: &str) -> Result<Self, EventPositionError> {
        let (seq, n) = text.split_once('.').ok_or(EventPositionError)?;
        Ok(Self { seq: seq.parse().map_err(|_| EventPositionError)?, n: n.parse().map_err(|_| EventPositionError)? })
    }
}

/// An event (CloudEvents 1.0, 3.1), with the extension `traceparent` (Distributed Tracing extension).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// [`SPEC_VERSION`].
    pub specversion: String,
    /// `<source>#<seq>.<n>`, see [`EventPosition`].
    pub id: String,
    /// Address of the agent whose turn published the event.
    pub source: String,
    /// What happened, for example `org.cellspace.orchestration.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the turn was decided, RFC 3339.
    pub time: String,
    /// The ordering key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Media type of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The trace that the turn belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceContext>,
    /// The tenant that the source's rows belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The event's own content.
    #[serde(default)]
    pub data: Value,
}

/// Why bytes are not an event of this platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// Not JSON of the right shape.
    #[error("not a cloud event: {0}")]
    Malformed(String),
    /// Another version of the specification.
    #[error("cloud event of specversion {0:?}, expected {SPEC_VERSION}")]
    Version(String),
    /// The id does not carry source and position.
    #[error("cloud event id {0:?} is not <source>#<seq>.<n>")]
    Id(String),
}

impl CloudEvent {
    /// Wraps `data`; the id is made of source and position, so that the same turn always makes the same event.
    #[must_use]
    pub fn new(source: impl Into<String>, position: EventPosition, kind: impl Into<String>, time: Timestamp, data: Value) -> Self {
        let source = source.into();
        Self {
            specversion: SPEC_VERSION.to_owned(),
            id: format!("{source}#{position}"),
            source,
            kind: kind.into(),
            time: time.to_rfc3339(),
            subject: None,
            datacontenttype: Some("application/json".to_owned()),
            traceparent: None,
            tenant: None,
            data,
        }
    }

    /// Sets the ordering key.
    #[must_use]
    pub fn subject(mut self, key: impl Into<String>) -> Self {
        self.subject = Some(key.into());
        self
    }

    /// Sets the trace.
    #[must_use]
    pub fn trace(mut self, trace: Option<TraceContext>) -> Self {
        self.traceparent = trace;
        self
    }

    /// Reads an event and checks what the rest of the platform relies on: version and id.
    ///
    /// # Errors
    /// [`CloudEventError`] names what is wrong; such an event is poison.
    pub fn parse(bytes: &[u8]) -> Result<Self, CloudEventError> {
        let event: Self = serde_json::from_slice(bytes).map_err(|e| CloudEventError::Malformed(e.to_string()))?;
        if event.specversion != SPEC_VERSION {
            return Err(CloudEventError::Version(event.specversion));
        }
        event.position()?;
        Ok(event)
    }

    /// The position that the id carries.
    ///
    /// # Errors
    /// [`CloudEventError::Id`] when it carries none.
    pub fn position(&self) -> Result<EventPosition, CloudEventError> {
        let position = self.id.strip_prefix(self.source.as_str()).and_then(|rest| rest.strip_prefix('#'));
        position.and_then(|position| position.parse().ok()).ok_or_else(|| CloudEventError::Id(self.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> CloudEvent {
        let position = EventPosition { seq: 7, n: 1 };
        CloudEvent::new("orchestration/o-1", position, "org.cellspace.test", Timestamp(1_790_000_000_000), json!({"a": 1})).subject("t-1")
    }

    #[test]
    fn wire_form_follows_the_specification() {
        let wire = serde_json::to_value(event()).unwrap();
        assert_eq!(
            wire,
            json!({"specversion": "1.0", "id": "orchestration/o-1#7.1", "source": "orchestration/o-1", "type": "org.cellspace.test",
                "time": Timestamp(1_790_000_000_000).to_rfc3339(), "subject": "t-1", "datacontenttype": "application/json", "data": {"a": 1}})
        );
    }

    #[test]
    fn reading_keeps_the_position() {
        let back = CloudEvent::parse(&serde_json::to_vec(&event()).unwrap()).unwrap();
        assert_eq!(back, event());
        assert_eq!(back.position(), Ok(EventPosition { seq: 7, n: 1 }));
    }

    #[test]
    fn positions_order_by_turn_then_number() {
        assert!(EventPosition { seq: 2, n: 0 } > EventPosition { seq: 1, n: 9 });
        assert!(EventPosition { seq: 2, n: 1 } > EventPosition { seq: 2, n: 0 });
    }

    #[test]
    fn poison_is_told_apart() {
        assert!(matches!(CloudEvent::parse(b"{"), Err(CloudEventError::Malformed(_))));
        let mut old = event();
        old.specversion = "0.3".into();
        assert!(matches!(CloudEvent::parse(&serde_json::to_vec(&old).unwrap()), Err(CloudEventError::Version(_))));
        for id in ["", "x", "orchestration/o-1", "orchestration/o-1#7", "orchestration/o-2#7.1", "orchestration/o-1#7.x"] {
            let bad = CloudEvent { id: id.into(), ..event() };
            assert!(matches!(CloudEvent::parse(&serde_json::to_vec(&bad).unwrap()), Err(CloudEventError::Id(_))), "{id}");
        }
    }
}
