//! Logs as one JSON object per line, with the same fields everywhere.
//!
//! `timestamp, severity, component, category, message`, then the event's own fields, then those of the spans around it that it does not name
//! itself (`trace_id`, `vpa`, ...).

use cellspace_cluster::{Clock, SystemClock};
use serde::Serialize;
use std::{fmt, io::Write, ops::Range};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

/// Fields of a span that belong to the exporter, not to a log line.
const SPAN_ONLY: &str = "otel.";
/// Room that most lines fit in, in bytes.
const LINE: usize = 512;
/// And the values of most spans and events.
const FIELDS: usize = 192;

/// Writes events as JSON lines.
pub struct JsonLayer<W> {
    writer: W,
}

impl<W> JsonLayer<W> {
    /// Writes to `writer`.
    pub const fn new(writer: W) -> Self {
        Self { writer }
    }
}

/// Fields of an event, or of a span, kept with it. Their values are JSON already: there are several lines and spans to each message.
struct Fields {
    /// All values.
    text: Vec<u8>,
    places: Vec<(&'static str, Range<usize>)>,
}

impl Fields {
    /// With room for what most have.
    fn new() -> Self {
        Self { text: Vec::with_capacity(FIELDS), places: Vec::with_capacity(8) }
    }

    /// Keeps a value, in place of an earlier one of the same name.
    fn put(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        if field.name().starts_with(SPAN_ONLY) {
            return;
        }
        let start = self.text.len();
        append(&mut self.text, value);
        let place = start..self.text.len();
        match self.places.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, earlier)) => *earlier = place,
            None => self.places.push((field.name(), place)),
        }
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(found, value)| (found == name).then_some(value))
    }

    fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.places.iter().filter_map(|(name, place)| Some((*name, self.text.get(place.clone())?)))
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, &format_args!("{value}"));
    }
}

/// Appends a value as JSON. Those that fields have can all be written.
fn append(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = text.len();
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
        text.extend_from_slice(b"null");
    }
}

/// A line as it grows: each name once, the first one counts.
struct Line {
    text: Vec<u8>,
    names: Vec<&'static str>,
}

impl Line {
    fn begun() -> Self {
        let mut text = Vec::with_capacity(LINE);
        text.push(b'{');
        Self { text, names: Vec::with_capacity(24) }
    }

    fn put(&mut self, name: &'static str, value: &[u8]) {
        if !self.names.contains(&name) {
            self.name(name);
            self.text.extend_from_slice(value);
        }
    }

    fn say(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.name(name);
        append(&mut self.text, value);
    }

    fn name(&mut self, name: &'static str) {
        if !self.names.is_empty() {
            self.text.push(b',');
        }
        self.names.push(name);
        append(&mut self.text, name);
        self.text.push(b':');
    }

    fn ended(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"}\n");
        self.text
    }
}

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::new();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::new();
        event.record(&mut own);
        let metadata = event.metadata();
        let mut line = Line::begun();
        line.say("timestamp", &SystemClock.now().to_rfc3339());
        line.say("severity", severity(*metadata.level()));
        line.say("component", &component(metadata.target()));
        line.put("category", own.get("category").unwrap_or(b"\"app\""));
        line.put("message", own.get("message").unwrap_or(b"\"\""));
        for (name, value) in own.iter() {
            line.put(name, value);
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in fields.iter() {
                    line.put(name, value);
                }
            }
        }
        // A log that cannot be written has nowhere to be reported to.
        let _ = self.writer.make_writer_for(metadata).write_all(&line.ended());
    }
}

const fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// `cellspace_actors::data_plane::flow` is the component `actors.data_plane`, `cellspace::server` is `gateway.server`.
fn component(target: &str) -> String {
    let mut parts = target.split("::");
    let krate = parts.next().unwrap_or_default();
    let krate = if krate == "cellspace" { "gateway" } else { krate.strip_prefix("cellspace_").unwrap_or(krate) };
    parts.next().map_or_else(|| krate.to_owned(), |module| format!("{krate}.{module}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use serde_json::{Map, Value};
    use std::{io, sync::Arc};
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_have_the_fields_of_event_and_spans() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLayer::new(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("outer", trace_id = "t", vpa = Empty, otel.kind = "server", action = "outer");
            span.record("vpa", "p0");
            span.record("vpa", "p1");
            let _entered = span.enter();
            tracing::warn!(target: "cellspace_actors::trust::peer", category = "dcp", action = "verify", counterparty = "did:web:x", tries = 2, "refused \"it\"");
            tracing::info!("plain");
        });
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Map<String, Value>>(line).unwrap());
        let mut line = lines.next().unwrap();
        assert!(line.remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({"severity": "WARN", "component": "actors.trust", "category": "dcp", "message": "refused \"it\"",
            "action": "verify", "counterparty": "did:web:x", "tries": 2, "trace_id": "t", "vpa": "p1"});
        assert_eq!(Value::Object(line), expected);
        let line = lines.next().unwrap();
        assert_eq!((&line["category"], &line["component"], &line["action"]), (&"app".into(), &"gateway.observe".into(), &"outer".into()));
        assert!(lines.next().is_none());
    }
}
