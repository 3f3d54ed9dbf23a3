//! `siglet-activity`: registers the platform's data plane with the participant's control plane.

use super::{ActivityAgent, ActivityError, Input, Work};
use crate::fabric::platform::{Caller, Platform, segment};
use cellspace_schemas::{
    ParticipantContextId,
    fabric::{Properties, VpaType},
};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The type.
pub(super) const TYPE: &str = "siglet-activity";
const SCOPE: &str = "management-api:dataplanes:write";
/// Transfer type when the client named none (`vpaProperties["cfm.dataplane"].transferTypeMappings`).
const DEFAULT_TYPE: &str = "HttpData-PULL";

/// The agent.
pub struct DataPlaneActivity {
    platform: Arc<Platform>,
}

fn path(id: &ParticipantContextId) -> String {
    format!("/api/mgmt/v5beta/participants/{}/dataplanes", segment(id))
}

fn data_plane(id: &ParticipantContextId) -> String {
    format!("{id}-siglet")
}

impl DataPlaneActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }
}

impl ActivityAgent for DataPlaneActivity {
    fn activity_type(&self) -> &'static str {
        TYPE
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let id = input.participant()?;
            let properties = input.vpa_properties(VpaType::DataPlane)?;
            let named = properties.get("transferTypeMappings").and_then(Value::as_object).filter(|m| !m.is_empty());
            let types: Vec<&str> = named.map_or_else(|| vec![DEFAULT_TYPE], |m| m.keys().map(String::as_str).collect());
            let body = json!({"dataplaneId": data_plane(&id), "endpoint": self.platform.urls().dataflows(&id), "transferTypes": types, "labels": []});
            let caller = Caller::Participant { participant: &id, scope: SCOPE };
            self.platform.call(&caller, Method::PUT, &path(&id), Some(body), work.trace).await?.done()?;
            Ok(Properties::new())
        })
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let Some(id) = Input::of(&work).made_participant()? else { return Ok(Properties::new()) };
            let caller = Caller::Participant { participant: &id, scope: SCOPE };
            let own = format!("{}/{}", path(&id), segment(data_plane(&id)));
            let answer = self.platform.call(&caller, Method::DELETE, &own, None, work.trace).await?;
            // A data plane goes with its participant context, which may be gone already, and goes in the end: also one that transfers still run on.
            if answer.status != StatusCode::CONFLICT {
                answer.gone_with_owner()?;
            }
            Ok(Properties::new())
        })
    }
}
