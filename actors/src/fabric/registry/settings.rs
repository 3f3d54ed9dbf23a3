//! What deployed dataspace profiles mean in a cell: trusted issuers and DCP scopes, written through the Management API.
//!
//! Credential specs without a role (membership) become `DEFAULT` scopes: every counterparty must have them. Specs bound to a role become
//! `POLICY` scopes under the credential type as prefix: they are asked for where a policy names them. A type that is both is `DEFAULT`.
//! Several dataspace profiles may share a name in the cell; their settings are written as one.

use super::RegistryState;
use crate::{
    fabric::{
        Refusal,
        platform::{CallError, Caller, Platform, segment},
    },
    settings::{DEFAULT_PROFILE, ScopeType},
};
use cellspace_schemas::{
    Did, ProfileId, TraceContext,
    fabric::{DataspaceProfile, DeploymentState, Properties, keys},
    management::MANAGEMENT_CONTEXT,
};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PROFILES: &str = "/api/mgmt/v5beta/dataspaceprofiles";
const SCOPES: &str = "/api/mgmt/v5beta/dcpscopes";

/// Whether the text can be a credential type within a scope.
#[must_use]
pub fn is_credential_type(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Name of a dataspace profile within cells: its property `cellspace.profile.name`, or the default profile.
///
/// # Errors
/// [`Refusal::Invalid`] when the property is no name.
pub fn profile_name(properties: &Properties) -> Result<ProfileId, Refusal> {
    let text = match properties.get(keys::PROFILE_NAME) {
        None | Some(Value::Null) => DEFAULT_PROFILE,
        Some(Value::String(name)) if !name.contains(['/', ',', '%', '?', '#', ':']) => name,
        Some(_) => return Err(Refusal::Invalid(format!("{} must be a name without '/', ',', ':', '%', '?' and '#'", keys::PROFILE_NAME))),
    };
    ProfileId::new(text).map_err(|e| Refusal::Invalid(format!("{}: {e}", keys::PROFILE_NAME)))
}

/// Settings of one profile name in one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSettings {
    /// The name.
    pub name: ProfileId,
    /// Credential types by issuer.
    pub issuers: BTreeMap<Did, BTreeSet<String>>,
    /// When each credential type is asked for.
    pub scopes: BTreeMap<String, ScopeType>,
}

/// Gathers what all dataspace profiles of this name that are deployed to the cell, or are being deployed, say.
#[must_use]
pub fn gather(state: &RegistryState, name: &ProfileId, external_cell_id: &str) -> CellSettings {
    let deployed = |profile: &DataspaceProfile| {
        let live = |s: DeploymentState| matches!(s, DeploymentState::Pending | DeploymentState::Active);
        profile.deployments.iter().any(|d| d.external_cell_id == external_cell_id && live(d.state))
    };
    let mut settings = CellSettings { name: name.clone(), issuers: BTreeMap::new(), scopes: BTreeMap::new() };
    for profile in state.profiles.values().filter(|p| deployed(p) && profile_name(&p.properties).as_ref() == Ok(name)) {
        for spec in &profile.dataspace_spec.credential_specs {
            settings.issuers.entry(spec.issuer.clone()).or_default().insert(spec.credential_type.clone());
            let scope = settings.scopes.entry(spec.credential_type.clone()).or_insert(ScopeType::Policy);
            if spec.role.is_none() {
                *scope = ScopeType::Default;
            }
        }
    }
    settings
}

/// The profile with the issuers added to those it trusts; everything else as it is.
fn with_issuers(mut profile: Map<String, Value>, settings: &CellSettings) -> Value {
    let mut trusted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let known = profile.get("trustedIssuers").and_then(Value::as_array);
    for issuer in known.into_iter().flatten() {
        let id = issuer.get("@id").or_else(|| issuer.get("id")).and_then(Value::as_str);
        let types = issuer.get("supportedTypes").and_then(Value::as_array).into_iter().flatten();
        if let Some(id) = id {
            trusted.entry(id.to_owned()).or_default().extend(types.filter_map(|t| t.as_str().map(str::to_owned)));
        }
    }
    for (issuer, types) in &settings.issuers {
        trusted.entry(issuer.to_string()).or_default().extend(types.iter().cloned());
    }
    let trusted: Vec<Value> = trusted.iter().map(|(id, types)| json!({"@id": id, "supportedTypes": types})).collect();
    profile.insert("trustedIssuers".to_owned(), trusted.into());
    profile.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT]));
    profile.insert("@type".to_owned(), "DataspaceProfile".into());
    Value::Object(profile)
}

/// A profile that the cell does not know yet.
fn new_profile(name: &ProfileId) -> Map<String, Value> {
    let profile = json!({
        "name": name,
        "protocol": {"version": "2025-1", "path": format!("/{name}"), "binding": "HTTPS", "namespace": "https://w3id.org/dspace/2025/1/"},
        "jsonLdContextsUrl": ["https://w3id.org/dspace/2025/1/context.jsonld"],
    });
    profile.as_object().cloned().unwrap_or_default()
}

fn scope_id(settings: &CellSettings, credential_type: &str) -> String {
    format!("{}.{credential_type}", settings.name)
}

fn scope(settings: &CellSettings, credential_type: &str, scope_type: ScopeType) -> Value {
    let mut scope = json!({
        "@context": [MANAGEMENT_CONTEXT], "@type": "DcpScope", "@id": scope_id(settings, credential_type), "type": scope_type,
        "value": format!("org.eclipse.dspace.dcp.vc.type:{credential_type}:read"), "profile": settings.name,
    });
    if let (ScopeType::Policy, Some(scope)) = (scope_type, scope.as_object_mut()) {
        scope.insert("prefixMapping".to_owned(), credential_type.into());
    }
    scope
}

/// Writes the settings into the cell. Repeatable: what is there already is brought up to date.
///
/// # Errors
/// [`CallError`] of the first call that failed.
pub async fn write(platform: &Platform, settings: &CellSettings, trace: Option<&TraceContext>) -> Result<(), CallError> {
    let caller = Caller::Admin { scope: "management-api:admin" };
    let found = platform.call(&caller, Method::GET, &format!("{PROFILES}/{}", segment(&settings.name)), None, trace).await?;
    let (method, profile) = if found.status == StatusCode::NOT_FOUND {
        (Method::POST, new_profile(&settings.name))
    } else {
        (Method::PUT, found.done()?.body.as_object().cloned().unwrap_or_default())
    };
    platform.call(&caller, method, PROFILES, Some(with_issuers(profile, settings)), trace).await?.done()?;
    for (credential_type, scope_type) in &settings.scopes {
        let body = scope(settings, credential_type, *scope_type);
        let answer = platform.call(&caller, Method::POST, SCOPES, Some(body.clone()), trace).await?;
        if answer.status == StatusCode::CONFLICT {
            let own = format!("{SCOPES}/{}", segment(scope_id(settings, credential_type)));
            platform.call(&caller, Method::PUT, &own, Some(body), trace).await?.done()?;
        } else {
            answer.done()?;
        }
    }
    Ok(())
}
