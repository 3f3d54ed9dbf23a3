//! A vault for tests: the part of the HTTP API that is used, as HashiCorp Vault answers it, over a real socket.

use super::vault::{path, verifies};
use crate::{
    EmbeddedVault, KeyAlgorithm, Login, MasterKey, ParticipantLogin, RemoteVaultOptions, Vault, VaultPath,
    remote_vault::{participant, public_key},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::Notify};
use zeroize::Zeroizing;

/// What it is told to do.
#[derive(Default)]
pub struct Told {
    /// Answers this to everything.
    pub status: Option<u16>,
    /// Takes no token that it has given so far.
    pub forget_tokens: bool,
    /// Does not answer logins.
    pub silent: bool,
    /// Lets no key be removed.
    pub keep_keys: bool,
    /// So many requests from now on it still carries out; it answers neither the last of them nor any that comes after it; see [`Double::stopped`].
    pub stop_after: Option<usize>,
}

/// What a token opens.
#[derive(Debug, Clone)]
enum Opens {
    Everything,
    /// One owner's folder.
    Folder(String),
    /// That of the entity with this name.
    Entity(String),
}

impl Opens {
    /// As the policies of the documentation say it.
    fn allows(&self, path: &str, entities: &BTreeMap<String, String>) -> bool {
        let folder = match self {
            Self::Everything => return true,
            Self::Folder(folder) => folder,
            Self::Entity(name) => &entities[name],
        };
        let within = |start: String| path.strip_prefix(start.as_str()).is_some_and(|rest| !rest.is_empty());
        let listed = path == format!("secret/metadata/{FOLDER}/{folder}");
        let installation = URL_SAFE_NO_PAD.encode(FOLDER);
        listed
            || ["data", "metadata"].iter().any(|part| within(format!("secret/{part}/{FOLDER}/{folder}/")))
            || ["keys", "sign"].iter().any(|part| within(format!("transit/{part}/k{installation}.{folder}.")))
    }
}

/// Folder of the installation whose participants sign in by themselves.
const FOLDER: &str = "cellspace";

#[derive(Default)]
struct Kept {
    records: BTreeMap<String, (u64, Value)>,
    keys: BTreeMap<String, (KeyAlgorithm, bool)>,
    tokens: BTreeMap<String, Opens>,
    /// Folders of those who sign in by themselves, as the vault knows them: by their subjects in small letters, and as the last login said.
    entities: BTreeMap<String, String>,
    logins: usize,
    asked_in: usize,
}

/// The vault; it ends with the process.
pub struct Double {
    address: SocketAddr,
    /// Makes keys and signs.
    crypto: EmbeddedVault,
    kept: Mutex<Kept>,
    /// What it is told to do.
    pub told: Mutex<Told>,
    /// Every path that was asked for.
    pub paths: Mutex<BTreeSet<String>>,
    stopped: Notify,
    dir: tempfile::TempDir,
}

type Answer = (u16, Value);

impl Double {
    /// One on a free port of loopback.
    pub async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let crypto = EmbeddedVault::open(dir.path(), &MasterKey::Bytes(Zeroizing::new([1; 32]))).unwrap();
        let double = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            crypto,
            kept: Mutex::default(),
            told: Mutex::default(),
            paths: Mutex::default(),
            stopped: Notify::new(),
            dir,
        });
        double.jwt("good");
        let serving = double.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let double = serving.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let double = double.clone();
                    async move {
                        let (status, body) = double.answer(request).await;
                        let body = if status == 204 { Bytes::new() } else { Bytes::from(body.to_string()) };
                        Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(body)).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        double
    }

    /// The file in which nodes find their JWT.
    #[must_use]
    pub fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("jwt")
    }

    /// The JWT that nodes find; `good` is taken.
    pub fn jwt(&self, text: &str) {
        std::fs::write(self.file(), format!("{text}\n")).unwrap();
    }

    /// What a node has to know of it.
    #[must_use]
    pub fn options(&self) -> RemoteVaultOptions {
        let login = Login::Jwt { mount: "kubernetes".to_owned(), role: "cellspace".to_owned(), file: self.file() };
        RemoteVaultOptions { namespace: Some("ns".to_owned()), ..RemoteVaultOptions::new(format!("http://{}", self.address), login) }
    }

    /// The same, where participants sign in by themselves, and the node's own token opens what is the installation's alone.
    #[must_use]
    pub fn options_apart(&self) -> RemoteVaultOptions {
        let login = Login::Jwt { mount: "kubernetes".to_owned(), role: "cellspace-node".to_owned(), file: self.file() };
        let participants = Some(ParticipantLogin { mount: "participants".to_owned(), role: "participant".to_owned() });
        RemoteVaultOptions { login, participants, ..self.options() }
    }

    /// Waits until it has stopped where it was told to.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// How often somebody was let in.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.kept.lock().logins
    }

    /// How often somebody asked to be let in.
    #[must_use]
    pub fn asked_in(&self) -> usize {
        self.kept.lock().asked_in
    }

    /// Records and keys that are left.
    #[must_use]
    pub fn left(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.records.len(), kept.keys.len())
    }

    /// Takes all keys away, as if they had not been made.
    pub fn lose_keys(&self) {
        self.kept.lock().keys.clear();
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!((text("x-vault-request"), text("x-vault-namespace")), ("true".to_owned(), "ns".to_owned()));
        let path = head.uri.path().strip_prefix("/v1/").unwrap().to_owned();
        self.paths.lock().insert(path.clone());
        if let Some(status) = self.told.lock().status {
            return (status, json!({"errors": ["told to"]}));
        }
        if std::mem::take(&mut self.told.lock().forget_tokens) {
            self.kept.lock().tokens.clear();
        }
        if path.starts_with("auth/") {
            self.kept.lock().asked_in += 1;
            let silent = self.told.lock().silent;
            if silent {
                std::future::pending::<()>().await;
            }
            let jwt = body["jwt"].as_str().unwrap();
            let opens = match (path.as_str(), body["role"].as_str().unwrap(), jwt) {
                ("auth/kubernetes/login", "cellspace", "good") => Some(Opens::Everything),
                ("auth/kubernetes/login", "cellspace-node", "good") => Some(Opens::Folder(URL_SAFE_NO_PAD.encode("installation"))),
                ("auth/participants/login", "participant", jwt) => self.participant(jwt).await.map(Opens::Entity),
                _ => None,
            };
            return self.login(opens);
        }
        let allowed = {
            let kept = self.kept.lock();
            kept.tokens.get(&text("x-vault-token")).is_some_and(|opens| opens.allows(&path, &kept.entities))
        };
        if !allowed {
            return (403, json!({"errors": ["permission denied"]}));
        }
        let left = self.told.lock().stop_after.as_mut().map(|left| std::mem::replace(left, left.saturating_sub(1)));
        if left == Some(0) {
            std::future::pending::<()>().await;
        }
        let method = head.method.as_str();
        let list = head.uri.query() == Some("list=true");
        let answer = match path.split_once('/').unwrap() {
            ("secret", rest) => self.kv(method, rest, list, &body),
            ("transit", rest) => self.transit(method, rest, &body).await,
            _ => (404, json!({"errors": []})),
        };
        if left == Some(1) {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
        answer
    }

    /// The entity that a JWT names, when it counts.
    async fn participant(&self, jwt: &str) -> Option<String> {
        let (text, signature) = jwt.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (header, claims) = (read(header)?, read(claims)?);
        let key = self.crypto.public_key(&path_of(&participant::key_name(FOLDER).ok()?)).await.ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let counts = header["alg"] == "ES256"
            && verifies(&key, text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?)
            && (&claims["iss"], &claims["aud"]) == (&json!(participant::ISSUER), &json!(participant::AUDIENCE))
            && claims["exp"].as_u64()? > now;
        let (name, folder) = (claims["sub"].as_str()?.to_lowercase(), claims["participant"].as_str()?.to_owned());
        counts.then(|| {
            self.kept.lock().entities.insert(name.clone(), folder);
            name
        })
    }

    fn login(&self, opens: Option<Opens>) -> Answer {
        let Some(opens) = opens else { return (400, json!({"errors": ["invalid token"]})) };
        let mut kept = self.kept.lock();
        kept.logins += 1;
        let token = format!("t-{}", kept.logins);
        kept.tokens.insert(token.clone(), opens);
        (200, json!({"auth": {"client_token": token, "lease_duration": 3_600}}))
    }

    fn kv(&self, method: &str, path: &str, list: bool, body: &Value) -> Answer {
        let (part, record) = path.split_once('/').unwrap();
        let records = &mut self.kept.lock().records;
        match (method, part) {
            ("GET", "data") => match records.get(record) {
                Some((version, data)) => (200, json!({"data": {"data": data, "metadata": {"version": version}}})),
                None => (404, json!({"errors": []})),
            },
            ("POST", "data") => {
                let version = records.get(record).map_or(0, |(version, _)| *version);
                if body["options"]["cas"] != json!(version) {
                    return (400, json!({"errors": ["check-and-set parameter did not match the current version"]}));
                }
                records.insert(record.to_owned(), (version + 1, body["data"].clone()));
                (200, json!({"data": {"version": version + 1}}))
            }
            ("DELETE", "metadata") => {
                records.remove(record);
                (204, Value::Null)
            }
            ("GET", "metadata") if list => {
                let folder = format!("{record}/");
                let keys: Vec<&str> = records.keys().filter_map(|key| key.strip_prefix(&folder)).collect();
                if keys.is_empty() { (404, json!({"errors": []})) } else { (200, json!({"data": {"keys": keys}})) }
            }
            other => panic!("no such call: {other:?} {path}"),
        }
    }

    async fn transit(&self, method: &str, path: &str, body: &Value) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        let held = self.kept.lock().keys.get(parts[1]).copied();
        let inner = path_of(parts[1]);
        match (method, parts.as_slice()) {
            ("POST", ["keys", name]) => {
                assert_eq!((&body["exportable"], &body["allow_plaintext_backup"]), (&json!(false), &json!(false)));
                let kinds = [KeyAlgorithm::Ed25519, KeyAlgorithm::P256];
                let algorithm = kinds.into_iter().find(|kind| body["type"] == public_key::kind(*kind)).unwrap();
                // First, so that who sees it finds it whole.
                let algorithm = self.crypto.generate_key(&inner, algorithm).await.unwrap().algorithm;
                self.kept.lock().keys.entry((*name).to_owned()).or_insert((algorithm, false));
                (200, Value::Null)
            }
            ("GET", ["keys", _]) => match held {
                Some(_) => (200, public_key::write(&self.crypto.public_key(&inner).await.unwrap())),
                None => (404, json!({"errors": []})),
            },
            ("POST", ["keys", _, "config"]) if self.told.lock().keep_keys => (400, json!({"errors": ["told to"]})),
            ("POST", ["keys", name, "config"]) => match held {
                Some((algorithm, _)) if body["deletion_allowed"] == true => {
                    self.kept.lock().keys.insert((*name).to_owned(), (algorithm, true));
                    (200, Value::Null)
                }
                _ => (400, json!({"errors": ["no existing key named so could be found"]})),
            },
            ("DELETE", ["keys", name]) => match held {
                Some((_, true)) => {
                    self.kept.lock().keys.remove(*name);
                    self.crypto.delete(&inner).await.unwrap();
                    (204, Value::Null)
                }
                _ => (400, json!({"errors": ["deletion is not allowed for this key"]})),
            },
            ("POST", ["sign", _, rest @ ..]) => {
                let Some((algorithm, _)) = held else { return (400, json!({"errors": ["signing key not found"]})) };
                let jws = (rest, &body["marshaling_algorithm"]) == (&["sha2-256"][..], &json!("jws"));
                assert_eq!(jws, algorithm == KeyAlgorithm::P256);
                let message = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
                // It may have been removed meanwhile.
                let Ok(signature) = self.crypto.sign(&inner, &message).await else {
                    return (400, json!({"errors": ["signing key not found"]}));
                };
                let text = if jws { URL_SAFE_NO_PAD.encode(signature) } else { STANDARD.encode(signature) };
                (200, json!({"data": {"signature": format!("vault:v1:{text}")}}))
            }
            other => panic!("no such call: {other:?}"),
        }
    }
}

fn path_of(name: &str) -> VaultPath {
    path("transit", name)
}
