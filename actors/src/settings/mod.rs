//! Installation-wide settings: CEL expressions, DCP scopes, trusted issuers, dataspace profiles.

pub mod agent;
mod programs;
mod state;

pub use agent::SettingsAgent;
pub use cellspace_schemas::management::{CelExpression, DataspaceProfile, DcpScope, ScopeType, TrustedIssuer};
pub use programs::Compiled;
pub use state::SettingsState;

use arc_swap::ArcSwap;
use cellspace_schemas::{ProfileId, dsp::SentContext};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// The profile that every installation has (DSP 2025-1 over HTTPS).
pub const DEFAULT_PROFILE: &str = "http-dsp-profile-2025-1";

/// The default profile: DSP 2025-1 over HTTPS, without trusted issuers.
fn default_profile() -> Option<DataspaceProfile> {
    Some(DataspaceProfile {
        name: ProfileId::new(DEFAULT_PROFILE).ok()?,
        version: "2025-1".to_owned(),
        path: format!("/{DEFAULT_PROFILE}"),
        binding: "HTTPS".to_owned(),
        namespace: "https://w3id.org/dspace/2025/1/".to_owned(),
        contexts: vec!["https://w3id.org/dspace/2025/1/context.jsonld".to_owned()],
        trusted_issuers: Vec::new(),
        crawled_by: None,
    })
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
    /// Whether every participant uses all profiles, whatever it is associated with.
    pub every_profile: bool,
    programs: programs::Programs,
    /// What is sent in each profile begins with.
    contexts: BTreeMap<ProfileId, SentContext>,
    /// The same in one that is not there any more.
    protocol_context: SentContext,
    /// Profiles by what stands for them in paths: their own path's segment, and their name.
    places: BTreeMap<String, ProfileId>,
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
        let mut settings = Self { version, cel_expressions, dcp_scopes, profiles, ..Self::default() };
        if let Some(default) = default_profile() {
            settings.profiles.entry(default.name.clone()).or_insert(default);
        }
        settings.contexts = settings.profiles.iter().map(|(name, profile)| (name.clone(), SentContext::of(&profile.contexts))).collect();
        let places =
            settings.profiles.values().flat_map(|profile| [profile.name.as_str(), profile.segment()].map(|place| (place, profile)));
        settings.places = places.map(|(place, profile)| (place.to_owned(), profile.name.clone())).collect();
        settings
    }

    /// The profile that this segment of a path stands for. By its name it is found whatever its path is: it may have been another one before.
    #[must_use]
    pub fn profile_at(&self, segment: &str) -> Option<&ProfileId> {
        self.places.get(segment)
    }

    /// The path of a profile, as it is told to others.
    #[must_use]
    pub fn path_of(&self, profile: &ProfileId) -> Cow<'_, str> {
        self.profiles.get(profile).map_or_else(|| format!("/{profile}").into(), |profile| profile.path.as_str().into())
    }

    /// The contexts of what is sent in a profile.
    #[must_use]
    pub fn context(&self, profile: &ProfileId) -> &SentContext {
        self.contexts.get(profile).unwrap_or(&self.protocol_context)
    }

    /// The expressions that give this left operand its meaning, compiled on first use.
    #[must_use]
    pub fn expressions_for(&self, left_operand: &str) -> &[Compiled] {
        self.programs.of(&self.cel_expressions, left_operand)
    }
}

/// The newest settings in memory; reading costs one atomic load.
#[derive(Debug, Clone, Default)]
pub struct SettingsCache {
    newest: Arc<ArcSwap<Settings>>,
    every_profile: bool,
}

impl SettingsCache {
    /// Of a node in whose configuration it stands whether every participant uses all profiles.
    #[must_use]
    pub fn new(every_profile: bool) -> Self {
        Self { every_profile, ..Self::default() }
    }

    /// The newest settings.
    #[must_use]
    pub fn load(&self) -> Arc<Settings> {
        self.newest.load_full()
    }

    /// Puts newer settings in place; older ones are ignored.
    pub fn store(&self, settings: Arc<Settings>) {
        let settings = Arc::new(Settings { every_profile: self.every_profile, ..Arc::unwrap_or_clone(settings) });
        self.newest.rcu(|now| if settings.version >= now.version { settings.clone() } else { now.clone() });
    }
}
