//! The vault's HTTP API: signing in, and calls with the token that this gives.

use super::{
    options::{Login, RemoteVaultOptions, VaultOptionsError},
    participant,
    session::{NoToken, Places, Session, signs_in},
};
use crate::{Secret, StoreError, VaultError};
use bytes::Bytes;
use cellspace_schemas::Owner;
use futures::future::BoxFuture;
use reqwest::{Client, Method, Url};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::timeout_at};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Longest answer, in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// Logins of participants under way; more of them wait.
const LOGINS: usize = 32;
/// How long a failure counts as the vault's state.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// A body of ours: it may hold a secret, so that its memory is wiped with the last handle.
pub(super) type Body = Bytes;

/// Writes a body, in memory that is long enough from the beginning: no part of it is left where it has grown.
pub(super) fn body(content: &impl Serialize) -> Result<Body, VaultError> {
    Ok(Bytes::from_owner(written(content).map_err(|e| VaultError::Crypto(format!("a message to the vault cannot be written: {e}")))?))
}

fn written(content: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, content)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *text, content)?;
    Ok(text)
}

/// How much is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Wipes all texts of a document.
fn wipe(document: &mut Value) {
    match document {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[derive(Serialize)]
struct LoginBody<'a> {
    role: &'a str,
    jwt: &'a str,
}

/// An answer: its status, and its body when that is JSON. What is a secret there is taken out of it, and the rest wiped.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Drop for Answer {
    fn drop(&mut self) {
        wipe(&mut self.body);
    }
}

impl ZeroizeOnDrop for Answer {}

impl Answer {
    /// Whether the vault has done what it was asked.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Takes the secret at this place out of it.
    pub(super) fn take(&mut self, pointer: &str) -> Option<Value> {
        self.body.pointer_mut(pointer).map(Value::take)
    }
}

/// A client of one vault.
pub(super) struct Api {
    client: Client,
    base: Url,
    options: RemoteVaultOptions,
    places: Places,
    logins: Semaphore,
    /// Why the last call had no answer, and when that was.
    failure: parking_lot::Mutex<Option<(Instant, String)>>,
}

pub(super) fn unavailable(reason: impl Into<String>) -> VaultError {
    VaultError::Store(StoreError::Unavailable(reason.into()))
}

const TOO_LONG: &str = "the login to the vault takes too long";

/// What an error says, without what was asked for.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    format!("the vault does not answer: {cause}")
}

/// What a login gives.
fn session(mut answer: Answer) -> Result<Session, NoToken> {
    let life = answer.body.pointer("/auth/lease_duration").and_then(Value::as_u64).map(Duration::from_secs);
    let Some(Value::String(token)) = answer.take("/auth/client_token") else {
        return Err(NoToken { error: unavailable(format!("the vault refuses the login with {}", answer.status)), refused: true });
    };
    Ok(Session::lasting(Secret::from(token), life))
}

impl Api {
    pub(super) fn new(options: RemoteVaultOptions) -> Result<Self, VaultOptionsError> {
        let base = options.checked()?;
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(options.timeout)
            .build()
            .map_err(|error| VaultOptionsError::Client(error.to_string()))?;
        Ok(Self { client, base, options, places: Places::new(), logins: Semaphore::new(LOGINS), failure: parking_lot::Mutex::new(None) })
    }

    /// The installation's folder.
    pub(super) fn folder(&self) -> &str {
        &self.options.folder
    }

    /// Why the last call had no answer, if it had none. That is believed for a while: whoever is not asked because of it would never be well again.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().as_ref().filter(|(at, _)| at.elapsed() < FAILED_FOR).map(|(_, reason)| reason.clone())
    }

    /// A call below the KV engine's `data` or `metadata`, in the installation's folder, for what is this owner's.
    pub(super) async fn kv(&self, owner: &Owner, method: Method, part: &str, path: &str, body: Option<Body>) -> Result<Answer, VaultError> {
        let RemoteVaultOptions { kv, folder, .. } = &self.options;
        self.call(owner, method, &format!("{kv}/{part}/{folder}/{path}"), body).await
    }

    /// A call below the transit engine, for what is this owner's.
    pub(super) async fn transit(&self, owner: &Owner, method: Method, path: &str, body: Option<Body>) -> Result<Answer, VaultError> {
        self.call(owner, method, &format!("{}/{path}", self.options.transit), body).await
    }

    async fn call(&self, owner: &Owner, method: Method, path: &str, body: Option<Body>) -> Result<Answer, VaultError> {
        let outcome = self.signed_in(owner, method, path, body).await;
        match &outcome {
            // One that is not let in says nothing of the others.
            Err(NoToken { refused: true, .. }) if signs_in(owner, &self.options).is_some() => {}
            Err(NoToken { error: VaultError::Store(error), .. }) => *self.failure.lock() = Some((Instant::now(), error.to_string())),
            Ok(_) | Err(_) => *self.failure.lock() = None,
        }
        let outcome = outcome.map_err(|no_token| no_token.error);
        // Who is let in and may not do this one thing: the vault itself is well.
        outcome.and_then(|answer| if answer.status == 403 { Err(unavailable("the vault's policy does not allow it")) } else { Ok(answer) })
    }

    /// A token that is refused is exchanged once, unless it is a fresh one.
    async fn signed_in(&self, owner: &Owner, method: Method, path: &str, body: Option<Body>) -> Result<Answer, NoToken> {
        let token = self.token(owner, None).await?;
        let answer = self.send(method.clone(), path, body.as_ref(), Some(&token)).await?;
        if answer.status != 403 {
            return Ok(answer);
        }
        let other = self.token(owner, Some(&token)).await?;
        if Arc::ptr_eq(&other, &token) { Ok(answer) } else { Ok(self.send(method, path, body.as_ref(), Some(&other)).await?) }
    }

    /// The owner's token; another one than `refused` where that can be had. One caller at a time signs in for an owner, and what comes of it counts for
    /// those that wait as well.
    async fn token(&self, owner: &Owner, refused: Option<&Arc<Secret>>) -> Result<Arc<Secret>, NoToken> {
        let (place, pause) = (self.places.of(owner, &self.options), self.options.login_pause);
        if let Some(token) = place.held(refused, pause) {
            return Ok(token);
        }
        let end = tokio::time::Instant::now() + self.options.timeout;
        let mut failed = timeout_at(end, place.login.lock()).await.map_err(|_| unavailable(TOO_LONG))?;
        if let Some(token) = place.held(refused, pause) {
            return Ok(token);
        }
        if let Some((_, reason)) = failed.as_ref().filter(|(at, _)| at.elapsed() < pause) {
            return Err(reason.clone());
        }
        match timeout_at(end, self.sign_in(owner)).await.unwrap_or_else(|_| Err(unavailable(TOO_LONG).into())) {
            Ok(session) => {
                let token = session.token();
                *failed = None;
                place.put(session);
                Ok(token)
            }
            Err(no_token) => {
                *failed = Some((Instant::now(), no_token.clone()));
                Err(no_token)
            }
        }
    }

    async fn sign_in(&self, owner: &Owner) -> Result<Session, NoToken> {
        if let Some(login) = signs_in(owner, &self.options) {
            // Many at once would be more than a vault is made for, as after a start.
            let _place = self.logins.acquire().await.map_err(|e| unavailable(e.to_string()))?;
            let jwt = self.participant_jwt(owner).await?;
            return self.log_in(&login.mount, &login.role, &jwt).await;
        }
        match &self.options.login {
            Login::Token(token) => Ok(Session::given(token.clone())),
            Login::Jwt { mount, role, file } => {
                let jwt =
                    Zeroizing::new(tokio::fs::read_to_string(file).await.map_err(|e| unavailable(format!("{}: {e}", file.display())))?);
                self.log_in(mount, role, jwt.trim()).await
            }
        }
    }

    async fn log_in(&self, mount: &str, role: &str, jwt: &str) -> Result<Session, NoToken> {
        let body = body(&LoginBody { role, jwt })?;
        session(self.send(Method::POST, &format!("auth/{mount}/login"), Some(&body), None).await?)
    }

    /// A JWT that names the owner, signed with the node's own session. Boxed: that session is had as this one is.
    fn participant_jwt<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Zeroizing<String>, VaultError>> {
        Box::pin(participant::jwt(self, owner))
    }

    /// One exchange. What the vault cannot do now is no answer.
    async fn send(&self, method: Method, path: &str, body: Option<&Body>, token: Option<&Arc<Secret>>) -> Result<Answer, VaultError> {
        let (path, list) = path.strip_suffix("?list").map_or((path, false), |path| (path, true));
        let mut url = self.base.clone();
        url.set_path(&format!("v1/{path}"));
        url.set_query(list.then_some("list=true"));
        let mut request = self.client.request(method, url).header("x-vault-request", "true");
        if let Some(namespace) = &self.options.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = token {
            let mut value =
                reqwest::header::HeaderValue::from_str(token.expose_secret()).map_err(|_| unavailable("the vault's token is no text"))?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let mut response = request.send().await.map_err(|e| unavailable(reason(e)))?;
        let said = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut text = Zeroizing::new(Vec::with_capacity(said.unwrap_or_default().min(MAX_ANSWER)));
        while let Some(chunk) = response.chunk().await.map_err(|e| unavailable(reason(e)))? {
            if text.len() + chunk.len() > MAX_ANSWER {
                return Err(unavailable("the vault's answer is too long"));
            }
            append(&mut text, &chunk);
        }
        let status = response.status().as_u16();
        if status >= 500 || status == 429 || status == 412 || (300..400).contains(&status) {
            return Err(unavailable(format!("the vault answered {status}")));
        }
        Ok(Answer { status, body: serde_json::from_slice(&text).unwrap_or_default() })
    }
}

/// Appends to a text; where it must grow, what it leaves is wiped.
fn append(text: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let length = text.len() + chunk.len();
    if length > text.capacity() {
        let mut longer = Zeroizing::new(Vec::with_capacity(2 * length));
        longer.extend_from_slice(text);
        *text = longer;
    }
    text.extend_from_slice(chunk);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const fn wiped<T: ZeroizeOnDrop>(_: &T) {}

    #[test]
    fn bodies_are_written_where_they_are_wiped() {
        let content = LoginBody { role: "cells", jwt: "s3cret \" \u{1f511}" };
        let text = written(&content).unwrap();
        wiped(&text);
        assert_eq!(text.capacity(), text.len(), "it never grew, and left no part of it behind");
        assert_eq!(*text, serde_json::to_vec(&content).unwrap());
        // Sent as often as need be, from the same memory.
        let body = body(&content).unwrap();
        assert_eq!((body.clone().as_ptr(), &body[..]), (body.as_ptr(), text.as_slice()));
    }

    #[test]
    fn answers_leave_nothing_behind() {
        let mut document =
            json!({"auth": {"client_token": "s3cret", "policies": ["a", {"b": "c"}], "lease_duration": 9, "renewable": true, "x": null}});
        wipe(&mut document);
        assert_eq!(
            document,
            json!({"auth": {"client_token": "", "policies": ["", {"b": ""}], "lease_duration": 9, "renewable": true, "x": null}})
        );
        let answer = |auth: Value| Answer { status: 200, body: json!({ "auth": auth }) };
        let mut taken = answer(json!({"client_token": "s3cret"}));
        wiped(&taken);
        assert_eq!((taken.take("/auth/client_token"), &taken.body), (Some(json!("s3cret")), &json!({"auth": {"client_token": null}})));
        let held = session(answer(json!({"client_token": "s3cret", "lease_duration": 3_600}))).unwrap();
        let life = held.used_for().unwrap();
        assert!(held.token().expose_secret() == "s3cret" && (3_500..3_600).contains(&life.as_secs()), "{life:?}");
        for refused in [json!(null), json!({}), json!({"client_token": 1})] {
            assert!(session(answer(refused)).is_err());
        }
    }
}
