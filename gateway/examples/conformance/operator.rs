//! The operator of the platform under test: all that is there was made through the product's APIs.

use anyhow::{Context, Result, bail};
use cellspace::Node;
use cellspace_client::{Caller, Client, Silent};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// Longest call of an API.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The platform's first client.
pub struct Operator {
    client: Client,
    admin: Caller,
}

impl Operator {
    /// Of this node, started for the first time.
    pub async fn of(node: &Node) -> Result<Self> {
        let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let mut client = Client::new(http, bare(&node.urls.admin), bare(&node.urls.public), Box::new(Silent));
        let bootstrap = node.bootstrap.as_ref().context("the platform made no first client")?;
        let admin = client.client_token("admin", &bootstrap.client_id, bootstrap.secret()).await?;
        Ok(Self { client, admin })
    }

    /// A call that must be answered 2xx: its answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.client.exchange(Some(&self.admin), method.clone(), path, body).await?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => bail!("{method} {path} answered {status}: {}", answer.body),
        }
    }
}
