//! Spans and the contexts that others continue.
//!
//! A context (`traceparent`) exists and travels also when no exporter is configured; with one it is that of the exported span. Work runs
//! [`within`] a span, and whoever sends something on behalf of it, however deep below, continues [`current`].

use cellspace_schemas::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use std::future::Future;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The context of the innermost span that the running task works in. Tasks that it spawns do not inherit it.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `work` in `span`, which is put below the current span, or else below `parent`.
pub async fn within<F: Future>(span: Span, parent: Option<&TraceContext>, work: F) -> F::Output {
    let inner = current();
    let context = open(&span, inner.as_ref().or(parent));
    scope(context, work).instrument(span).await
}

/// Runs `work` with this context as the current one.
pub async fn scope<F: Future>(context: TraceContext, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// Puts a new span below `parent` and tells its context; in a new trace without one. The span's field `trace_id` is recorded, if it has one.
#[must_use]
pub fn open(span: &Span, parent: Option<&TraceContext>) -> TraceContext {
    if let Some(parent) = parent.and_then(remote) {
        // Without an exporter there is no such layer, and the ids below are made here.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
    let context = of(span).unwrap_or_else(|| fresh(parent));
    span.record("trace_id", context.trace_id());
    context
}

/// The context of a span that the exporter's layer knows.
fn of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    if !context.is_valid() {
        // Nothing exports.
        return None;
    }
    let flags = context.trace_flags().to_u8();
    TraceContext::parse(&format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// A new span id in the parent's trace, or in a new one. New traces are marked sampled, so that parties which do export keep them.
fn fresh(parent: Option<&TraceContext>) -> TraceContext {
    parent.map_or_else(|| TraceContext::new(rand::random(), rand::random()), |parent| parent.with_span(rand::random()))
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
    use tracing::info_span;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent() -> TraceContext {
        TraceContext::parse(PARENT).unwrap()
    }

    #[tokio::test]
    async fn work_continues_the_innermost_span() {
        assert_eq!(current(), None);
        within(info_span!("outer"), Some(&parent()), async {
            let outer = current().unwrap();
            assert_eq!(outer.trace_id(), parent().trace_id());
            assert_ne!(outer, parent());
            // What a message says of its parent is known better here.
            within(info_span!("inner"), Some(&parent()), async {
                let inner = current().unwrap();
                assert_eq!(inner.trace_id(), outer.trace_id());
                assert_ne!(inner, outer);
            })
            .await;
            assert_eq!(current(), Some(outer));
        })
        .await;
        assert_eq!(current(), None);
    }

    #[test]
    fn a_span_without_parent_begins_a_trace() {
        let (one, two) = (open(&info_span!("one"), None), open(&info_span!("two"), None));
        assert_ne!(one.trace_id(), two.trace_id());
        assert!(one.as_str().ends_with("-01"));
        let unsampled = TraceContext::parse(&PARENT.replace("-01", "-00")).unwrap();
        assert!(open(&info_span!("three"), Some(&unsampled)).as_str().ends_with("-00"));
    }
}
