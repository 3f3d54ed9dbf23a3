//! Logs as one JSON object per line, with the same fields everywhere.
//!
//! `timestamp, severity, component, category, message`, then the event's own fields, then those of the spans around it that it does not name
//! itself (`trace_id`, `vpa`, ...).

use cellspace_cluster::{Clock, SystemClock};
use serde_json::{Map, Value};
use std::{fmt, io::Write};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

/// Fields of a span that belong to the exporter, not to a log line.
const SPAN_ONLY: &str = "otel.";

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

/// Fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

struct Collect<'m>(&'m mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }
}

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(fields)) = span.extensions_mut().get_mut() {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Map::new();
        event.record(&mut Collect(&mut own));
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), SystemClock.now().to_rfc3339().into());
        line.insert("severity".to_owned(), severity(*metadata.level()).into());
        line.insert("component".to_owned(), component(metadata.target()).into());
        line.insert("category".to_owned(), own.remove("category").unwrap_or_else(|| "app".into()));
        line.insert("message".to_owned(), own.remove("message").unwrap_or_else(|| "".into()));
        line.extend(own);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(SPAN_ONLY)) {
                    if !line.contains_key(name) {
                        line.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        // A log that cannot be written has nowhere to be reported to.
        let _ = self.writer.make_writer_for(metadata).write_all(&bytes);
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
