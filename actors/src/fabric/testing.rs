//! The platform's HTTP APIs as a double, for tests of what calls them: a real server whose answers a test decides, and that remembers what it
//! was asked.

use super::platform::{Credentials, Platform};
use crate::{PublicUrls, access::AccessClaims};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use std::{convert::Infallible, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

/// Status and body for a request.
type Answers = Box<dyn Fn(&Asked) -> BoxFuture<'static, (u16, Value)> + Send + Sync>;

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `METHOD /path?query`, decoded.
    pub call: String,
    /// `role sub scope` of the token; empty without one.
    pub caller: String,
    /// Body; `null` without one.
    pub body: Value,
    /// Where the double is.
    pub host: String,
}

impl Asked {
    /// The call without its query.
    pub fn path(&self) -> &str {
        self.call.split('?').next().unwrap_or_default()
    }
}

struct Shared {
    answers: Answers,
    /// A call that is answered with this status instead.
    instead: Mutex<Option<(String, u16)>>,
    asked: Mutex<Vec<Asked>>,
}

/// The double; both listeners are one.
pub struct Double {
    shared: Arc<Shared>,
    pub platform: Arc<Platform>,
    server: JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Plain;

impl Credentials for Plain {
    fn token(&self, claims: AccessClaims) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move { Ok(format!("{} {} {}", claims.role.unwrap_or_default(), claims.sub, claims.scope)) })
    }
}

impl Double {
    pub async fn new(answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::slow(move |asked| {
            let answer = answers(asked);
            Box::pin(async move { answer })
        })
        .await
    }

    /// With answers that take their time.
    pub async fn slow(answers: impl Fn(&Asked) -> BoxFuture<'static, (u16, Value)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::new(Shared { answers: Box::new(answers), instead: Mutex::default(), asked: Mutex::default() });
        let urls = Arc::new(PublicUrls { public: base.clone(), admin: base });
        let platform = Arc::new(Platform::with_credentials(urls, Arc::new(Plain), Vec::new()).unwrap());
        let server = tokio::spawn(serve(listener, shared.clone()));
        Self { shared, platform, server }
    }

    /// Answers this call with `status` from now on, and all others as before.
    pub fn instead(&self, call: &str, status: u16) {
        *self.shared.instead.lock() = Some((call.to_owned(), status));
    }

    /// Answers every call as at first, and forgets what was asked.
    pub fn reset(&self) {
        *self.shared.instead.lock() = None;
        self.asked();
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock())
    }

    /// The calls among it.
    pub fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.call).collect()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = hyper::service::service_fn(move |request| answer(shared.clone(), request));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let uri = request.uri().to_string();
    let call = format!("{} {}", request.method(), percent_encoding::percent_decode_str(&uri).decode_utf8_lossy());
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (caller, host) = (header("authorization").trim_start_matches("Bearer ").to_owned(), header("host"));
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { call, caller, body, host };
    shared.asked.lock().push(asked.clone());
    let instead = shared.instead.lock().as_ref().filter(|(call, _)| *call == asked.call).map(|(_, status)| *status);
    let (status, body) = match instead {
        Some(status) => (status, serde_json::json!({"message": "instead"})),
        None => (shared.answers)(&asked).await,
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}
