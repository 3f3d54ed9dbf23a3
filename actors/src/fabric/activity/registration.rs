//! `registration-activity`: the participant as a holder at the issuers of its credentials, with what the client said about it
//! (`vpaProperties["cfm.issuer"]`) as properties to attest.

use super::{ActivityAgent, ActivityError, Input, Work, issuer};
use crate::fabric::platform::{Caller, Platform, segment};
use cellspace_schemas::{
    Did, ParticipantContextId,
    fabric::{Properties, VpaType},
};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

const SCOPE: &str = "issuer-admin-api:holders:write";

/// The agent.
pub struct RegistrationActivity {
    platform: Arc<Platform>,
}

fn holders(issuer: &ParticipantContextId) -> String {
    format!("/api/admin/v1beta/participants/{issuer}/holders")
}

impl RegistrationActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    async fn register(
        &self,
        issuer: &ParticipantContextId,
        did: &Did,
        properties: &Properties,
        work: &Work<'_>,
    ) -> Result<(), ActivityError> {
        let caller = Caller::Agent { participant: issuer, scope: SCOPE };
        let name = did.as_str().rsplit(':').next().unwrap_or_default();
        let body = json!({"holderId": did, "did": did, "name": name, "properties": properties});
        let answer = self.platform.call(&caller, Method::POST, &holders(issuer), Some(body.clone()), work.trace).await?;
        if answer.status != StatusCode::CONFLICT {
            answer.done()?;
            return Ok(());
        }
        // There already: ours from an earlier attempt, when id and DID go together.
        let path = format!("{}/{}", holders(issuer), segment(did.as_str()));
        let found = self.platform.call(&caller, Method::GET, &path, None, work.trace).await?;
        if found.status == StatusCode::NOT_FOUND || found.body.get("did").and_then(Value::as_str) != Some(did.as_str()) {
            return Err(ActivityError::Fatal(format!("the issuer {issuer} has another holder under {did}")));
        }
        self.platform.call(&caller, Method::PUT, &holders(issuer), Some(body), work.trace).await?.done()?;
        Ok(())
    }
}

impl ActivityAgent for RegistrationActivity {
    fn activity_type(&self) -> &'static str {
        "registration-activity"
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let (did, properties) = (input.did()?, input.vpa_properties(VpaType::Issuer)?);
            for issuer in input.issuers()? {
                match issuer::context_of(&self.platform, &issuer, &work).await? {
                    Some(context) => self.register(&context, &did, &properties, &work).await?,
                    None => tracing::info!(category = "app", action = "registration.skipped", %issuer, "the issuer is hosted elsewhere"),
                }
            }
            Ok(Properties::new())
        })
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let did = input.did()?;
            for issuer in input.issuers()? {
                if let Some(context) = issuer::context_of(&self.platform, &issuer, &work).await? {
                    let caller = Caller::Agent { participant: &context, scope: SCOPE };
                    let path = format!("{}/{}", holders(&context), segment(did.as_str()));
                    self.platform.call(&caller, Method::DELETE, &path, None, work.trace).await?.gone()?;
                }
            }
            Ok(Properties::new())
        })
    }
}
