//! `edcv-activity`: the participant context at the control plane, its configuration, and the dataspaces it takes part in.

use super::{ActivityAgent, ActivityError, Input, Work};
use crate::fabric::platform::{Caller, Platform};
use cellspace_schemas::{fabric::Properties, management::MANAGEMENT_CONTEXT};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

const PARTICIPANTS: &str = "/api/mgmt/v5beta/participants";
const SCOPE: &str = "management-api:admin";

/// The agent.
pub struct EdcvActivity {
    platform: Arc<Platform>,
}

impl EdcvActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    async fn create(&self, work: Work<'_>) -> Result<Properties, ActivityError> {
        let input = Input::of(&work);
        let (id, did, profiles) = (input.participant()?, input.did()?, input.profiles()?);
        let caller = Caller::Agent { participant: &id, scope: SCOPE };
        let own = format!("{PARTICIPANTS}/{id}");
        let context = [MANAGEMENT_CONTEXT];
        let body =
            json!({"@context": context, "@type": "ParticipantContext", "@id": id, "identity": did, "state": "ACTIVATED", "properties": {}});
        let answer = self.platform.call(&caller, Method::POST, PARTICIPANTS, Some(body), work.trace).await?;
        if answer.status == StatusCode::CONFLICT {
            let found = self.platform.call(&caller, Method::GET, &own, None, work.trace).await?.done()?;
            if found.body.get("identity").and_then(Value::as_str) != Some(did.as_str()) {
                return Err(ActivityError::Fatal(format!("the participant context {id} belongs to another participant")));
            }
        } else {
            answer.done()?;
        }
        let entries = json!({"edc.participant.id": did, "edc.iam.issuer.id": did});
        let config = json!({"@context": context, "@type": "ParticipantContextConfig", "entries": entries, "privateEntries": {}});
        self.platform.call(&caller, Method::PATCH, &format!("{own}/config"), Some(config), work.trace).await?.done()?;
        if !profiles.is_empty() {
            let association = json!({"@context": context, "@type": "AssociateDataspaceProfile", "profiles": profiles});
            self.platform.call(&caller, Method::PUT, &format!("{own}/profiles"), Some(association), work.trace).await?.done()?;
        }
        Ok(Properties::new())
    }
}

impl ActivityAgent for EdcvActivity {
    fn activity_type(&self) -> &'static str {
        "edcv-activity"
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(self.create(work))
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let Some(id) = Input::of(&work).made_participant()? else { return Ok(Properties::new()) };
            let caller = Caller::Agent { participant: &id, scope: SCOPE };
            self.platform.call(&caller, Method::DELETE, &format!("{PARTICIPANTS}/{id}"), None, work.trace).await?.gone()?;
            Ok(Properties::new())
        })
    }
}
