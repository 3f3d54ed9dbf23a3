//! A holder that waits for the credentials it has asked the suite's issuer for.

use super::{FORMAT, Stage, TYPES, door::TOKENS, suites_issuer::SuitesIssuer};
use crate::platform::{CellArgs, Platform};
use anyhow::{Result, ensure};
use cellspace_client::client::text;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;

/// Context id of the holder.
const HOLDER: &str = "holder";
/// Its id of the request.
const REQUEST: &str = "holder-request";

/// The holder under test, and the suite's properties.
pub async fn holder(port: u16, dir: &Path, cell: &CellArgs) -> Result<(Platform, String)> {
    let stage = Stage::new(port, dir, cell).await?;
    let endpoint = stage.platform.urls.credential_service(&HOLDER.parse()?);
    let (did, secrets) = stage.participant(HOLDER, "CredentialService", endpoint).await?;
    // The suite answers a request that has been made; it takes none.
    let issuer = SuitesIssuer::serve(stage.did_of("issuer")?, stage.suite).await?;
    let path = format!("/api/identity/v1beta/participants/{HOLDER}/credentials/request");
    let credentials: Vec<Value> = TYPES.iter().map(|kind| json!({"format": FORMAT, "type": kind, "id": kind})).collect();
    let request = json!({"issuerDid": issuer.did, "holderPid": REQUEST, "credentials": credentials});
    stage.operator.call(Method::POST, &path, Some(&request)).await?;
    let made = stage.operator.call(Method::GET, &format!("{path}/{REQUEST}?wait=REQUESTED&timeout=20s"), None).await?;
    ensure!(made["status"] == "REQUESTED", "the request for credentials is {made}");
    issuer.leave().await;
    let tokens = format!("{}{TOKENS}", stage.front);
    let (client, secret) = (text(&secrets, "clientId")?, text(&secrets, "clientSecret")?);
    let more =
        [("sts.url", tokens.as_str()), ("sts.client.id", client), ("sts.client.secret", secret), ("credentials.correlation.id", REQUEST)];
    Ok(stage.ready("holder", &did, &more))
}
