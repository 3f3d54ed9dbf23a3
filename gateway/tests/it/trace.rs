//! A negotiation between two participants of one installation, as a collector of traces and the store's counters see it.

use crate::program::up;
use cellspace::server::{Lag, activity::SocketRequest, serve};
use cellspace_client::{Caller, Client, Silent, operator, provider, sharing, source, tenants};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use reqwest::Method;
use serde_json::Value;
use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;

/// Messages of one negotiation, by the routes that take them.
const NEGOTIATION: [&str; 4] = ["/negotiations/request", "/agreement", "/agreement/verification", "/events"];

fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s str> {
    match span.attributes.iter().find(|kv| kv.key == name)?.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn route(span: &Span) -> &str {
    attribute(span, "http.route").unwrap_or_default()
}

/// Undelivered outbox rows of a participant's control plane.
async fn outstanding(client: &Client, admin: &Caller, context: &str) -> usize {
    let url = format!("/api/runtime/agents/control-plane/{context}/outbox");
    let answer = client.exchange(Some(admin), Method::GET, &url, None).await.unwrap();
    answer.body["rows"].as_array().unwrap_or_else(|| panic!("{answer:?}")).len()
}

#[tokio::test]
async fn a_negotiation_is_one_trace_and_few_commits() {
    let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
    let kept = spans.clone();
    let collect = tower::service_fn(move |request: SocketRequest| {
        let kept = kept.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let export = ExportTraceServiceRequest::decode(body).unwrap();
            kept.lock().unwrap().extend(export.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans));
            Ok::<_, Infallible>(http::Response::new(Full::default().map_err(|never| match never {}).boxed_unsync()))
        }
    });
    let sink = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, collect, 8, &Lag::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut process, ready) = up(dir.path(), &["--otlp", &format!("http://{}", sink.address())]).await;
    let field = |name: &str| ready[name].as_str().unwrap().to_owned();
    let http = reqwest::Client::new();
    let mut client = Client::new(http, field("admin"), field("public"), Box::new(Silent));
    let admin = client.client_token("admin", &field("clientId"), &field("clientSecret")).await.unwrap();
    let host = field("public").trim_start_matches("http://").replace(':', "%3A");
    let platform = operator::prepare(&mut client, admin.clone(), &host).await.unwrap();
    let provider = tenants::onboard(&mut client, &platform, "provider", &host, true).await.unwrap();
    let consumer = tenants::onboard(&mut client, &platform, "consumer", &host, true).await.unwrap();
    let source = format!("http://{}", source::serve().await.unwrap());
    provider::offer(&mut client, &provider, &source).await.unwrap();
    let offers = sharing::catalog(&mut client, &consumer, &provider, 3).await.unwrap();
    let offer = offers.iter().find(|offer| offer.policy.to_string().contains("Membership")).unwrap();

    sharing::negotiate(&mut client, &consumer, &provider, offer, "FINALIZED").await.unwrap();
    for context in [&provider.context, &consumer.context] {
        while outstanding(&client, &admin, context).await > 0 {}
    }
    process.signal("TERM");
    assert!(process.end().await.success(), "{}", process.errors());

    let log = process.errors();
    let turns: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let turns: Vec<&Value> = turns
        .iter()
        .filter(|line| line["category"] == "audit" && line["action"].as_str().is_some_and(|action| action.starts_with("negotiation.")))
        .collect();
    // Both sides together. Deletions of delivered rows ride on these commits, or come a tenth of a second later: how many do is the machine's matter.
    let all: HashSet<(&str, u64)> = turns.iter().map(|line| (line["vpa"].as_str().unwrap(), line["seq"].as_u64().unwrap())).collect();
    assert!(all.len() <= 9, "one negotiation took {} commits: {turns:#?}", all.len());
    // On the critical path are commits that somebody waits for: those of clients' and counterparties' commands. What our own deliveries bring
    // about is beside it.
    let critical = turns.iter().filter(|line| line["actor"] != "outbox").count();
    assert!((1..=5).contains(&critical), "{turns:#?}");

    let spans = std::mem::take(&mut *spans.lock().unwrap());
    let servers: Vec<&Span> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    let asked = |span: &&&Span| route(span).ends_with("/contractnegotiations") && span.name.starts_with("POST");
    let trace = &servers.iter().find(asked).expect("the request that began it").trace_id;
    let messages: Vec<&&Span> = servers
        .iter()
        .filter(|span| route(span).starts_with("/{participant}/{profile}/negotiations") && span.name.starts_with("POST"))
        .collect();
    for ending in NEGOTIATION {
        let found: Vec<_> = messages.iter().filter(|span| route(span).ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "{ending}");
    }
    let (from, to) =
        (messages.iter().map(|s| s.start_time_unix_nano).min().unwrap(), messages.iter().map(|s| s.end_time_unix_nano).max().unwrap());
    let queries: Vec<&&Span> = servers
        .iter()
        .filter(|span| route(span).ends_with("/presentations/query") && (from..=to).contains(&span.start_time_unix_nano))
        .collect();
    assert!(!queries.is_empty(), "the parties proved who they are");
    for span in messages.into_iter().chain(queries) {
        assert_eq!(&span.trace_id, trace, "{} of another trace", span.name);
    }
    // The turns too.
    for turn in &turns {
        let id: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(turn["trace_id"], id.as_str(), "{turn}");
    }
    sink.drain(Duration::from_secs(1)).await;
}
