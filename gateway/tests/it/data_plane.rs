//! Data plane over real sockets: data and their tokens, sources, signaling in both directions.

mod foreign;
#[path = "../../../actors/tests/data_plane/source.rs"]
#[allow(dead_code, reason = "what the data plane's own tests ask of it is more")]
mod source;

use crate::support::{DRAIN, Platform, read, text};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use source::{FILE_BYTES, Source, file_bytes};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

pub const PROFILE: &str = "http-dsp-profile-2025-1";

impl Platform {
    /// A participant of the Management API, with the access token of a client of its own.
    pub async fn connector(&self, id: &str, scopes: &[&str]) -> String {
        self.must(Method::POST, "/api/mgmt/v5beta/participants", Some(self.context(id, "ACTIVATED"))).await;
        let client = format!("{id}-app");
        let secret = self.client(json!({"id": client, "role": "participant", "participantContext": id, "scopes": scopes})).await;
        self.token_of(&client, &secret).await
    }

    fn context(&self, id: &str, state: &str) -> Value {
        typed("ParticipantContext", json!({"@id": id, "identity": self.did(id), "state": state}))
    }

    pub async fn as_client(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.bare(method, path).bearer_auth(token);
        read(body.map_or_else(|| request.try_clone().unwrap(), |body| request.try_clone().unwrap().json(body)).send().await.unwrap()).await
    }

    /// Starts a flow of `acme`; its endpoint and access token.
    pub async fn flow(&self, token: &str, id: &str, source: &str) -> (String, String) {
        let body = json!({"messageId": format!("m-{id}"), "participantId": self.did("acme"), "counterPartyId": "did:web:peer",
            "dataspaceContext": PROFILE, "processId": id, "agreementId": "ag", "datasetId": "set", "profile": "HttpData-PULL", "claims": {},
            "metadata": {"source": source}});
        let (status, answer) = self.as_client(token, Method::POST, "/api/v1/acme/dataflows/start", Some(&body)).await;
        assert_eq!((status, answer["state"].as_str()), (StatusCode::OK, Some("STARTED")), "{answer}");
        let address = &answer["dataAddress"];
        let properties = address["endpointProperties"].as_array().unwrap();
        let access = properties.iter().find(|property| property["name"] == "authorization").unwrap();
        (text(address, "endpoint"), text(access, "value"))
    }

    async fn signal(&self, token: &str, flow: &str, word: &str) -> Value {
        let path = format!("/api/v1/acme/dataflows/{flow}/{word}");
        let body = json!({"messageId": format!("{flow}-{word}")});
        let (status, answer) = self.as_client(token, Method::POST, &path, Some(&body)).await;
        assert_eq!(status, StatusCode::OK, "{word}: {answer}");
        answer
    }

    fn data(&self, method: Method, url: &str, token: &str) -> RequestBuilder {
        self.http.request(method, url).bearer_auth(token)
    }
}

pub fn typed(kind: &str, mut body: Value) -> Value {
    body["@context"] = json!(["https://w3id.org/edc/connector/management/v2"]);
    body["@type"] = json!(kind);
    body
}

pub const ALL: [&str; 5] =
    ["management-api:write", "data-plane-api:write", "siglet-api:read", "siglet-mgmt-api:write", "signaling-api:write"];

/// A GET whose path no client library has touched: status line and the rest.
fn raw(url: &str, path: &str, token: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    let mut socket = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    let path = format!("{}{path}", url.path());
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_their_tokens() {
    let (p, source) = (Platform::temporary(|_| {}).await, Source::start().await);
    let acme = p.connector("acme", &ALL).await;
    let put = json!({"baseUrl": source.url("/file.bin")});
    p.as_client(&acme, Method::PUT, "/participants/acme/sources/file", Some(&put)).await;
    let (url, token) = p.flow(&acme, "t-1", "file").await;
    let get = async |request: RequestBuilder| request.send().await.unwrap();

    let whole = get(p.data(Method::GET, &url, &token)).await;
    assert_eq!(
        (whole.status(), whole.headers()[header::CONTENT_LENGTH].to_str().unwrap()),
        (StatusCode::OK, FILE_BYTES.to_string().as_str())
    );
    assert_eq!(whole.headers()[header::CACHE_CONTROL], "private, no-store");
    assert!(whole.bytes().await.unwrap() == file_bytes());
    let head = get(p.data(Method::HEAD, &url, &token)).await;
    assert_eq!(
        (head.status(), head.headers()[header::CONTENT_LENGTH].to_str().unwrap()),
        (StatusCode::OK, FILE_BYTES.to_string().as_str())
    );
    let part = get(p.data(Method::GET, &url, &token).header("range", "bytes=5-9")).await;
    assert_eq!((part.status(), &part.headers()[header::CONTENT_RANGE].to_str().unwrap()[..9]), (StatusCode::PARTIAL_CONTENT, "bytes 5-9"));
    assert_eq!(part.bytes().await.unwrap(), file_bytes()[5..10]);
    let beyond = get(p.data(Method::GET, &url, &token).header("range", "bytes=9000000-9000001")).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    // Whoever asks `/keys` can tell good tokens.
    let keys: JwkSet = serde_json::from_value(p.public("/keys").await.1).unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&[&url]);
    rules.set_issuer(&["siglet-issuer"]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "did:web:peer");
    assert_eq!(p.public("/keys/acme").await.0, StatusCode::NOT_FOUND);

    let (other_url, other) = p.flow(&acme, "t-2", "file").await;
    let mut forged = token.clone();
    forged.replace_range(forged.len() - 8..forged.len() - 4, if forged.ends_with('A') { "BBBB" } else { "AAAA" });
    let status = async |url: &str, token: Option<&str>| {
        let request = p.http.get(url);
        let answer = get(if let Some(token) = token { request.bearer_auth(token) } else { request }).await;
        let challenged = answer.headers().contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(challenged, answer.status() == StatusCode::UNAUTHORIZED, "{url}");
        answer.status().as_u16()
    };
    let elsewhere = url.replace("/acme/", "/globex/");
    for (url, token, expected) in [
        (&url, None, 401),
        (&url, Some(forged.as_str()), 401),
        (&url, Some("a.b.c"), 401),
        // A token of the management API opens no data, and a data token no API.
        (&url, Some(acme.as_str()), 401),
        (&url, Some(other.as_str()), 403),
        (&other_url, Some(token.as_str()), 403),
        (&elsewhere, Some(token.as_str()), 401),
        (&format!("{url}/deeper"), Some(token.as_str()), 403),
        (&format!("{url}?a=b"), Some(token.as_str()), 403),
    ] {
        assert_eq!(status(url, token).await, expected, "{url} {token:?}");
    }
    assert_eq!(p.as_client(&token, Method::GET, "/participants/acme/sources/file", None).await.0, StatusCode::UNAUTHORIZED);

    // The token ends with the flow's state.
    p.signal(&acme, "t-1", "suspend").await;
    assert_eq!(status(&url, Some(&token)).await, 403);
    let resumed = p.signal(&acme, "t-1", "resume").await;
    let newer = text(&resumed["dataAddress"]["endpointProperties"][0], "value");
    assert_eq!((status(&url, Some(&token)).await, status(&url, Some(&newer)).await), (403, 200));
    p.signal(&acme, "t-1", "terminate").await;
    assert_eq!(status(&url, Some(&newer)).await, 403);
    let (_, state) = p.as_client(&acme, Method::GET, "/api/v1/acme/dataflows/t-1/status", None).await;
    assert_eq!(state, json!({"dataFlowId": "t-1", "state": "TERMINATED"}));
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_reach_what_the_source_opens() {
    let (p, source) = (Platform::temporary(|_| {}).await, Source::start().await);
    let acme = p.connector("acme", &ALL).await;
    let document = json!({"baseUrl": source.url("/echo"), "pathPrefixes": ["/open"], "allowQuery": true});
    p.as_client(&acme, Method::PUT, "/participants/acme/sources/echo", Some(&document)).await;
    let (url, token) = p.flow(&acme, "t-1", "echo").await;
    let asked = tokio::task::spawn_blocking(move || {
        let line = |path: &str| raw(&url, path, &token).lines().next().unwrap_or_default().to_owned();
        for (path, seen) in
            [("/open/a%20b?x=%2F", "GET /echo/open/a%20b key= query=x=%2F"), ("/open", "GET /echo/open "), ("", "GET /echo ")]
        {
            let answer = raw(&url, path, &token);
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(seen), "{path}: {answer}");
        }
        for path in ["/shut", "/%6fpenly", "/OPEN"] {
            assert!(line(path).starts_with("HTTP/1.1 403"), "{path}: {}", line(path));
        }
        for path in [
            "/open/../shut",
            "/open/%2e%2e/shut",
            "/open/.%2E/shut",
            "/open/%252e%252e/shut",
            "/open/..%2fshut",
            "/open/..%5cshut",
            "/open/..;/shut",
            "//open",
            "/open//a",
            "/%2e%2e",
            "/open/%00",
            "/open/%ff",
        ] {
            let answer = line(path);
            assert!(["HTTP/1.1 400", "HTTP/1.1 403", "HTTP/1.1 404"].iter().any(|status| answer.starts_with(status)), "{path}: {answer}");
        }
    });
    let before = source.requests.clone();
    asked.await.unwrap();
    assert_eq!(before.load(std::sync::atomic::Ordering::SeqCst), 3, "what was refused never reached the source");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_end_with_their_client_their_flow_and_their_participant() {
    let (p, source) = (Platform::temporary(|_| {}).await, Source::start().await);
    let acme = p.connector("acme", &ALL).await;
    let endless = json!({"baseUrl": source.url("/endless")});
    p.as_client(&acme, Method::PUT, "/participants/acme/sources/endless", Some(&endless)).await;
    let (url, token) = p.flow(&acme, "t-1", "endless").await;
    let open = async || {
        let mut response = p.data(Method::GET, &url, &token).send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        response
    };
    let is_cut = async |mut response: Response| {
        loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    };
    let ended_at_source = async || tokio::time::timeout(Duration::from_secs(30), source.left.acquire()).await.unwrap().unwrap().forget();

    drop(open().await);
    ended_at_source().await;

    let streaming = open().await;
    let update = p.context("acme", "DEACTIVATED");
    p.must(Method::PUT, "/api/mgmt/v5beta/participants/acme", Some(update)).await;
    assert!(is_cut(streaming).await, "an end must not look like a whole answer");
    ended_at_source().await;
    assert_eq!(p.data(Method::GET, &url, &token).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    p.must(Method::PUT, "/api/mgmt/v5beta/participants/acme", Some(p.context("acme", "ACTIVATED"))).await;

    let streaming = open().await;
    p.signal(&acme, "t-1", "suspend").await;
    assert!(is_cut(streaming).await);
    ended_at_source().await;
    p.signal(&acme, "t-1", "resume").await;

    // A drain waits for what it cut: it is counted before the agents stop.
    let answer = p.signal(&acme, "t-1", "resume").await;
    let token = text(&answer["dataAddress"]["endpointProperties"][0], "value");
    let mut streaming = p.data(Method::GET, &url, &token).send().await.unwrap();
    assert!(streaming.chunk().await.unwrap().is_some());
    let services = p.node.app.services.clone();
    p.node.drain(DRAIN).await;
    assert!(services.workers.streams.is_empty() && is_cut(streaming).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_owners_of_the_data_planes_routes() {
    let (p, source) = (Platform::temporary(|_| {}).await, Source::start().await);
    let acme = p.connector("acme", &ALL).await;
    let globex = p.connector("globex", &ALL).await;
    let reader =
        p.client(json!({"id": "reader", "role": "participant", "participantContext": "acme", "scopes": ["siglet-mgmt-api:read"]})).await;
    let reader = p.token_of("reader", &reader).await;
    let operator =
        p.client(json!({"id": "operator", "role": "provisioner", "scopes": ["siglet-mgmt-api:admin", "data-plane-api:admin"]})).await;
    let operator = p.token_of("operator", &operator).await;
    let document = json!({"baseUrl": source.url("/echo"), "authorization": {"vaultAlias": "store", "secret": "Bearer s3cret"}});
    let one = "/participants/acme/sources/one";

    let (status, stored) = p.as_client(&acme, Method::PUT, one, Some(&document)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!stored.to_string().contains("s3cret"), "{stored}");
    assert_eq!(p.as_client(&reader, Method::GET, one, None).await, (StatusCode::OK, stored));
    let start = json!({"messageId": "m"});
    for (token, method, path, body, expected) in [
        (&reader, Method::PUT, one, Some(&document), 403),
        (&reader, Method::DELETE, one, None, 403),
        (&reader, Method::POST, "/api/v1/acme/dataflows/start", Some(&start), 403),
        (&reader, Method::GET, "/tokens/acme/t-1", None, 403),
        (&reader, Method::POST, "/api/signaling/acme/transfers/t-1/dataflow/started", Some(&start), 403),
        (&globex, Method::GET, one, None, 403),
        (&globex, Method::POST, "/api/v1/acme/dataflows/t-1/terminate", Some(&start), 403),
        (&globex, Method::GET, "/tokens/acme/t-1", None, 403),
        (&globex, Method::POST, "/api/signaling/acme/transfers/t-1/dataflow/started", Some(&start), 403),
        (&operator, Method::GET, one, None, 403),
        (&operator, Method::POST, "/api/v1/acme/dataflows/t-1/terminate", Some(&start), 403),
        (&acme, Method::GET, "/participants/acme/sources/two", None, 404),
        (&acme, Method::DELETE, "/participants/acme/sources/two", None, 404),
        (&acme, Method::PUT, "/participants/acme/sources/two", Some(&start), 400),
        (&acme, Method::GET, "/tokens/acme/t-1", None, 404),
        (&acme, Method::POST, "/api/v1/acme/dataflows/start", Some(&start), 400),
        (&acme, Method::POST, "/api/v1/acme/dataflows/t-1/terminate", Some(&start), 404),
        (&acme, Method::GET, "/api/v1/acme/dataflows/t-1/status", None, 404),
        (&acme, Method::POST, "/api/signaling/acme/transfers/t-1/dataflow/started", Some(&start), 404),
        (&acme, Method::DELETE, one, None, 204),
        (&acme, Method::GET, one, None, 404),
    ] {
        let (status, answer) = p.as_client(token, method.clone(), path, body).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {answer}");
    }
    for path in ["/api/v1/acme/dataflows/t-1/status", one, "/tokens/acme/t-1", "/api/signaling/acme/transfers/t-1/agreement"] {
        assert_eq!(p.bare(Method::GET, path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_networks_are_no_sources_unless_they_may_be() {
    let p = Platform::temporary(|config| config.allow_private_targets = Some(false)).await;
    let acme = p.connector("acme", &ALL).await;
    for url in ["http://127.0.0.1:1/", "https://localhost/", "https://10.0.0.1/a", "https://[fd00::1]/", "http://example.com/"] {
        let (status, answer) = p.as_client(&acme, Method::PUT, "/participants/acme/sources/s", Some(&json!({"baseUrl": url}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}: {answer}");
    }
    p.node.drain(DRAIN).await;
}
