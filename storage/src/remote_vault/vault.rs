//! The promises of [`Vault`], kept with the remote engines.

use super::{
    api::{Answer, Api, body},
    names,
    options::{RemoteVaultOptions, VaultOptionsError},
    public_key,
};
use crate::{KeyAlgorithm, PublicKey, Secret, StoreError, Vault, VaultError, VaultPath};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cellspace_schemas::Owner;
use futures::future::BoxFuture;
use quick_cache::sync::Cache;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Longest secret, in bytes: the engine's own bound is half a mebibyte with some stores.
const MAX_SECRET_BYTES: usize = 256 << 10;
/// Algorithms of keys kept in memory, so that a signature is one exchange.
const KNOWN_KEYS: usize = 100_000;
/// Records of a folder removed at once.
const DELETE_AT_ONCE: usize = 8;
/// Times that a write is tried when others write the same record.
const ATTEMPTS: usize = 8;
/// Members of a record in the KV engine.
const SECRET: &str = "secret";
const KEY: &str = "key";

/// Keys and secrets of an installation, in its vault. A handle: clones share the sessions.
#[derive(Clone)]
pub struct RemoteVault(Arc<Inner>);

struct Inner {
    api: Api,
    algorithms: Cache<VaultPath, KeyAlgorithm>,
}

/// What a record holds, and its version.
struct Record {
    content: Content,
    version: u64,
}

enum Content {
    None,
    Secret(Secret),
    Key(KeyAlgorithm),
}

#[derive(Serialize)]
struct WriteBody<'a> {
    options: CheckAndSet,
    data: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct CheckAndSet {
    cas: u64,
}

impl fmt::Debug for RemoteVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteVault").finish_non_exhaustive()
    }
}

fn unexpected(what: &str, answer: &Answer) -> VaultError {
    VaultError::Store(StoreError::Unavailable(format!("the vault answered {} when {what}", answer.status)))
}

impl RemoteVault {
    /// A handle; nobody is asked yet.
    ///
    /// # Errors
    /// [`VaultOptionsError`]
    pub fn new(options: RemoteVaultOptions) -> Result<Self, VaultOptionsError> {
        Ok(Self(Arc::new(Inner { api: Api::new(options)?, algorithms: Cache::new(KNOWN_KEYS) })))
    }

    /// Reads the record of `path` with the token of `who`, as no caller can; the status.
    #[cfg(test)]
    pub(super) async fn read_as(&self, who: &Owner, path: &VaultPath) -> Result<u16, VaultError> {
        Ok(self.0.api.kv(who, Method::GET, "data", &names::record(path), None).await?.status)
    }

    /// Signs with the key of `path` and the token of `who`; the status.
    #[cfg(test)]
    pub(super) async fn sign_as(&self, who: &Owner, path: &VaultPath) -> Result<u16, VaultError> {
        let asked = body(&json!({ "input": "" }))?;
        Ok(self.0.api.transit(who, Method::POST, &format!("sign/{}", self.0.key(path)), Some(asked)).await?.status)
    }

    /// `Ok` while the last call had an answer; the reason otherwise. Feeds readiness, and asks nobody.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub fn health(&self) -> Result<(), StoreError> {
        self.0.api.failure().map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
    }
}

impl Inner {
    fn key(&self, path: &VaultPath) -> String {
        names::key(self.api.folder(), path)
    }

    async fn record(&self, path: &VaultPath) -> Result<Record, VaultError> {
        let mut answer = self.api.kv(&path.owner, Method::GET, "data", &names::record(path), None).await?;
        let version = answer.body.pointer("/data/metadata/version").and_then(Value::as_u64).unwrap_or_default();
        if answer.status == 404 {
            return Ok(Record { content: Content::None, version });
        }
        let corrupt = || StoreError::Corrupt(format!("the vault record {}/{} is not one of ours", path.owner, path.alias));
        if !answer.is_done() {
            return Err(unexpected("reading a record", &answer));
        }
        // Moved, not copied, so that no copy is left behind.
        let mut take = |name: &str| answer.take(&format!("/data/data/{name}"));
        let content = match (take(SECRET), take(KEY)) {
            (Some(Value::String(text)), None) => Content::Secret(Secret::from(text)),
            (None, Some(kind)) if kind == "ed25519" => Content::Key(KeyAlgorithm::Ed25519),
            (None, Some(kind)) if kind == "ecdsa-p256" => Content::Key(KeyAlgorithm::P256),
            _ => return Err(corrupt().into()),
        };
        Ok(Record { content, version })
    }

    /// Writes a record that is still of this version; `false` when it is not.
    async fn write(&self, path: &VaultPath, version: u64, name: &'static str, value: &str) -> Result<bool, VaultError> {
        let content = WriteBody { options: CheckAndSet { cas: version }, data: [(name, value)].into() };
        let answer = self.api.kv(&path.owner, Method::POST, "data", &names::record(path), Some(body(&content)?)).await?;
        match answer.status {
            200..=299 => Ok(true),
            // The only thing that such a write can have wrong.
            400 => Ok(false),
            _ => Err(unexpected("writing a record", &answer)),
        }
    }

    /// The key of a record that says so; made, when that was not done yet.
    async fn made(&self, path: &VaultPath, algorithm: KeyAlgorithm) -> Result<PublicKey, VaultError> {
        let name = self.key(path);
        let answer =
            self.api.transit(&path.owner, Method::POST, &format!("keys/{name}"), Some(body(&public_key::wanted(algorithm))?)).await?;
        if !answer.is_done() {
            return Err(unexpected("making a key", &answer));
        }
        let public = self.public(path).await?.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        self.algorithms.insert(path.clone(), public.algorithm);
        Ok(public)
    }

    async fn public(&self, path: &VaultPath) -> Result<Option<PublicKey>, VaultError> {
        let answer = self.api.transit(&path.owner, Method::GET, &format!("keys/{}", self.key(path)), None).await?;
        match answer.status {
            404 => Ok(None),
            200 => public_key::read(&answer.body).map(Some),
            _ => Err(unexpected("reading a key", &answer)),
        }
    }

    /// Why there is no key.
    async fn no_key(&self, path: &VaultPath) -> VaultError {
        self.algorithms.remove(path);
        match self.record(path).await {
            Ok(Record { content: Content::Secret(_), .. }) => VaultError::WrongType(path.clone()),
            Ok(_) => VaultError::NotFound(path.clone()),
            Err(error) => error,
        }
    }

    async fn sign(&self, path: &VaultPath, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let algorithm = match self.algorithms.get(path) {
            Some(algorithm) => algorithm,
            None => match self.public(path).await? {
                Some(public) => {
                    self.algorithms.insert(path.clone(), public.algorithm);
                    public.algorithm
                }
                None => return Err(self.no_key(path).await),
            },
        };
        let name = self.key(path);
        let input = STANDARD.encode(message);
        let (place, asked) = match algorithm {
            KeyAlgorithm::Ed25519 => (format!("sign/{name}"), json!({ "input": input })),
            // Raw, as JOSE has it (RFC 7518, 3.4).
            KeyAlgorithm::P256 => (format!("sign/{name}/sha2-256"), json!({"input": input, "marshaling_algorithm": "jws"})),
        };
        let answer = self.api.transit(&path.owner, Method::POST, &place, Some(body(&asked)?)).await?;
        match answer.status {
            200 => {}
            400 | 404 => {
                return Err(match self.public(path).await? {
                    None => self.no_key(path).await,
                    Some(_) => VaultError::Crypto("the vault does not sign".to_owned()),
                });
            }
            _ => return Err(unexpected("signing", &answer)),
        }
        // `vault:v1:<signature>`
        let text = answer.body.pointer("/data/signature").and_then(Value::as_str).and_then(|text| text.rsplit(':').next());
        let decoded = text.and_then(|text| match algorithm {
            KeyAlgorithm::Ed25519 => STANDARD.decode(text).ok(),
            KeyAlgorithm::P256 => URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        });
        decoded
            .filter(|signature| signature.len() == 64)
            .ok_or_else(|| VaultError::Crypto("the vault's signature is of an unknown form".to_owned()))
    }

    /// The key first, then what says that it is there.
    async fn delete(&self, path: &VaultPath) -> Result<(), VaultError> {
        match self.record(path).await {
            Ok(Record { content: Content::None, version: 0 }) => return Ok(()),
            Ok(Record { content: Content::Secret(_) | Content::None, .. }) => {}
            // What cannot be read can still be removed, with a key that may be there.
            Ok(Record { content: Content::Key(_), .. }) | Err(VaultError::Store(StoreError::Corrupt(_))) => {
                let key = format!("keys/{}", self.key(path));
                let allowed = body(&json!({"deletion_allowed": true}))?;
                let mut answer = self.api.transit(&path.owner, Method::POST, &format!("{key}/config"), Some(allowed)).await?;
                if answer.is_done() {
                    answer = self.api.transit(&path.owner, Method::DELETE, &key, None).await?;
                }
                // There may be none; what refuses says 400 for that as for anything else.
                if !answer.is_done() && self.api.transit(&path.owner, Method::GET, &key, None).await?.status != 404 {
                    return Err(unexpected("removing a key", &answer));
                }
                self.algorithms.remove(path);
            }
            Err(error) => return Err(error),
        }
        self.forget(&path.owner, &names::record(path)).await
    }

    /// Removes what lies under a name in an owner's folder, whoever put it there.
    async fn remove(&self, owner: Owner, segment: String) -> Result<(), VaultError> {
        match names::alias(&segment) {
            Some(alias) => self.delete(&VaultPath { owner, alias }).await,
            None => self.forget(&owner, &format!("{}/{segment}", names::folder(&owner))).await,
        }
    }

    /// What lies in an owner's folder, by the names there.
    async fn list(&self, owner: &Owner) -> Result<Vec<String>, VaultError> {
        let answer = self.api.kv(owner, Method::GET, "metadata", &format!("{}?list", names::folder(owner)), None).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let listed = answer.body.pointer("/data/keys").and_then(Value::as_array).filter(|_| answer.is_done());
        let listed = listed.ok_or_else(|| unexpected("listing a folder", &answer))?;
        Ok(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Removes all versions of a record.
    async fn forget(&self, owner: &Owner, record: &str) -> Result<(), VaultError> {
        let answer = self.api.kv(owner, Method::DELETE, "metadata", record, None).await?;
        if answer.is_done() || answer.status == 404 { Ok(()) } else { Err(unexpected("removing a record", &answer)) }
    }
}

fn bounded(value: &Secret) -> Result<(), VaultError> {
    if value.expose_secret().len() > MAX_SECRET_BYTES {
        return Err(VaultError::Crypto(format!("a secret has at most {MAX_SECRET_BYTES} bytes")));
    }
    Ok(())
}

fn contended() -> VaultError {
    StoreError::Unavailable("others write the same record of the vault".to_owned()).into()
}

impl Vault for RemoteVault {
    fn generate_key<'a>(&'a self, path: &'a VaultPath, algorithm: KeyAlgorithm) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                let Record { content, version } = self.0.record(path).await?;
                match content {
                    Content::Secret(_) => return Err(VaultError::WrongType(path.clone())),
                    Content::Key(algorithm) => return self.0.made(path, algorithm).await,
                    Content::None => {
                        if self.0.write(path, version, KEY, public_key::kind(algorithm)).await? {
                            return self.0.made(path, algorithm).await;
                        }
                    }
                }
            }
            Err(contended())
        })
    }

    fn public_key<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<PublicKey, VaultError>> {
        Box::pin(async move {
            match self.0.public(path).await? {
                Some(public) => Ok(public),
                None => Err(self.0.no_key(path).await),
            }
        })
    }

    fn sign<'a>(&'a self, path: &'a VaultPath, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(self.0.sign(path, message))
    }

    fn put_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move {
            bounded(&value)?;
            for _ in 0..ATTEMPTS {
                let Record { content, version } = self.0.record(path).await?;
                // A key pair is replaced by nobody.
                if matches!(content, Content::Key(_)) {
                    return Err(VaultError::WrongType(path.clone()));
                }
                if self.0.write(path, version, SECRET, value.expose_secret()).await? {
                    return Ok(());
                }
            }
            Err(contended())
        })
    }

    fn first_secret<'a>(&'a self, path: &'a VaultPath, value: Secret) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move {
            bounded(&value)?;
            for _ in 0..ATTEMPTS {
                let Record { content, version } = self.0.record(path).await?;
                match content {
                    Content::Secret(found) => return Ok(found),
                    Content::Key(_) => return Err(VaultError::WrongType(path.clone())),
                    Content::None if self.0.write(path, version, SECRET, value.expose_secret()).await? => return Ok(value),
                    Content::None => {}
                }
            }
            Err(contended())
        })
    }

    fn secret<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move {
            match self.0.record(path).await?.content {
                Content::Secret(secret) => Ok(secret),
                Content::Key(_) => Err(VaultError::WrongType(path.clone())),
                Content::None => Err(VaultError::NotFound(path.clone())),
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a VaultPath) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(self.0.delete(path))
    }

    fn delete_folder<'a>(&'a self, owner: &'a Owner, within: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move {
            // What is in a part has an alias that says so; what has none goes with the whole.
            let meant =
                |segment: &String| within.is_empty() || names::alias(segment).is_some_and(|alias| alias.as_str().starts_with(within));
            let segments: Vec<String> = self.0.list(owner).await?.into_iter().filter(meant).collect();
            for some in segments.chunks(DELETE_AT_ONCE) {
                let removing = some.iter().cloned().map(|segment| self.0.remove(owner.clone(), segment));
                futures::future::try_join_all(removing).await?;
            }
            Ok(())
        })
    }
}
