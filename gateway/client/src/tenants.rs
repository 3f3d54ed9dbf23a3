//! Three tenants come in, each by one call; orchestration and agents do the rest.

use crate::{
    client::{Caller, Client, text},
    operator::{self, CREDENTIALS, Platform},
    reporter::check,
};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Instant;

/// A tenant with its participant.
#[derive(Debug)]
pub struct Participant {
    /// Acts with the participant's own token.
    pub caller: Caller,
    /// Participant context id.
    pub context: String,
    /// DID.
    pub did: String,
    /// DSP base URL, from its DID document.
    pub dsp: String,
}

impl Participant {
    /// Management path of one of its resources.
    #[must_use]
    pub fn path(&self, resource: &str) -> String {
        format!("/api/mgmt/v5beta/participants/{}/{resource}", self.context)
    }
}

/// Onboards one tenant.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn onboard(
    client: &mut Client,
    platform: &Platform,
    name: &'static str,
    did_host: &str,
    manufacturer: bool,
) -> Result<Participant> {
    client.reporter.chapter(&format!("Tenant {name} is onboarded"));
    let operator = &platform.provisioner;
    let tenant = json!({ "properties": { "name": name, "location": "eu" } });
    let tenant = client.step(operator, "creates the tenant", Method::POST, "/api/tm/tenants", Some(tenant), 201).await?;
    let did = format!("did:web:{did_host}:{name}");
    let roles = if manufacturer { json!({ platform.dataspace.clone(): ["manufacturer"] }) } else { json!({}) };
    let profiles = format!("/api/tm/tenants/{}/participant-profiles", text(&tenant.body, "id")?);
    let body = json!({
        "identifier": did, "cellId": platform.cell, "dataspaceProfileIds": [platform.dataspace], "participantRoles": roles,
        "vpaProperties": { "cfm.issuer": { "since": "2024-05-01T00:00:00Z" } }, "properties": {},
    });
    let profile = client.step(operator, "asks for its participant", Method::POST, &profiles, Some(body), 202).await?;
    let started = Instant::now();
    let one = format!("{profiles}/{}?wait=active&timeout=30s", text(&profile.body, "id")?);
    client.reporter.waiting("orchestration: context, keys, DID, holder, credentials, data plane");
    let profile = client.step(operator, "waits until all agents are active", Method::GET, &one, None, 200).await?.body;
    let states: Vec<&Value> = profile["vpas"].as_array().map(|vpas| vpas.iter().map(|vpa| &vpa["state"]).collect()).unwrap_or_default();
    check(states.len() == 4 && states.iter().all(|s| **s == "active"), || {
        format!("the agents are {states:?} after {:?}: {}", started.elapsed(), profile["errorDetail"])
    })?;
    let vpa_state = &profile["properties"]["cfm.vpa.state"];
    let (context, holder_pid) = (text(vpa_state, "participantContextId")?.to_owned(), text(vpa_state, "holderPid")?.to_owned());
    let caller = operator::act_for(client, &platform.admin, &platform.portal, name, &context).await?;
    let dsp = identity(client, &caller, &context, &did, &holder_pid, manufacturer).await?;
    Ok(Participant { caller, context, did, dsp })
}

/// What onboarding must have left: a published DID document, an active key, issued credentials.
async fn identity(client: &mut Client, caller: &Caller, context: &str, did: &str, holder_pid: &str, manufacturer: bool) -> Result<String> {
    let host_and_path = did.strip_prefix("did:web:").context("a did:web")?;
    let name = host_and_path.rsplit(':').next().unwrap_or_default();
    let url = format!("{}/{name}/did.json", client.public);
    let document = client.step(caller, "has a DID document, served by did:web", Method::GET, &url, None, 200).await?.body;
    check(document["id"] == did, || format!("the DID document is of {}", document["id"]))?;
    let services = document["service"].as_array().cloned().unwrap_or_default();
    let dsp = services.iter().find(|s| s["type"] == "ProtocolEndpoint").context("no ProtocolEndpoint in the DID document")?;
    let base = format!("/api/identity/v1beta/participants/{context}");
    let keys = client.step(caller, "has its key in the vault", Method::GET, &format!("{base}/keypairs"), None, 200).await?.body;
    check(keys[0]["state"] == 200 && keys[0]["serializedPublicKey"].is_string(), || format!("no active key: {keys}"))?;
    let path = format!("{base}/credentials/request/{holder_pid}?wait=ISSUED&timeout=20s");
    let request = client.step(caller, "has its credentials issued through DCP", Method::GET, &path, None, 200).await?.body;
    check(request["status"] == "ISSUED", || format!("the credential request is {}", request["status"]))?;
    for (_, kind, role) in CREDENTIALS {
        let expected = usize::from(role.is_none() || manufacturer);
        let path = format!("{base}/credentials?type={kind}");
        let what = if expected == 1 { format!("holds a {kind}") } else { format!("holds no {kind}") };
        let held = client.step(caller, &what, Method::GET, &path, None, 200).await?.body;
        let count = held.as_array().map_or(0, Vec::len);
        check(count == expected, || format!("{count} credentials of type {kind}, expected {expected}"))?;
    }
    Ok(text(dsp, "serviceEndpoint")?.to_owned())
}
