//! Issuers of this installation: which participant context hosts one, and whether a holder there is the participant that an orchestration made.

use super::{ActivityError, Work};
use crate::fabric::platform::{CallError, Caller, Platform, segment};
use cellspace_schemas::{
    Did, ParticipantContextId, TraceContext,
    fabric::{Properties, keys},
};
use http::StatusCode;
use serde_json::{Value, json};

/// Registers, changes and reads holders.
const HOLDERS: &str = "issuer-admin-api:holders:write";

/// The issuer's participant context, as the `IssuerService` of its DID document says. `None` for an issuer that is hosted elsewhere: nothing
/// can be registered there in the operator's name. For a disposal also `None` for an issuer that is gone or switched off, and nothing is left
/// there that could be taken away.
///
/// # Errors
/// Retry while the issuer's DID document is not there yet; fatal when it has no issuer service of this installation.
pub async fn context_of(platform: &Platform, issuer: &Did, work: &Work<'_>) -> Result<Option<ParticipantContextId>, ActivityError> {
    let Some(path) = platform.urls().did_path(issuer) else { return Ok(None) };
    let path: Vec<String> =
        path.as_str().split('/').map(|part| if part == ".well-known" { part.to_owned() } else { segment(part) }).collect();
    let answer = platform.public(&format!("/{}/did.json", path.join("/")), work.trace).await?;
    let missing = if answer.status == StatusCode::NOT_FOUND {
        ActivityError::Retry(format!("the issuer {issuer} has no DID document yet"))
    } else {
        match service_of(platform, &answer.done()?.body) {
            Some(context) => return Ok(Some(context)),
            None => ActivityError::Fatal(format!("{issuer} has no IssuerService of this installation")),
        }
    };
    if work.disposes() {
        tracing::warn!(category = "app", action = "disposal.nothing-left", %issuer, reason = %missing, "the issuer is gone or switched off");
        return Ok(None);
    }
    Err(missing)
}

/// The participant context behind the `IssuerService` of a DID document.
fn service_of(platform: &Platform, document: &Value) -> Option<ParticipantContextId> {
    let services = document.get("service").and_then(Value::as_array).into_iter().flatten();
    let endpoint = services
        .filter(|service| service.get("type").and_then(Value::as_str) == Some("IssuerService"))
        .find_map(|service| service.get("serviceEndpoint").and_then(Value::as_str));
    let base = platform.urls().public("/api/issuance/v1beta/participants/");
    endpoint.and_then(|endpoint| endpoint.strip_prefix(&base)).and_then(|id| ParticipantContextId::new(id).ok())
}

/// The holders of an issuer. Each one that is registered here names, in its properties, the participant context that it was registered for.
pub struct Holders<'a> {
    platform: &'a Platform,
    issuer: &'a ParticipantContextId,
    trace: Option<&'a TraceContext>,
}

impl<'a> Holders<'a> {
    /// Those of this issuer.
    pub const fn of(platform: &'a Platform, issuer: &'a ParticipantContextId, work: &Work<'a>) -> Self {
        Self { platform, issuer, trace: work.trace }
    }

    const fn caller(&self) -> Caller<'a> {
        Caller::Agent { participant: self.issuer, scope: HOLDERS }
    }

    fn all(&self) -> String {
        format!("/api/admin/v1beta/participants/{}/holders", segment(self.issuer))
    }

    fn one(&self, did: &Did) -> String {
        format!("{}/{}", self.all(), segment(did.as_str()))
    }

    /// Registers the participant; a holder under its DID that is no other participant's is brought up to date.
    ///
    /// # Errors
    /// Fatal when the DID belongs to another holder or participant.
    pub async fn register(&self, did: &Did, id: &ParticipantContextId, mut properties: Properties) -> Result<(), ActivityError> {
        let name = did.as_str().rsplit(':').next().unwrap_or_default();
        properties.insert(keys::PARTICIPANT_CONTEXT_ID.to_owned(), id.to_string().into());
        let body = json!({"holderId": did, "did": did, "name": name, "properties": properties});
        let Some(there) = self.platform.ensure(&self.caller(), &self.all(), &self.one(did), body.clone(), self.trace).await? else {
            return Ok(());
        };
        let taken = there.get("did").and_then(Value::as_str) != Some(did.as_str())
            || match registered_for(&there) {
                Some(other) if other != *id => super::identity_hub::owns(self.platform, &other, did, self.trace).await?,
                Some(_) | None => false,
            };
        if taken {
            return Err(ActivityError::Fatal(format!("the issuer {} has another holder under {did}", self.issuer)));
        }
        self.platform.call(&self.caller(), http::Method::PUT, &self.all(), Some(body), self.trace).await?.done()?;
        Ok(())
    }

    /// Whether the holder under the DID is this participant context.
    ///
    /// # Errors
    /// [`CallError`] when the issuer does not say.
    pub async fn has(&self, did: &Did, id: &ParticipantContextId) -> Result<bool, CallError> {
        let holder = self.platform.find(&self.caller(), &self.one(did), self.trace).await?;
        Ok(holder.as_ref().and_then(registered_for).as_ref() == Some(id))
    }

    /// Removes the holder under the DID, when it is this participant context.
    ///
    /// # Errors
    /// [`CallError`] when the issuer does not answer, or refuses.
    pub async fn remove(&self, did: &Did, id: &ParticipantContextId) -> Result<(), CallError> {
        if !self.has(did, id).await? {
            return Ok(());
        }
        self.platform.call(&self.caller(), http::Method::DELETE, &self.one(did), None, self.trace).await?.gone()
    }
}

fn registered_for(holder: &Value) -> Option<ParticipantContextId> {
    let id = holder.get("properties")?.get(keys::PARTICIPANT_CONTEXT_ID)?.as_str()?;
    ParticipantContextId::new(id).ok()
}
