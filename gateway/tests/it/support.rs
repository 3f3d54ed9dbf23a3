//! A whole node over real sockets, and what tests ask of it: shared by all of them. A test module adds what it alone needs in an `impl` of its own.

use cellspace::{
    Node, NodeConfig, Ports,
    node::{Bootstrap, StartError},
};
use cellspace_actors::Services;
use cellspace_schemas::{Did, Owner, ParticipantContextId};
use cellspace_storage::OpenError;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;

pub const DRAIN: Duration = Duration::from_secs(10);
/// How long a test waits for what must come, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what nothing tells of.
const AGAIN: Duration = Duration::from_millis(50);
pub const IDENTITY: &str = "/api/identity/v1beta";
pub const ISSUER_ADMIN: &str = "/api/admin/v1beta/participants/issuer";

/// The defaults on free ports.
pub fn config(dir: &Path) -> NodeConfig {
    NodeConfig { ports: Ports::Free, ..NodeConfig::new(dir) }
}

pub struct Platform {
    pub node: Node,
    pub http: Client,
    /// Access token of the first client; empty when it was deleted.
    pub token: String,
    /// Data of a platform that no other one goes on with.
    _dir: Option<tempfile::TempDir>,
    /// The other nodes of its cell.
    pub beside: Vec<Node>,
}

impl Platform {
    pub async fn start(config: NodeConfig) -> Self {
        // Tasks of an earlier node of this process may still be letting go of the directory, and of ports that it had and that it keeps another test may have got one
        // meanwhile, for as long as that test lasts.
        let until = Instant::now() + PATIENCE;
        let node = loop {
            match Node::start(config.clone()).await {
                Err(StartError::Open(OpenError::Locked { .. }) | StartError::Bind { .. }) if Instant::now() < until => sleep(AGAIN).await,
                started => break started.unwrap(),
            }
        };
        Self::of(node, None).await
    }

    /// A node that runs.
    pub async fn of(node: Node, dir: Option<tempfile::TempDir>) -> Self {
        let mut platform = Self { node, http: Client::new(), token: String::new(), _dir: dir, beside: Vec::new() };
        if let Some(bootstrap) = platform.node.bootstrap.clone() {
            let form = [("grant_type", "client_credentials"), ("client_id", &bootstrap.client_id), ("client_secret", bootstrap.secret())];
            let answer: Value = platform.form("/token", &form).await.json().await.unwrap();
            platform.token = answer["access_token"].as_str().unwrap_or_default().to_owned();
        }
        platform
    }

    /// On a directory of its own.
    pub async fn temporary(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Self { _dir: Some(dir), ..Self::start(config).await }
    }

    /// Ends a temporary platform; its directory.
    pub async fn ended(self) -> tempfile::TempDir {
        let Self { node, _dir: dir, .. } = self;
        node.drain(DRAIN).await;
        dir.unwrap()
    }

    /// The defaults on the directory of a temporary platform, once that one has ended.
    pub async fn restarted(self) -> Self {
        let dir = self.ended().await;
        let config = config(dir.path());
        Self { _dir: Some(dir), ..Self::start(config).await }
    }

    /// Where a temporary platform has its data.
    pub fn data_dir(&self) -> &Path {
        self._dir.as_ref().unwrap().path()
    }

    /// The services of the node that serves this owner.
    pub fn services_of(&self, owner: impl Into<Owner>) -> &Services {
        let owner = owner.into();
        let mut nodes = std::iter::once(&self.node).chain(&self.beside);
        &nodes.find(|node| !node.app.services.cluster.is_elsewhere(&owner)).unwrap().app.services
    }

    pub fn bootstrap(&self) -> &Bootstrap {
        self.node.bootstrap.as_ref().unwrap()
    }

    /// A request to the admin listener, without a token.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.node.urls.admin(path))
    }

    /// A request to the admin listener by the first client.
    pub fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> Response {
        form_of(self.bare(Method::POST, path), form).send().await.unwrap()
    }

    pub async fn token_of(&self, id: &str, secret: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        text(&ok(self.form("/token", &form).await).await, "access_token")
    }

    /// Makes a client of the token service; answers its secret.
    pub async fn client(&self, body: Value) -> String {
        let made = self.admin(Method::POST, "/api/v1/clients").json(&body).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
        text(&made.json().await.unwrap(), "clientSecret")
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.admin(method, path);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        read(request.send().await.unwrap()).await
    }

    /// A call that must succeed.
    pub async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    pub async fn public(&self, path: &str) -> (StatusCode, Value) {
        read(self.http.get(self.node.urls.public(path)).send().await.unwrap()).await
    }

    pub fn did(&self, name: &str) -> Did {
        Did::new(format!("did:web:{}:{name}", self.node.urls.did_host())).unwrap()
    }

    /// What makes the participant context `id` under the DID of `name`.
    pub fn manifest(&self, id: &str, name: &str) -> Value {
        let participant = id_of(id);
        let services = json!([
            {"id": format!("{id}-cs"), "type": "CredentialService", "serviceEndpoint": self.node.urls.credential_service(&participant)},
            {"id": format!("{id}-issuer"), "type": "IssuerService", "serviceEndpoint": self.node.urls.issuer_service(&participant)},
        ]);
        json!({"participantContextId": id, "did": self.did(name), "active": true, "serviceEndpoints": services,
            "key": {"keyId": "key1", "privateKeyAlias": "alias1", "keyGeneratorParams": {"algorithm": "EDDSA", "curve": "Ed25519"}}})
    }

    pub async fn participant(&self, id: &str) {
        self.must(Method::POST, &format!("{IDENTITY}/participants"), Some(self.manifest(id, id))).await;
    }
}

pub fn form_of(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}

pub fn id_of(id: &str) -> ParticipantContextId {
    ParticipantContextId::new(id).unwrap()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// The body as JSON, or as text.
pub async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The body of a success.
pub async fn ok(response: Response) -> Value {
    let (status, body) = read(response).await;
    assert!(status.is_success(), "{status}: {body}");
    body
}
