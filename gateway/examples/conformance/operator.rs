//! The operator of the platform under test: all that is there was made through the product's APIs.

use crate::platform::Platform;
use anyhow::{Result, bail};
use cellspace_client::{Caller, Client, Patience, Silent};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// Longest call of an API.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries, while nobody can answer.
const PAUSE: Duration = Duration::from_millis(100);

/// The platform's first client.
pub struct Operator {
    client: Client,
    admin: Caller,
}

impl Operator {
    /// Of this platform.
    pub async fn of(platform: &Platform) -> Result<Self> {
        let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let mut client = Client::new(http, bare(&platform.urls.admin), bare(&platform.urls.public), Box::new(Silent));
        client.patience = Some(Patience { limit: TIMEOUT, pause: PAUSE });
        let admin = client.client_token("admin", &platform.client.client_id, platform.client.secret()).await?;
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
