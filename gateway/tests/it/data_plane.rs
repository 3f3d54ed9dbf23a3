//! Data plane over real sockets: data and their tokens, sources, signaling in both directions.

#[path = "../../../actors/tests/data_plane/source.rs"]
#[allow(dead_code, reason = "what the data plane's own tests ask of it is more")]
mod source;

use crate::support::{DRAIN, Platform, id_of, read, text};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_actors::{ControlPlane, control_plane::archive::KEPT, data_plane::DataPlane};
use cellspace_cluster::Address;
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::JwkSet};
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use source::{FILE_BYTES, Source, file_bytes};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::net::TcpListener;

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
    p.node.drain(Duration::from_secs(10)).await;
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
    p.node.drain(Duration::from_secs(10)).await;
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
    p.node.drain(Duration::from_secs(4)).await;
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
    p.node.drain(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_networks_are_no_sources_unless_they_may_be() {
    let p = Platform::temporary(|config| config.allow_private_targets = Some(false)).await;
    let acme = p.connector("acme", &ALL).await;
    for url in ["http://127.0.0.1:1/", "https://localhost/", "https://10.0.0.1/a", "https://[fd00::1]/", "http://example.com/"] {
        let (status, answer) = p.as_client(&acme, Method::PUT, "/participants/acme/sources/s", Some(&json!({"baseUrl": url}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}: {answer}");
    }
    p.node.drain(Duration::from_secs(10)).await;
}

/// A foreign data plane: its signaling endpoint, token endpoint and key set, and what it was asked.
#[derive(Clone)]
struct ForeignPlane {
    id: &'static str,
    address: SocketAddr,
    key: Arc<Ed25519KeyPair>,
    asked: Arc<Mutex<Vec<(String, Option<String>)>>>,
}

impl ForeignPlane {
    async fn start(id: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = Arc::new(Ed25519KeyPair::generate().unwrap());
        let plane = Self { id, address: listener.local_addr().unwrap(), key, asked: Arc::default() };
        let serving = plane.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let plane = serving.clone();
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let plane = plane.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        body.collect().await.unwrap();
                        let bearer = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
                        let path = parts.uri.path().to_owned();
                        plane.asked.lock().push((path.clone(), bearer));
                        let (status, answer) = match path.as_str() {
                            "/jwks" => (200, plane.jwks()),
                            "/token" => (200, json!({"access_token": format!("for-{}", plane.id), "token_type": "Bearer"})),
                            "/flows/prepare" => (202, json!({"state": "PREPARING"})),
                            _ => (200, json!({})),
                        };
                        let answer = Full::new(bytes::Bytes::from(answer.to_string()));
                        Ok::<_, std::convert::Infallible>(hyper::Response::builder().status(status).body(answer).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        plane
    }

    fn jwks(&self) -> Value {
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref())}]})
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn credentials(&self, keys: Value) -> Value {
        let mut entry =
            json!({"type": "oauth2_client_credentials", "tokenEndpoint": self.url("/token"), "clientId": "cp", "clientSecret": "s3cret"});
        entry.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        entry
    }

    fn registration(&self, transfer_type: &str, authorization: Value) -> Value {
        json!({"dataplaneId": self.id, "endpoint": self.url("/flows"), "profiles": [transfer_type], "authorization": authorization})
    }

    /// A token that it signs, with changes.
    fn token(&self, aud: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": "anyone", "sub": self.id, "aud": aud, "iat": now, "exp": now + 60, "jti": uuid::Uuid::new_v4()});
        change(&mut claims);
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(self.key.to_pkcs8().unwrap().as_ref())).unwrap()
    }
}

impl Platform {
    pub async fn full_participant(&self, id: &str) -> String {
        self.participant(id).await;
        self.connector(id, &ALL).await
    }

    /// An agreement of `globex` with `acme` about `set`.
    pub async fn agreement(&self, acme: &str, globex: &str) -> String {
        let own = |participant: &str, rest: &str| format!("/api/mgmt/v5beta/participants/{participant}/{rest}");
        let asset = json!({"@id": "set", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": [], "properties": {"source": "file"}}});
        let policy = json!({"@id": "any", "policy": {"@type": "Set", "permission": [{"action": "use"}]}});
        let definition = json!({"@id": "offer", "accessPolicyId": "any", "contractPolicyId": "any", "assetsSelector": []});
        for (kind, resource, body) in [
            ("Asset", "assets", asset),
            ("PolicyDefinition", "policydefinitions", policy),
            ("ContractDefinition", "contractdefinitions", definition),
        ] {
            let (status, answer) = self.as_client(acme, Method::POST, &own("acme", resource), Some(&typed(kind, body))).await;
            assert_eq!(status, StatusCode::OK, "{resource}: {answer}");
        }
        let provider = json!({"profile": PROFILE, "counterPartyAddress": self.node.urls.dsp(&id_of("acme"), &format!("/{PROFILE}")),
            "counterPartyId": self.did("acme")});
        let with = |kind: &str, more: Value| {
            let mut body = provider.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            typed(kind, body)
        };
        let request = with("CatalogRequest", json!({}));
        let (status, catalog) = self.as_client(globex, Method::POST, &own("globex", "catalog/request"), Some(&request)).await;
        assert_eq!(status, StatusCode::OK, "{catalog}");
        let dataset = if catalog["dataset"].is_array() { &catalog["dataset"][0] } else { &catalog["dataset"] };
        let mut offer = if dataset["hasPolicy"].is_array() { dataset["hasPolicy"][0].clone() } else { dataset["hasPolicy"].clone() };
        offer["@type"] = json!("Offer");
        offer["assigner"] = json!(self.did("acme"));
        offer["target"] = json!("set");
        let request = with("ContractRequest", json!({"policy": offer}));
        let (status, begun) = self.as_client(globex, Method::POST, &own("globex", "contractnegotiations"), Some(&request)).await;
        assert_eq!(status, StatusCode::OK, "{begun}");
        let path = own("globex", &format!("contractnegotiations/{}", text(&begun, "@id")));
        let (_, state) = self.as_client(globex, Method::GET, &format!("{path}/state?wait=FINALIZED&timeout=20s"), None).await;
        assert_eq!(state["state"], "FINALIZED", "{state}");
        text(&self.as_client(globex, Method::GET, &path, None).await.1, "contractAgreementId")
    }

    /// Begins a transfer of `globex` by `transfer_type`.
    pub async fn transfer(&self, globex: &str, agreement: &str, transfer_type: &str) -> String {
        let body = json!({"profile": PROFILE, "counterPartyAddress": self.node.urls.dsp(&id_of("acme"), &format!("/{PROFILE}")),
            "contractId": agreement, "transferType": transfer_type});
        let path = "/api/mgmt/v5beta/participants/globex/transferprocesses";
        let (status, begun) = self.as_client(globex, Method::POST, path, Some(&typed("TransferRequest", body))).await;
        assert_eq!(status, StatusCode::OK, "{begun}");
        text(&begun, "@id")
    }

    pub async fn transfer_is(&self, globex: &str, id: &str, wanted: &str) {
        let path = format!("/api/mgmt/v5beta/participants/globex/transferprocesses/{id}/state?wait={wanted}&timeout=20s");
        let (_, state) = self.as_client(globex, Method::GET, &path, None).await;
        assert_eq!(state["state"], wanted);
    }

    pub async fn register(&self, globex: &str, plane: &Value) -> (StatusCode, Value) {
        self.as_client(globex, Method::PUT, "/api/mgmt/v5beta/participants/globex/dataplanes", Some(plane)).await
    }

    async fn callback(&self, token: &str, transfer: &str, word: &str, state: &str) -> (u16, String) {
        let path = format!("/api/signaling/globex/transfers/{transfer}/dataflow/{word}");
        let (status, answer) = self.as_client(token, Method::POST, &path, Some(&json!({"messageId": "m", "state": state}))).await;
        (status.as_u16(), answer.to_string().replace(transfer, "T"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_data_planes_reach_their_own_transfers_alone() {
    let (p, source) = (Platform::temporary(|_| {}).await, Source::start().await);
    let (acme, globex) = (p.full_participant("acme").await, p.full_participant("globex").await);
    let put = json!({"baseUrl": source.url("/file.bin")});
    p.as_client(&acme, Method::PUT, "/participants/acme/sources/file", Some(&put)).await;
    let own = json!({"dataplaneId": "own", "endpoint": p.node.urls.dataflows(&id_of("acme")), "profiles": ["HttpData-PULL"]});
    let (status, answer) = p.as_client(&acme, Method::PUT, "/api/mgmt/v5beta/participants/acme/dataplanes", Some(&own)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (plane, other) = (ForeignPlane::start("plane").await, ForeignPlane::start("other").await);

    // Outside this installation nobody gets its tokens.
    let mut bare = plane.registration("HttpData-PULL", json!(null));
    bare.as_object_mut().unwrap().remove("authorization");
    assert_eq!(p.register(&globex, &bare).await.0, StatusCode::BAD_REQUEST);
    let broker = json!({"type": "oauth2_token_exchange", "tokenExchangeEndpoint": other.url("/token"), "issuer": "https://broker", "jwksUri": other.url("/jwks")});
    for registration in
        [plane.registration("HttpData-PULL", plane.credentials(json!({"jwks": plane.jwks()}))), other.registration("Other-PULL", broker)]
    {
        let (status, answer) = p.register(&globex, &registration).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    let agreement = p.agreement(&acme, &globex).await;
    let transfer = p.transfer(&globex, &agreement, "HttpData-PULL").await;
    let of_other = p.transfer(&globex, &agreement, "Other-PULL").await;
    let aud = p.node.urls.signaling(&id_of("globex"));
    let did = p.did("globex").to_string();
    let prepared = async |token: &str, transfer: &str| p.callback(token, transfer, "prepared", "PREPARED").await;
    let exchanged = |change: fn(&mut Value)| {
        other.token(&aud, |claims| {
            claims["iss"] = json!("https://broker");
            claims["scope"] = json!("signaling-api:write");
            claims["participant_context"] = json!("globex");
            change(claims);
        })
    };

    let unknown = prepared(&plane.token(&aud, |_| {}), "t-404").await;
    assert_eq!(unknown.0, 404);
    let good = plane.token(&aud, |_| {});
    let stranger = ForeignPlane { id: "plane", ..ForeignPlane::start("stranger").await };
    for (token, transfer, expected) in [
        (stranger.token(&aud, |_| {}), &transfer, 401),
        (plane.token("https://elsewhere.example", |_| {}), &transfer, 401),
        (plane.token(&aud, |claims| claims["exp"] = json!(1)), &transfer, 401),
        (plane.token(&aud, |claims| claims["exp"] = json!(i64::MAX / 2_000)), &transfer, 401),
        (plane.token(&aud, |claims| claims["iat"] = json!(claims["exp"].as_i64().unwrap() + 600)), &transfer, 401),
        (plane.token(&aud, |claims| claims["sub"] = json!("other")), &transfer, 401),
        (plane.token(&aud, |claims| claims["sub"] = json!("nobody")), &transfer, 401),
        (exchanged(|claims| claims["iss"] = json!("https://other-broker")), &of_other, 401),
        (exchanged(|claims| claims["participant_context"] = json!("acme")), &of_other, 401),
        (exchanged(|claims| claims["scope"] = json!("signaling-api:read")), &of_other, 403),
        (globex.clone(), &transfer, 404),
        (exchanged(|_| {}), &transfer, 404),
        (plane.token(&aud, |_| {}), &of_other, 404),
    ] {
        let answer = prepared(&token, transfer).await;
        assert_eq!(answer.0, expected, "{}", answer.1);
        assert!(expected != 404 || answer == unknown, "{answer:?} differs from {unknown:?}");
    }
    p.transfer_is(&globex, &transfer, "PREPARATION_REQUESTED").await;

    // What may be said is heard, once.
    assert_eq!(prepared(&good, &transfer).await.0, 200);
    p.transfer_is(&globex, &transfer, "STARTED").await;
    assert_eq!(prepared(&good, &transfer).await.0, 401, "a jti is used once");
    assert_eq!(p.callback(&plane.token(&did, |_| {}), &transfer, "errored", "STARTED").await.0, 200);
    let broker = exchanged(|_| {});
    for _ in 0..2 {
        assert_eq!(p.callback(&broker, &of_other, "errored", "PREPARING").await.0, 200, "a broker's token is good until it expires");
    }
    let asked = plane.asked.lock().clone();
    let called = |path: String| asked.iter().any(|(at, bearer)| *at == path && bearer.as_deref() == Some("Bearer for-plane"));
    assert!(called("/flows/prepare".to_owned()) && called(format!("/flows/{transfer}/started")), "{asked:?}");
    assert!(other.asked.lock().contains(&("/flows/prepare".to_owned(), Some("Bearer for-other".to_owned()))));

    // It is not taken away from what runs on it; and when it moves, what was begun is ended where it was begun.
    let unregister = "/api/mgmt/v5beta/participants/globex/dataplanes/plane";
    assert_eq!(p.as_client(&globex, Method::DELETE, unregister, None).await.0, StatusCode::CONFLICT);
    let moved = ForeignPlane { id: "plane", ..ForeignPlane::start("moved").await };
    let (status, answer) =
        p.register(&globex, &moved.registration("HttpData-PULL", moved.credentials(json!({"jwks": moved.jwks()})))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let terminate = typed("TerminateTransfer", json!({"reason": "enough"}));
    let path = format!("/api/mgmt/v5beta/participants/globex/transferprocesses/{transfer}/terminate");
    let (status, answer) = p.as_client(&globex, Method::POST, &path, Some(&terminate)).await;
    assert!(status.is_success(), "{answer}");
    p.transfer_is(&globex, &transfer, "TERMINATED").await;
    assert!(plane.asked.lock().iter().any(|(path, _)| *path == format!("/flows/{transfer}/terminate")));
    assert!(moved.asked.lock().is_empty());
    assert_eq!(p.as_client(&globex, Method::DELETE, unregister, None).await.0, StatusCode::OK);
    let provider = Address::of::<DataPlane>(&id_of("acme"));
    let ended = |state: &cellspace_actors::data_plane::DataPlaneState| (state.open_flows() == 0).then_some(());
    p.node.app.services.cluster.wait::<DataPlane, _>(&provider, Duration::from_secs(20), ended).await.unwrap().unwrap();
    p.node.drain(Duration::from_secs(10)).await;
}

/// A data plane may say again what became of a transfer, however long ago it ended and whatever has been set apart since.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_repeats_what_ended_long_ago() {
    let p = Platform::temporary(|_| {}).await;
    let (acme, globex) = (p.full_participant("acme").await, p.full_participant("globex").await);
    let own = json!({"dataplaneId": "own", "endpoint": p.node.urls.dataflows(&id_of("acme")), "profiles": ["HttpData-PULL"]});
    let (status, answer) = p.as_client(&acme, Method::PUT, "/api/mgmt/v5beta/participants/acme/dataplanes", Some(&own)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (plane, other) = (ForeignPlane::start("plane").await, ForeignPlane::start("other").await);
    for (plane, transfer_type) in [(&plane, "HttpData-PULL"), (&other, "Other-PULL")] {
        let registration = plane.registration(transfer_type, plane.credentials(json!({"jwks": plane.jwks()})));
        assert_eq!(p.register(&globex, &registration).await.0, StatusCode::OK);
    }
    let agreement = p.agreement(&acme, &globex).await;
    let end = async || {
        let transfer = p.transfer(&globex, &agreement, "HttpData-PULL").await;
        let path = format!("/api/mgmt/v5beta/participants/globex/transferprocesses/{transfer}/terminate");
        let (status, answer) = p.as_client(&globex, Method::POST, &path, Some(&typed("TerminateTransfer", json!({})))).await;
        assert!(status.is_success(), "{answer}");
        p.transfer_is(&globex, &transfer, "TERMINATED").await;
        transfer
    };
    let first = end().await;
    let aud = p.node.urls.signaling(&id_of("globex"));
    let repeat =
        async |plane: &ForeignPlane, transfer: &str| p.callback(&plane.token(&aud, |_| {}), transfer, "completed", "COMPLETED").await;
    let before = repeat(&plane, &first).await;
    assert_eq!(before.0, 200, "{}", before.1);
    for _ in 0..KEPT + 4 {
        end().await;
    }
    let state = p.node.app.services.cluster.snapshot::<ControlPlane>(&Address::of::<ControlPlane>(&id_of("globex"))).await.unwrap();
    assert!(state.transfers.get(&first.parse().unwrap()).is_none(), "it is still in the state");
    assert_eq!(repeat(&plane, &first).await, before);
    // It is still that of one data plane alone.
    assert_eq!(repeat(&other, &first).await.0, 404);
    assert_eq!(repeat(&plane, "t-404").await.0, 404);
    p.node.drain(DRAIN).await;
}
