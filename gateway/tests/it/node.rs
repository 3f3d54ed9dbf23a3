//! A whole node over real sockets: what clients and operators are promised of it.

use crate::support::{DRAIN, IDENTITY, Platform, config, form_of, id_of, ok, read, text};
use cellspace::{Node, NodeConfig, Ports, node::StartError};
use cellspace_actors::control_plane::{
    data_planes::{
        Authorization, DataPlane,
        client::{self, Call},
    },
    transfer::PlaneCall,
};
use cellspace_schemas::{DataPlaneId, MessageId, Timestamp, TransferId, TransferType};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

async fn refused(response: Response) -> (u16, Value) {
    let (status, body) = read(response).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn the_first_client_survives_restarts_and_so_does_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let first = Platform::start(config(dir.path())).await;
    let (urls, bootstrap) = (first.node.urls.clone(), first.bootstrap().clone());
    assert!(bootstrap.is_new);
    let mode = std::fs::metadata(&bootstrap.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::metadata(dir.path().join("master.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = first.client(json!({"id": "ops", "role": "provisioner", "scopes": ["tenant-manager-api:read"]})).await;
    first.node.drain(DRAIN).await;

    let again = Platform::start(config(dir.path())).await;
    assert_eq!((again.node.urls.public("/"), again.node.urls.admin("/")), (urls.public("/"), urls.admin("/")));
    assert!(!again.bootstrap().is_new);
    assert_eq!(again.bootstrap().secret(), bootstrap.secret());
    assert!(!again.token.is_empty());
    again.token_of("ops", &secret).await;
    // Yesterday's token is still good: the signing key is the same.
    let listed = again.bare(Method::GET, "/api/v1/clients").bearer_auth(&first.token).send().await.unwrap();
    let listed = ok(listed).await;
    assert_eq!(listed.as_array().unwrap().iter().map(|c| text(c, "id")).collect::<Vec<_>>(), ["bootstrap", "ops"]);
    assert!(!listed.to_string().contains(&secret) && !listed.to_string().contains("hash"));
    // A deleted first client stays deleted.
    let deleted = again.admin(Method::DELETE, "/api/v1/clients/bootstrap").send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    again.node.drain(DRAIN).await;
    let last = Platform::start(config(dir.path())).await;
    assert!(last.node.bootstrap.is_none() && bootstrap.path.exists(), "its file is nobody's by now");
    let form = [("grant_type", "client_credentials"), ("client_id", "bootstrap"), ("client_secret", bootstrap.secret())];
    assert_eq!(last.form("/token", &form).await.status(), StatusCode::UNAUTHORIZED);
    last.node.drain(DRAIN).await;
}

#[tokio::test]
async fn another_url_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    Node::start(config(dir.path())).await.unwrap().drain(DRAIN).await;
    let other = NodeConfig { public_url: Some("https://cells.example".parse().unwrap()), ..config(dir.path()) };
    let error = Node::start(other).await.err().unwrap();
    assert!(matches!(error, StartError::UrlChanged { .. }), "{error}");
    assert!(error.to_string().contains("--public-url http://localhost:"), "{error}");
    // The refusal changed nothing.
    let node = Node::start(config(dir.path())).await.unwrap();
    let second = Node::start(config(dir.path())).await.err().unwrap();
    assert!(matches!(second, StartError::Open(_)), "{second}");
    node.drain(DRAIN).await;
}

/// A refused first start leaves nothing behind that a later one would have to agree with.
#[tokio::test]
async fn ports_that_are_taken_are_told_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().min(Ports::LAST_BASE);
    let on = |ports| NodeConfig { ports, ..config(dir.path()) };
    let error = Node::start(on(Ports::Base(port))).await.err().unwrap();
    assert!(matches!(error, StartError::Bind { .. }) && error.to_string().contains("--port"), "{error}");
    let first = Platform::start(config(dir.path())).await;
    let port = first.node.urls.public.port().unwrap();
    first.node.drain(DRAIN).await;
    // Unless somebody else has it by now.
    let _taken = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.ok();
    let error = Node::start(config(dir.path())).await.err().unwrap();
    assert!(error.to_string().contains("keeps its ports") && !error.to_string().contains("--port"), "{error}");
}

#[tokio::test]
async fn tokens_of_clients() {
    let dir = tempfile::tempdir().unwrap();
    let p = Platform::start(config(dir.path())).await;
    let create =
        json!({"id": "app", "role": "participant", "participantContext": "p1", "scopes": ["management-api:write", "identity-api:read"]});
    let made = || p.admin(Method::POST, "/api/v1/clients").header("Idempotency-Key", "k1");
    let secret = text(&ok(made().json(&create).send().await.unwrap()).await, "clientSecret");
    // A repeat under the same key names the same secret; another body under it is refused, and so is a second client of the name.
    assert_eq!(text(&ok(made().json(&create).send().await.unwrap()).await, "clientSecret"), secret);
    let reused = refused(made().json(&json!({"id": "other", "role": "admin"})).send().await.unwrap()).await;
    assert_eq!((reused.0, &reused.1["status"]), (422, &json!(422)));
    let twice = refused(p.admin(Method::POST, "/api/v1/clients").json(&create).send().await.unwrap()).await;
    assert_eq!(twice.0, 409);

    let form = |extra: &[(&'static str, &'static str)]| {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(extra);
        form
    };
    let basic = |form: Vec<(&'static str, &'static str)>, secret: &str| {
        form_of(p.bare(Method::POST, "/api/auth/token"), &form).basic_auth("app", Some(secret)).send()
    };
    let granted = basic(form(&[("scope", "management-api:assets:read identity-api:read")]), &secret).await.unwrap();
    assert_eq!(granted.headers()[header::CACHE_CONTROL], "no-store");
    let granted = ok(granted).await;
    assert_eq!(
        (text(&granted, "scope").as_str(), text(&granted, "token_type").as_str()),
        ("management-api:assets:read identity-api:read", "Bearer")
    );
    for (form, secret, status, code) in [
        (form(&[("scope", "identity-api:write")]), secret.as_str(), 400, "invalid_scope"),
        (form(&[]), "wrong", 401, "invalid_client"),
        (vec![("grant_type", "password")], secret.as_str(), 400, "unsupported_grant_type"),
        (vec![], secret.as_str(), 400, "invalid_request"),
        (vec![("grant_type", "client_credentials"), ("grant_type", "client_credentials")], secret.as_str(), 400, "invalid_request"),
    ] {
        let (got, body) = refused(basic(form.clone(), secret).await.unwrap()).await;
        assert_eq!((got, text(&body, "error").as_str()), (status, code), "{form:?}");
    }
    // A participant does not administer the token service.
    let own = p.token_of("app", &secret).await;
    assert_eq!(p.bare(Method::GET, "/api/v1/clients").bearer_auth(&own).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn token_exchange() {
    let dir = tempfile::tempdir().unwrap();
    let p = Platform::start(config(dir.path())).await;
    let secret = p.client(json!({"id": "agents", "role": "provisioner", "mayExchange": true})).await;
    let plain = p.client(json!({"id": "plain", "role": "provisioner"})).await;
    let post = |path: &str, body: Value| p.admin(Method::POST, path).json(&body).send();
    let scope = json!({"scope": "read", "claims": {"scope": "identity-api:read management-api:read"}});
    assert_eq!(post("/api/v1/scopes", scope.clone()).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(refused(post("/api/v1/scopes", scope).await.unwrap()).await.0, 409);
    let mapping = json!({"clientIdentifier": "agents", "participantContext": "p1", "scopes": ["read"], "audiences": ["edcv"]});
    assert_eq!(post("/api/v1/mappings", mapping.clone()).await.unwrap().status(), StatusCode::CREATED);
    let subject = p.token_of("agents", &secret).await;
    let other = p.token_of("plain", &plain).await;
    let exchange = |subject: &str, resource: &str, scope: &str| {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject),
            ("resource", resource),
            ("scope", scope),
            ("audience", "edcv"),
        ];
        form_of(p.bare(Method::POST, "/token"), &form).send()
    };
    let granted = ok(exchange(&subject, "p1", "read").await.unwrap()).await;
    assert_eq!(text(&granted, "scope"), "identity-api:read management-api:read");
    assert_eq!(text(&granted, "issued_token_type"), "urn:ietf:params:oauth:token-type:jwt");
    let exchanged = text(&granted, "access_token");
    for (subject, resource, scope, status, code) in [
        (subject.as_str(), "p2", "read", 403, "unauthorized_client"),
        (subject.as_str(), "p1", "write", 400, "invalid_scope"),
        (other.as_str(), "p1", "read", 400, "invalid_grant"),
        ("rubbish", "p1", "read", 400, "invalid_grant"),
        // What acts for a participant is not exchanged again.
        (exchanged.as_str(), "p1", "read", 400, "invalid_grant"),
    ] {
        let (got, body) = refused(exchange(subject, resource, scope).await.unwrap()).await;
        assert_eq!((got, text(&body, "error").as_str()), (status, code), "{resource} {scope}");
    }
    let change = |method, path: &str, body: Value| p.admin(method, path).json(&body).send();
    let narrower = json!({"claims": {"scope": "identity-api:read"}});
    assert_eq!(change(Method::PUT, "/api/v1/scopes/read", narrower).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(text(&ok(exchange(&subject, "p1", "read").await.unwrap()).await, "scope"), "identity-api:read");
    assert_eq!(change(Method::DELETE, "/api/v1/mappings/agents/p1", json!({})).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(refused(exchange(&subject, "p1", "read").await.unwrap()).await.0, 403);
    assert_eq!(refused(change(Method::DELETE, "/api/v1/mappings/agents/p1", json!({})).await.unwrap()).await.0, 404);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn wrong_requests_get_the_errors_of_the_api() {
    let dir = tempfile::tempdir().unwrap();
    let p = Platform::start(config(dir.path())).await;
    let clients = "/api/v1/clients";
    let no_token = p.bare(Method::GET, clients).send().await.unwrap();
    assert_eq!(no_token.headers()[header::WWW_AUTHENTICATE], "Bearer");
    assert_eq!(no_token.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(no_token.status(), StatusCode::UNAUTHORIZED);
    let mut forged = p.token.clone();
    forged.pop();
    assert_eq!(p.bare(Method::GET, clients).bearer_auth(&forged).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let other_method = p.bare(Method::PATCH, clients).send().await.unwrap();
    assert_eq!(
        (other_method.status(), other_method.headers()[header::ALLOW].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, POST")
    );
    assert_eq!(p.bare(Method::GET, "/nothing/here").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    // Listeners do not serve each other's routes.
    let public = p.http.get(p.node.urls.public("/api/check/readiness")).send().await.unwrap();
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
    let malformed = p.admin(Method::POST, clients).body("{").send().await.unwrap();
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    let bad_key = p.admin(Method::POST, clients).header("Idempotency-Key", "a b").json(&json!({"id": "x"})).send().await.unwrap();
    assert_eq!(bad_key.status(), StatusCode::BAD_REQUEST);

    let large = vec![b' '; (1 << 20) + 1];
    let with_length = p.admin(Method::POST, clients).body(large.clone()).send().await.unwrap();
    let (status, body) = refused(with_length).await;
    assert_eq!((status, &body["status"]), (413, &json!(413)));
    let chunks = futures::stream::iter(large.chunks(1 << 16).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>());
    let chunked = p.admin(Method::POST, clients).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(refused(chunked).await.0, 413);
    p.node.drain(DRAIN).await;
}

#[tokio::test]
async fn operators_see_health_metrics_and_versions() {
    let dir = tempfile::tempdir().unwrap();
    let p = Platform::start(config(dir.path())).await;
    let ops = |path: &str| p.http.get(format!("{}{path}", p.node.ops_url())).send();
    for check in ["health", "liveness", "readiness", "startup"] {
        let report = ok(ops(&format!("/api/check/{check}")).await.unwrap()).await;
        assert_eq!(report["isSystemHealthy"], json!(true), "{check}");
        assert!(!report["componentResults"].as_array().unwrap().is_empty());
    }
    let head = p.http.head(format!("{}/api/check/liveness", p.node.ops_url())).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_ne!(head.headers()[header::CONTENT_LENGTH], "0");
    let metrics = ops("/metrics").await.unwrap().text().await.unwrap();
    let counted = |line: &&str| {
        line.starts_with("cellspace_http_requests_total") && line.contains("route=\"/token\"") && line.contains("status=\"200\"")
    };
    assert!(metrics.lines().any(|line| counted(&line)), "{metrics}");
    assert!(metrics.contains("cellspace_store_commits_total") && metrics.contains("cellspace_http_request_seconds_bucket"));
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    for (name, least) in [("process_cpu_seconds_total ", 0.01), ("process_resident_memory_bytes ", 1e6)] {
        assert!(value(name).is_some_and(|found| found >= least), "{name}{:?}", value(name));
    }
    assert_eq!(ok(ops("/api/v1/version").await.unwrap()).await["management"][0]["urlPath"], json!("/v5beta"));
    p.node.drain(DRAIN).await;
}

/// Counterparties must have public addresses then; the installation's own data plane is below its admin URL all the same.
#[tokio::test]
async fn a_public_installation_reaches_its_own_data_plane() {
    let platform = Platform::temporary(|config| config.public_url = Some("https://cells.example".parse().unwrap())).await;
    let (services, participant) = (&platform.node.app.services, id_of("p1"));
    let mut plane = DataPlane {
        id: DataPlaneId::new("own").unwrap(),
        revision: 1,
        endpoint: platform.node.urls.dataflows(&participant).parse().unwrap(),
        transfer_types: vec![TransferType::new("HttpData-PULL").unwrap()],
        labels: Vec::new(),
        authorization: None,
        registered_at: Timestamp(0),
    };
    let call = async |plane: &DataPlane| {
        let (transfer, message_id) = (TransferId::new("t1").unwrap(), MessageId::new("m1").unwrap());
        let flow = |_: &_| panic!("not part of the message");
        let call = PlaneCall::Completed;
        let call = Call { participant: &participant, plane, transfer: &transfer, message_id, flow: &flow, call: &call, trace: None };
        client::call(services, call).await.unwrap_err().to_string()
    };
    // The plane's own answer: it has no such flow.
    assert!(call(&plane).await.starts_with("answered 4"), "{}", call(&plane).await);
    // With credentials it counts as anybody's, and may not lead into here.
    plane.authorization = Some(Authorization::ClientCredentials {
        token_endpoint: platform.node.urls.admin("/token").parse().unwrap(),
        client_id: "c".to_owned(),
        secret: "s".parse().unwrap(),
        keys: None,
    });
    services
        .vault
        .put_secret(&cellspace_storage::VaultPath { owner: (&participant).into(), alias: "s".parse().unwrap() }, "x".to_owned().into())
        .await
        .unwrap();
    assert!(call(&plane).await.contains("not an allowed target"), "{}", call(&plane).await);
    platform.node.drain(DRAIN).await;
}

/// What could not be told to others is kept for operators, who send it again or throw it away.
#[tokio::test]
async fn operators_look_into_agents() {
    let p = Platform::temporary(|_| {}).await;
    for id in ["issuer", "acme"] {
        p.participant(id).await;
    }
    // The issuer does not have it and refuses: the request is given up.
    let path = format!("{IDENTITY}/participants/acme/credentials/request");
    let body =
        json!({"issuerDid": p.did("issuer"), "holderPid": "hp-1", "credentials": [{"format": "vc20-bssl/jwt", "type": "T", "id": "t"}]});
    p.must(Method::POST, &path, Some(body)).await;
    let request = p.must(Method::GET, &format!("{path}/hp-1?wait=ISSUED&timeout=20s"), None).await;
    assert_eq!(request["status"], "ERROR");
    let agent = "/api/runtime/agents/credential-service/acme";
    let outbox = || async { p.must(Method::GET, &format!("{agent}/outbox"), None).await };
    let letters = outbox().await["deadLetters"].as_array().unwrap().clone();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = format!("{agent}/dead-letters/{}", text(&letters[0], "id"));
    let explained = p.must(Method::GET, agent, None).await;
    assert_eq!((&explained["registered"], &explained["deadLetters"]), (&json!(true), &json!(1)), "{explained}");
    assert_eq!(p.call(Method::DELETE, &letter, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(outbox().await["deadLetters"], json!([]));
    for (method, path) in [
        (Method::DELETE, letter.as_str()),
        (Method::POST, &format!("{letter}/redrive")),
        (Method::POST, &format!("{agent}/unpark")),
        (Method::GET, "/api/runtime/agents/nonsense/acme"),
        (Method::DELETE, &format!("{agent}/dead-letters/nonsense")),
    ] {
        let (status, body) = refused(p.admin(method.clone(), path).send().await.unwrap()).await;
        assert_eq!((status, &body["status"]), (404, &json!(404)), "{method} {path}");
    }
    assert_eq!(p.must(Method::GET, "/api/runtime/parked", None).await, json!([]));
    // Nobody but an admin.
    let secret = p.client(json!({"id": "other", "role": "provisioner", "scopes": ["tenant-manager-api:write", "runtime-api:admin"]})).await;
    let other = p.token_of("other", &secret).await;
    assert_eq!(p.bare(Method::GET, "/api/runtime/parked").bearer_auth(&other).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    p.node.drain(DRAIN).await;
}
