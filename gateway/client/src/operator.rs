//! The operator prepares the platform: issuer, cell, dataspace profile, activities, orchestration, policies' expressions.

use crate::{
    client::{Caller, Client, text},
    reporter::check,
};
use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

/// Context id of the hosted issuer.
pub const ISSUER: &str = "issuer";
/// Credential definitions: `(definition id, credential type, role)`.
pub const CREDENTIALS: [(&str, &str, Option<&str>); 2] = [
    ("membership-credential-def", "MembershipCredential", None),
    ("manufacturer-credential-def", "ManufacturerCredential", Some("manufacturer")),
];

/// What the operator set up.
#[derive(Debug)]
pub struct Platform {
    /// Bootstrap admin.
    pub admin: Caller,
    /// Token with the provisioner role.
    pub provisioner: Caller,
    /// The portal, which exchanges its token for those of participants; named as its client is.
    pub portal: Caller,
    /// The issuer's own token.
    pub issuer: Caller,
    /// Participant context id of the issuer.
    pub issuer_context: String,
    /// The issuer's DID.
    pub issuer_did: String,
    /// Cell id.
    pub cell: String,
    /// Dataspace profile id.
    pub dataspace: String,
}

/// Plays the operator's part.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn prepare(client: &mut Client, admin: Caller, did_host: &str) -> Result<Platform> {
    prepare_once_more(client, admin, did_host, "").await
}

/// Plays the operator's part on a platform where it may have been played before: with clients and an issuer of its own, whose names end in `suffix`.
///
/// # Errors
/// At the first step that does not go as it must.
pub async fn prepare_once_more(client: &mut Client, admin: Caller, did_host: &str, suffix: &str) -> Result<Platform> {
    client.reporter.chapter("Operator: the platform is prepared");
    let new = json!({
        "id": format!("provisioning{suffix}"), "role": "provisioner",
        "scopes": ["tenant-manager-api:read", "tenant-manager-api:write", "provision-manager-api:read", "provision-manager-api:write",
            "management-api:read", "management-api:write", "identity-api:read", "identity-api:write", "issuer-admin-api:read", "issuer-admin-api:write"],
    });
    let provisioner = new_client(client, &admin, "operator", new).await?;
    let new = json!({ "id": format!("portal{suffix}"), "scopes": [], "mayExchange": true });
    let portal = new_client(client, &admin, &format!("portal{suffix}"), new).await?;
    for (tier, action) in [("read", "read"), ("write", "write")] {
        let scopes =
            ["management-api", "identity-api", "issuer-admin-api", "siglet-api", "siglet-mgmt-api"].map(|api| format!("{api}:{action}"));
        let body = json!({ "scope": tier, "claims": { "scope": scopes.join(" ") } });
        client.ensure(&admin, &format!("defines the tier {tier}"), "/api/v1/scopes", body).await?;
    }

    let issuer_context = format!("{ISSUER}{suffix}");
    let did = format!("did:web:{did_host}:{issuer_context}");
    let public = client.public.clone();
    let manifest = json!({
        "participantContextId": issuer_context, "did": did, "active": true,
        "serviceEndpoints": [{ "id": "issuer-service", "type": "IssuerService", "serviceEndpoint": format!("{public}/api/issuance/v1beta/participants/{issuer_context}") }],
        "key": { "keyId": format!("{did}#key-1"), "privateKeyAlias": "issuer-key-1", "keyGeneratorParams": { "algorithm": "EdDSA", "curve": "Ed25519" } },
    });
    client
        .step(
            &provisioner,
            "creates the issuer's participant context",
            Method::POST,
            "/api/identity/v1beta/participants",
            Some(manifest),
            200,
        )
        .await?;
    let issuer = act_for(client, &admin, &portal, "issuer", &issuer_context).await?;
    issuer_definitions(client, &issuer, &issuer_context).await?;

    let wrong = json!({ "externalId": "no-such-cell", "state": "active", "properties": {} });
    client.step(&provisioner, "a cell that nobody runs is refused", Method::POST, "/api/tm/cells", Some(wrong), 400).await?;
    let cell = client
        .step(
            &provisioner,
            "registers the running cell",
            Method::POST,
            "/api/tm/cells",
            Some(json!({ "state": "active", "properties": {} })),
            201,
        )
        .await?;
    let cell = text(&cell.body, "id")?.to_owned();
    expressions(client, &admin).await?;

    let specs: Vec<Value> = CREDENTIALS
        .iter()
        .map(|(id, kind, role)| {
            let mut spec = json!({ "id": id, "type": kind, "issuer": did, "format": "vc20-bssl/jwt" });
            if let (Some(role), Value::Object(spec)) = (role, &mut spec) {
                spec.insert("role".into(), json!(role));
            }
            spec
        })
        .collect();
    let profile = json!({ "dataspaceSpec": { "protocolStack": ["http-dsp-profile-2025-1"], "credentialSpecs": specs }, "properties": { "name": "demo" } });
    let profile =
        client.step(&provisioner, "defines the dataspace profile", Method::POST, "/api/tm/dataspace-profiles", Some(profile), 201).await?;
    let dataspace = text(&profile.body, "id")?.to_owned();
    let path = format!("/api/tm/dataspace-profiles/{dataspace}/deployments");
    let deployment = json!({ "profileId": dataspace, "cellId": cell });
    client.step(&provisioner, "deploys the profile to the cell", Method::POST, &path, Some(deployment), 202).await?;
    let path = format!("/api/tm/dataspace-profiles/{dataspace}?wait=active&timeout=20s");
    let deployed = client.step(&provisioner, "waits for the deployment", Method::GET, &path, None, 200).await?;
    let state = &deployed.body["deployments"][0]["state"];
    check(state == "active", || format!("the profile's deployment is {state}, not active: {}", deployed.body))?;
    orchestration(client, &provisioner).await?;
    Ok(Platform { admin, provisioner, portal, issuer, issuer_context, issuer_did: did, cell, dataspace })
}

async fn new_client(client: &mut Client, admin: &Caller, name: &str, body: Value) -> Result<Caller> {
    let id = text(&body, "id")?.to_owned();
    let made = client.step(admin, &format!("registers the client {id}"), Method::POST, "/api/v1/clients", Some(body), 201).await?;
    client.client_token(name, &id, text(&made.body, "clientSecret")?).await
}

/// Lets the portal act for a participant, and gets a token for that by exchange.
///
/// # Errors
/// When the token service refuses.
pub async fn act_for(client: &mut Client, admin: &Caller, portal: &Caller, name: &str, context: &str) -> Result<Caller> {
    let mapping =
        json!({ "clientIdentifier": &*portal.name, "participantContext": context, "scopes": ["read", "write"], "audiences": ["edcv"] });
    client.step(admin, &format!("lets the portal act for {name}"), Method::POST, "/api/v1/mappings", Some(mapping), 201).await?;
    client.exchange_token(name, portal, context, "read write").await
}

async fn issuer_definitions(client: &mut Client, issuer: &Caller, context: &str) -> Result<()> {
    let base = format!("/api/issuer/admin/participants/{context}");
    let attestation = json!({ "id": "holder-properties", "attestationType": "holder", "configuration": {} });
    client.step(issuer, "defines where claims come from", Method::POST, &format!("{base}/attestations"), Some(attestation), 201).await?;
    for (id, kind, _) in CREDENTIALS {
        let definition = json!({
            "id": id, "credentialType": kind, "format": "vc20-bssl/jwt", "validity": "604800", "attestations": ["holder-properties"],
            "jsonSchema": "{}", "jsonSchemaUrl": format!("https://example.com/{kind}.json"),
            "mappings": [{ "input": "since", "output": "credentialSubject.since", "required": "true" }],
        });
        let what = format!("defines {kind}");
        client.step(issuer, &what, Method::POST, &format!("{base}/credentialdefinitions"), Some(definition), 201).await?;
    }
    Ok(())
}

async fn expressions(client: &mut Client, admin: &Caller) -> Result<()> {
    for (_, kind, _) in CREDENTIALS {
        let expression = Client::typed(
            "CelExpression",
            json!({
                "@id": format!("{kind}-expression"), "leftOperand": kind, "description": format!("holds a valid {kind}"),
                "expression": format!("ctx.agent.claims.vc.withType('{kind}').valid().size() > 0"),
                "scopes": ["catalog", "contract.negotiation", "transfer.process"],
            }),
        );
        let what = format!("gives policies on {kind} their meaning (CEL)");
        client.step_to(admin, &what, Method::POST, "/api/mgmt/v5beta/celexpressions", Some(expression), &[200, 409]).await?;
    }
    Ok(())
}

async fn orchestration(client: &mut Client, provisioner: &Caller) -> Result<()> {
    let kinds =
        ["jwtlet-activity", "registration-activity", "identityhub-activity", "edcv-activity", "siglet-activity", "onboarding-activity"];
    for kind in kinds {
        let what = format!("defines activity {kind}");
        let body = json!({ "type": kind, "description": kind, "inputSchema": {}, "outputSchema": {} });
        client.ensure(provisioner, &what, "/api/pm/activity-definitions", body).await?;
    }
    let template = json!({
        "id": "member-lifecycle", "description": "brings a participant into the dataspace, and out of it", "schema": {},
        "activities": {
            "cfm.orchestration.vpa.deploy": [
                { "id": "token", "type": "jwtlet-activity" },
                { "id": "registration", "type": "registration-activity", "dependsOn": ["token"] },
                { "id": "identity", "type": "identityhub-activity", "dependsOn": ["token"] },
                { "id": "connector", "type": "edcv-activity", "dependsOn": ["token", "identity"] },
                { "id": "dataplane", "type": "siglet-activity", "dependsOn": ["connector"] },
                { "id": "credentials", "type": "onboarding-activity", "dependsOn": ["token", "connector", "identity", "registration"] },
            ],
            "cfm.orchestration.vpa.dispose": [
                { "id": "credentials", "type": "onboarding-activity" },
                { "id": "dataplane", "type": "siglet-activity", "dependsOn": ["credentials"] },
                { "id": "connector", "type": "edcv-activity", "dependsOn": ["dataplane"] },
                { "id": "identity", "type": "identityhub-activity", "dependsOn": ["connector"] },
                { "id": "registration", "type": "registration-activity", "dependsOn": ["identity"] },
                { "id": "token", "type": "jwtlet-activity", "dependsOn": ["registration"] },
            ],
        },
    });
    client.ensure(provisioner, "defines the member's life as an orchestration", "/api/pm/orchestration-definitions", template).await?;
    Ok(())
}
