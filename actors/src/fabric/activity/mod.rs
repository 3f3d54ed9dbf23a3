//! Activity agents: they carry out the activities of orchestrations, through the platform's public HTTP APIs alone.
//!
//! Every agent bears repeats: it makes things under ids that follow from the orchestration, and takes what is there already and its own for
//! done. Taking away what is not there is done as well. Each call carries a token of its own, bound to one participant context and to the
//! activity's scopes: a provisioner token where provisioners may go (participant contexts, their configuration and profiles, issuer holders),
//! elsewhere (credential requests, data planes) one of the participant itself.

mod data_plane;
mod edcv;
mod identity_hub;
mod input;
mod issuer;
mod onboarding;
mod registration;
mod token;

pub use input::Input;

use super::platform::{CallError, Caller, Platform};
use cellspace_schemas::{
    ParticipantContextId, TraceContext,
    fabric::{Activity, OrchestrationId, Properties, TenantId},
};
use futures::future::BoxFuture;
use http::Method;
use std::sync::Arc;

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivityError {
    /// It may work later.
    #[error("{0}")]
    Retry(String),
    /// It never will.
    #[error("{0}")]
    Fatal(String),
}

impl From<CallError> for ActivityError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Retry(reason) => Self::Retry(reason),
            CallError::Refused(reason) => Self::Fatal(reason),
        }
    }
}

/// One attempt at an activity.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// For which orchestration.
    pub orchestration: &'a OrchestrationId,
    /// Which activity.
    pub activity: &'a Activity,
    /// Payload and outputs so far.
    pub data: &'a Properties,
    /// Whose participant it is about; nobody's when a client asked for the orchestration directly.
    pub tenant: Option<&'a TenantId>,
    /// The trace of the deployment.
    pub trace: Option<&'a TraceContext>,
}

impl Work<'_> {
    /// Whether things are to be taken away rather than made.
    #[must_use]
    pub fn disposes(&self) -> bool {
        self.activity.discriminator.as_ref().is_some_and(|d| d.disposes())
    }

    /// Properties of what is made: the tenant, for rows and logs.
    fn tenant_properties(&self) -> Properties {
        self.tenant.map(|tenant| (crate::control_plane::participant::TENANT.to_owned(), tenant.to_string().into())).into_iter().collect()
    }
}

/// An agent of one activity type.
pub trait ActivityAgent: Send + Sync + 'static {
    /// The type.
    fn activity_type(&self) -> &'static str;

    /// Makes what the activity is about. Answers its outputs.
    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>>;

    /// Takes it away again.
    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>>;
}

/// What the platform's own agents do, by their types.
pub const TYPES: [&str; 6] = [token::TYPE, registration::TYPE, identity_hub::TYPE, edcv::TYPE, onboarding::TYPE, data_plane::TYPE];

/// The platform's own agents.
#[must_use]
pub fn agents(platform: &Arc<Platform>) -> Vec<Arc<dyn ActivityAgent>> {
    vec![
        Arc::new(token::TokenActivity),
        Arc::new(registration::RegistrationActivity::new(platform.clone())),
        Arc::new(identity_hub::IdentityHubActivity::new(platform.clone())),
        Arc::new(edcv::EdcvActivity::new(platform.clone())),
        Arc::new(onboarding::OnboardingActivity::new(platform.clone())),
        Arc::new(data_plane::DataPlaneActivity::new(platform.clone())),
    ]
}

/// Takes away the participant context that was made for this work, if one was; `path` is its path at the API.
async fn remove_participant(
    platform: &Platform,
    work: Work<'_>,
    scope: &'static str,
    path: fn(&ParticipantContextId) -> String,
) -> Result<Properties, ActivityError> {
    let Some(id) = Input::of(&work).made_participant()? else { return Ok(Properties::new()) };
    let caller = Caller::Agent { participant: &id, scope };
    platform.call(&caller, Method::DELETE, &path(&id), None, work.trace).await?.gone()?;
    Ok(Properties::new())
}

/// A small object as outputs.
fn outputs<const N: usize>(entries: [(&str, String); N]) -> Properties {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

#[cfg(test)]
mod tests;
