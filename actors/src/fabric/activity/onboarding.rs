//! `onboarding-activity`: requests the participant's credentials and waits until they are issued; revokes them in the end.

use super::{ActivityAgent, ActivityError, Input, Work, issuer, outputs};
use crate::{
    derived_id::derived_id,
    fabric::platform::{Caller, Platform, segment},
};
use cellspace_schemas::{
    Did, ParticipantContextId,
    fabric::{CredentialSpec, Properties, keys},
};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

const SCOPE: &str = "identity-api:credentials:read identity-api:credentials:write";
const REVOKE_SCOPE: &str = "issuer-admin-api:credentials:read issuer-admin-api:credentials:write";
/// How long one attempt waits for a credential, in the words of the API; longer waits are further attempts.
const WAIT: &str = "wait=ISSUED&timeout=60s";
/// Credentials of one holder that are looked at when they are revoked.
const MAX_CREDENTIALS: u32 = 1000;

/// The agent.
pub struct OnboardingActivity {
    platform: Arc<Platform>,
}

fn requests(id: &ParticipantContextId) -> String {
    format!("/api/identity/v1beta/participants/{id}/credentials/request")
}

impl OnboardingActivity {
    /// The agent with its way to the APIs.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    /// Requests all credentials of one issuer; what was requested by an earlier attempt is there already. Answers the holder's id of it.
    async fn request(
        &self,
        id: &ParticipantContextId,
        issuer: &Did,
        specs: &[CredentialSpec],
        work: &Work<'_>,
    ) -> Result<String, ActivityError> {
        let caller = Caller::Participant { participant: id, scope: SCOPE };
        let holder_pid = derived_id(&["credential-request", work.orchestration.as_str(), issuer.as_str()]).to_string();
        let wanted = specs.iter().filter(|spec| spec.issuer == *issuer);
        let credentials: Vec<Value> =
            wanted.map(|spec| json!({"format": spec.format, "type": spec.credential_type, "id": spec.id})).collect();
        let body = json!({"issuerDid": issuer, "holderPid": holder_pid, "credentials": credentials});
        let answer = self.platform.call(&caller, Method::POST, &requests(id), Some(body), work.trace).await?;
        if answer.status != StatusCode::CONFLICT {
            answer.done()?;
        }
        Ok(holder_pid)
    }

    /// Waits at the credential service, which answers as soon as the request is issued or has failed.
    async fn issued(&self, id: &ParticipantContextId, holder_pid: &str, work: &Work<'_>) -> Result<(), ActivityError> {
        let caller = Caller::Participant { participant: id, scope: SCOPE };
        let path = format!("{}/{holder_pid}?{WAIT}", requests(id));
        let answer = self.platform.call(&caller, Method::GET, &path, None, work.trace).await?.done()?;
        match answer.body.get("status").and_then(Value::as_str) {
            Some("ISSUED") => Ok(()),
            Some("ERROR") => {
                let detail = answer.body.get("errorDetail").and_then(Value::as_str).unwrap_or("the issuer refused it, or did not answer");
                Err(ActivityError::Fatal(format!("the credential request {holder_pid} failed: {detail}")))
            }
            Some(state) => Err(ActivityError::Retry(format!("the credential request {holder_pid} is still {state}"))),
            None => Err(ActivityError::Fatal(format!("the credential request {holder_pid} has no status"))),
        }
    }

    async fn onboard(&self, work: Work<'_>) -> Result<Properties, ActivityError> {
        let input = Input::of(&work);
        let (id, specs, issuers) = (input.participant()?, input.credentials()?, input.issuers()?);
        // All requests first, so that issuers work at the same time.
        let mut pids = Vec::new();
        for issuer in &issuers {
            pids.push(self.request(&id, issuer, &specs, &work).await?);
        }
        for pid in &pids {
            self.issued(&id, pid, &work).await?;
        }
        let mut result = outputs([(keys::PARTICIPANT_CONTEXT_ID, id.to_string())]);
        if let Some(first) = pids.first() {
            let url = self.platform.urls().admin(&format!("{}/{first}", requests(&id)));
            result.extend(outputs([(keys::HOLDER_PID, first.clone()), (keys::CREDENTIAL_REQUEST, url)]));
        }
        Ok(result)
    }

    /// Revokes what one issuer has issued to the holder.
    async fn revoke(&self, issuer: &ParticipantContextId, holder: &Did, work: &Work<'_>) -> Result<(), ActivityError> {
        let caller = Caller::Participant { participant: issuer, scope: REVOKE_SCOPE };
        let base = format!("/api/admin/v1beta/participants/{issuer}/credentials");
        let criterion = json!({"operandLeft": "holderId", "operator": "=", "operandRight": holder});
        let query = json!({"offset": 0, "limit": MAX_CREDENTIALS, "filterExpression": [criterion]});
        let found = self.platform.call(&caller, Method::POST, &format!("{base}/query"), Some(query), work.trace).await?.done()?;
        for credential in found.body.as_array().into_iter().flatten() {
            let Some(id) = credential.get("id").and_then(Value::as_str) else { continue };
            let path = format!("{base}/{}/revoke", segment(id));
            let answer = self.platform.call(&caller, Method::POST, &path, None, work.trace).await?;
            // Revoked before, by an earlier attempt or by the issuer itself.
            if answer.status != StatusCode::CONFLICT {
                answer.gone()?;
            }
        }
        Ok(())
    }
}

impl ActivityAgent for OnboardingActivity {
    fn activity_type(&self) -> &'static str {
        "onboarding-activity"
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(self.onboard(work))
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            let input = Input::of(&work);
            let did = input.did()?;
            for issuer in input.issuers()? {
                if let Some(context) = issuer::context_of(&self.platform, &issuer, &work).await? {
                    self.revoke(&context, &did, &work).await?;
                }
            }
            Ok(Properties::new())
        })
    }
}
