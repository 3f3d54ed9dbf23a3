//! Requests of holders (DCP 1.0, 6.4): judged in one turn, and in the same one approved, with the credentials and their places on the status lists, unless
//! somebody has to approve first.

#[cfg(test)]
mod tests;

use super::{
    Definition, Holder, IssuedCredential, IssuerState, Process,
    admin::MAX_REQUESTED,
    admission::{holder_of, room},
    agent::{Decided, Effect, Refusal, Reply},
    approval,
    call_out::{self, Attested},
    claims::Claims,
    credential::MAX_CLAIMS_BYTES,
    issuance::{self, Requested, State, Step},
    mappings::{self, Mapped},
    state::Event,
    status_list::{ListBits, StatusChanges},
};
use crate::fabric::topics::USAGE;
use cellspace_cluster::{Decision, Fact, Rejection};
use cellspace_schemas::{
    Did, SecretText, Timestamp,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// A request as received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The holder's ID token.
    pub bearer: SecretText,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// What is asked for.
    pub credentials: Vec<CredentialDefinitionId>,
}

impl Request {
    /// Checks what needs neither the sender nor the state.
    ///
    /// # Errors
    /// [`Refusal::Invalid`]
    pub fn check(&self) -> Result<(), Refusal> {
        let twice = self.credentials.iter().enumerate().any(|(n, id)| self.credentials.iter().take(n).any(|other| other == id));
        if self.credentials.is_empty() || self.credentials.len() > MAX_REQUESTED {
            Err(Refusal::Invalid(format!("credentials must name 1 to {MAX_REQUESTED} credential objects")))
        } else if twice {
            Err(Refusal::Invalid("credentials must not name a credential object twice".to_owned()))
        } else {
            Ok(())
        }
    }
}

/// What a new credential needs from outside.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Its id.
    pub credential: CredentialId,
    /// A random position on a status list; a free one is looked for from there on.
    pub index: u32,
    /// How many bits status lists have.
    pub list_bits: ListBits,
}

/// A request with its verified sender.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Who asks.
    pub holder: Did,
    /// Who is asked.
    pub issuer: Did,
    /// Access token for the holder's credential service, when it gave one.
    pub token: Option<SecretText>,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// What is asked for.
    pub credentials: Vec<CredentialDefinitionId>,
    /// Id of the process, if it becomes one.
    pub process: IssuerPid,
    /// One per credential asked for.
    pub fresh: Vec<Fresh>,
    /// What services attested.
    pub attested: Attested,
}

impl Fresh {
    /// What is fresh about a credential with this id.
    #[must_use]
    pub fn new(credential: CredentialId, list_bits: ListBits) -> Self {
        Self { credential, index: rand::random(), list_bits }
    }
}

impl Prepared {
    /// Its process, new.
    pub(super) fn process(&self, holder: &Holder, state: State, claims: Claims, requested: Vec<Requested>, now: Timestamp) -> Process {
        Process {
            id: self.process.clone(),
            holder: holder.id.clone(),
            holder_did: holder.did.clone(),
            holder_pid: self.holder_pid.clone(),
            claims: Arc::new(claims),
            requested,
            state,
            delivering: false,
            error: None,
            answer: None,
            // Also where the clock was put back meanwhile: by this, a stranger's processes are told from those of others of its id before.
            created_at: now.max(holder.created_at),
            updated_at: now,
        }
    }
}

/// What a holder is entitled to.
pub(super) struct Judged<'a> {
    /// All that was attested.
    pub claims: Claims,
    /// By which definition what is issued, in the order of the request.
    pub grants: Vec<(&'a Definition, Mapped)>,
}

/// Decides about a request. Pure.
///
/// # Errors
/// [`Refusal`]: nothing of a refused request is stored.
pub fn decide(state: &IssuerState, request: &Prepared, now: Timestamp) -> Decided {
    let holder = &holder_of(state, &request.holder, &request.credentials, now)?;
    if let Some(process) = state.process_of(&request.holder, &request.holder_pid) {
        match issuance::step(process.state, issuance::Command::Repeat) {
            Step::Anew => {}
            Step::To { .. } | Step::Stay | Step::Refused if !process.is_repeated_by(&request.credentials) => {
                return Err(Refusal::Conflict("the holderPid was used for a request of other credentials".to_owned()).into());
            }
            Step::To { state, deliver: true } if !process.delivering => return Ok(send_again(process, state, request, now)),
            Step::Stay if approval::has_other_token(process, request) => return Ok(approval::with_token_of(process, request, now)),
            Step::To { .. } | Step::Stay | Step::Refused => return Ok(Decision::reply(Reply::Accepted(process.id.clone()))),
        }
    }
    room(state, holder, &request.credentials, now)?;
    // A definition has changed since, or a repeat is none any more.
    if !call_out::is_complete(state, &request.credentials, &request.attested) {
        return Err(Rejection::Stale);
    }
    let judged = judge(state, holder, &request.credentials, &request.attested)?;
    let mut decision = match approval::timeout(judged.grants.iter().map(|(definition, _)| *definition)) {
        Some(timeout) => approval::submit(request, holder, judged, timeout, now),
        None => approve(state, holder, request, judged, now)?,
    };
    if !state.holders.contains_key(&holder.id) {
        // Before its process, which is one of a stranger's.
        decision.events.insert(0, Event::Holder(holder.clone()));
    }
    Ok(decision)
}

fn send_again(process: &Process, state: State, request: &Prepared, now: Timestamp) -> Decision<super::Issuer> {
    let again = Process { state, delivering: true, updated_at: now, ..process.clone() };
    Decision::action("issuance.repeated")
        .effect(lane(&process.id), Effect::Deliver { process: process.id.clone(), token: request.token.clone() })
        .event(Event::Process(Arc::new(again)))
        .replying(Reply::Accepted(process.id.clone()))
}

/// Messages about one process come to its holder in order.
pub(super) fn lane(process: &IssuerPid) -> String {
    format!("issuance/{process}")
}

fn approve(state: &IssuerState, holder: &Holder, request: &Prepared, judged: Judged<'_>, now: Timestamp) -> Decided {
    // SUBMITTED and APPROVED in one turn: nothing that a request waits for lies between them.
    let Step::To { state: approved, .. } = issuance::step(State::Submitted, issuance::Command::Approve) else {
        return Err(Refusal::Conflict("the request cannot be approved".to_owned()).into());
    };
    let (requested, issued) = issue(state, &request.process, holder, &request.issuer, judged.grants, &request.fresh, now);
    let process = Process { delivering: true, ..request.process(holder, approved, judged.claims, requested, now) };
    let decision = Decision::action("issuance.approved")
        .effect(lane(&process.id), Effect::Deliver { process: process.id.clone(), token: request.token.clone() })
        .replying(Reply::Accepted(process.id.clone()))
        .event(Event::Process(Arc::new(process)));
    Ok(issued.into_iter().fold(decision, Decision::event))
}

/// Judges what is asked for.
///
/// # Errors
/// [`Refusal::Invalid`] for a definition that is not there, [`Refusal::NotEntitled`] with what is required.
pub(super) fn judge<'a>(
    state: &'a IssuerState,
    holder: &Holder,
    definitions: &[CredentialDefinitionId],
    attested: &Attested,
) -> Result<Judged<'a>, Refusal> {
    let mut judged = Judged { claims: Claims::new(), grants: Vec::with_capacity(definitions.len()) };
    for id in definitions {
        let definition = state.definitions.get(id).ok_or_else(|| Refusal::Invalid(format!("credential object {id} does not exist")))?;
        let (claims, mapped) = judge_one(state, holder, definition, attested)?;
        judged.claims.extend(claims);
        judged.grants.push((definition, mapped));
    }
    Ok(judged)
}

/// The claims attested for the definition, and what it maps of them.
fn judge_one(state: &IssuerState, holder: &Holder, definition: &Definition, attested: &Attested) -> Result<(Claims, Mapped), Refusal> {
    let refused = |required: String| Refusal::NotEntitled(format!("credential object {} requires {required}", definition.id));
    let mut claims = Claims::new();
    for id in &definition.attestations {
        let attestation = state.attestations.get(id).and_then(|attestation| attestation.attest(holder, attested));
        claims.extend(attestation.ok_or_else(|| refused(format!("the attestation {id}")))?);
    }
    if let Some(rule) = definition.unfulfilled(&claims) {
        return Err(refused(format!("that {rule}")));
    }
    let mapped = mappings::map(&definition.mappings, &claims).map_err(|path| refused(format!("the claim {path}")))?;
    if serde_json::to_vec(&mapped.subject).map_or(usize::MAX, |json| json.len()) > MAX_CLAIMS_BYTES {
        return Err(refused(format!("claims of at most {MAX_CLAIMS_BYTES} bytes")));
    }
    if !definition.describes(&holder.did, &mapped.subject) {
        return Err(refused("that its subject is as its jsonSchema says".to_owned()));
    }
    Ok((claims, mapped))
}

/// Issues what was granted, each credential with what is fresh about it, on a free place of the status lists.
pub(super) fn issue(
    state: &IssuerState,
    process: &IssuerPid,
    holder: &Holder,
    issuer: &Did,
    grants: Vec<(&Definition, Mapped)>,
    fresh: &[Fresh],
    now: Timestamp,
) -> (Vec<Requested>, Vec<Event>) {
    let (mut slots, mut requested, mut issued) = (Vec::new(), Vec::new(), Vec::new());
    for ((definition, mapped), fresh) in grants.into_iter().zip(fresh) {
        let on_this_form = slots.iter().filter(|(format, _)| *format == definition.format).map(|(_, slot)| *slot);
        let slot = state.lists.free_slot(definition.format, fresh.list_bits, fresh.index, &on_this_form.collect::<Vec<_>>());
        slots.push((definition.format, slot));
        let mut credential = IssuedCredential {
            id: fresh.credential.clone(),
            definition: definition.id.clone(),
            process: process.clone(),
            holder: holder.id.clone(),
            holder_did: holder.did.clone(),
            issuer: issuer.clone(),
            credential_type: definition.credential_type.clone(),
            format: definition.format,
            contexts: definition.additional_context.clone(),
            subject: Arc::default(),
            name: None,
            description: None,
            valid_from: now,
            valid_until: now.plus(definition.validity),
            slot,
            status: StatusChanges::default(),
            reason: None,
        };
        credential.describe(mapped);
        requested.push(Requested { definition: definition.id.clone(), format: definition.format, credential: credential.id.clone() });
        issued.push(Event::Credential(Arc::new(credential)));
    }
    (requested, issued)
}

/// The holder's credential service took the credentials.
///
/// # Errors
/// [`Refusal::Conflict`] when the table has no such arrow.
pub fn delivered(state: &IssuerState, process: &IssuerPid, now: Timestamp) -> Decided {
    ended(state, process, issuance::Command::Delivered, None, now)
}

/// It did not take them.
///
/// # Errors
/// [`Refusal::Conflict`] when the table has no such arrow.
pub fn undeliverable(state: &IssuerState, process: &IssuerPid, reason: &str, now: Timestamp) -> Decided {
    ended(state, process, issuance::Command::Failed, Some(reason.to_owned()), now)
}

fn ended(state: &IssuerState, pid: &IssuerPid, command: issuance::Command, error: Option<String>, now: Timestamp) -> Decided {
    let process = state.processes.get(pid).ok_or_else(|| Refusal::not_found("issuance process", pid))?;
    let next = match issuance::step(process.state, command) {
        Step::To { state, .. } => state,
        // The state stays, but this delivery has ended.
        Step::Stay => process.state,
        Step::Anew | Step::Refused => return Err(Refusal::Conflict(format!("no outcome is due in {}", process.state.name())).into()),
    };
    // What is said of a process that stays as it is, is what was said when it became so.
    let error = if next == process.state { process.error.clone() } else { error };
    let ended = Process { state: next, delivering: false, error, updated_at: now, ..Process::clone(process) };
    let first = next == State::Delivered && process.state != State::Delivered;
    let decision = Decision::action(if next == State::Delivered { "issuance.delivered" } else { "issuance.errored" });
    let facts = process.requested.iter().filter(|_| first).map(|requested| usage(state, process, requested));
    Ok(facts.fold(decision.event(Event::Process(Arc::new(ended))), Decision::fact))
}

/// A credential reached its holder: a fact to bill by.
fn usage(state: &IssuerState, process: &Process, requested: &Requested) -> Fact {
    let issuer = state.credentials.get(&requested.credential).map(|credential| credential.issuer.to_string()).unwrap_or_default();
    Fact {
        topic: USAGE.into(),
        kind: "org.cellspace.usage.credential-issued",
        data: json!({"issuer": issuer, "holder": process.holder, "credential": requested.credential, "definition": requested.definition}),
        key: issuer,
    }
}
