//! Requests for credentials, on the holder's side: CREATED, REQUESTING, REQUESTED, ISSUED, ERROR (DCP 1.0, "Issuance Flow").

use super::{
    Effect, Event, Refusal, State,
    agent::{Decided, Reply},
    credential::{CredentialEvent, MAX_CREDENTIALS, StoredCredential},
    entries,
    watch::{Replaces, Watch},
};
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, SecretText, Timestamp,
    identity::{HolderRequestResource, RequestedCredential, credential::TypeAndFormat},
    issuer::{CredentialId, HolderPid, IssuerPid, metadata::RequestStatus},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Table of its rows.
pub const TABLE: &str = "request";
/// Most requests of a participant.
pub const MAX_REQUESTS: usize = 10_000;
/// How long an accepted request waits for its credentials before it is sent again; doubled each time.
pub const RESEND_AFTER: Duration = Duration::from_secs(60);
/// How often an accepted request is sent again: half an hour in all.
pub const MAX_RESENDS: u32 = 4;
/// How often its issuer is asked from then on what has become of it: somebody there may have to approve it.
pub const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How often it is asked at most: a hundred days in all.
pub const MAX_LOOKS: u32 = 400;
/// What is told of a request that an issuer knows nothing of by then, or says nothing about.
const NOTHING_CAME: &str = "the issuer took the request and sent nothing";

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
    /// How often it was sent again, since nothing came.
    #[serde(default)]
    pub resends: u32,
    /// How often its issuer was asked what has become of it.
    #[serde(default)]
    pub looks: u32,
    /// The credential that what it brings takes the place of.
    #[serde(default)]
    pub renews: Option<CredentialId>,
    /// Whether it follows an offer of the issuer.
    #[serde(default)]
    pub offered: bool,
    /// How many requests have followed the same offer before.
    #[serde(default)]
    pub attempt: u32,
    /// The code by which its issuer has authorized it beforehand, until all is here. No outbox row and no dead letter holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_authorized_code: Option<SecretText>,
}

impl HolderRequest {
    fn new(holder_pid: &HolderPid, issuer: &Did, asked: Vec<RequestedCredential>, now: Timestamp) -> Self {
        Self {
            holder_pid: holder_pid.clone(),
            issuer: issuer.clone(),
            issuer_pid: None,
            state: RequestState::Requesting,
            asked,
            brought: Vec::new(),
            error: None,
            since: now,
            resends: 0,
            looks: 0,
            renews: None,
            offered: false,
            attempt: 0,
            pre_authorized_code: None,
        }
    }

    /// When it is looked after: an issuer that took it may have given up, and nothing that it says would come here.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        let pause = if self.looks > 0 { LOOK_EVERY } else { RESEND_AFTER.saturating_mul(1 << self.resends.min(MAX_RESENDS)) };
        (self.state == RequestState::Requested).then(|| self.since.plus(pause))
    }

    fn sending(&self) -> Effect {
        let credentials = self.asked.iter().map(|c| c.id.clone()).collect();
        Effect::RequestCredentials { holder_pid: self.holder_pid.clone(), issuer: self.issuer.clone(), credentials }
    }

    /// The entry that a credential answers. One of its type alone will do when the format was named wrongly.
    pub(super) fn entry_of(&self, held: &StoredCredential) -> Option<&RequestedCredential> {
        let mut of_type = self.asked.iter().filter(|asked| entries::may_be_for(held, asked));
        let first = of_type.clone().next();
        of_type.find(|asked| asked.format == held.format).or(first)
    }

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

/// The entry of a request of ours that a credential answers, while that request is kept.
pub(super) fn entry_of<'a>(state: &'a State, held: &StoredCredential) -> Option<&'a RequestedCredential> {
    held.request.as_ref().and_then(|pid| state.requests.get(pid))?.entry_of(held)
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
    /// The code by which the issuer has authorized it beforehand.
    pub pre_authorized_code: Option<SecretText>,
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
    let pre_authorized_code = request.pre_authorized_code.clone();
    let made = HolderRequest { pre_authorized_code, ..HolderRequest::new(holder_pid, &request.issuer, request.credentials.clone(), now) };
    let effect = made.sending();
    Ok(Decision::action("credentials.requesting")
        .event(changed(made))
        .effect(lane(holder_pid), effect)
        .replying(Reply::Requested(holder_pid.clone())))
}

/// A request for what takes the place of a credential, and what sends it.
pub(super) fn renewal(
    holder_pid: &HolderPid,
    issuer: &Did,
    asked: RequestedCredential,
    renews: CredentialId,
    now: Timestamp,
) -> (Event, Effect) {
    let made = HolderRequest { renews: Some(renews), ..HolderRequest::new(holder_pid, issuer, vec![asked], now) };
    let effect = made.sending();
    (changed(made), effect)
}

/// A request for what an issuer offers, and what sends it.
pub(super) fn of_offer(
    holder_pid: &HolderPid,
    issuer: &Did,
    asked: Vec<RequestedCredential>,
    attempt: u32,
    now: Timestamp,
) -> (Event, Effect) {
    let made = HolderRequest { offered: true, attempt, ..HolderRequest::new(holder_pid, issuer, asked, now) };
    let effect = made.sending();
    (changed(made), effect)
}

/// Its lane, and the key of its deadline.
pub(super) fn lane(holder_pid: &HolderPid) -> String {
    format!("{TABLE}/{holder_pid}")
}

/// The issuer took the request.
pub fn acknowledged(state: &State, holder_pid: &HolderPid, answer: &Acknowledged, now: Timestamp) -> Decided {
    let Some(request) = state.requests.get(holder_pid) else { return Ok(Decision::nothing()) };
    let issuer_pid = answer.issuer_pid.clone().or_else(|| request.issuer_pid.clone());
    let next = match request.state {
        // REQUESTING --acknowledged--> REQUESTED
        RequestState::Requesting => HolderRequest { state: RequestState::Requested, since: now, issuer_pid, ..(**request).clone() },
        // ERROR --acknowledged--> REQUESTED: what was rejected is an earlier process, the issuer has made another one
        RequestState::Error if request.issuer_pid.is_some() && issuer_pid != request.issuer_pid => {
            HolderRequest { state: RequestState::Requested, since: now, issuer_pid, error: None, ..(**request).clone() }
        }
        // The credentials, or a rejection, overtook the acknowledgement: only the id is news.
        RequestState::Requested | RequestState::Issued | RequestState::Error if request.issuer_pid.is_none() && issuer_pid.is_some() => {
            HolderRequest { issuer_pid, ..(**request).clone() }
        }
        RequestState::Requested | RequestState::Issued | RequestState::Error => return Ok(Decision::nothing()),
    };
    Ok(Decision::action("credentials.requested").event(changed(next)))
}

/// Nothing came for a request that the issuer took.
pub fn due(state: &State, holder_pid: &HolderPid, now: Timestamp) -> Decided {
    let Some(request) = state.requests.get(holder_pid).filter(|r| r.due_at().is_some_and(|at| at <= now)) else {
        return Ok(Decision::nothing());
    };
    if request.resends < MAX_RESENDS {
        return Ok(send_again(&HolderRequest { resends: request.resends + 1, ..(**request).clone() }, now));
    }
    match &request.issuer_pid {
        // REQUESTED --due--> REQUESTED: its issuer is asked whether it still waits for something
        Some(issuer_pid) if request.looks < MAX_LOOKS => {
            let looked = HolderRequest { looks: request.looks + 1, since: now, ..(**request).clone() };
            let (holder_pid, issuer, issuer_pid) = (holder_pid.clone(), request.issuer.clone(), issuer_pid.clone());
            let effect = Effect::LookAtRequest { holder_pid, issuer, issuer_pid };
            Ok(Decision::action("credentials.requested.asked").effect(lane(&looked.holder_pid), effect).event(changed(looked)))
        }
        // REQUESTED --due--> ERROR
        Some(_) | None => Ok(Decision::action("credentials.error").event(changed(failed(request, NOTHING_CAME, now)))),
    }
}

/// REQUESTED --> REQUESTING: the same request, which an issuer answers by what became of it.
fn send_again(request: &HolderRequest, now: Timestamp) -> Decision<super::CredentialService> {
    let again = HolderRequest { state: RequestState::Requesting, since: now, ..request.clone() };
    let effect = again.sending();
    Decision::action("credentials.requesting.again").effect(lane(&again.holder_pid), effect).event(changed(again))
}

/// The issuer says what has become of its process; `None` when it knows none. Nothing follows for a request that has another one by now.
pub fn looked_at(state: &State, holder_pid: &HolderPid, issuer_pid: &IssuerPid, status: Option<RequestStatus>, now: Timestamp) -> Decided {
    let waits = |request: &&Arc<HolderRequest>| request.state == RequestState::Requested && request.issuer_pid.as_ref() == Some(issuer_pid);
    let Some(request) = state.requests.get(holder_pid).filter(waits) else { return Ok(Decision::nothing()) };
    let reason = match status {
        // It waits on, and is asked about again.
        Some(RequestStatus::Received) => return Ok(Decision::nothing()),
        // What was sent has not come, or not all of it.
        Some(RequestStatus::Issued) => return Ok(send_again(request, now)),
        // REQUESTED --rejected--> ERROR
        Some(RequestStatus::Rejected) => "the issuer rejected the request",
        None => NOTHING_CAME,
    };
    Ok(Decision::action("credentials.error").event(changed(failed(request, reason, now))))
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

/// The issuer delivers or rejects. Repeats are answered again; what comes anew takes the place of what the request brought for the same entry
/// before, in whatever format, unless that is valid and this is not yet. A request is ISSUED when there is something for each of its entries.
///
/// # Errors
/// [`Refusal::NoRequest`] for unknown requests and for those to another issuer alike; [`Refusal::BadCredential`] for what was not asked for.
pub fn deliver(state: &State, delivered: &Delivered, now: Timestamp) -> Decided {
    if state.active_context().is_none() {
        return Err(Refusal::NoContext.into());
    }
    let request = state.requests.get(&delivered.holder_pid).filter(|r| r.issuer == delivered.issuer).ok_or(Refusal::NoRequest)?;
    let issuer_pid = Some(delivered.issuer_pid.clone());
    match (&delivered.outcome, request.state) {
        // Of a process that another one has taken the place of. While the request is sent, its acknowledgement says whether there is another one.
        (Err(_), RequestState::Requested) if request.issuer_pid.as_ref().is_some_and(|known| *known != delivered.issuer_pid) => {
            Ok(Decision::nothing())
        }
        // REQUESTING, REQUESTED --rejected--> ERROR
        (Err(reason), RequestState::Requesting | RequestState::Requested) => {
            let next = HolderRequest { issuer_pid, ..failed(request, reason, now) };
            Ok(Decision::action("credentials.rejected").event(changed(next)))
        }
        // A rejection after the credentials, or a repeated one, changes nothing.
        (Err(_), RequestState::Issued | RequestState::Error) => Ok(Decision::nothing()),
        (Ok(credentials), _) => take(state, request, credentials, issuer_pid, now),
    }
}

fn take(
    state: &State,
    request: &HolderRequest,
    credentials: &[Arc<StoredCredential>],
    issuer_pid: Option<IssuerPid>,
    now: Timestamp,
) -> Decided {
    let asked = &request.asked;
    if let Some(other) = credentials.iter().find(|c| !asked.iter().any(|entry| entries::may_be_for(c, entry))) {
        return Err(Refusal::BadCredential(format!("a credential of the types {} was not asked for", other.types.join(", "))).into());
    }
    let brought: Vec<&Arc<StoredCredential>> = request.brought.iter().filter_map(|id| state.credentials.get(id)).collect();
    // A credential that is held already keeps the id of its resource, however it is signed this time.
    let again: Vec<Option<usize>> = credentials.iter().map(|c| brought.iter().position(|held| held.is_also(c))).collect();
    let places = entries::of_held(asked, &brought);
    let given = entries::of_delivered(asked, credentials, &again, &places);
    let Some(given) = given.into_iter().collect::<Option<Vec<usize>>>() else {
        return Err(Refusal::BadCredential("a delivery must hold no more credentials than were asked for".to_owned()).into());
    };
    let same: Vec<Option<&Arc<StoredCredential>>> = again.iter().map(|held| held.map(|n| brought[n])).collect();
    let at = |entry: usize| places.iter().position(|place| *place == Some(entry)).map(|n| brought[n]);
    let renewed = request.renews.as_ref().and_then(|old| state.credentials.get(old));
    let mut stored = Vec::new();
    let mut now_held: Vec<Arc<StoredCredential>> = Vec::new();
    for ((credential, same), entry) in credentials.iter().zip(&same).zip(&given) {
        let goes = same.or_else(|| at(*entry)).filter(|held| held.raw != credential.raw);
        if credential.is_to_come(now) && goes.is_some_and(|held| held.is_valid(now)) {
            let rule = "a credential that is not valid yet must not take the place of one that is";
            return Err(Refusal::BadCredential(rule.to_owned()).into());
        }
        let before = same.or_else(|| renewed.filter(|old| entries::may_be_for(old, &asked[*entry]))).or_else(|| at(*entry));
        let credential = match same {
            Some(held) if held.raw == credential.raw => (*held).clone(),
            // Other bytes have a status and a life of their own.
            Some(_) | None => {
                let id = same.map_or(&credential.id, |held| &held.id).clone();
                let watch = &credential.watch;
                let watch = before.map_or_else(|| watch.clone(), |old| watch.going_on_from(&old.watch, credential.outlives(old)));
                // It takes the other's place when it begins to count.
                let later = renewed.filter(|old| entries::may_be_for(old, &asked[*entry]) && !old.outlives(credential));
                let begins = credential.valid_from.filter(|from| *from > now);
                let replaces = later.zip(begins).map(|(old, at)| Replaces { credential: old.id.clone(), at });
                let watch = Watch { replaces, ..watch };
                Arc::new(StoredCredential { id, watch, ..(**credential).clone() })
            }
        };
        if same.is_none_or(|held| held.raw != credential.raw) {
            stored.push(credential.clone());
        }
        now_held.push(credential);
    }
    // One that came takes the place of what its entry had; there is none for those that an earlier version took beyond the entries.
    let not_again = (0..brought.len()).filter(|n| !again.contains(&Some(*n)));
    let (gone, others): (Vec<usize>, Vec<usize>) = not_again.partition(|n| places[*n].is_none_or(|place| given.contains(&place)));
    let fresh = same.iter().filter(|same| same.is_none()).count();
    if state.credentials.size() + fresh > MAX_CREDENTIALS + gone.len() {
        return Err(Refusal::Full("credentials").into());
    }
    // What came is for the entries that it was given, what else there is stays at its own: one of a type alone does not stand for two that are.
    let filled: Vec<usize> = others.iter().filter_map(|n| places[*n]).chain(given.iter().copied()).collect();
    let complete = (0..asked.len()).all(|entry| filled.contains(&entry));
    let now_held: Vec<Arc<StoredCredential>> = others.into_iter().map(|n| brought[n].clone()).chain(now_held).collect();
    let next_state = match request.state {
        // REQUESTING, REQUESTED, ERROR --all is here--> ISSUED; ISSUED --issued--> ISSUED (re-issued)
        _ if complete => RequestState::Issued,
        // REQUESTING --a part is here--> REQUESTED: a delivery presupposes the request
        RequestState::Requesting | RequestState::Requested => RequestState::Requested,
        // ERROR, ISSUED --a part is here--> the same
        other @ (RequestState::Error | RequestState::Issued) => other,
    };
    if stored.is_empty() && gone.is_empty() && next_state == request.state {
        return Ok(Decision::nothing());
    }
    let next = HolderRequest {
        state: next_state,
        issuer_pid,
        brought: now_held.iter().map(|held| held.id.clone()).collect(),
        error: request.error.clone().filter(|_| next_state == RequestState::Error),
        pre_authorized_code: request.pre_authorized_code.clone().filter(|_| next_state != RequestState::Issued),
        since: if next_state == request.state { request.since } else { now },
        ..request.clone()
    };
    let mut decision = Decision::action("credentials.issued");
    decision.events.extend(gone.into_iter().map(|n| Event::Credential(CredentialEvent::Removed(brought[n].id.clone()))));
    if complete {
        decision.events.extend(replaced(state, request, credentials, now));
    }
    decision.events.extend(stored.into_iter().map(|credential| Event::Credential(CredentialEvent::Stored(credential))));
    Ok(decision.event(changed(next)))
}

/// What a renewal takes the place of: the credential, and the renewal that brought it. Nothing while what came does not count yet, or ends
/// earlier.
fn replaced(state: &State, request: &HolderRequest, came: &[Arc<StoredCredential>], now: Timestamp) -> Vec<Event> {
    let old = request.renews.as_ref().and_then(|old| state.credentials.get(old));
    let for_one = |new: &StoredCredential, old: &StoredCredential| {
        request.asked.iter().any(|entry| entries::may_be_for(new, entry) && entries::may_be_for(old, entry))
    };
    let replaces = |new: &StoredCredential, old: &StoredCredential| for_one(new, old) && new.is_valid(now) && !old.outlives(new);
    let old = old.filter(|old| came.iter().any(|new| replaces(new, old)));
    old.map(|old| taken_over(state, old, Some(&request.holder_pid))).unwrap_or_default()
}

/// What goes when a credential that `request` has brought takes the place of another one: that, and the renewal that brought it.
pub(super) fn taken_over(state: &State, old: &StoredCredential, request: Option<&HolderPid>) -> Vec<Event> {
    let renewal = old.request.as_ref().and_then(|pid| state.requests.get(pid)).filter(|earlier| earlier.renews.is_some());
    let renewal = renewal.filter(|earlier| Some(&earlier.holder_pid) != request);
    let gone = renewal.map(|earlier| Event::Request(RequestEvent::Removed(earlier.holder_pid.clone())));
    gone.into_iter().chain([Event::Credential(CredentialEvent::Removed(old.id.clone()))]).collect()
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

/// The deadline that the request now has.
#[must_use]
pub fn deadline(event: &RequestEvent) -> (String, Option<Timestamp>) {
    match event {
        RequestEvent::Changed(request) => (lane(&request.holder_pid), request.due_at()),
        RequestEvent::Removed(id) => (lane(id), None),
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
