//! Who the suite is in the dataspace. Its messages name a constant as participant and carry a constant as authorization; here it gets a DID with a
//! key, whose tokens the product verifies as those of any other counterparty.

use crate::patience::{PATIENT, again_after};
use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use cellspace_schemas::{Did, dsp::BaseUrl};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use uuid::Uuid;

/// The suite's participant id.
pub const SUITE_PARTICIPANT: &str = "TCK_PARTICIPANT";
/// What it sends as `Authorization`.
pub const SUITE_AUTHORIZATION: &str = "Bearer TCK_PARTICIPANT";
/// Below the front's URL: messages to the suite, at the address that follows in base64.
pub const RELAY: &str = "/conformance/relay/";
/// Below the front's URL: takes and ignores messages, for what is agreed without the suite.
pub const SINK: &str = "/conformance/sink";

/// Lifetime of a token, in seconds.
const LIFETIME: u64 = 60;
/// Longest exchange of its own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The suite as a party.
pub struct Counterpart {
    /// Its DID.
    pub did: Did,
    /// The front's URL.
    front: String,
    http: reqwest::Client,
    key: Ed25519KeyPair,
}

impl Counterpart {
    /// With a fresh key.
    pub fn new(front: &str) -> Result<Self> {
        let key = Ed25519KeyPair::generate().ok().context("no key can be made")?;
        let mut multikey = vec![0xed, 0x01];
        multikey.extend_from_slice(key.public_key().as_ref());
        let did = Did::new(format!("did:key:{}", multibase::encode(multibase::Base::Base58Btc, multikey)))?;
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { did, front: front.to_owned(), http, key })
    }

    /// A self-issued token for `audience` (DCP 1.0, "Self-Issued ID Tokens").
    pub fn token(&self, audience: &Did) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let fragment = self.did.as_str().trim_start_matches("did:key:");
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": format!("{}#{fragment}", self.did)});
        let claims = json!({"iss": self.did, "sub": self.did, "aud": audience, "jti": Uuid::new_v4(), "iat": now, "exp": now + LIFETIME});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.key.sign(signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    /// Where messages for `address` of the suite are to be sent.
    pub fn relay_to(&self, address: &str) -> Result<BaseUrl> {
        Ok(format!("{}{RELAY}{}", self.front, BASE64.encode(address)).parse()?)
    }

    /// Where messages that nobody reads are to be sent.
    pub fn sink(&self) -> Result<BaseUrl> {
        Ok(format!("{}{SINK}", self.front).parse()?)
    }

    /// Its id as provider of a negotiation that is agreed without the suite.
    pub fn pid_for(consumer_pid: &str) -> String {
        format!("provider-{consumer_pid}")
    }

    /// The address in a relay's path, and the path below it.
    pub fn relayed(path: &str) -> Option<(String, &str)> {
        let path = path.strip_prefix(RELAY)?;
        let (address, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        Some((String::from_utf8(BASE64.decode(address).ok()?).ok()?, rest))
    }

    /// A message of the suite with its DID in place of its name, and messages to it sent over the front. Bytes that are no JSON are left alone.
    pub fn translated(&self, message: &[u8]) -> Result<Vec<u8>> {
        let Ok(mut message) = serde_json::from_slice::<Value>(message) else { return Ok(message.to_vec()) };
        self.rename(&mut message);
        if let Some(Value::String(address)) = message.get_mut("callbackAddress") {
            *address = self.relay_to(address)?.as_str().to_owned();
        }
        Ok(serde_json::to_vec(&message)?)
    }

    fn rename(&self, value: &mut Value) {
        match value {
            Value::String(text) if text == SUITE_PARTICIPANT => self.did.as_str().clone_into(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.rename(field)),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// An exchange of its own with a participant, at a path below the front's URL, which must be answered 2xx.
    pub async fn exchange(&self, audience: &Did, path: &str, message: Option<&Value>) -> Result<Value> {
        let url = format!("{}{path}", self.front);
        let until = Instant::now() + PATIENT;
        let answer = loop {
            let request = match message {
                Some(message) => self.http.post(&url).json(message),
                None => self.http.get(&url),
            };
            let answer = request.bearer_auth(self.token(audience)?).send().await.with_context(|| format!("{url} does not answer"))?;
            match again_after(answer.status(), answer.headers()) {
                Some(pause) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
                _ => break answer,
            }
        };
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{url} answered {status}: {body}");
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}
