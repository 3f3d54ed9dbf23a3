//! One server span per request, in the caller's trace.
//!
//! What a request causes (rows, calls to others) continues *its* span, so that a chain of messages over several parties is one trace. The ids
//! exist and travel also when no exporter is configured.

use cellspace_cluster::trace;
use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method};
use tracing::{Span, field::Empty};

/// The `traceparent` that came with a request; `None` when there is none or it is not valid, which starts a new trace (W3C Trace Context 4.2).
#[must_use]
pub fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { TraceContext::parse(value) }
}

/// Opens the span of a request, below `parent`, and tells its context. `participant`: whom the path names.
#[must_use]
pub fn server_span(
    parent: Option<&TraceContext>,
    method: &Method,
    route: &str,
    listener: &'static str,
    participant: Option<&str>,
) -> (Span, TraceContext) {
    let span = tracing::info_span!(
        "http.server",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        listener,
        trace_id = Empty,
        participant,
    );
    let context = trace::open(&span, parent);
    (span, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Lag, activity::SocketRequest, serve};
    use bytes::Bytes;
    use cellspace_actors::outbound::{OutboundHttp, OutboundOptions, OutboundRequest};
    use http::Response;
    use http_body_util::{BodyExt, Full};
    use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use parking_lot::Mutex;
    use std::{convert::Infallible, sync::Arc, time::Duration};
    use tokio::net::TcpListener;
    use tracing::Instrument;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(parent: Option<&TraceContext>) -> TraceContext {
        let (_, context) = server_span(parent, &Method::GET, "/a", "admin", None);
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
            let (span, context) = server_span(Some(&parent), &Method::GET, "/a", "admin", None);
            assert_eq!(context.trace_id(), parent.trace_id());
            assert_eq!(span.context().span().span_context().span_id().to_string(), &context.as_str()[36..52]);
            check(None);
        });
    }

    /// What a request causes is below it, span by span, and the other side is told of the innermost one.
    #[tokio::test]
    async fn spans_are_exported_below_each_other() {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let ours = Targets::new().with_target("cellspace", tracing::Level::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_filter(ours);
        let subscriber = tracing_subscriber::registry().with(layer);
        let _here = tracing::subscriber::set_default(subscriber);
        let (sent, mut told) = tokio::sync::mpsc::unbounded_channel();
        let other_side = tower::service_fn(move |request: SocketRequest| {
            sent.send(incoming(request.headers())).unwrap();
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync())) }
        });
        let listening = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, other_side, 8, &Lag::default()).unwrap();
        let url = format!("http://{}", listening.address()).parse().unwrap();
        let http = OutboundHttp::new(OutboundOptions { allow_private: true, ..OutboundOptions::default() }).unwrap();

        let parent = TraceContext::parse(PARENT).unwrap();
        let (span, context) = server_span(Some(&parent), &Method::POST, "/a", "public", None);
        let request = OutboundRequest { method: Method::GET, url, bearer: None, body: None, accept: None, trace: None };
        let delivery = trace::within(tracing::info_span!("delivery"), None, http.send(request));
        trace::scope(context.clone(), delivery).instrument(span).await.unwrap();
        let told = told.recv().await.unwrap().unwrap();
        listening.drain(Duration::from_secs(1)).await;

        let spans = kept.0.lock();
        // Innermost first, in the order in which they ended.
        let names: Vec<&str> = spans.iter().map(|span| span.name.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["GET", "delivery", "POST"]);
        let id = |context: &TraceContext| context.as_str()[36..52].to_owned();
        assert_eq!(spans[0].span_context.span_id().to_string(), id(&told));
        assert_eq!(spans[2].span_context.span_id().to_string(), id(&context));
        assert_eq!(spans[2].parent_span_id.to_string(), id(&parent));
        for pair in spans.windows(2) {
            assert_eq!(pair[0].parent_span_id, pair[1].span_context.span_id(), "{} below {}", pair[0].name, pair[1].name);
            assert!(pair[0].start_time >= pair[1].start_time && pair[0].end_time <= pair[1].end_time);
        }
        assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == parent.trace_id()));
    }

    /// Keeps what is exported.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
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
