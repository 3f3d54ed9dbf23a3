//! `identityhub-activity`: the participant context at the credential service, with a fresh key and three services in its DID document.

use super::{ActivityAgent, ActivityError, Input, Work};
use crate::{
    fabric::platform::{Caller, Platform},
    settings::DEFAULT_PROFILE,
};
use cellspace_schemas::{Did, ParticipantContextId, ProfileId, fabric::Properties};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

const PARTICIPANTS: &str = "/api/identity/v1beta/participants";
const SCOPE: &str = "identity-api:admin";

/// The agent.
pub struct IdentityHubActivity {
    platform: Arc<Platform>,
}

impl IdentityHubActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    fn manifest(&self, id: &ParticipantContextId, did: &Did, profile: &ProfileId) -> Value {
        let urls = self.platform.urls();
        json!({
            "participantContextId": id, "did": did, "active": true, "provisionStsAccount": false, "provisionApiKey": false,
            "roles": ["participant"], "scopes": [], "additionalProperties": {},
            "serviceEndpoints": [
                {"id": format!("{id}-credentialservice"), "type": "CredentialService", "serviceEndpoint": urls.credential_service(id)},
                {"id": format!("{id}-dsp"), "type": "ProtocolEndpoint", "serviceEndpoint": urls.dsp(id, profile)},
                {"id": format!("{id}-dataservice"), "type": "DataService", "serviceEndpoint": urls.dsp_versions(id)},
            ],
            "key": {"keyId": format!("{did}#key-1"), "privateKeyAlias": "key-1",
                "keyGeneratorParams": {"algorithm": "EdDSA", "curve": "Ed25519"}},
        })
    }

    async fn create(&self, work: Work<'_>) -> Result<Properties, ActivityError> {
        let input = Input::of(&work);
        let (id, did, profiles) = (input.participant()?, input.did()?, input.profiles()?);
        let default = ProfileId::new(DEFAULT_PROFILE).map_err(|e| ActivityError::Fatal(e.to_string()))?;
        let profile = if profiles.is_empty() || profiles.contains(&default) { &default } else { profiles.first().unwrap_or(&default) };
        let caller = Caller::Agent { participant: &id, scope: SCOPE };
        let manifest = self.manifest(&id, &did, profile);
        let answer = self.platform.call(&caller, Method::POST, PARTICIPANTS, Some(manifest), work.trace).await?;
        if answer.status != StatusCode::CONFLICT {
            answer.done()?;
            return Ok(Properties::new());
        }
        // Either ours from an earlier attempt, or another participant has the DID.
        let found = self.platform.call(&caller, Method::GET, &format!("{PARTICIPANTS}/{id}"), None, work.trace).await?;
        if found.status != StatusCode::NOT_FOUND && found.done()?.body.get("did").and_then(Value::as_str) == Some(did.as_str()) {
            return Ok(Properties::new());
        }
        Err(ActivityError::Fatal(format!("{did} is already in use")))
    }
}

impl ActivityAgent for IdentityHubActivity {
    fn activity_type(&self) -> &'static str {
        "identityhub-activity"
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
