//! `edcv-activity`: the participant context at the control plane, its configuration, and the dataspaces it takes part in.

use super::{ActivityAgent, ActivityError, Input, Work, remove_participant};
use crate::fabric::platform::{Caller, Platform, segment};
use cellspace_schemas::{ParticipantContextId, fabric::Properties, management::MANAGEMENT_CONTEXT};
use futures::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// The type.
pub(super) const TYPE: &str = "edcv-activity";
const PARTICIPANTS: &str = "/api/mgmt/v5beta/participants";
const SCOPE: &str = "management-api:admin";

/// The agent.
pub struct EdcvActivity {
    platform: Arc<Platform>,
}

fn path(id: &ParticipantContextId) -> String {
    format!("{PARTICIPANTS}/{}", segment(id))
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
        let (caller, own) = (Caller::Agent { participant: &id, scope: SCOPE }, path(&id));
        let context = [MANAGEMENT_CONTEXT];
        let body = json!({"@context": context, "@type": "ParticipantContext", "@id": id, "identity": did, "state": "ACTIVATED",
            "properties": work.tenant_properties()});
        let there = self.platform.ensure(&caller, PARTICIPANTS, &own, body, work.trace).await?;
        if there.is_some_and(|there| there.get("identity").and_then(Value::as_str) != Some(did.as_str())) {
            return Err(ActivityError::Fatal(format!("the participant context {id} belongs to another participant")));
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
        TYPE
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(self.create(work))
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(remove_participant(&self.platform, work, SCOPE, path))
    }
}
