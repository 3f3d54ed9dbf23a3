//! Every route of the table with input that is not right: a clear error of the route's API, and nothing changed.

use crate::stage::{Stage, context, did};
use cellspace::{
    http::{Access, Api, Listener, Route, Verb},
    routes,
};
use cellspace_actors::{access::AccessClaims, trust};
use cellspace_client::{Client, operator};
use cellspace_schemas::{Timestamp, identity::key_pair::KeyUsage};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;

/// A well-formed id that nothing has.
const NOTHING: &str = "3f0c9a52-0000-4000-8000-0000deadbeef";

/// The route's path with `participant` (or the issuer) in place and unknown ids elsewhere.
fn path(route: &Route, participant: &str) -> String {
    let segments = route.path.split('/').map(|segment| match segment {
        "{participant}" | "{issuer}" => participant,
        "{profile}" => cellspace_client::sharing::PROFILE,
        name if name.starts_with('{') => NOTHING,
        literal => literal,
    });
    format!("{}{}", route.prefixes[0], segments.collect::<Vec<_>>().join("/"))
}

fn url(stage: &Stage, route: &Route, participant: &str) -> String {
    let path = path(route, participant);
    match route.listener {
        Listener::Public => stage.node().urls.public(&path),
        Listener::Admin => stage.node().urls.admin(&path),
        Listener::Ops => format!("{}{path}", stage.node().ops_url()),
    }
}

fn method(route: &Route) -> Method {
    route.method.http()
}

/// An error answer of the API: content type and shape.
fn shape(api: Api, status: StatusCode, content_type: &str, body: &str) -> Result<(), String> {
    let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let holds = match api {
        Api::Management | Api::Identity | Api::IssuerAdmin | Api::Dcp | Api::Dps => {
            let plain = content_type.starts_with("text/plain") && !body.is_empty();
            let entries =
                json.as_array().is_some_and(|a| !a.is_empty() && a.iter().all(|e| e["message"].is_string() && e["type"].is_string()));
            match status.as_u16() {
                401 => json["error"].is_string() || plain || entries,
                403 => plain || entries,
                _ => entries,
            }
        }
        Api::DspCatalog => json["@type"] == "CatalogError" && json["code"].is_string() && json["reason"].is_array(),
        Api::DspVersion => json["@type"] == "VersionsError",
        Api::DspNegotiation => {
            json["@type"] == "ContractNegotiationError" && json["consumerPid"].is_string() && json["providerPid"].is_string()
        }
        Api::DspTransfer => json["@type"] == "TransferError" && json["consumerPid"].is_string() && json["providerPid"].is_string(),
        Api::Fabric => json["error"].is_string() && json["message"].is_string() && json["code"] == status.as_u16(),
        Api::OAuth => json["error"].is_string(),
        Api::Native => content_type == "application/problem+json" && json["status"] == status.as_u16(),
    };
    if holds { Ok(()) } else { Err(format!("{api:?}: {content_type}: {body}")) }
}

struct Outcome {
    status: StatusCode,
    content_type: String,
    body: String,
}

async fn send(stage: &Stage, route: &Route, participant: &str, token: Option<&str>, body: Option<&str>) -> Outcome {
    let mut request = stage.client.http.request(method(route), url(stage, route, participant));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        let form = route.api == Api::OAuth;
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        request = request.header(header::CONTENT_TYPE, kind).body(body.to_owned());
    }
    let answer = request.send().await.unwrap();
    let content_type = answer.headers().get(header::CONTENT_TYPE).map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
    let status = answer.status();
    // What has no end is not read.
    let body = if content_type == "text/event-stream" { String::new() } else { answer.text().await.unwrap() };
    Outcome { status, content_type, body }
}

/// Everything that an admin can read of the platform, of a participant and of the issuer: by every list, query and single document.
async fn everything(stage: &Stage) -> Vec<(String, String)> {
    let query = Client::typed("QuerySpec", json!({"limit": 1000})).to_string();
    let mut seen = Vec::new();
    for route in routes::all() {
        let plain = !route.path.replace("{participant}", "").contains('{');
        if route.listener != Listener::Admin || !plain || !route.method.is_safe() {
            continue;
        }
        for participant in [stage.provider.context.as_str(), operator::ISSUER] {
            let body = if route.api == Api::Fabric { r#"{"predicate":"true"}"# } else { query.as_str() };
            let outcome = send(stage, &route, participant, Some(&stage.admin().token), (route.method == Verb::Query).then_some(body)).await;
            seen.push((format!("{:?} {}", route.method, path(&route, participant)), outcome.body));
        }
    }
    assert!(seen.len() > 40 && seen.iter().any(|(_, body)| body.contains("footprints")), "{seen:?}");
    seen
}

#[tokio::test]
async fn tokens_that_are_not_right_are_refused_everywhere() {
    let stage = Stage::open().await;
    let services = &stage.node().app.services;
    let before = everything(&stage).await;
    let now = services.cluster.now();
    let claims = |role: &str| AccessClaims {
        sub: "bootstrap".into(),
        scope: "management-api:admin".into(),
        role: Some(role.into()),
        aud: None,
        participant_context_id: None,
    };
    let hour = Duration::from_secs(3600);
    let expired = services.tokens.mint_for_client(claims("admin"), "bootstrap", Timestamp(now.millis() - 7_200_000), hour).await.unwrap();
    // Signed by a key of this installation, but not by the token service.
    let key = trust::signing_key(services, &context(&stage.provider), KeyUsage::Token).await.unwrap();
    let forged = json!({"iss": services.tokens.issuer(), "sub": "bootstrap", "role": "admin", "scope": "management-api:admin", "iat": now.seconds(), "exp": now.seconds() + 60});
    let forged = key.sign(services.vault.as_ref(), "JWT", &forged).await.unwrap();
    let mut changed = stage.admin().token.clone();
    changed.pop();
    let self_issued = trust::self_issued_token(services, &context(&stage.consumer), &did(&stage.provider), &[]).await.unwrap();
    let mut wrong = Vec::new();
    for route in routes::all() {
        if matches!(route.access, Access::Open) {
            continue;
        }
        let cases = [
            ("none", None),
            ("rubbish", Some("rubbish")),
            ("expired", Some(expired.as_str())),
            ("forged", Some(forged.as_str())),
            ("changed", Some(changed.as_str())),
            ("self-issued", Some(self_issued.as_str())),
        ];
        for (what, token) in cases {
            let outcome = send(&stage, &route, &stage.provider.context, token, Some("{}")).await;
            if outcome.status != StatusCode::UNAUTHORIZED {
                wrong.push(format!("{:?} {} with token {what}: {}", route.method, route.path, outcome.status));
            } else if let Err(why) = shape(route.api, outcome.status, &outcome.content_type, &outcome.body) {
                wrong.push(format!("{:?} {} with token {what}: {why}", route.method, route.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&stage).await, before);
    stage.close().await;
}

/// Bodies that no operation takes.
fn bad_bodies() -> Vec<(&'static str, String)> {
    vec![
        ("cut short", "{".to_owned()),
        ("no JSON", "\u{1}\u{2}".to_owned()),
        ("a number", "7".to_owned()),
        ("wrong types", json!({"@context": 1, "@type": 2, "@id": [], "id": {}, "limit": "x", "offset": {}, "properties": 3, "type": 4, "did": 5, "scope": 6, "predicate": 7}).to_string()),
        ("another context", json!({"@context": ["https://example.com/other.jsonld"], "@type": "Other", "type": "Other"}).to_string()),
        ("too deep", format!("{}{}", "[".repeat(200), "]".repeat(200))),
    ]
}

/// Whether an operation may take the body, and why.
fn may_take(route: &Route, what: &str) -> bool {
    match (route.api, route.path) {
        // The wanted state stands in the query.
        (Api::Identity, "/participants/{participant}/state") => true,
        // Every member of a key descriptor may be left out, and unknown ones are ignored.
        (Api::Identity, "/participants/{participant}/keypairs") => matches!(what, "wrong types" | "another context"),
        // Plain JSON: contexts mean nothing, and everything else may be left out.
        (Api::Fabric, _) => what == "another context",
        _ => false,
    }
}

#[tokio::test]
async fn bodies_that_are_not_right_are_refused_everywhere() {
    let stage = Stage::open().await;
    let before = everything(&stage).await;
    let mut wrong = Vec::new();
    for route in routes::all() {
        if matches!(route.method, Verb::Get | Verb::Follow | Verb::Delete) {
            continue;
        }
        for (what, body) in bad_bodies().into_iter().filter(|(what, _)| !may_take(&route, what)) {
            let token = match route.access {
                Access::Open if route.listener == Listener::Public => Some(stage.token(&stage.consumer, &stage.provider).await),
                Access::Open => None,
                Access::Scope(..) => Some(stage.admin().token.clone()),
            };
            let outcome = send(&stage, &route, &stage.provider.context, token.as_deref(), Some(&body)).await;
            let name = format!("{:?} {}: {what}", route.method, route.path);
            if !outcome.status.is_client_error() {
                wrong.push(format!("{name}: {} {}", outcome.status, outcome.body));
            } else if let Err(why) = shape(route.api, outcome.status, &outcome.content_type, &outcome.body) {
                wrong.push(format!("{name}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&stage).await, before);
    stage.close().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_everywhere() {
    let stage = Stage::open().await;
    let before = everything(&stage).await;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20));
    let mut wrong = Vec::new();
    for route in routes::all() {
        if matches!(route.method, Verb::Get | Verb::Follow | Verb::Delete) {
            continue;
        }
        let token = matches!(route.access, Access::Scope(..)).then(|| stage.admin().token.clone());
        let outcome = send(&stage, &route, &stage.provider.context, token.as_deref(), Some(&large)).await;
        let shape = shape(route.api, outcome.status, &outcome.content_type, &outcome.body);
        if outcome.status != StatusCode::PAYLOAD_TOO_LARGE || shape.is_err() {
            wrong.push(format!("{:?} {}: {} {shape:?}", route.method, route.path, outcome.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&stage).await, before);
    stage.close().await;
}

#[tokio::test]
async fn unknown_participants_and_ids() {
    let stage = Stage::open().await;
    let before = everything(&stage).await;
    let mut wrong = Vec::new();
    for route in routes::all() {
        let scoped = matches!(route.access, Access::Scope(..));
        if !route.path.contains('{') || (route.listener == Listener::Ops) {
            continue;
        }
        // What reads a body first is judged by its body in the test above. All mappings of a client are taken from it, however few there are.
        if !matches!(route.method, Verb::Get | Verb::Follow | Verb::Delete) || route.path == "/mappings/{client}" {
            continue;
        }
        for participant in [stage.provider.context.as_str(), "nobody"] {
            let only_participant = !route.path.replace("{participant}", "").contains('{');
            if participant != "nobody" && only_participant {
                continue;
            }
            let token = if scoped {
                Some(stage.admin().token.clone())
            } else if matches!(route.api, Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer) {
                Some(stage.token(&stage.consumer, &stage.provider).await)
            } else {
                None
            };
            let outcome = send(&stage, &route, participant, token.as_deref(), None).await;
            let name = format!("{:?} {} of {participant}", route.method, route.path);
            // Without the query that names what to delete, it is the query that is wrong.
            let incomplete = outcome.status == StatusCode::BAD_REQUEST && route.path.ends_with("/endpoints");
            if !incomplete && (!matches!(outcome.status.as_u16(), 401 | 404) || (scoped && outcome.status != StatusCode::NOT_FOUND)) {
                wrong.push(format!("{name}: {} {}", outcome.status, outcome.body));
            } else if let Err(why) = shape(route.api, outcome.status, &outcome.content_type, &outcome.body) {
                wrong.push(format!("{name}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&stage).await, before);
    stage.close().await;
}
