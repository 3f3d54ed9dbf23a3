//! An HTTP client of the platform, as any user would write one: tokens, JSON, expected statuses.

use crate::Reporter;
use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// JSON-LD context of management bodies.
pub const MANAGEMENT_CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";

/// Who acts, with which token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Name in the timeline.
    pub name: Arc<str>,
    /// Access token.
    pub token: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body as JSON; null when it is none.
    pub body: Value,
    /// `Location` header.
    pub location: Option<String>,
}

/// The client, with whom it tells.
#[derive(Debug)]
pub struct Client {
    /// The connection pool.
    pub http: reqwest::Client,
    /// Base URL of the admin listener.
    pub admin: String,
    /// Base URL of the public listener.
    pub public: String,
    /// Where steps are told.
    pub reporter: Box<dyn Reporter>,
    /// How long the platform may be away; `None`: not at all.
    pub patience: Option<Patience>,
    /// What the next step causes between the parties.
    hop: Option<&'static str>,
}

/// For a platform that may be killed and comes back: unanswered calls are repeated with the same `Idempotency-Key`.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time without an answer.
    pub limit: Duration,
    /// Pause between two tries.
    pub pause: Duration,
}

impl Client {
    /// Adds the management context and type to a body.
    #[must_use]
    pub fn typed(kind: &str, mut body: Value) -> Value {
        if let Value::Object(map) = &mut body {
            map.insert("@context".into(), json!([MANAGEMENT_CONTEXT]));
            map.insert("@type".into(), json!(kind));
        }
        body
    }

    /// A client of a platform at these base URLs.
    #[must_use]
    pub fn new(http: reqwest::Client, admin: String, public: String, reporter: Box<dyn Reporter>) -> Self {
        Self { http, admin, public, reporter, patience: None, hop: None }
    }

    /// One exchange, told to nobody. With [`Patience`], repeated until there is an answer other than 429 and 503.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange(&self, caller: Option<&Caller>, method: Method, url: &str, body: Option<&Value>) -> Result<Answer> {
        let url = if url.starts_with('/') { format!("{}{url}", self.admin) } else { url.to_owned() };
        let key = uuid::Uuid::new_v4().to_string();
        let started = Instant::now();
        loop {
            let answer = self.once(caller, method.clone(), &url, body, &key).await;
            let away = match &answer {
                Ok(answer) => answer.status == 503 || answer.status == 429,
                Err(_) => true,
            };
            if !(away && self.is_patient(started)) {
                return answer;
            }
            self.rest().await;
        }
    }

    async fn once(&self, caller: Option<&Caller>, method: Method, url: &str, body: Option<&Value>, key: &str) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), url);
        if let Some(caller) = caller {
            request = request.bearer_auth(&caller.token);
        }
        if method == Method::POST {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {url}"))?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
        let text = response.text().await.with_context(|| format!("{method} {url}"))?;
        let body = serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { Value::String(text) });
        Ok(Answer { status, body, location })
    }

    /// Names the messages between the parties that the next step causes or waits for, for the timeline.
    pub const fn over(&mut self, hop: &'static str) -> &mut Self {
        self.hop = Some(hop);
        self
    }

    /// One step of the story: an exchange whose status must be `expected`.
    ///
    /// # Errors
    /// When there is no answer or another status.
    pub async fn step(
        &mut self,
        caller: &Caller,
        what: &str,
        method: Method,
        url: &str,
        body: Option<Value>,
        expected: u16,
    ) -> Result<Answer> {
        self.step_to(caller, what, method, url, body, &[expected]).await
    }

    /// A step that makes something (201), or finds that it is there already (409).
    ///
    /// # Errors
    /// When there is no answer or another status.
    pub async fn ensure(&mut self, caller: &Caller, what: &str, url: &str, body: Value) -> Result<Answer> {
        self.step_to(caller, what, Method::POST, url, Some(body), &[201, 409]).await
    }

    /// A step whose status must be one of those expected.
    ///
    /// # Errors
    /// When there is no answer or another status.
    #[allow(clippy::too_many_arguments)] // as those of [`Self::step`]
    pub async fn step_to(
        &mut self,
        caller: &Caller,
        what: &str,
        method: Method,
        url: &str,
        body: Option<Value>,
        expected: &[u16],
    ) -> Result<Answer> {
        let started = Instant::now();
        let hop = self.hop.take().map(|hop| format!(" | {hop}")).unwrap_or_default();
        let answer = self.exchange(Some(caller), method.clone(), url, body.as_ref()).await.with_context(|| what.to_owned())?;
        if !expected.contains(&answer.status) {
            bail!("{}: {what}: {method} {url} answered {} instead of {expected:?}: {}", caller.name, answer.status, answer.body);
        }
        let path = shortened(url.split('?').next().unwrap_or(url));
        self.reporter.step(&caller.name, what, &format!("{method} {path} -> {}{hop}", answer.status), started.elapsed());
        Ok(answer)
    }

    /// A token by `client_credentials`.
    ///
    /// # Errors
    /// When the token service refuses.
    pub async fn client_token(&mut self, name: &str, client: &str, secret: &str) -> Result<Caller> {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        self.token(name, "gets a token (client_credentials)", &form).await
    }

    /// A token for another resource, by token exchange (RFC 8693).
    ///
    /// # Errors
    /// When the token service refuses.
    pub async fn exchange_token(&mut self, name: &str, subject: &Caller, resource: &str, scope: &str) -> Result<Caller> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject.token.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", resource),
            ("audience", "edcv"),
            ("scope", scope),
        ];
        self.token(name, "gets a token (token exchange)", &form).await
    }

    async fn token(&mut self, name: &str, what: &str, form: &[(&str, &str)]) -> Result<Caller> {
        let started = Instant::now();
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("{}/token", self.admin);
        let body = loop {
            let request = self.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(form.clone());
            match request.send().await {
                Ok(response) if response.status() != 503 => {
                    break response.json::<Value>().await.context("the token service answered no JSON")?;
                }
                Ok(_) if self.is_patient(started) => {}
                Err(_) if self.is_patient(started) => {}
                Ok(response) => bail!("the token service answered {}", response.status()),
                Err(error) => return Err(error).context("the token service does not answer"),
            }
            self.rest().await;
        };
        let Some(token) = body["access_token"].as_str() else { bail!("{name}: {what}: answered {body}") };
        self.reporter.step(name, what, "POST /token -> 200", started.elapsed());
        Ok(Caller { name: name.into(), token: token.to_owned() })
    }

    fn is_patient(&self, since: Instant) -> bool {
        self.patience.is_some_and(|patience| since.elapsed() < patience.limit)
    }

    async fn rest(&self) {
        tokio::time::sleep(self.patience.map_or(Duration::ZERO, |patience| patience.pause)).await;
    }
}

/// A path for people: made ids are cut to their beginning.
fn shortened(path: &str) -> String {
    let cut = |segment: &str| match segment.get(..8) {
        Some(first) if segment.len() >= 32 && !segment.contains(':') => format!("{first}..."),
        _ => segment.to_owned(),
    };
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}

/// A text field of an answer.
///
/// # Errors
/// When it is not there.
pub fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("no field {field:?} in {value}"))
}
