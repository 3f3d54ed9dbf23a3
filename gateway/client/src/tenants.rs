//! Three tenants come in, each by one call; orchestration and agents do the rest.

use crate::{
    client::{Caller, Client, text},
    operator::{self, CREDENTIALS, Platform},
    reporter::check,
};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The agents of a participant, by type.
pub const AGENTS: [&str; 4] = ["cfm.connector", "cfm.credentialservice", "cfm.dataplane", "cfm.issuer"];
/// Longest orchestration.
const ORCHESTRATION: Duration = Duration::from_secs(60);
/// How often a wait says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

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
    /// Path of its participant profile.
    pub profile: String,
}

impl Participant {
    /// Management path of one of its resources.
    #[must_use]
    pub fn path(&self, resource: &str) -> String {
        format!("/api/mgmt/v5beta/participants/{}/{resource}", self.context)
    }
}

/// A new tenant.
#[must_use]
pub fn tenant(name: &str) -> Value {
    json!({ "properties": { "name": name, "location": "eu" } })
}

/// A new participant profile, with the roles that its credentials follow from.
#[must_use]
pub fn profile(platform: &Platform, did: &str, manufacturer: bool) -> Value {
    let roles = if manufacturer { json!({ platform.dataspace.clone(): ["manufacturer"] }) } else { json!({}) };
    json!({
        "identifier": did, "cellId": platform.cell, "dataspaceProfileIds": [platform.dataspace], "participantRoles": roles,
        "vpaProperties": { "cfm.issuer": { "since": "2024-05-01T00:00:00Z" } }, "properties": {},
    })
}

/// The types of a participant's agents that are active, in their order, by its profile.
#[must_use]
pub fn active_agents(profile: &Value) -> Vec<&str> {
    let agents = profile["vpas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut active: Vec<&str> = agents.iter().filter(|vpa| vpa["state"] == "active").filter_map(|vpa| vpa["type"].as_str()).collect();
    active.sort_unstable();
    active
}

/// Onboards one tenant.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn onboard(client: &mut Client, platform: &Platform, name: &str, did_host: &str, manufacturer: bool) -> Result<Participant> {
    client.reporter.chapter(&format!("Tenant {name} is onboarded"));
    let operator = &platform.provisioner;
    let tenant = tenant(name);
    let tenant = client.step(operator, "creates the tenant", Method::POST, "/api/tm/tenants", Some(tenant), 201).await?;
    let did = format!("did:web:{did_host}:{name}");
    let profiles = format!("/api/tm/tenants/{}/participant-profiles", text(&tenant.body, "id")?);
    let body = profile(platform, &did, manufacturer);
    let made = client.step(operator, "asks for its participant", Method::POST, &profiles, Some(body), 202).await?;
    let path = format!("{profiles}/{}", text(&made.body, "id")?);
    let found = agents_active(client, operator, &path).await?;
    let vpa_state = &found["properties"]["cfm.vpa.state"];
    let (context, holder_pid) = (text(vpa_state, "participantContextId")?.to_owned(), text(vpa_state, "holderPid")?.to_owned());
    let caller = operator::act_for(client, &platform.admin, &platform.portal, name, &context).await?;
    let dsp = identity(client, &caller, &context, &did).await?;
    let participant = Participant { caller, context, did, dsp, profile: path };
    in_place(client, platform, &participant).await?;
    credentials(client, platform, &participant, &holder_pid, manufacturer).await?;
    Ok(participant)
}

/// Takes a participant out of the dataspace.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn dispose(client: &mut Client, platform: &Platform, participant: &Participant) -> Result<()> {
    let operator = &platform.provisioner;
    client.step(operator, "disposes of the participant", Method::DELETE, &participant.profile, None, 202).await?;
    let path = format!("{}?wait=disposed&timeout=30s", participant.profile);
    let profile = client.step(operator, "waits until all agents are disposed", Method::GET, &path, None, 200).await?.body;
    let agents = profile["vpas"].as_array().cloned().unwrap_or_default();
    check(agents.len() == AGENTS.len() && agents.iter().all(|agent| agent["state"] == "disposed"), || {
        format!("the agents are not disposed: {profile}")
    })
}

/// Waits until the orchestration has made every agent active, and tells how far it is.
async fn agents_active(client: &mut Client, operator: &Caller, profile: &str) -> Result<Value> {
    let started = Instant::now();
    client.reporter.waiting("orchestration: token, context, keys, DID, holder, credentials, data plane");
    loop {
        let url = format!("{profile}?wait=active&timeout={}ms", PROGRESS.as_millis());
        let found = client.exchange(Some(operator), Method::GET, &url, None).await?.body;
        let active = active_agents(&found);
        if active == AGENTS {
            let (what, hop) =
                (format!("agents are active: {}", active.join(", ")), "orchestration, activity agents | GET participant-profile");
            client.reporter.step(&operator.name, &what, hop, started.elapsed());
            return Ok(found);
        }
        check(found["error"] != true && started.elapsed() < ORCHESTRATION, || {
            format!("after {:?} only {active:?} are active: {}", started.elapsed(), found["errorDetail"])
        })?;
        client.reporter.waiting(&format!("{} of {} agents are active after {:.0?}", active.len(), AGENTS.len(), started.elapsed()));
    }
}

/// Where a did:web is served (did:web method specification, 3.2). Encrypted, unless the platform of the story is not.
fn did_web_url(did: &str, platform: &str) -> Result<String> {
    let scheme = platform.split_once(':').map_or("https", |(scheme, _)| scheme);
    let mut parts = did.strip_prefix("did:web:").context("not a did:web")?.split(':');
    let host = parts.next().unwrap_or_default().replace("%3A", ":");
    let path: Vec<&str> = parts.collect();
    let path = if path.is_empty() { ".well-known".to_owned() } else { path.join("/") };
    Ok(format!("{scheme}://{host}/{path}/did.json"))
}

/// A published DID document whose keys are those of the vault. Answers the DSP endpoint in it.
async fn identity(client: &mut Client, caller: &Caller, context: &str, did: &str) -> Result<String> {
    let document = client
        .step(caller, "has a DID document, served by did:web", Method::GET, &did_web_url(did, &client.public)?, None, 200)
        .await?
        .body;
    check(document["id"] == did, || format!("the DID document is of {}", document["id"]))?;
    let services = document["service"].as_array().cloned().unwrap_or_default();
    let endpoint = |kind: &str| services.iter().find(|s| s["type"] == kind).with_context(|| format!("no {kind} in the DID document"));
    endpoint("CredentialService")?;
    let dsp = text(endpoint("ProtocolEndpoint")?, "serviceEndpoint")?.to_owned();
    let path = format!("/api/identity/v1beta/participants/{context}/keypairs");
    let keys = client.step(caller, "has its key in the vault, and in the document", Method::GET, &path, None, 200).await?.body;
    let key: Value = serde_json::from_str(text(&keys[0], "serializedPublicKey")?).context("the public key is no JWK")?;
    check(keys[0]["state"] == 200 && key["d"].is_null(), || format!("no active key, or more than a public one: {keys}"))?;
    let methods = document["verificationMethod"].as_array().cloned().unwrap_or_default();
    let same = |method: &&Value| method["publicKeyJwk"]["x"] == key["x"] && method["controller"] == did;
    check(key["x"].is_string() && methods.iter().any(|method| same(&method)), || format!("the document lacks the key: {document}"))?;
    Ok(dsp)
}

/// Both participant contexts are in use, and the issuer knows the holder.
async fn in_place(client: &mut Client, platform: &Platform, participant: &Participant) -> Result<()> {
    let (operator, context) = (&platform.provisioner, &participant.context);
    let path = format!("/api/mgmt/v5beta/participants/{context}");
    let found = client.step(operator, "finds its connector's context ACTIVATED", Method::GET, &path, None, 200).await?.body;
    check(found["state"] == "ACTIVATED" && found["identity"] == participant.did, || format!("the context is {found}"))?;
    let path = format!("/api/identity/v1beta/participants/{context}");
    let found = client.step(operator, "finds its credential service's context active", Method::GET, &path, None, 200).await?.body;
    check(found["state"] == 1 && found["did"] == participant.did, || format!("the context is {found}"))?;
    let path = format!("/api/issuer/admin/participants/{}/holders/query", platform.issuer_context);
    let query = json!({ "filterExpression": [{ "operandLeft": "did", "operator": "=", "operandRight": participant.did }] });
    let found = client.step(&platform.issuer, "knows the holder", Method::POST, &path, Some(query), 200).await?.body;
    check(found.as_array().map(Vec::len) == Some(1), || format!("the issuer's holders of {} are {found}", participant.did))
}

/// Exactly the credentials that its roles stand for, issued through DCP.
async fn credentials(
    client: &mut Client,
    platform: &Platform,
    participant: &Participant,
    holder_pid: &str,
    manufacturer: bool,
) -> Result<()> {
    let (caller, base) = (&participant.caller, format!("/api/identity/v1beta/participants/{}", participant.context));
    let path = format!("{base}/credentials/request/{holder_pid}?wait=ISSUED&timeout=20s");
    client.over("DCP POST issuer /credentials, POST holder /credentials");
    let request = client.step(caller, "has its credentials ISSUED through DCP", Method::GET, &path, None, 200).await?.body;
    check(request["status"] == "ISSUED", || format!("the credential request is {}", request["status"]))?;
    check(request["issuerDid"] == platform.issuer_did, || format!("the credential request went to {}", request["issuerDid"]))?;
    for (_, kind, role) in CREDENTIALS {
        let expected = usize::from(role.is_none() || manufacturer);
        let path = format!("{base}/credentials?type={kind}");
        let what = if expected == 1 { format!("holds a {kind}") } else { format!("holds no {kind}") };
        let held = client.step(caller, &what, Method::GET, &path, None, 200).await?.body;
        let count = held.as_array().map_or(0, Vec::len);
        check(count == expected, || format!("{count} credentials of type {kind}, expected {expected}"))?;
        check(expected == 0 || held[0]["issuerId"] == platform.issuer_did, || format!("the {kind} is of {}", held[0]["issuerId"]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn did_web_urls() {
        for (did, url) in [
            ("did:web:localhost%3A7070:acme", "http://localhost:7070/acme/did.json"),
            ("did:web:example.com:a:b", "http://example.com/a/b/did.json"),
            ("did:web:example.com", "http://example.com/.well-known/did.json"),
        ] {
            assert_eq!(did_web_url(did, "http://localhost:1").ok().as_deref(), Some(url), "{did}");
        }
        assert_eq!(did_web_url("did:web:a", "https://a").ok().as_deref(), Some("https://a/.well-known/did.json"));
        assert!(did_web_url("did:key:x", "http://a").is_err());
    }
}
