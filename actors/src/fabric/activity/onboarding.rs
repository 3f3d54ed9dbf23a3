//! `onboarding-activity`: requests the participant's credentials and waits until they are issued; revokes them in the end.

use super::{
    ActivityAgent, ActivityError, Input, Work, identity_hub,
    issuer::{self, Holders},
    outputs,
};
use crate::{
    derived_id::derived_id,
    fabric::platform::{Caller, Platform, segment},
};
use cellspace_schemas::{
    Did, ParticipantContextId,
    fabric::{CredentialSpec, Properties, keys},
};
use futures::future::{BoxFuture, try_join_all};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The type.
pub(super) const TYPE: &str = "onboarding-activity";
const SCOPE: &str = "identity-api:credentials:read identity-api:credentials:write";
const REVOKE_SCOPE: &str = "issuer-admin-api:credentials:read issuer-admin-api:credentials:write";
/// How long one attempt waits for a credential, in the words of the API; longer waits are further attempts.
const WAIT: &str = "wait=ISSUED&timeout=60s";
/// Credentials of one holder that are looked at at once when they are revoked.
const PAGE: u32 = 1000;

/// The agent.
pub struct OnboardingActivity {
    platform: Arc<Platform>,
}

fn requests(id: &ParticipantContextId) -> String {
    format!("/api/identity/v1beta/participants/{}/credentials/request", segment(id))
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
        let path = format!("{}/{}?{WAIT}", requests(id), segment(holder_pid));
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
        let pids = try_join_all(issuers.iter().map(|issuer| self.request(&id, issuer, &specs, &work))).await?;
        try_join_all(pids.iter().map(|pid| self.issued(&id, pid, &work))).await?;
        let mut result = outputs([(keys::PARTICIPANT_CONTEXT_ID, id.to_string())]);
        if let Some(first) = pids.first() {
            let url = self.platform.urls().admin(&format!("{}/{}", requests(&id), segment(first)));
            result.extend(outputs([(keys::HOLDER_PID, first.clone()), (keys::CREDENTIAL_REQUEST, url)]));
        }
        Ok(result)
    }

    /// Revokes what one issuer has issued to the holder. An issuer that is switched off revokes nothing, and nobody believes its credentials.
    async fn revoke(&self, issuer: &ParticipantContextId, holder: &Did, work: &Work<'_>) -> Result<(), ActivityError> {
        let caller = Caller::Participant { participant: issuer, scope: REVOKE_SCOPE };
        let base = format!("/api/admin/v1beta/participants/{}/credentials", segment(issuer));
        let criteria = json!([
            {"operandLeft": "holderId", "operator": "=", "operandRight": holder},
            {"operandLeft": "status", "operator": "!=", "operandRight": "revoked"},
        ]);
        // What has been revoked is on no further page; what cannot be revoked is passed over.
        let (mut kept, mut last) = (0, None);
        loop {
            let query = json!({"offset": kept, "limit": PAGE, "filterExpression": criteria});
            let found = self.platform.call(&caller, Method::POST, &format!("{base}/query"), Some(query), work.trace).await?;
            if matches!(found.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
                return Ok(found.gone_with_owner()?);
            }
            let page = found.done()?.body;
            let ids: Vec<&str> = page.as_array().into_iter().flatten().filter_map(|c| c.get("id")?.as_str()).collect();
            let Some(first) = ids.first().map(|id| (*id).to_owned()) else { return Ok(()) };
            if last.as_ref() == Some(&first) {
                return Err(ActivityError::Retry(format!("the credential {first} is not revoked yet")));
            }
            last = Some(first);
            for id in ids {
                let answer = self.platform.call(&caller, Method::POST, &format!("{base}/{}/revoke", segment(id)), None, work.trace).await?;
                if matches!(answer.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
                    kept += 1;
                } else {
                    answer.done()?;
                }
            }
        }
    }

    /// Revokes the participant's credentials, but not those of another one that has the DID by now.
    async fn offboard(&self, work: Work<'_>) -> Result<Properties, ActivityError> {
        let input = Input::of(&work);
        let (did, Some(id)) = (input.did()?, input.made_participant()?) else { return Ok(Properties::new()) };
        let owns = identity_hub::owns(&self.platform, &id, &did, work.trace).await?;
        for issuer in input.issuers()? {
            let Some(context) = issuer::context_of(&self.platform, &issuer, &work).await? else { continue };
            if owns || Holders::of(&self.platform, &context, &work).has(&did, &id).await? {
                self.revoke(&context, &did, &work).await?;
            }
        }
        Ok(Properties::new())
    }
}

impl ActivityAgent for OnboardingActivity {
    fn activity_type(&self) -> &'static str {
        TYPE
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(self.onboard(work))
    }

    fn dispose<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(self.offboard(work))
    }
}
