//! Data planes of others, which call back with tokens of their own.

use super::{ALL, PROFILE, typed};
use crate::{
    data_plane::source::Source,
    support::{DRAIN, Platform, id_of, text},
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_actors::{ControlPlane, control_plane::archive::KEPT, data_plane::DataPlane};
use cellspace_cluster::Address;
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::net::TcpListener;

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

    pub(super) fn url(&self, path: &str) -> String {
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
