//! The suite's issuer before the suite runs: takes the request that the suite goes on to answer. Whoever verifies what the issuer sends later asks
//! for its document again, since this one has no key.

use crate::proxy::{Answer, Door, plain, serve};
use anyhow::{Context, Result};
use bytes::Bytes;
use cellspace_schemas::Did;
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::json;
use std::{net::Ipv4Addr, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

/// It, in the suite's place.
pub struct SuitesIssuer {
    /// Its DID.
    pub did: Did,
    serving: JoinHandle<()>,
}

struct Issuer {
    document: String,
}

impl SuitesIssuer {
    /// Serves on the suite's port.
    pub async fn serve(did: Did, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("port {port} cannot be used"))?;
        let service = json!({"id": "service", "type": "IssuerService", "serviceEndpoint": format!("http://localhost:{port}")});
        let document = json!({"id": did, "verificationMethod": [], "service": [service]}).to_string();
        // No connection outlives it: the next message is for the suite.
        let serving = tokio::spawn(serve(Arc::new(Issuer { document }), listener, false));
        Ok(Self { did, serving })
    }

    /// Leaves the port to the suite.
    pub async fn leave(self) {
        self.serving.abort();
        // It ends with being aborted, whatever that is called.
        let _ = self.serving.await;
    }
}

impl Door for Issuer {
    async fn answer(&self, request: Request<Bytes>) -> Result<Answer> {
        Ok(match request.uri().path() {
            "/issuer/did.json" => plain(StatusCode::OK, self.document.clone()),
            "/credentials" => {
                let mut taken = plain(StatusCode::CREATED, Bytes::new());
                taken.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/requests/issuer-request"));
                taken
            }
            _ => plain(StatusCode::NOT_FOUND, Bytes::new()),
        })
    }
}
