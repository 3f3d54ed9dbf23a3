//! Installation-wide settings: CEL expressions, DCP scopes, trusted issuers, dataspace profiles.

mod programs;

pub use programs::Compiled;

use arc_swap::ArcSwap;
use cellspace_schemas::{Did, ProfileId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The profile that every installation has (DSP 2025-1 over HTTPS).
pub const DEFAULT_PROFILE: &str = "http-dsp-profile-2025-1";

/// Meaning of a policy's left operand: a CEL expression (Management API `CelExpression`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CelExpression {
    /// Its id.
    pub id: String,
    /// The left operand it gives meaning to.
    pub left_operand: String,
    /// The expression's text.
    pub expression: String,
    /// For people.
    pub description: String,
    /// Policy scopes it applies to, such as `catalog`, `contract.negotiation`, `transfer.process`.
    pub scopes: Vec<String>,
    /// Actions it applies to; empty means all.
    pub actions: Vec<String>,
}

/// Whether a scope is always asked for, or only with policies that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScopeType {
    /// Always.
    Default,
    /// When a policy has a left operand that starts with the prefix mapping.
    Policy,
}

/// A DCP scope that counterparties are asked for (Management API `DcpScope`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DcpScope {
    /// Its id.
    pub id: String,
    /// When it is asked for.
    #[serde(rename = "type")]
    pub scope_type: ScopeType,
    /// The scope, for example `org.eclipse.dspace.dcp.vc.type:MembershipCredential:read`.
    pub value: String,
    /// The profile it applies to; `*` for all.
    pub profile: String,
    /// Left operand prefix, for `POLICY` scopes.
    pub prefix_mapping: Option<String>,
}

/// An issuer whose credentials count in a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedIssuer {
    /// The issuer.
    pub id: Did,
    /// Credential types; `*` for all.
    pub supported_types: Vec<String>,
}

/// A dataspace profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataspaceProfile {
    /// Its name.
    pub name: ProfileId,
    /// Protocol version, `2025-1`.
    pub version: String,
    /// Path below the participant's DSP root, with a leading slash.
    pub path: String,
    /// Protocol binding, `HTTPS`.
    pub binding: String,
    /// JSON-LD namespace.
    pub namespace: String,
    /// JSON-LD contexts of its messages.
    pub contexts: Vec<String>,
    /// Whose credentials count.
    pub trusted_issuers: Vec<TrustedIssuer>,
}

impl DataspaceProfile {
    /// The default profile: DSP 2025-1 over HTTPS, without trusted issuers.
    #[must_use]
    pub fn default_profile() -> Option<Self> {
        Some(Self {
            name: ProfileId::new(DEFAULT_PROFILE).ok()?,
            version: "2025-1".to_owned(),
            path: format!("/{DEFAULT_PROFILE}"),
            binding: "HTTPS".to_owned(),
            namespace: "https://w3id.org/dspace/2025/1/".to_owned(),
            contexts: vec!["https://w3id.org/dspace/2025/1/context.jsonld".to_owned()],
            trusted_issuers: Vec::new(),
        })
    }
}

/// All settings at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Raised by every change.
    pub version: u64,
    /// By id.
    pub cel_expressions: BTreeMap<String, CelExpression>,
    /// By id.
    pub dcp_scopes: BTreeMap<String, DcpScope>,
    /// By name; [`DEFAULT_PROFILE`] is always there.
    pub profiles: BTreeMap<ProfileId, DataspaceProfile>,
    programs: programs::Programs,
}

impl Settings {
    /// Settings of these parts; the default profile is added when it is missing.
    #[must_use]
    pub fn new(
        version: u64,
        cel_expressions: BTreeMap<String, CelExpression>,
        dcp_scopes: BTreeMap<String, DcpScope>,
        profiles: BTreeMap<ProfileId, DataspaceProfile>,
    ) -> Self {
        let mut settings = Self { version, cel_expressions, dcp_scopes, profiles, programs: programs::Programs::default() };
        let default = DataspaceProfile::default_profile();
        if let Some(default) = default {
            settings.profiles.entry(default.name.clone()).or_insert(default);
        }
        settings
    }

    /// The expressions that give this left operand its meaning, compiled on first use.
    #[must_use]
    pub fn expressions_for(&self, left_operand: &str) -> &[Compiled] {
        self.programs.of(&self.cel_expressions, left_operand)
    }
}

/// The newest settings in memory; reading costs one atomic load.
#[derive(Debug, Clone, Default)]
pub struct SettingsCache(Arc<ArcSwap<Settings>>);

impl SettingsCache {
    /// The newest settings.
    #[must_use]
    pub fn load(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Puts newer settings in place; older ones are ignored.
    pub fn store(&self, settings: Arc<Settings>) {
        self.0.rcu(|now| if settings.version >= now.version { settings.clone() } else { now.clone() });
    }
}
