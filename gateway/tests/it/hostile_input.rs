//! Bombs at every border where somebody sends us something: brackets, digits, lengths, codings; in bodies, queries, forms and heads.

use crate::{
    data_plane::{PROFILE, typed},
    hostile::{is_clear, management},
    hostile_peer::{Peer, bomb},
    hostile_tokens::nested,
    stage::dsp,
    support::{DRAIN, Platform, id_of, read},
};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time for an answer to anything, on a busy machine.
const ENDS: Duration = Duration::from_secs(30);

/// A document with `{}` in a place that takes any JSON, and what is put there.
fn bombs(document: &str) -> Vec<(&'static str, Vec<u8>)> {
    let at = |inner: &str| document.replace("\"{}\"", inner).into_bytes();
    vec![
        ("brackets", "[".repeat(100_000).into_bytes()),
        ("nested too deep", at(&nested(33))),
        ("nested far too deep", at(&nested(20_000))),
        ("lists far too deep", at(&format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)))),
        ("a number beyond numbers", at("1e999999999")),
        ("no end of a text", at("\"\\")),
        ("half a character", at("\"\\ud800\"")),
        ("a zero byte", at("\"\u{0}\"")),
        ("two documents", [document.as_bytes(), document.as_bytes()].concat()),
        ("a mark before", [b"\xef\xbb\xbf", document.as_bytes()].concat()),
        ("another encoding", document.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a coding that was not agreed", bomb(document)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_in_bodies() {
    let (p, peer) = (Platform::temporary(|_| {}).await, Peer::start().await);
    p.full_participant("acme").await;
    let acme = p.did("acme");
    let base = p.node.urls.dsp(&id_of("acme"), &format!("/{PROFILE}"));
    let credentials = p.node.urls.credential_service(&id_of("acme"));
    let issuance = p.node.urls.issuer_service(&id_of("acme"));
    let token = || peer.token("friend", &acme, &json!({}));
    let admin = |path: String| p.admin(Method::POST, &path);
    let public = |url: String| p.http.post(url).bearer_auth(token());
    let asset = typed("Asset", json!({"@id": "bomb", "properties": {"x": "{}"}, "dataplaneMetadata": {"@type": "DataplaneMetadata"}}));
    let policy = typed(
        "PolicyDefinition",
        json!({"@id": "bomb", "policy": {"@type": "Set", "permission": [{"action": "use", "constraint": [{"leftOperand": "a", "operator": "eq", "rightOperand": "{}"}]}]}}),
    );
    let query = typed(
        "QuerySpec",
        json!({"filterExpression": [{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": "{}"}]}),
    );
    let cel = typed(
        "CelExpressionTestRequest",
        json!({"expression": "true", "leftOperand": "a", "operator": "eq", "rightOperand": "{}", "params": {}}),
    );
    let catalog = dsp("CatalogRequestMessage", json!({"filter": [], "x": "{}"}));
    let contract = dsp(
        "ContractRequestMessage",
        json!({"consumerPid": "c", "callbackAddress": "http://localhost", "x": "{}", "offer": {"@id": "o", "@type": "Offer", "target": "t", "assigner": "did:web:a", "permission": []}}),
    );
    let transfer = dsp(
        "TransferRequestMessage",
        json!({"consumerPid": "c", "callbackAddress": "http://localhost", "agreementId": "a", "format": "f", "x": "{}"}),
    );
    let dcp = |kind: &str, more: Value| {
        let mut body = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": kind, "x": "{}"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let borders: Vec<(&str, Box<dyn Fn() -> RequestBuilder + '_>, Value)> = vec![
        ("asset", Box::new(|| admin(management("acme", "assets"))), asset),
        ("policy", Box::new(|| admin(management("acme", "policydefinitions"))), policy),
        ("query", Box::new(|| admin(management("acme", "assets/request"))), query),
        ("expression", Box::new(|| admin("/api/mgmt/v5beta/celexpressions/test".to_owned())), cel),
        ("tenant", Box::new(|| admin("/api/tm/tenants".to_owned())), json!({"properties": {"x": "{}"}})),
        ("client", Box::new(|| admin("/api/v1/clients".to_owned())), json!({"id": "bomb", "scopes": [], "x": "{}"})),
        ("context", Box::new(|| admin("/api/identity/v1beta/participants".to_owned())), json!({"participantContextId": "bomb", "x": "{}"})),
        ("data flow", Box::new(|| admin("/api/v1/acme/dataflows/start".to_owned())), json!({"messageId": "m", "claims": {"x": "{}"}})),
        ("catalog request", Box::new(|| public(format!("{base}/catalog/request"))), catalog),
        ("contract request", Box::new(|| public(format!("{base}/negotiations/request"))), contract),
        ("transfer request", Box::new(|| public(format!("{base}/transfers/request"))), transfer),
        (
            "presentation query",
            Box::new(|| public(format!("{credentials}/presentations/query"))),
            dcp("PresentationQueryMessage", json!({"scope": []})),
        ),
        (
            "credentials",
            Box::new(|| public(format!("{credentials}/credentials"))),
            dcp("CredentialMessage", json!({"issuerPid": "i", "holderPid": "h", "status": "ISSUED", "credentials": []})),
        ),
        (
            "credential offer",
            Box::new(|| public(format!("{credentials}/offers"))),
            dcp("CredentialOfferMessage", json!({"issuer": "did:web:i", "credentials": []})),
        ),
        (
            "credential request",
            Box::new(|| public(format!("{issuance}/credentials"))),
            dcp("CredentialRequestMessage", json!({"holderPid": "h", "credentials": []})),
        ),
    ];
    let mut wrong = Vec::new();
    for (border, request, document) in &borders {
        let known = document.get("x").is_none();
        for (what, body) in bombs(&document.to_string()) {
            let begun = Instant::now();
            let mut request = request().header(header::CONTENT_TYPE, "application/json");
            if what.contains("coding that") {
                request = request.header(header::CONTENT_ENCODING, "gzip");
            }
            let (status, answer) = read(request.body(body).send().await.unwrap()).await;
            let refused = match what {
                // A member that nobody knows is passed over, whatever it says.
                "a number beyond numbers" | "half a character" if !known => !status.is_server_error(),
                _ => matches!(status.as_u16(), 400 | 413 | 415),
            };
            if !refused || begun.elapsed() > ENDS {
                wrong.push(format!("{border}, {what}: {status} {answer} after {:?}", begun.elapsed()));
            }
            is_clear(&answer);
        }
    }
    drop(borders);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let assets = p.must(Method::POST, &management("acme", "assets/request"), Some(typed("QuerySpec", json!({})))).await;
    assert_eq!(assets, json!([]));
    p.node.drain(DRAIN).await;
}

/// Bytes to a listener, and what comes back until it closes.
async fn raw(url: &str, bytes: &[u8]) -> String {
    let url: url::Url = url.parse().unwrap();
    let mut socket = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
    // Whoever refuses a head does not read it to its end.
    drop(socket.write_all(bytes).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(ENDS, socket.read_to_end(&mut answer)).await.expect("no end of the answer"));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_in_heads_queries_and_forms() {
    let p = Platform::temporary(|_| {}).await;
    let (public, admin) = (p.node.urls.public(""), p.node.urls.admin(""));
    let end = "Host: x\r\nConnection: close\r\n\r\n";
    let many = |n: usize| (0..n).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for (what, head) in [
        ("a long target", format!("GET /{} HTTP/1.1\r\n{end}", "a".repeat(70_000))),
        ("a long query", format!("GET /keys?{} HTTP/1.1\r\n{end}", "a=b&".repeat(20_000))),
        ("a long header", format!("GET /keys HTTP/1.1\r\nx: {}\r\n{end}", "y".repeat(70_000))),
        ("many headers", format!("GET /keys HTTP/1.1\r\n{}{end}", many(2_000))),
        ("a zero byte", format!("GET /ke\u{0}ys HTTP/1.1\r\n{end}")),
        ("no method", format!(" /keys HTTP/1.1\r\n{end}")),
        ("two lengths", format!("POST /token HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n{end}ab")),
        ("a length below nothing", format!("POST /token HTTP/1.1\r\nContent-Length: -1\r\n{end}")),
        ("a length beyond numbers", format!("POST /token HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n{end}")),
        ("a transfer coding that is none", format!("POST /token HTTP/1.1\r\nTransfer-Encoding: gzip\r\n{end}")),
        ("another protocol", "SSH-2.0-x\r\n\r\n".to_owned()),
    ] {
        for listener in [&public, &admin] {
            let answer = raw(listener, head.as_bytes()).await;
            let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(400);
            assert!((400..500).contains(&status), "{what}: {answer}");
            is_clear(&json!(answer));
        }
    }
    // A length and chunks at once: whichever is believed, there is one request and the connection ends with it.
    let both = "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(&admin, both.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.matches("HTTP/1.1").count() == 1, "{answer}");

    for (what, form, expected) in [
        ("nothing", String::new(), 400),
        ("a thousand fields", "a=b&".repeat(1_000), 400),
        ("a long field", format!("grant_type=client_credentials&client_id={}&client_secret=x", "a".repeat(100_000)), 401),
        ("a grant twice", "grant_type=client_credentials&grant_type=password&client_id=a&client_secret=b".to_owned(), 400),
        ("percent signs", "grant_type=%&client_id=%zz&client_secret=%ff".to_owned(), 400),
        ("more than a body may have", "a=b&".repeat(400_000), 413),
    ] {
        let begun = Instant::now();
        let request = p.bare(Method::POST, "/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap();
        let is_last = answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        let (status, answer) = read(answer).await;
        assert_eq!((status.as_u16(), is_last), (expected, expected == 413), "{what}: {answer}");
        assert!(answer["error"].is_string() && begun.elapsed() < ENDS, "{what}: {answer}");
        is_clear(&answer);
    }
    // Still there.
    assert_eq!(p.admin(Method::GET, "/api/v1/clients").send().await.unwrap().status(), StatusCode::OK);
    p.node.drain(DRAIN).await;
}
