//! Providers that no platform runs: whom a participant asks for contracts, and what comes of it.

use anyhow::{Context, Result};
use bytes::Bytes;
use cellspace_client::Client;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::net::TcpListener;

/// What a stranger does about a request for a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Refuses it: the negotiation is over.
    Refuses,
    /// Takes it, and says nothing any more.
    Takes,
    /// Has no time now, however often it is asked.
    Busy,
    /// Reads it and does not answer.
    Silent,
}

/// Strangers of one manner, on a host of their own.
pub struct Strangers {
    manner: Manner,
    port: u16,
    asked: AtomicU64,
}

impl Strangers {
    /// Serves them on a free loopback port as long as the process lives.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn open(manner: Manner) -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let strangers = Arc::new(Self { manner, port: listener.local_addr()?.port(), asked: AtomicU64::new(0) });
        let serving = strangers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let strangers = serving.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let strangers = strangers.clone();
                    async move { Ok::<_, Infallible>(strangers.respond(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(strangers)
    }

    /// Requests that came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// DID of one of them.
    pub fn did(&self, number: usize) -> String {
        format!("did:web:127.0.0.1%3A{}:stranger-{number}", self.port)
    }

    /// A request for a contract with one of them about an asset.
    pub fn request(&self, number: usize, asset: &str, profile: &str) -> Value {
        let policy = json!({ "@type": "Offer", "@id": format!("offer-of-{asset}"), "assigner": self.did(number), "target": asset,
            "permission": [{ "action": "use" }] });
        let address = format!("http://127.0.0.1:{}/stranger-{number}/dsp", self.port);
        Client::typed(
            "ContractRequest",
            json!({ "profile": profile, "counterPartyAddress": address, "counterPartyId": self.did(number), "policy": policy }),
        )
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = match self.manner {
            Manner::Refuses => {
                (StatusCode::BAD_REQUEST, message("ContractNegotiationError", &asked, json!({ "code": "no", "reason": ["not with you"] })))
            }
            Manner::Takes => (StatusCode::CREATED, message("ContractNegotiation", &asked, json!({ "state": "REQUESTED" }))),
            Manner::Busy => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
            // Ends when the platform closes.
            Manner::Silent => std::future::pending().await,
        };
        let mut response = Response::new(Full::new(answer.to_string().into()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}

/// A message about the negotiation that was asked for, whose process here is named after theirs.
fn message(kind: &str, asked: &Value, more: Value) -> Value {
    let consumer = asked["consumerPid"].as_str().unwrap_or_default();
    let mut message = json!({ "@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": kind, "consumerPid": consumer,
        "providerPid": format!("of-{consumer}") });
    if let (Value::Object(message), Value::Object(more)) = (&mut message, more) {
        message.extend(more);
    }
    message
}

/// Of a list, the one at this place, beginning again at its end.
///
/// # Errors
/// When it is empty.
pub fn around<T>(list: &[T], place: usize) -> Result<&T> {
    list.get(place % list.len().max(1)).context("nobody")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Call, Connection};
    use http::Method;
    use std::time::Duration;

    #[tokio::test]
    async fn each_manner_answers_as_it_says() {
        let request = |asked: &Value| {
            let body = json!({ "consumerPid": "c", "offer": asked["policy"] }).to_string();
            Call::json(Method::POST, "/stranger-1/dsp/negotiations/request", "token", body)
        };
        for (manner, expected) in [(Manner::Refuses, 400), (Manner::Takes, 201), (Manner::Busy, 503)] {
            let strangers = Strangers::open(manner).await.unwrap();
            let asked = strangers.request(1, "a", "p");
            let base = format!("http://127.0.0.1:{}", strangers.port);
            assert!(asked["counterPartyAddress"].as_str().unwrap().starts_with(&base) && asked["counterPartyId"] == strangers.did(1));
            let answer = Connection::new(&base, None).unwrap().send(request(&asked)).await.unwrap();
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(answer.status, expected);
            assert!(manner == Manner::Busy || (body["consumerPid"] == "c" && body["providerPid"] == "of-c"), "{body}");
            assert_eq!(strangers.asked(), 1);
        }
        let silent = Strangers::open(Manner::Silent).await.unwrap();
        let mut connection = Connection::new(&format!("http://127.0.0.1:{}", silent.port), None).unwrap();
        let asked = silent.request(1, "a", "p");
        assert!(tokio::time::timeout(Duration::from_millis(200), connection.send(request(&asked))).await.is_err());
        assert_eq!(silent.asked(), 1);
        assert!(around::<u8>(&[], 3).is_err() && around(&[1, 2], 3).is_ok_and(|one| *one == 2));
    }
}
