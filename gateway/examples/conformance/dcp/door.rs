//! The public address of the platform under test. The suite knows one address, and not how a message of the Dataspace Protocol is written.

use crate::{
    patience::{PATIENT, again_after},
    platform::Platform,
    proxy::{self, Answer, Proxy},
};
use anyhow::Result;
use bytes::Bytes;
use cellspace_schemas::dsp::message::CONTEXT;
use http::{Request, request::Parts};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::time::Instant;

/// Path of the trigger of a verification.
pub const TRIGGER: &str = "/conformance/catalog";
/// Path of the token service, which is on the admin listener.
pub const TOKENS: &str = "/api/sts";
/// Context id of the verifier.
pub const VERIFIER: &str = "verifier";
/// The profile that it is asked in: the one that every installation has.
pub const PROFILE: &str = "http-dsp-profile-2025-1";

/// Namespace of the Dataspace Protocol's terms.
const NAMESPACE: &str = "https://w3id.org/dspace/2025/1/";

/// Passes requests on.
pub struct Door {
    platform: SocketAddr,
    admin: String,
    catalog: String,
    proxy: Proxy,
}

impl Door {
    /// In front of the platform's listeners.
    pub fn new(platform: &Platform, proxy: Proxy) -> Self {
        let address = platform.address;
        let catalog = format!("http://{address}/api/dsp/{VERIFIER}/{PROFILE}/catalog/request");
        Self { platform: address, admin: platform.urls.admin(""), catalog, proxy }
    }
}

impl proxy::Door for Door {
    async fn answer(&self, request: Request<Bytes>) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        match head.uri.path() {
            TRIGGER => self.pass_on(head, &self.catalog, compacted(&body)).await,
            path if path.starts_with(TOKENS) => {
                let url = format!("{}{target}", self.admin);
                self.pass_on(head, &url, body).await
            }
            _ => {
                let url = format!("http://{}{target}", self.platform);
                self.pass_on(head, &url, body).await
            }
        }
    }
}

impl Door {
    async fn pass_on(&self, head: Parts, url: &str, body: Bytes) -> Result<Answer> {
        let until = Instant::now() + PATIENT;
        loop {
            let answer = self.proxy.send(head.method.clone(), url, &head.headers, body.clone()).await?;
            match again_after(answer.status(), answer.headers()) {
                Some(pause) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
                _ => return Ok(answer),
            }
        }
    }
}

/// The suite writes its message with terms in full and without a context (JSON-LD 1.1, 4.1); the protocol wants the context and short terms.
/// Nodes of which nothing is said are left out.
fn compacted(message: &[u8]) -> Bytes {
    let Ok(Value::Object(full)) = serde_json::from_slice(message) else { return Bytes::copy_from_slice(message) };
    let short = |term: &str| term.strip_prefix(NAMESPACE).unwrap_or(term).to_owned();
    let mut compact = json!({"@context": [CONTEXT]});
    for (term, value) in full {
        compact[short(&term)] = match value {
            Value::Object(node) if node.is_empty() => continue,
            Value::String(text) if term == "@type" => json!(short(&text)),
            other => other,
        };
    }
    compact.to_string().into()
}
