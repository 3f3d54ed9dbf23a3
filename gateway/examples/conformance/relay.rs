//! Messages on their way to the suite, which knows no path before its test is so far, and forgets it as soon as one message has come there.

use crate::proxy::{Answer, Proxy};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long the suite may take to listen: less than the platform waits for an answer.
const LISTENS: Duration = Duration::from_secs(8);
/// Between two tries until it does.
const AGAIN: Duration = Duration::from_millis(50);

/// What comes of a message, for everybody who brings it.
type Exchange = Shared<BoxFuture<'static, Result<Answer, Arc<str>>>>;

/// Passes messages on to the suite, each once: who sends is told to be prepared for an answer that got lost, and sends the message again, as a node does that
/// goes on with what another one has begun. As with every receiver of messages that have an `@id`, a repeat is answered as the first time.
pub struct Relay {
    proxy: Arc<Proxy>,
    begun: Arc<Mutex<HashMap<String, Exchange>>>,
}

impl Relay {
    /// That knows of no message yet.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy, begun: Arc::default() }
    }

    /// Passes a message on to `url`, or answers as before.
    pub async fn pass(&self, method: &Method, url: String, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "@id")]
            id: String,
        }
        let Ok(Named { id }) = serde_json::from_slice(&body) else { return send(&self.proxy, method, &url, headers, body).await };
        let key = format!("{url} {id}");
        let begin = || {
            let (proxy, begun, key) = (self.proxy.clone(), self.begun.clone(), key.clone());
            let (method, headers) = (method.clone(), headers.clone());
            let sent = async move {
                let answer = send(&proxy, &method, &url, &headers, body).await;
                // What the suite has not taken is a new message to it the next time.
                if !answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                    begun.lock().remove(&key);
                }
                answer.map_err(|error| format!("{error:#}").into())
            };
            // Goes on when the sender hangs up: the suite may have the message by then.
            tokio::spawn(sent).map(|ended| ended.unwrap_or_else(|error| Err(error.to_string().into()))).boxed().shared()
        };
        let exchange = self.begun.lock().entry(key.clone()).or_insert_with(begin).clone();
        exchange.await.map_err(|error| anyhow!(error))
    }
}

/// Sends it until the suite listens: 404 means later.
async fn send(proxy: &Proxy, method: &Method, url: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
    let until = Instant::now() + LISTENS;
    loop {
        let answer = proxy.send(method.clone(), url, headers, body.clone()).await?;
        if answer.status() != StatusCode::NOT_FOUND || Instant::now() > until {
            return Ok(answer);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
