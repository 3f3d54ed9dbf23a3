//! `identityhub-activity`: the participant context at the credential service, with a fresh key and three services in its DID document.

use super::{ActivityAgent, ActivityError, Input, Work, remove_participant};
use crate::{
    fabric::platform::{CallError, Caller, Platform, segment},
    settings::DEFAULT_PROFILE,
};
use cellspace_schemas::{Did, ParticipantContextId, ProfileId, TraceContext, fabric::Properties};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

/// The type.
pub(super) const TYPE: &str = "identityhub-activity";
const PARTICIPANTS: &str = "/api/identity/v1beta/participants";
const SCOPE: &str = "identity-api:admin";

/// The agent.
pub struct IdentityHubActivity {
    platform: Arc<Platform>,
}

fn path(id: &ParticipantContextId) -> String {
    format!("{PARTICIPANTS}/{}", segment(id))
}

fn is_of(context: &Value, did: &Did) -> bool {
    context.get("did").and_then(Value::as_str) == Some(did.as_str())
}

/// Whether the participant context is there, switched off or not, and the DID is its own.
///
/// # Errors
/// [`CallError`] when the credential service does not say.
pub(super) async fn owns(
    platform: &Platform,
    id: &ParticipantContextId,
    did: &Did,
    trace: Option<&TraceContext>,
) -> Result<bool, CallError> {
    let caller = Caller::Agent { participant: id, scope: SCOPE };
    Ok(platform.find(&caller, &path(id), trace).await?.is_some_and(|context| is_of(&context, did)))
}

impl IdentityHubActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    fn manifest(&self, id: &ParticipantContextId, did: &Did, profile: &ProfileId, work: &Work<'_>) -> Value {
        let urls = self.platform.urls();
        json!({
            "participantContextId": id, "did": did, "active": true, "provisionStsAccount": false, "provisionApiKey": false,
            "roles": ["participant"], "scopes": [], "additionalProperties": work.tenant_properties(),
            "serviceEndpoints": [
                {"id": format!("{id}-credentialservice"), "type": "CredentialService", "serviceEndpoint": urls.credential_service(id)},
                {"id": format!("{id}-dsp"), "type": "ProtocolEndpoint", "serviceEndpoint": urls.dsp(id, &format!("/{profile}"))},
                {"id": format!("{id}-dataservice"), "type": "DataService", "serviceEndpoint": urls.dsp_versions(id)},
            ],
            // A key id of its own: a verifier that remembers the document of whoever had the DID before looks again for a key it does not know.
            "key": {"keyId": format!("{did}#{id}"), "privateKeyAlias": "key-1",
                "keyGeneratorParams": {"algorithm": "EdDSA", "curve": "Ed25519"}},
        })
    }

    async fn create(&self, work: Work<'_>) -> Result<Properties, ActivityError> {
        let input = Input::of(&work);
        let (id, did, profiles) = (input.participant()?, input.did()?, input.profiles()?);
        let default = ProfileId::new(DEFAULT_PROFILE).map_err(|e| ActivityError::Fatal(e.to_string()))?;
        let profile = if profiles.is_empty() || profiles.contains(&default) { &default } else { profiles.first().unwrap_or(&default) };
        let caller = Caller::Agent { participant: &id, scope: SCOPE };
        let manifest = self.manifest(&id, &did, profile, &work);
        // What is there is either ours from an earlier attempt, or another participant has the DID.
        match self.platform.ensure(&caller, PARTICIPANTS, &path(&id), manifest, work.trace).await? {
            Some(there) if !is_of(&there, &did) => Err(ActivityError::Fatal(format!("{did} is already in use"))),
            Some(_) | None => Ok(Properties::new()),
        }
    }
}

impl ActivityAgent for IdentityHubActivity {
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
