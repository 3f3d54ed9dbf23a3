//! `registration-activity`: the participant as a holder at the issuers of its credentials, with what the client said about it
//! (`vpaProperties["cfm.issuer"]`) as properties to attest, and its participant context.

use super::{
    ActivityAgent, ActivityError, Input, Work,
    issuer::{self, Holders},
};
use crate::fabric::platform::Platform;
use cellspace_schemas::fabric::{Properties, VpaType};
use futures::future::BoxFuture;
use std::sync::Arc;

/// The type.
pub(super) const TYPE: &str = "registration-activity";

/// The agent.
pub struct RegistrationActivity {
    platform: Arc<Platform>,
}

impl RegistrationActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }
}

impl ActivityAgent for RegistrationActivity {
    fn activity_type(&self) -> &'static str {
        TYPE
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let (id, did, properties) = (input.participant()?, input.did()?, input.vpa_properties(VpaType::Issuer)?);
            for issuer in input.issuers()? {
                match issuer::context_of(&self.platform, &issuer, &work).await? {
                    Some(context) => Holders::of(&self.platform, &context, &work).register(&did, &id, properties.clone()).await?,
                    None => tracing::info!(category = "app", action = "registration.skipped", %issuer, "the issuer is hosted elsewhere"),
                }
            }
            Ok(Properties::new())
        })
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let (did, Some(id)) = (input.did()?, input.made_participant()?) else { return Ok(Properties::new()) };
            for issuer in input.issuers()? {
                if let Some(context) = issuer::context_of(&self.platform, &issuer, &work).await? {
                    Holders::of(&self.platform, &context, &work).remove(&did, &id).await?;
                }
            }
            Ok(Properties::new())
        })
    }
}
