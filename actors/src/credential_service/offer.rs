//! Offers of issuers (DCP 1.0, "Credential Offer"): kept, and shown to nobody but the participant's own side. Where the participant has a rule for it, the
//! offer is followed at once: what is offered is asked for, once for each offer with an id of its own. One without may
//! be the same again when what followed it has ended, and nothing is held of what it brought. Nothing follows without a rule.

use super::{
    CredentialService, Event, Refusal, State,
    agent::Decided,
    context::ParticipantContext,
    credential::StoredCredential,
    holder_request::{self, HolderRequest, MAX_REQUESTS, RequestEvent, RequestState},
};
use crate::derived_id::derived_id;
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{
    Did, Timestamp,
    dcp::{CredentialFormat, messages::OfferedCredential},
    identity::RequestedCredential,
    issuer::{CredentialDefinitionId, HolderPid},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Table of its rows.
pub const TABLE: &str = "offer";
/// Issuers whose offers are kept, one each; for another one the oldest goes.
pub const MAX_OFFERS: usize = 64;
/// Requests that follow offers of one issuer at most; for another one the oldest goes that brought nothing which is still held.
pub const MAX_FOLLOWED: usize = 64;
/// Longest id of an offer, and longest type, profile and reason of an object in it, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// What an offer says itself of one of its objects; the issuer's metadata say the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedObject {
    /// Which.
    pub id: CredentialDefinitionId,
    /// Type of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_type: Option<String>,
    /// Alias of its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Why it is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_reason: Option<String>,
}

impl OfferedObject {
    /// Reads an object of a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(object: OfferedCredential) -> Result<Self, String> {
        let OfferedCredential { id, credential_type, profile, offer_reason, .. } = object;
        if [&credential_type, &profile, &offer_reason].into_iter().flatten().any(|text| text.len() > MAX_ID_BYTES) {
            return Err(format!("credentialType, profile and offerReason have at most {MAX_ID_BYTES} bytes"));
        }
        let id = CredentialDefinitionId::new(id).map_err(|e| e.to_string())?;
        Ok(Self { id, credential_type, profile, offer_reason })
    }

    /// Whether an `id` is all that it says.
    const fn is_sparse(&self) -> bool {
        self.credential_type.is_none() && self.profile.is_none() && self.offer_reason.is_none()
    }

    /// Whether its issuer's metadata need not be asked before it is asked for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.credential_type.is_some() && self.profile.as_deref().and_then(CredentialFormat::parse).is_some()
    }
}

/// What an issuer offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Who.
    pub issuer: Did,
    /// Which offer it is, when its issuer tells them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Credential objects of its metadata.
    pub credentials: Vec<CredentialDefinitionId>,
    /// Those of them of which it says more itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<OfferedObject>,
    /// When it came.
    #[serde(default)]
    pub received_at: Timestamp,
}

impl Offer {
    /// Of an issuer, under this id if it has one.
    #[must_use]
    pub fn new(issuer: Did, id: Option<String>, objects: Vec<OfferedObject>, received_at: Timestamp) -> Self {
        let credentials = objects.iter().map(|object| object.id.clone()).collect();
        let objects = objects.into_iter().filter(|object| !object.is_sparse()).collect();
        Self { issuer, id, credentials, objects, received_at }
    }

    /// What it says itself of an object.
    #[must_use]
    pub fn object(&self, id: &CredentialDefinitionId) -> Option<&OfferedObject> {
        self.objects.iter().find(|object| object.id == *id)
    }

    /// Id of the request that follows it after so many: the same for the same offer of the issuer, which its id tells, or else what it offers and why.
    fn request_id(&self, holder: &Did, attempt: u32) -> HolderPid {
        let reason = |id: &CredentialDefinitionId| self.object(id).and_then(|object| object.offer_reason.as_deref());
        let mut offered: Vec<&str> = self.credentials.iter().map(CredentialDefinitionId::as_str).collect();
        offered.sort_unstable();
        let mut reasons: Vec<&str> = self.credentials.iter().filter_map(reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if !reasons.is_empty() {
            offered.push("@reason");
            offered.extend(reasons);
        }
        let which = self.id.as_ref().map_or(offered, |id| vec!["@id", id.as_str()]);
        let attempt = (attempt > 0).then(|| attempt.to_string());
        let again: Vec<&str> = attempt.iter().flat_map(|attempt| ["@attempt", attempt.as_str()]).collect();
        let parts = [&["offer", holder.as_str(), self.issuer.as_str()], which.as_slice(), again.as_slice()].concat();
        HolderPid::from_uuid(derived_id(&parts))
    }

    /// The last request that followed it.
    fn followed_by<'a>(&self, state: &'a State, holder: &Did) -> Option<&'a Arc<HolderRequest>> {
        let by = |request: &&Arc<HolderRequest>| request.holder_pid == self.request_id(holder, request.attempt);
        followed(state, &self.issuer).find(by)
    }

    /// Whether nothing has followed it, or what did counts no longer.
    fn is_open(&self, state: &State, holder: &Did) -> bool {
        self.followed_by(state, holder).is_none_or(|request| self.id.is_none() && request.state.is_final() && !is_held(state, request))
    }

    /// Whether it may be one to follow: then what it offers has to be known.
    #[must_use]
    pub fn may_be_followed(&self, state: &State) -> bool {
        let meant = |context: &&Arc<ParticipantContext>| context.offer_rules.iter().any(|rule| rule.issuer == self.issuer);
        let context = state.active_context().filter(meant);
        context.is_some_and(|context| self.is_open(state, &context.did))
    }
}

/// An offer with what is known of the objects in it, by itself or by its issuer's metadata.
#[derive(Debug)]
pub struct Prepared {
    /// From its verified issuer.
    pub offer: Offer,
    /// Those that can be asked for; none where that was not looked up.
    pub objects: Vec<RequestedCredential>,
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OfferEvent {
    /// The issuer's newest offer.
    Kept(Arc<Offer>),
    /// It is gone.
    Removed(Did),
}

/// An offer came from its verified issuer.
///
/// # Errors
/// [`Refusal::NoContext`]
pub fn decide(state: &State, prepared: &Prepared, now: Timestamp) -> Decided {
    let offer = &prepared.offer;
    let context = state.active_context().ok_or(Refusal::NoContext)?;
    let mut decision = Decision::action("credential.offered");
    if !state.offers.contains_key(&offer.issuer)
        && state.offers.size() >= MAX_OFFERS
        && let Some(oldest) = state.offers.values().min_by_key(|offer| offer.received_at)
    {
        decision = decision.event(Event::Offer(OfferEvent::Removed(oldest.issuer.clone())));
    }
    decision = decision.event(Event::Offer(OfferEvent::Kept(Arc::new(Offer { received_at: now, ..offer.clone() }))));
    Ok(follow(state, context, prepared, now, decision))
}

/// The requests that follow offers of an issuer.
fn followed<'a>(state: &'a State, issuer: &Did) -> impl Iterator<Item = &'a Arc<HolderRequest>> {
    state.requests.values().filter(move |request| request.offered && request.issuer == *issuer)
}

/// Whether a request has ended, and nothing is held of what it brought.
fn brought_nothing(state: &State, request: &HolderRequest) -> bool {
    match request.state {
        RequestState::Error | RequestState::Issued => !request.brought.iter().any(|id| state.credentials.contains_key(id)),
        RequestState::Requesting | RequestState::Requested => false,
    }
}

/// Whether anything is held that a request asked for, brought by it, or by what has renewed that.
fn is_held(state: &State, request: &HolderRequest) -> bool {
    let of_it = |entry: &RequestedCredential| request.asked.iter().any(|asked| asked.id == entry.id);
    let answers = |held: &Arc<StoredCredential>| held.issuer == request.issuer && holder_request::entry_of(state, held).is_some_and(of_it);
    state.credentials.values().any(answers)
}

/// Asks for what a rule means, unless this offer was followed already or too many were.
fn follow(
    state: &State,
    context: &ParticipantContext,
    Prepared { offer, objects }: &Prepared,
    now: Timestamp,
    decision: Decision<CredentialService>,
) -> Decision<CredentialService> {
    let meant = |object: &&RequestedCredential| context.offer_rules.iter().any(|rule| rule.means(&offer.issuer, &object.credential_type));
    let asked: Vec<RequestedCredential> = objects.iter().filter(meant).cloned().collect();
    if asked.is_empty() || !offer.is_open(state, &context.did) {
        return decision;
    }
    // What an attempt before came to is told by this one.
    let earlier = offer.followed_by(state, &context.did);
    let attempt = earlier.map_or(0, |request| request.attempt.saturating_add(1));
    let pid = offer.request_id(&context.did, attempt);
    let followed = || followed(state, &offer.issuer);
    let full = earlier.is_none() && (state.requests.size() >= MAX_REQUESTS || followed().count() >= MAX_FOLLOWED);
    let oldest = || followed().filter(|request| brought_nothing(state, request)).min_by_key(|request| request.since);
    let gone = earlier.or_else(|| oldest().filter(|_| full));
    if full && gone.is_none() {
        return decision;
    }
    let mut decision = gone
        .into_iter()
        .fold(decision, |decision, request| decision.event(Event::Request(RequestEvent::Removed(request.holder_pid.clone()))));
    let (made, effect) = holder_request::of_offer(&pid, &offer.issuer, asked, attempt, now);
    decision.action = "credential.offer.followed";
    decision.event(made).effect(holder_request::lane(&pid), effect)
}

/// Folds.
pub fn apply(state: &mut State, event: &OfferEvent) {
    match event {
        OfferEvent::Kept(offer) => state.offers.insert_mut(offer.issuer.clone(), offer.clone()),
        OfferEvent::Removed(issuer) => {
            state.offers.remove_mut(issuer);
        }
    }
}

/// Its row.
#[must_use]
pub fn row(event: &OfferEvent) -> RowOf {
    match event {
        OfferEvent::Kept(offer) => RowOf::Put(RowKey::new(TABLE, offer.issuer.as_str())),
        OfferEvent::Removed(issuer) => RowOf::Delete(RowKey::new(TABLE, issuer.as_str())),
    }
}
