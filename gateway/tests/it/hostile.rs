//! Everything that the platform asks others for, from others that do not behave: each request ends in time and in few bytes, with an error that
//! says what is wrong; nothing is changed by it, and nobody else waits for it.

mod own_networks;

use crate::{
    data_plane::{ALL, PROFILE, typed},
    hostile_peer::{Peer, Place, SCOPE, TYPE, Trick, bomb, forbidden_ground},
    stage::dsp,
    support::{DRAIN, Platform, id_of, read, text},
};
use cellspace::auth::IssuerConfig;
use cellspace_schemas::Did;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Time that a request to another party may take, in these tests.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Time for whatever waits for several of them, one after another, on a busy machine.
const ENDS: Duration = Duration::from_secs(60);

pub fn management(participant: &str, rest: &str) -> String {
    format!("/api/mgmt/v5beta/participants/{participant}/{rest}")
}

impl Platform {
    /// One that has little patience with others.
    pub async fn hasty() -> Self {
        Self::temporary(|config| config.outbound.timeout = TIMEOUT).await
    }

    /// Every counterparty must hold the credential; these issuers count.
    pub async fn demands_credentials(&self, issuers: &[Did]) {
        self.must(Method::POST, "/api/mgmt/v5beta/dcpscopes", Some(typed("DcpScope", json!({"value": SCOPE})))).await;
        let mut profile = self.must(Method::GET, &format!("/api/mgmt/v5beta/dataspaceprofiles/{PROFILE}"), None).await;
        let trusted: Vec<Value> = issuers.iter().map(|issuer| json!({"@id": issuer, "supportedTypes": [TYPE]})).collect();
        profile["trustedIssuers"] = json!(trusted);
        self.must(Method::PUT, "/api/mgmt/v5beta/dataspaceprofiles", Some(typed("DataspaceProfile", profile))).await;
    }

    /// A message to a participant of ours: status and body.
    pub async fn told(&self, participant: &str, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.node.urls.dsp(&id_of(participant), &format!("/{PROFILE}")));
        read(self.http.post(url).bearer_auth(token).json(body).send().await.unwrap()).await
    }

    pub async fn catalog_for(&self, participant: &str, token: &str) -> (StatusCode, Value) {
        self.told(participant, "/catalog/request", token, &dsp("CatalogRequestMessage", json!({}))).await
    }

    async fn negotiations_of(&self, participant: &str) -> Vec<Value> {
        let query = typed("QuerySpec", json!({"limit": 1000}));
        let all = self.must(Method::POST, &management(participant, "contractnegotiations/request"), Some(query)).await;
        all.as_array().unwrap().clone()
    }

    /// A request of `globex` for the catalog of `name`.
    async fn asks_for_catalog(&self, peer: &Peer, name: &str) -> (StatusCode, Value) {
        let body = json!({"profile": PROFILE, "counterPartyAddress": peer.url(name, "/dsp"), "counterPartyId": peer.did(name)});
        self.call(Method::POST, &management("globex", "catalog/request"), Some(typed("CatalogRequest", body))).await
    }

    /// A negotiation that `participant` begins with `name`; its id.
    async fn negotiates(&self, participant: &str, address: &str, counterparty: &Did) -> String {
        let policy = json!({"@type": "Offer", "@id": "bWFkZS11cA:bWFkZS11cA:bWFkZS11cA", "assigner": counterparty, "target": "set", "permission": []});
        let body = json!({"profile": PROFILE, "counterPartyAddress": address, "counterPartyId": counterparty, "policy": policy});
        text(&self.must(Method::POST, &management(participant, "contractnegotiations"), Some(typed("ContractRequest", body))).await, "@id")
    }

    async fn negotiation_is(&self, participant: &str, id: &str, wanted: &str) -> Value {
        let path = management(participant, &format!("contractnegotiations/{id}"));
        let state = self.must(Method::GET, &format!("{path}/state?wait={wanted}&timeout=20s"), None).await;
        assert_eq!(state["state"], wanted);
        self.must(Method::GET, &path, None).await
    }
}

/// An error that says something, and nothing of what is inside.
pub fn is_clear(error: &Value) {
    let told = error.to_string();
    assert!(told.len() < 2_000, "{told}");
    for inner in ["panick", "src/", "::", "/tmp", "SSH-2.0", "<html", "[[[", "999999", "cellspace_"] {
        assert!(!told.contains(inner), "{inner} in {told}");
    }
}

/// Whoever is hostile, and beside them a friend's work so many times, once the first of them is silent (a part of its path): none of it waits for others.
async fn beside(peer: &Peer, hostile: impl IntoIterator<Item: Future<Output = ()>>, silent: &str, times: usize, friend: impl AsyncFn()) {
    let neighbour = async {
        peer.is_asked(silent, 1).await;
        for _ in 0..times {
            let begun = Instant::now();
            friend().await;
            assert!(begun.elapsed() < TIMEOUT, "waits for others: {:?}", begun.elapsed());
        }
    };
    tokio::join!(futures::future::join_all(hostile), neighbour);
}

#[tokio::test(flavor = "multi_thread")]
async fn counterparties_that_cannot_be_verified() {
    let places = [
        (Place::Document, "DID document"),
        (Place::Presentation, "resentation"),
        (Place::IssuerDocument, "DID document"),
        (Place::StatusList, "status list"),
    ];
    let (p, peer) = (Platform::hasty().await, Arc::new(Peer::start().await));
    let (elsewhere, visits) = forbidden_ground().await;
    peer.send_away_to(format!("http://{elsewhere}/did.json"));
    let mut cases = Vec::new();
    for (place, words) in places {
        for trick in Trick::ALL {
            let name = format!("{place:?}-{trick:?}").to_ascii_lowercase();
            peer.plays(&name, place, trick);
            cases.push((name, trick, words));
        }
    }
    let issuers: Vec<Did> =
        cases.iter().map(|(name, ..)| name.as_str()).chain(["friend", "stranger"]).map(|name| peer.issuer(name)).collect();
    p.demands_credentials(&issuers).await;
    for participant in ["acme", "globex"] {
        p.full_participant(participant).await;
    }
    let (acme, globex) = (p.did("acme"), p.did("globex"));
    let negotiation = dsp(
        "ContractRequestMessage",
        json!({"consumerPid": "urn:uuid:c", "callbackAddress": peer.url("friend", "/dsp"),
            "offer": {"@type": "Offer", "@id": "bWFkZS11cA:bWFkZS11cA:bWFkZS11cA", "target": "set", "assigner": acme, "permission": [{"action": "use"}]}}),
    );
    // What is refused below is not refused for something that all of them lack.
    let good = p.catalog_for("acme", &peer.token("friend", &acme, &json!({}))).await;
    assert_eq!(good.0, StatusCode::OK, "{}", good.1);

    let hostile = cases.iter().map(async |(name, trick, words)| {
        let begun = Instant::now();
        let (kind, (status, body)) = if matches!(trick, Trick::Silent | Trick::Deep | Trick::RedirectsAway | Trick::Stranger) {
            ("ContractNegotiationError", p.told("acme", "/negotiations/request", &peer.token(name, &acme, &json!({})), &negotiation).await)
        } else {
            ("CatalogError", p.catalog_for("acme", &peer.token(name, &acme, &json!({}))).await)
        };
        let expected = if trick.may_pass() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED };
        assert_eq!((status, body["@type"].as_str()), (expected, Some(kind)), "{name}: {body}");
        assert!(body["reason"][0].as_str().unwrap().contains(words), "{name}: {body}");
        is_clear(&body);
        assert!(begun.elapsed() < ENDS, "{name}: {:?}", begun.elapsed());
    });
    let friend = async || {
        let (status, body) = p.catalog_for("globex", &peer.token("friend", &globex, &json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    };
    beside(&peer, hostile, "-silent", 10, friend).await;
    assert_eq!((*visits.lock(), peer.asked("/honest")), (0, 0), "a redirect was followed");
    assert!(p.negotiations_of("acme").await.is_empty());
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_that_answer_anything() {
    let (p, peer) = (Platform::hasty().await, Peer::start().await);
    let (elsewhere, visits) = forbidden_ground().await;
    peer.send_away_to(format!("http://{elsewhere}/"));
    for participant in ["acme", "globex"] {
        p.full_participant(participant).await;
    }
    let (status, catalog) = p.asks_for_catalog(&peer, "friend").await;
    assert_eq!(status, StatusCode::OK, "{catalog}");
    // A member that comes twice is a matter between the provider and itself; another provider's catalog says whose it is.
    let tricks = Trick::ALL.into_iter().filter(|trick| !matches!(trick, Trick::Twice | Trick::Stranger));
    let hostile = tricks.map(async |trick| {
        let name = format!("{trick:?}").to_ascii_lowercase();
        peer.plays(&name, Place::Dsp, trick);
        let begun = Instant::now();
        let (status, body) = p.asks_for_catalog(&peer, &name).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{name}: {body}");
        let told = text(&body[0], "message");
        let expected = match trick {
            Trick::Silent | Trick::Stalls | Trick::Drips | Trick::DripsHead => "did not answer in time",
            Trick::Endless => "answered with more than",
            Trick::RedirectsAway | Trick::RedirectsHere => "answered 307",
            trick if trick.may_pass() => "cannot be reached",
            _ => "did not answer with",
        };
        assert!(told.contains(expected), "{name}: {told}");
        is_clear(&body);
        assert!(begun.elapsed() < ENDS, "{name}: {:?}", begun.elapsed());
    });
    let friend = async || assert_eq!(p.asks_for_catalog(&peer, "friend").await.0, StatusCode::OK);
    beside(&peer, hostile, "/silent/", 5, friend).await;
    assert_eq!((*visits.lock(), peer.asked("/honest")), (0, 0), "a redirect was followed");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_counterparties_that_answer_anything() {
    let p = Platform::hasty().await;
    p.full_participant("globex").await;
    let (elsewhere, visits) = forbidden_ground().await;
    // A host each: one that does not answer is left alone for a while, and with it all that it serves.
    let tricks = Trick::ALL.into_iter().filter(|trick| *trick != Trick::Stranger);
    let hostile = tricks.map(async |trick| {
        let peer = Peer::start().await;
        peer.send_away_to(format!("http://{elsewhere}/"));
        peer.plays("party", Place::Dsp, trick);
        let id = p.negotiates("globex", &peer.url("party", "/dsp"), &peer.did("party")).await;
        match trick {
            // An answer that says no, for good.
            Trick::RedirectsAway | Trick::RedirectsHere => {
                let ended = p.negotiation_is("globex", &id, "TERMINATED").await;
                assert!(text(&ended, "errorDetail").contains("307"), "{trick:?}: {ended}");
            }
            // No answer: the message is sent again, and can be taken back meanwhile.
            trick if trick.may_pass() => {
                tokio::time::timeout(ENDS, peer.is_asked("/dsp/negotiations/request", 2))
                    .await
                    .unwrap_or_else(|_| panic!("{trick:?} is not asked again"));
                p.negotiation_is("globex", &id, "REQUESTING").await;
                let body = typed("TerminateNegotiation", json!({"reason": "enough"}));
                let path = management("globex", &format!("contractnegotiations/{id}/terminate"));
                assert_eq!(p.call(Method::POST, &path, Some(body)).await.0, StatusCode::NO_CONTENT);
            }
            // Taken by nobody knows which process: asked again for a while, and then it is over.
            _ => {
                let ended = p.negotiation_is("globex", &id, "TERMINATED").await;
                let detail = text(&ended, "errorDetail");
                assert!(detail.starts_with("answered 200 without a ContractNegotiation of this process (after "), "{trick:?}: {ended}");
                assert!(peer.asked("/dsp/negotiations/request") > 1, "{trick:?}");
                is_clear(&json!(detail));
            }
        }
        assert_eq!(peer.asked("/honest"), 0, "{trick:?}: a redirect was followed");
    });
    futures::future::join_all(hostile).await;
    assert_eq!(*visits.lock(), 0, "a redirect was followed");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_answer_anything() {
    let (p, peer) = (Platform::hasty().await, Peer::start().await);
    let (elsewhere, visits) = forbidden_ground().await;
    peer.send_away_to(format!("http://{elsewhere}/"));
    let acme = p.connector("acme", &ALL).await;
    let flow = async |name: &str| {
        let source = json!({"baseUrl": peer.url(name, "/data")});
        p.as_client(&acme, Method::PUT, &format!("/participants/acme/sources/{name}"), Some(&source)).await;
        p.flow(&acme, &format!("t-{name}"), name).await
    };
    let honest = flow("friend").await;
    let hostile = Trick::ALL.into_iter().filter(|trick| *trick != Trick::Stranger).map(async |trick| {
        let name = format!("{trick:?}").to_ascii_lowercase();
        peer.plays(&name, Place::Source, trick);
        let (url, token) = flow(&name).await;
        let begun = Instant::now();
        let mut answer = p.http.get(&url).bearer_auth(&token).send().await.unwrap();
        match trick {
            // A head is needed in time.
            Trick::Silent
            | Trick::DripsHead
            | Trick::EndlessHead
            | Trick::RedirectsAway
            | Trick::RedirectsHere
            | Trick::NotHttp
            | Trick::CutsHead
            | Trick::TwoLengths => {
                let (status, body) = read(answer).await;
                assert_eq!((status, body["status"].as_u64()), (StatusCode::BAD_GATEWAY, Some(502)), "{name}: {body}");
                assert!(text(&body, "detail").starts_with("the source "), "{name}: {body}");
                is_clear(&body);
            }
            // An end that is none must not look like one.
            Trick::Stalls | Trick::CutsBody => {
                let ended = loop {
                    match answer.chunk().await {
                        Ok(Some(_)) => {}
                        ended => break ended,
                    }
                };
                assert!(ended.is_err(), "{name}: looks whole");
            }
            // As much as the client takes, and no more once it has left.
            Trick::Drips | Trick::Endless => {
                assert!(answer.chunk().await.unwrap().is_some());
                drop(answer);
            }
            // The bytes as they are.
            Trick::Bomb => {
                assert_eq!((answer.status(), &answer.headers()[header::CONTENT_ENCODING]), (StatusCode::OK, &"gzip".parse().unwrap()));
                assert_eq!(answer.bytes().await.unwrap(), bomb("data of the source"));
            }
            _ => assert_eq!(answer.status(), StatusCode::OK, "{name}"),
        }
        assert!(begun.elapsed() < ENDS, "{name}: {:?}", begun.elapsed());
    });
    let (url, token) = &honest;
    let friend = async || assert_eq!(p.http.get(url).bearer_auth(token).send().await.unwrap().text().await.unwrap(), "data of the source");
    beside(&peer, hostile, "/silent/", 5, friend).await;
    assert_eq!((*visits.lock(), peer.asked("/honest")), (0, 0), "a redirect was followed");
    // Nothing streams on for clients that have left.
    p.node.app.services.workers.streams.close();
    tokio::time::timeout(ENDS, p.node.app.services.workers.streams.wait()).await.unwrap();
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_that_answer_anything() {
    let p = Platform::hasty().await;
    let (acme, globex) = (p.full_participant("acme").await, p.full_participant("globex").await);
    let (elsewhere, visits) = forbidden_ground().await;
    let own = json!({"dataplaneId": "own", "endpoint": p.node.urls.dataflows(&id_of("acme")), "profiles": ["HttpData-PULL"]});
    let (status, answer) = p.as_client(&acme, Method::PUT, &management("acme", "dataplanes"), Some(&own)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let agreement = p.agreement(&acme, &globex).await;
    let places = [Place::Plane, Place::PlaneToken];
    let tricks = Trick::ALL.into_iter().filter(|trick| !matches!(trick, Trick::Stranger | Trick::Twice));
    let cases = tricks.flat_map(|trick| places.map(|place| (place, trick)));
    let hostile = cases.map(async |(place, trick)| {
        let peer = Peer::start().await;
        peer.send_away_to(format!("http://{elsewhere}/"));
        peer.plays("party", place, trick);
        let id = format!("{place:?}-{trick:?}").to_ascii_lowercase();
        let authorization = json!({"type": "oauth2_client_credentials", "tokenEndpoint": peer.url("party", "/token"), "clientId": "cp", "clientSecret": "s3cret"});
        let plane = json!({"dataplaneId": id, "endpoint": peer.url("party", "/flows"), "profiles": [format!("{id}-PULL")], "authorization": authorization});
        let (status, answer) = p.register(&globex, &plane).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let transfer = p.transfer(&globex, &agreement, &format!("{id}-PULL")).await;
        let path = management("globex", &format!("transferprocesses/{transfer}"));
        let redirects = matches!(trick, Trick::RedirectsAway | Trick::RedirectsHere);
        if place == Place::Plane && (!trick.may_pass() || redirects) {
            // A plane that does not say that the flow is over is asked to end it until it does.
            p.transfer_is(&globex, &transfer, if redirects { "TERMINATING" } else { "TERMINATED" }).await;
            is_clear(&p.must(Method::GET, &path, None).await["errorDetail"]);
        } else {
            // Asked again, since it may be put right; until then nothing goes on, and it can be taken back.
            let asked = if place == Place::Plane { "/flows/prepare" } else { "/token" };
            tokio::time::timeout(ENDS, peer.is_asked(asked, 2)).await.unwrap_or_else(|_| panic!("{id} is not asked again"));
            p.transfer_is(&globex, &transfer, "PREPARATION_REQUESTED").await;
            let body = typed("TerminateTransfer", json!({"reason": "enough"}));
            assert_eq!(p.call(Method::POST, &format!("{path}/terminate"), Some(body)).await.0, StatusCode::NO_CONTENT);
        }
        assert!(place == Place::Plane || peer.asked("/flows") == 0, "{id}: called without a token");
        assert_eq!(peer.asked("/honest"), 0, "{id}: a redirect was followed");
    });
    futures::future::join_all(hostile).await;
    assert_eq!(*visits.lock(), 0, "a redirect was followed, maybe with the client's secret");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_sets_that_are_none() {
    let peer = Peer::start().await;
    let (elsewhere, visits) = forbidden_ground().await;
    peer.send_away_to(format!("http://{elsewhere}/"));
    let name = |trick: Trick| format!("{trick:?}").to_ascii_lowercase();
    let tricks: Vec<Trick> = Trick::ALL.into_iter().filter(|trick| !matches!(trick, Trick::Stranger | Trick::Twice)).collect();
    let issuer = |name: String| IssuerConfig { jwks: peer.url(&name, "/jwks").parse().unwrap(), issuer: name, audience: None };
    let p = Platform::temporary(|config| config.issuers = tricks.iter().map(|trick| issuer(name(*trick))).collect()).await;
    let hostile = tricks.iter().map(async |trick| {
        peer.plays(&name(*trick), Place::Jwks, *trick);
        let token = peer.token(&name(*trick), &p.did("x"), &json!({"iss": name(*trick), "scope": "management-api:admin", "role": "admin"}));
        let begun = Instant::now();
        let answer = p.bare(Method::GET, "/api/v1/clients").bearer_auth(token).send().await.unwrap();
        assert!(answer.headers().contains_key(header::RETRY_AFTER), "{trick:?}");
        let (status, body) = read(answer).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{trick:?}: {body}");
        assert!(body.to_string().contains("the keys of the token's issuer cannot be fetched now"), "{trick:?}: {body}");
        assert!(begun.elapsed() < ENDS, "{trick:?}: {:?}", begun.elapsed());
    });
    let friend = async || assert_eq!(p.admin(Method::GET, "/api/v1/clients").send().await.unwrap().status(), StatusCode::OK);
    beside(&peer, hostile, "/silent/", 5, friend).await;
    assert_eq!((*visits.lock(), peer.asked("/honest")), (0, 0), "a redirect was followed");
    p.node.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_that_answer_anything() {
    let p = Platform::hasty().await;
    p.full_participant("acme").await;
    let (elsewhere, visits) = forbidden_ground().await;
    let path = "/api/identity/v1beta/participants/acme/credentials/request";
    let hostile = Trick::ALL.into_iter().filter(|trick| !matches!(trick, Trick::Stranger | Trick::Twice)).map(async |trick| {
        let peer = Peer::start().await;
        peer.send_away_to(format!("http://{elsewhere}/"));
        peer.plays("party", Place::Document, trick);
        let pid = format!("{trick:?}");
        let body = json!({"issuerDid": peer.did("party"), "holderPid": pid, "credentials": [{"format": "VC2_0_JOSE", "type": TYPE, "id": "membership"}]});
        let (status, answer) = p.call(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{trick:?}: {answer}");
        tokio::time::timeout(ENDS, peer.is_asked("/party/did.json", 2)).await.unwrap_or_else(|_| panic!("{trick:?} is not asked again"));
        let request = p.must(Method::GET, &format!("{path}/{pid}"), None).await;
        assert_ne!(request["status"], "ISSUED");
        assert_eq!((peer.asked("/issuance"), peer.asked("/honest")), (0, 0), "{trick:?}");
    });
    futures::future::join_all(hostile).await;
    assert_eq!(*visits.lock(), 0, "a redirect was followed");
    let held = p.must(Method::GET, "/api/identity/v1beta/participants/acme/credentials", None).await;
    assert_eq!(held, json!([]));
    p.node.drain(DRAIN).await;
}

/// The DID of a key, which needs no server.
pub fn did_key(public: &[u8]) -> Did {
    let multikey = multibase::encode(multibase::Base::Base58Btc, [&[0xed, 0x01], public].concat());
    Did::new(format!("did:key:{multikey}")).unwrap()
}
