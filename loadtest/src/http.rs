//! One HTTP/1.1 connection that is kept, with as little work per exchange as a client can have: it shares the machine with what it measures.

use crate::transcript::{Tap, Tape};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// Longest exchange.
const LIMIT: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Bearer token.
    pub bearer: Option<String>,
    /// JSON body; empty for none.
    pub body: Bytes,
    /// `Idempotency-Key`.
    pub key: Option<String>,
}

impl Call {
    /// A GET without a body.
    #[must_use]
    pub fn get(path: impl Into<String>, bearer: &str) -> Self {
        Self { method: Method::GET, path: path.into(), bearer: Some(bearer.to_owned()), body: Bytes::new(), key: None }
    }

    /// A request with a JSON body.
    #[must_use]
    pub fn json(method: Method, path: impl Into<String>, bearer: &str, body: impl Into<Bytes>) -> Self {
        Self { method, path: path.into(), bearer: Some(bearer.to_owned()), body: body.into(), key: None }
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the platform sheds load: 429 or 503 that says when to come back.
    #[must_use]
    pub fn is_shed(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            && self.headers.contains_key(header::RETRY_AFTER)
    }

    /// How long to wait before the same is asked once more, as it says; a second when it says nothing.
    #[must_use]
    pub fn come_again(&self) -> Duration {
        let seconds = self.headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        Duration::from_secs(seconds.unwrap_or(1))
    }

    /// Status and the beginning of the body, for a message.
    #[must_use]
    pub fn told(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        format!("{}: {text}", self.status)
    }
}

/// A connection; made at the first use, and again when it was closed.
pub struct Connection {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    tape: Option<Arc<Tape>>,
    /// What the open connection records, when exchanges are sampled.
    tap: Tap,
}

impl Connection {
    /// To the host and port of `base`, for example `http://localhost:7070`; `tape` takes samples of what passes.
    ///
    /// # Errors
    /// When it is no http URL.
    pub fn new(base: &str, tape: Option<Arc<Tape>>) -> Result<Self> {
        let authority = base.strip_prefix("http://").with_context(|| format!("{base} is no http URL"))?.trim_end_matches('/').to_owned();
        Ok(Self { authority, sender: None, tape, tap: Tap::default() })
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(&self.authority).await.with_context(|| self.authority.clone())?;
            stream.set_nodelay(true)?;
            let io = TokioIo::new(self.tap.around(stream, self.tape.is_some()));
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("a connection")
    }

    /// One exchange.
    ///
    /// # Errors
    /// When there is no answer within half a minute. The connection is made anew for the next one.
    pub async fn send(&mut self, call: Call) -> Result<Answer> {
        let outcome = tokio::time::timeout(LIMIT, self.exchange(call)).await;
        let outcome = outcome.unwrap_or_else(|_| bail!("no answer within {LIMIT:?}"));
        if outcome.is_err() {
            self.sender = None;
        }
        if let Some(tape) = &self.tape {
            self.tap.deliver(tape);
        }
        outcome
    }

    async fn exchange(&mut self, call: Call) -> Result<Answer> {
        let mut request = Request::builder().method(call.method).uri(&call.path).header(header::HOST, &self.authority);
        if let Some(token) = &call.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(call.body))?;
        let sender = self.sender().await?;
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
