//! A verifier: whoever asks for its catalog must be a member.

use super::{
    Stage, TYPES,
    door::{PROFILE, TRIGGER, VERIFIER},
};
use crate::platform::{CellArgs, Platform};
use anyhow::Result;
use cellspace_client::Client;
use reqwest::Method;
use serde_json::json;
use std::path::Path;

/// The verifier under test, and the suite's properties.
pub async fn verifier(port: u16, dir: &Path, cell: &CellArgs) -> Result<(Platform, String)> {
    const SETTINGS: &str = "/api/mgmt/v5beta";
    let stage = Stage::new(port, dir, cell).await?;
    let endpoint = stage.platform.urls.credential_service(&VERIFIER.parse()?);
    let (did, _) = stage.participant(VERIFIER, "CredentialService", endpoint).await?;
    let participant = Client::typed("ParticipantContext", json!({"@id": VERIFIER, "identity": did, "state": "ACTIVATED"}));
    stage.operator.call(Method::POST, &format!("{SETTINGS}/participants"), Some(&participant)).await?;
    let [member, _] = TYPES;
    let scope = Client::typed("DcpScope", json!({"value": format!("org.eclipse.dspace.dcp.vc.type:{member}:read")}));
    stage.operator.call(Method::POST, &format!("{SETTINGS}/dcpscopes"), Some(&scope)).await?;
    let mut profile = stage.operator.call(Method::GET, &format!("{SETTINGS}/dataspaceprofiles/{PROFILE}"), None).await?;
    profile["trustedIssuers"] = json!([{"@id": stage.did_of("issuer")?, "supportedTypes": ["*"]}]);
    let profile = Client::typed("DataspaceProfile", profile);
    stage.operator.call(Method::PUT, &format!("{SETTINGS}/dataspaceprofiles"), Some(&profile)).await?;
    let trigger = format!("{}{TRIGGER}", stage.front);
    Ok(stage.ready("verifier", &did, &[("vpp.trigger.endpoint", &trigger), ("revocation.type", "bitstringstatuslist")]))
}
