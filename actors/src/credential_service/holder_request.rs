//! Requests for credentials, on the holder's side: CREATED, REQUESTING, REQUESTED, ISSUED, ERROR (DCP 1.0, "Issuance Flow").

use super::{
    Effect, Event, Refusal, State,
    agent::{Decided, Reply},
    credential::{CredentialEvent, MAX_CREDENTIALS, StoredCredential},
};
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, Timestamp,
    identity::{HolderRequestResource, RequestedCredential, credential::TypeAndFormat},
    issuer::{CredentialId, HolderPid, IssuerPid},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Table of its rows.
pub const TABLE: &str = "request";
/// Most requests of a participant.
pub const MAX_REQUESTS: usize = 10_000;

/// State of a request (Identity API). CREATED is never seen: making a request and starting to send it are one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestState {
    /// On its way to the issuer.
    Requesting,
    /// The issuer has it.
    Requested,
    /// The credentials are here.
    Issued,
    /// The issuer refused it, or could not be reached.
    Error,
}

impl RequestState {
    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requesting => "REQUESTING",
            Self::Requested => "REQUESTED",
            Self::Issued => "ISSUED",
            Self::Error => "ERROR",
        }
    }

    /// Whether a client need not wait any longer. Credentials that arrive later are still taken.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Issued | Self::Error)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderRequest {
    /// Its id.
    pub holder_pid: HolderPid,
    /// Whom it goes to.
    pub issuer: Did,
    /// Its id at the issuer.
    pub issuer_pid: Option<IssuerPid>,
    /// State.
    pub state: RequestState,
    /// What is asked for.
    pub asked: Vec<RequestedCredential>,
    /// What it brought.
    pub brought: Vec<CredentialId>,
    /// Why it failed.
    pub error: Option<String>,
    /// Since when it is in its state.
    pub since: Timestamp,
}

impl HolderRequest {
    /// As the Identity API shows it.
    #[must_use]
    pub fn resource(&self) -> HolderRequestResource {
        let shown = |asked: &RequestedCredential| TypeAndFormat {
            id: asked.id.clone(),
            credential_type: asked.credential_type.clone(),
            format: asked.format.name(),
        };
        HolderRequestResource {
            issuer_did: self.issuer.clone(),
            holder_pid: self.holder_pid.clone(),
            issuer_pid: self.issuer_pid.clone(),
            status: self.state.name(),
            types_and_formats: self.asked.iter().map(shown).collect(),
            error_detail: self.error.clone(),
        }
    }
}

/// A delivery from an issuer, verified.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Who delivers.
    pub issuer: Did,
    /// Its id of the request.
    pub issuer_pid: IssuerPid,
    /// Our id of the request.
    pub holder_pid: HolderPid,
    /// The credentials, or why there are none.
    pub outcome: Result<Vec<Arc<StoredCredential>>, String>,
}

/// What the issuer said to a request.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its id of the request.
    pub issuer_pid: Option<IssuerPid>,
}

/// Requests to the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Id of the request; fresh when absent.
    pub holder_pid: Option<HolderPid>,
    /// Whom to ask.
    pub issuer: Did,
    /// What to ask for; at least one.
    pub credentials: Vec<RequestedCredential>,
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum RequestEvent {
    /// The request is now this.
    Changed(Arc<HolderRequest>),
    /// It is gone.
    Removed(HolderPid),
}

/// A new request.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub fn request(state: &State, request: &Request, holder_pid: &HolderPid, now: Timestamp) -> Decided {
    match &state.context {
        None => return Err(Refusal::NoContext.into()),
        Some(context) if !context.active => return Err(Refusal::Inactive.into()),
        Some(_) => {}
    }
    if state.requests.contains_key(holder_pid) {
        return Err(Refusal::RequestExists.into());
    }
    if state.requests.size() >= MAX_REQUESTS {
        return Err(Refusal::Full("credential requests").into());
    }
    // (none) --request--> REQUESTING
    let made = HolderRequest {
        holder_pid: holder_pid.clone(),
        issuer: request.issuer.clone(),
        issuer_pid: None,
        state: RequestState::Requesting,
        asked: request.credentials.clone(),
        brought: Vec::new(),
        error: None,
        since: now,
    };
    let ids = request.credentials.iter().map(|c| c.id.clone()).collect();
    let effect = Effect::RequestCredentials { holder_pid: holder_pid.clone(), issuer: request.issuer.clone(), credentials: ids };
    Ok(Decision::action("credentials.requesting")
        .event(changed(made))
        .effect(lane(holder_pid), effect)
        .replying(Reply::Requested(holder_pid.clone())))
}

fn lane(holder_pid: &HolderPid) -> String {
    format!("{TABLE}/{holder_pid}")
}

/// The issuer took the request.
pub fn acknowledged(state: &State, holder_pid: &HolderPid, answer: &Acknowledged, now: Timestamp) -> Decided {
    let Some(request) = state.requests.get(holder_pid) else { return Ok(Decision::nothing()) };
    let issuer_pid = request.issuer_pid.clone().or_else(|| answer.issuer_pid.clone());
    let next = match request.state {
        // REQUESTING --acknowledged--> REQUESTED
        RequestState::Requesting => HolderRequest { state: RequestState::Requested, since: now, issuer_pid, ..(**request).clone() },
        // The credentials, or a rejection, overtook the acknowledgement: only the id is news.
        RequestState::Requested | RequestState::Issued | RequestState::Error if request.issuer_pid.is_none() && issuer_pid.is_some() => {
            HolderRequest { issuer_pid, ..(**request).clone() }
        }
        RequestState::Requested | RequestState::Issued | RequestState::Error => return Ok(Decision::nothing()),
    };
    Ok(Decision::action("credentials.requested").event(changed(next)))
}

/// The request could not be handed over.
pub fn undeliverable(state: &State, holder_pid: &HolderPid, reason: &str, now: Timestamp) -> Decided {
    let Some(request) = state.requests.get(holder_pid) else { return Ok(Decision::nothing()) };
    match request.state {
        // REQUESTING --undeliverable--> ERROR
        RequestState::Requesting => Ok(Decision::action("credentials.error").event(changed(failed(request, reason, now)))),
        // A delivery presupposes the request: it was handed over after all.
        RequestState::Requested | RequestState::Issued | RequestState::Error => Ok(Decision::nothing()),
    }
}

fn failed(request: &HolderRequest, reason: &str, now: Timestamp) -> HolderRequest {
    HolderRequest { state: RequestState::Error, error: Some(reason.to_owned()), since: now, ..request.clone() }
}

/// The issuer delivers or rejects. Repeats are answered again; new credentials for a finished request replace what it brought before.
///
/// # Errors
/// [`Refusal::NoRequest`] for unknown requests and for those to another issuer alike.
pub fn deliver(state: &State, delivered: &Delivered, now: Timestamp) -> Decided {
    if state.active_context().is_none() {
        return Err(Refusal::NoContext.into());
    }
    let request = state.requests.get(&delivered.holder_pid).filter(|r| r.issuer == delivered.issuer).ok_or(Refusal::NoRequest)?;
    let issuer_pid = Some(delivered.issuer_pid.clone());
    let credentials = match (&delivered.outcome, request.state) {
        // REQUESTING, REQUESTED --rejected--> ERROR
        (Err(reason), RequestState::Requesting | RequestState::Requested) => {
            let next = HolderRequest { issuer_pid, ..failed(request, reason, now) };
            return Ok(Decision::action("credentials.rejected").event(changed(next)));
        }
        // A rejection after the credentials, or a repeated one, changes nothing.
        (Err(_), RequestState::Issued | RequestState::Error) => return Ok(Decision::nothing()),
        // REQUESTING, REQUESTED, ERROR --issued--> ISSUED; ISSUED --issued--> ISSUED (re-issued)
        (Ok(credentials), RequestState::Requesting | RequestState::Requested | RequestState::Error | RequestState::Issued) => credentials,
    };
    let held = |raw: &str| request.brought.iter().filter_map(|id| state.credentials.get(id)).find(|held| held.raw == raw);
    if request.state == RequestState::Issued && credentials.iter().all(|c| held(&c.raw).is_some()) {
        return Ok(Decision::nothing());
    }
    let (known, news): (Vec<_>, Vec<_>) = credentials.iter().partition(|c| held(&c.raw).is_some());
    let kept: Vec<CredentialId> = known.iter().filter_map(|c| held(&c.raw)).map(|held| held.id.clone()).collect();
    let gone: Vec<_> = request.brought.iter().filter(|id| !kept.contains(id) && state.credentials.contains_key(id)).collect();
    if state.credentials.size() + news.len() > MAX_CREDENTIALS + gone.len() {
        return Err(Refusal::Full("credentials").into());
    }
    let brought = kept.into_iter().chain(news.iter().map(|c| c.id.clone())).collect();
    let next = HolderRequest { state: RequestState::Issued, issuer_pid, brought, error: None, since: now, ..(**request).clone() };
    let mut decision = Decision::action("credentials.issued");
    decision.events.extend(gone.into_iter().map(|id| Event::Credential(CredentialEvent::Removed(id.clone()))));
    decision.events.extend(news.into_iter().map(|c| Event::Credential(CredentialEvent::Stored(c.clone()))));
    Ok(decision.event(changed(next)))
}

fn changed(request: HolderRequest) -> Event {
    Event::Request(RequestEvent::Changed(Arc::new(request)))
}

/// Folds.
pub fn apply(state: &mut State, event: &RequestEvent) {
    match event {
        RequestEvent::Changed(request) => state.requests.insert_mut(request.holder_pid.clone(), request.clone()),
        RequestEvent::Removed(id) => {
            state.requests.remove_mut(id);
        }
    }
}

/// Its row.
#[must_use]
pub fn row(event: &RequestEvent) -> RowOf {
    match event {
        RequestEvent::Changed(request) => RowOf::Put(RowKey::new(TABLE, request.holder_pid.as_str())),
        RequestEvent::Removed(id) => RowOf::Delete(RowKey::new(TABLE, id.as_str())),
    }
}
