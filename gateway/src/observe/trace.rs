//! One server span per request, in the caller's trace.
//!
//! What a request causes (rows, calls to others) continues *its* span, so that a chain of messages over several parties is one trace. The ids
//! exist and travel also when no exporter is configured.

use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The `traceparent` that came with a request; `None` when there is none or it is not valid, which starts a new trace (W3C Trace Context 4.2).
#[must_use]
pub fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { TraceContext::parse(value) }
}

/// Opens the span of a request, below `parent`, and tells its context.
#[must_use]
pub fn server_span(parent: Option<&TraceContext>, method: &Method, route: &str, listener: &'static str) -> (Span, TraceContext) {
    let span = tracing::info_span!(
        "http.server",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        listener,
        trace_id = Empty,
        vpa = Empty,
    );
    if let Some(parent) = parent.and_then(remote) {
        // Without an exporter there is no such layer, and the ids below are made here.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
    let context = of(&span).unwrap_or_else(|| fresh(parent));
    span.record("trace_id", context.trace_id());
    (span, context)
}

/// The context of a span that the exporter's layer knows.
fn of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let context = context.span().span_context().clone();
    let flags = context.trace_flags().to_u8();
    TraceContext::parse(&format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// A new span id in the parent's trace, or in a new one. New traces are marked sampled, so that parties which do export keep them.
fn fresh(parent: Option<&TraceContext>) -> TraceContext {
    // The first half of a UUID holds its version, so that it is never zero.
    let (span, _) = Uuid::new_v4().as_u64_pair();
    let text = match parent {
        Some(parent) => format!("00-{}-{span:016x}-{}", parent.trace_id(), parent.as_str().get(53..).unwrap_or("01")),
        None => format!("00-{}-{span:016x}-01", Uuid::new_v4().simple()),
    };
    TraceContext::parse(&text).unwrap_or_else(|| fresh(None))
}

fn remote(context: &TraceContext) -> Option<SpanContext> {
    let mut parts = context.as_str().split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(parent: Option<&TraceContext>) -> TraceContext {
        let (_, context) = server_span(parent, &Method::GET, "/a", "admin");
        if let Some(parent) = parent {
            assert_eq!(context.trace_id(), parent.trace_id());
        }
        assert_ne!(Some(&context), parent, "a span of its own");
        context
    }

    #[test]
    fn without_an_exporter() {
        let parent = TraceContext::parse(PARENT).unwrap();
        let context = check(Some(&parent));
        assert!(context.as_str().ends_with("-01"));
        assert_ne!(check(None).trace_id(), check(None).trace_id());
        let unsampled = TraceContext::parse(&PARENT.replace("-01", "-00")).unwrap();
        assert!(check(Some(&unsampled)).as_str().ends_with("-00"));
    }

    #[test]
    fn with_an_exporter() {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, || {
            let parent = TraceContext::parse(PARENT).unwrap();
            let (span, context) = server_span(Some(&parent), &Method::GET, "/a", "admin");
            assert_eq!(context.trace_id(), parent.trace_id());
            assert_eq!(of(&span), Some(context));
            check(None);
        });
    }

    #[test]
    fn headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(incoming(&headers), None);
        headers.append("traceparent", PARENT.parse().unwrap());
        assert_eq!(incoming(&headers).unwrap().as_str(), PARENT);
        headers.append("traceparent", PARENT.parse().unwrap());
        assert_eq!(incoming(&headers), None);
        headers.insert("traceparent", "nonsense".parse().unwrap());
        assert_eq!(incoming(&headers), None);
    }
}
