//! Who may call what, over real sockets: roles, scopes, whose things, and for how long a token is good.

use super::support::{DRAIN, IDENTITY, Platform, config, ok, read, text};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace::{auth::IssuerConfig, routes};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const MANAGEMENT: &str = "/api/mgmt/v5beta";
const ISSUER: &str = "/api/admin/v1beta";

impl Platform {
    async fn status(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> u16 {
        let request = self.bare(method, path).bearer_auth(token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap().status().as_u16()
    }

    /// A token of a new client that acts for the participant.
    async fn token_for(&self, participant: &str, scopes: &[&str]) -> String {
        let client = format!("app-{participant}-{}", scopes.len());
        let secret = self.client(json!({"id": client, "role": "participant", "participantContext": participant, "scopes": scopes})).await;
        self.token_of(&client, &secret).await
    }

    pub async fn exchange(&self, subject: &str, resource: &str) -> (StatusCode, Value) {
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", subject), ("resource", resource)];
        read(self.form("/token", &form).await).await
    }

    pub async fn map(&self, client: &str, participant: &str, scopes: &[&str]) {
        let mapping = json!({"clientIdentifier": client, "participantContext": participant, "scopes": scopes});
        self.must(Method::POST, "/api/v1/mappings", Some(mapping)).await;
    }

    fn management_body(&self, id: &str, state: &str) -> Value {
        json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "ParticipantContext", "@id": id,
            "identity": self.did(id), "state": state, "properties": {}})
    }
}

/// Every operation, in words: who may call it with what, which objects it names, and what a good call is answered.
#[test]
fn every_route_has_its_row() {
    if let Err(wrong) = crate::isolation::rows::rows() {
        panic!("{}", wrong.join("\n"));
    }
}

/// No DID document lies below a path of the platform's own.
#[test]
fn no_did_is_served_where_a_route_is() {
    use cellspace::http::Listener;
    for route in routes::all().iter().filter(|route| route.listener == Listener::Public) {
        for prefix in route.prefixes {
            let path = format!("{prefix}{}", route.path);
            let first = path.split('/').nth(1).unwrap();
            if !first.starts_with('{') && first != ".well-known" {
                assert!(!cellspace_actors::name::is_servable(&first.parse().unwrap()), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_as_good_as_its_participant() {
    let p = Platform::temporary(|_| ()).await;
    let own = p.token_for("acme", &["identity-api:write", "management-api:write", "issuer-admin-api:write", "siglet-mgmt-api:write"]).await;
    let of = |id: &str| {
        [
            (Method::GET, format!("{IDENTITY}/participants/{id}"), None),
            (Method::POST, format!("{ISSUER}/participants/{id}/holders/query"), Some(json!({}))),
            (Method::POST, format!("{MANAGEMENT}/participants/{id}/assets/request"), None),
        ]
    };
    let all = |id: &'static str| {
        let (p, own) = (&p, &own);
        async move {
            let mut statuses = Vec::new();
            for (method, path, body) in of(id) {
                statuses.push(p.status(own, method, &path, body).await);
            }
            statuses
        }
    };
    assert_eq!(all("acme").await, [401, 401, 401], "there is no such participant");
    for id in ["acme", "other"] {
        p.participant(id).await;
        p.must(Method::POST, &format!("{MANAGEMENT}/participants"), Some(p.management_body(id, "ACTIVATED"))).await;
    }
    assert_eq!(all("acme").await, [200, 200, 200]);
    // Another participant's things, whether it is there or not.
    assert_eq!((all("other").await, all("nobody").await), (vec![403; 3], vec![403; 3]));
    // Switched off in one API is switched off in all of them, for its own tokens.
    let state = |active: bool| format!("{IDENTITY}/participants/acme/state?isActive={active}");
    p.must(Method::POST, &state(false), None).await;
    assert_eq!(all("acme").await, [403, 403, 403]);
    assert_eq!(p.status(&own, Method::POST, &state(true), None).await, 403, "nor does it switch itself on");
    assert_eq!(p.call(Method::GET, &format!("{IDENTITY}/participants/acme"), None).await.0, 200);
    p.must(Method::POST, &state(true), None).await;
    assert_eq!(all("acme").await, [200, 200, 200]);
    let management = format!("{MANAGEMENT}/participants/acme");
    p.must(Method::PUT, &management, Some(p.management_body("acme", "DEACTIVATED"))).await;
    assert_eq!(all("acme").await, [403, 403, 403]);
    p.must(Method::PUT, &management, Some(p.management_body("acme", "ACTIVATED"))).await;
    // Half gone is still there, gone is gone.
    p.must(Method::DELETE, &format!("{IDENTITY}/participants/acme"), None).await;
    assert_eq!(all("acme").await, [404, 404, 200]);
    p.must(Method::DELETE, &management, None).await;
    assert_eq!(all("acme").await, [401, 401, 401]);
    assert_eq!(p.status(&own, Method::GET, "/participants/acme/sources/x", None).await, 401);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn participants_do_not_write_what_is_everybodys() {
    let p = Platform::temporary(|_| ()).await;
    p.participant("acme").await;
    let scopes = ["management-api:admin", "management-api:profiles:write", "token-service-api:admin", "identity-api:admin"];
    let own = p.token_for("acme", &scopes).await;
    for (method, path) in [
        (Method::POST, format!("{MANAGEMENT}/celexpressions")),
        (Method::POST, format!("{MANAGEMENT}/dcpscopes")),
        (Method::POST, format!("{MANAGEMENT}/dataspaceprofiles")),
        (Method::POST, format!("{MANAGEMENT}/participants")),
        (Method::POST, format!("{IDENTITY}/participants")),
        (Method::GET, format!("{IDENTITY}/keypairs")),
        (Method::PUT, format!("{IDENTITY}/participants/acme/scopes")),
    ] {
        assert_eq!(p.status(&own, method, &path, Some(json!({}))).await, 403, "{path}");
    }
    // Profiles are changed by who may do that and nothing else, and seen by everybody.
    let secret = p.client(json!({"id": "profiles", "role": "admin", "scopes": ["management-api:profiles:write"]})).await;
    let operator = p.token_of("profiles", &secret).await;
    let profile = json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "DataspaceProfile", "name": "net",
        "protocol": {"version": "2025-1", "path": "/net", "binding": "HTTPS", "namespace": "n"}});
    let profiles = format!("{MANAGEMENT}/dataspaceprofiles");
    let one = format!("{profiles}/net");
    assert_eq!(p.status(&own, Method::DELETE, &one, None).await, 403);
    assert_eq!(p.status(&operator, Method::POST, &profiles, Some(profile.clone())).await, 200);
    assert_eq!(p.status(&operator, Method::PUT, &profiles, Some(profile)).await, 204);
    assert_eq!((p.status(&operator, Method::GET, &one, None).await, p.status(&own, Method::GET, &one, None).await), (200, 200));
    assert_eq!(p.status(&operator, Method::DELETE, &one, None).await, 204);
    assert_eq!(p.status(&operator, Method::POST, &format!("{MANAGEMENT}/celexpressions"), Some(json!({}))).await, 403);
    for path in ["/api/v1/clients", "/api/v1/mappings", "/api/v1/scopes"] {
        assert_eq!(p.status(&own, Method::POST, path, Some(json!({}))).await, 403, "{path}");
    }
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn an_agents_token_is_bound_to_one_participant() {
    let p = Platform::temporary(|_| ()).await;
    let secret = p.client(json!({"id": "agents", "role": "provisioner", "mayExchange": true})).await;
    let subject = p.token_of("agents", &secret).await;
    p.participant("other").await;
    // One for a participant context, one for the participant context that bears the client's own name.
    for (id, name) in [("acme", "acme"), ("agents", "agents-of-acme")] {
        p.map("agents", id, &["identity-api:admin", "management-api:admin", "issuer-admin-api:admin"]).await;
        let (_, granted) = p.exchange(&subject, id).await;
        let token = text(&granted, "access_token");
        let create = format!("{IDENTITY}/participants");
        assert_eq!(p.status(&token, Method::POST, &create, Some(p.manifest("third", "third"))).await, 403);
        assert_eq!(p.status(&token, Method::POST, &create, Some(p.manifest(id, name))).await, 200);
        assert_eq!(p.status(&token, Method::GET, &format!("{create}/{id}"), None).await, 200);
        for path in [format!("{create}/other"), format!("{MANAGEMENT}/participants/other"), create.clone()] {
            assert_eq!(p.status(&token, Method::GET, &path, None).await, 403, "{path}");
        }
        // Not even its own, where no provisioner may go; and it is not exchanged again.
        assert_eq!(p.status(&token, Method::GET, &format!("{create}/{id}/keypairs"), None).await, 403);
        assert_eq!(p.exchange(&token, id).await.0, 400);
    }
    p.node.drain(DRAIN).await;
}

/// An identity provider of somebody else's: one key, served over HTTP.
struct Provider {
    key: Ed25519KeyPair,
    jwks: String,
}

impl Provider {
    async fn start() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let document = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let found = head.starts_with(b"GET /jwks ");
                let (status, body) = if found { ("200 OK", document.as_str()) } else { ("404 Not Found", "") };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { key, jwks }
    }

    fn token(&self, platform: &Platform, claims: Value) -> String {
        let now = platform.node.app.services.cluster.now().seconds();
        let mut all = json!({"iss": "https://idp.example", "iat": now, "exp": now + 300});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": "k"})), part(&all));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).as_ref()))
    }
}

#[tokio::test]
async fn tokens_of_a_shared_identity_provider() {
    let provider = Provider::start().await;
    let issuer =
        IssuerConfig { issuer: "https://idp.example".to_owned(), jwks: provider.jwks.parse().unwrap(), audience: Some("cells".to_owned()) };
    let p = Platform::temporary(|config| config.issuers = vec![issuer]).await;
    let clients = |claims: Value| {
        let (p, token) = (&p, provider.token(&p, claims));
        async move { p.status(&token, Method::GET, "/api/v1/clients", None).await }
    };
    assert_eq!(clients(json!({"role": "admin", "aud": "cells"})).await, 200);
    assert_eq!(clients(json!({"role": "admin", "aud": "shop"})).await, 401, "an admin of another application");
    assert_eq!(clients(json!({"role": "admin"})).await, 401);
    assert_eq!(clients(json!({"role": "participant", "aud": "cells", "participant_context_id": "acme"})).await, 403);

    // A workload exchanges its token as the client that it is called.
    let workload = "system:serviceaccount:edc-v:portal";
    p.map(workload, "acme", &["identity-api:read"]).await;
    let secret = p.client(json!({"id": "agents", "role": "provisioner", "mayExchange": true})).await;
    p.map("agents", "acme", &["identity-api:admin"]).await;
    let subject = |claims: Value| provider.token(&p, claims);
    let (status, granted) = p.exchange(&subject(json!({"sub": workload, "aud": "cells"})), "acme").await;
    assert_eq!((status, &granted["scope"]), (StatusCode::OK, &json!("identity-api:read")), "{granted}");
    p.participant("acme").await;
    let token = text(&granted, "access_token");
    assert_eq!(p.status(&token, Method::GET, &format!("{IDENTITY}/participants/acme"), None).await, 200);
    assert_eq!(p.status(&token, Method::DELETE, &format!("{IDENTITY}/participants/acme"), None).await, 403);
    for (claims, resource, status) in [
        (json!({"sub": workload, "aud": "shop"}), "acme", 400),
        (json!({"sub": workload, "aud": "cells"}), "other", 403),
        (json!({"sub": "system:serviceaccount:edc-v:other", "aud": "cells"}), "acme", 403),
        (json!({"aud": "cells"}), "acme", 400),
        // What acts for a participant is exchanged by nobody.
        (json!({"sub": workload, "aud": "cells", "participant_context_id": "p"}), "acme", 400),
        // Our own clients prove themselves by their secret.
        (json!({"sub": "agents", "aud": "cells"}), "acme", 400),
    ] {
        let (got, body) = p.exchange(&subject(claims.clone()), resource).await;
        assert_eq!(got.as_u16(), status, "{claims} {resource}: {body}");
    }
    assert_eq!(p.exchange(&p.token_of("agents", &secret).await, "acme").await.0, 200);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn secrets_are_told_once_and_kept_by_nobody_between() {
    let dir = tempfile::tempdir().unwrap();
    let p = Platform::start(config(dir.path())).await;
    let mut manifest = p.manifest("acme", "acme");
    manifest["provisionStsAccount"] = json!(true);
    // Two at once get the same secret or a refusal, never a secret that does not work.
    let made = || async {
        let answer = p.admin(Method::POST, &format!("{IDENTITY}/participants")).json(&manifest).send().await.unwrap();
        let cache = answer.headers().get(reqwest::header::CACHE_CONTROL).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), cache, answer.json::<Value>().await.unwrap())
    };
    let (a, b) = tokio::join!(made(), made());
    let (good, bad) = if a.0 == 200 { (a, b) } else { (b, a) };
    assert_eq!((good.0, good.1.as_deref(), bad.0), (200, Some("no-store"), 409));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "acme"),
        ("client_secret", good.2["clientSecret"].as_str().unwrap()),
        ("audience", "did:web:other.example"),
    ];
    ok(p.form("/api/sts/token", &form).await).await;
    p.must(Method::DELETE, &format!("{IDENTITY}/participants/acme"), None).await;
    assert_eq!(p.form("/api/sts/token", &form).await.status(), StatusCode::UNAUTHORIZED);
    let mappings = p.must(Method::GET, "/api/v1/mappings?limit=1", None).await;
    assert_eq!(mappings, json!([]));
    for participant in ["a", "b", "c"] {
        p.map("x", participant, &["identity-api:read"]).await;
    }
    let page = p.must(Method::GET, "/api/v1/mappings?offset=1&limit=1", None).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["participantContext"]), (1, &json!("b")));
    p.node.drain(DRAIN).await;
}
