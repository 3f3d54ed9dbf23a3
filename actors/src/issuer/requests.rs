//! Requests of holders (DCP 1.0, 6.4): judged and approved in one turn, with the credentials and their places on the status lists.

use super::{
    Definition, Holder, IssuedCredential, IssuerState, Process,
    admin::MAX_REQUESTED,
    agent::{Decided, Effect, Refusal, Reply},
    claims::Claims,
    credential::MAX_CLAIMS_BYTES,
    issuance::{self, Requested, State, Step},
    mappings::{self, Mapped},
    state::Event,
    status_list::{LIST_BITS, Slot, StatusChanges},
};
use cellspace_cluster::{Decision, Fact};
use cellspace_schemas::{
    Did, Timestamp,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{fmt, sync::Arc};

/// Processes of one holder at most whose credentials are on their way.
pub const MAX_UNDER_WAY: usize = 32;

/// A bearer token; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bearer(pub String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// A request as received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The holder's ID token.
    pub bearer: Bearer,
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
}

/// A request with its verified sender.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Who asks.
    pub holder: Did,
    /// Who is asked.
    pub issuer: Did,
    /// Access token for the holder's credential service, when it gave one.
    pub token: Option<Bearer>,
    /// The request on the holder's side.
    pub holder_pid: HolderPid,
    /// What is asked for.
    pub credentials: Vec<CredentialDefinitionId>,
    /// Id of the process, if it becomes one.
    pub process: IssuerPid,
    /// One per credential asked for.
    pub fresh: Vec<Fresh>,
}

/// Decides about a request. Pure.
///
/// # Errors
/// [`Refusal`]: nothing of a refused request is stored.
pub fn decide(state: &IssuerState, request: &Prepared, now: Timestamp) -> Decided {
    let holder = state.holder_by_did(&request.holder).ok_or(Refusal::UnknownHolder)?;
    if let Some(process) = state.process_of(&request.holder, &request.holder_pid) {
        match issuance::step(process.state, issuance::Command::Repeat) {
            Step::Anew => {}
            _ if !process.is_repeated_by(&request.credentials) => {
                return Err(Refusal::Conflict("the holderPid was used for a request of other credentials".to_owned()).into());
            }
            Step::To { state, deliver: true } if !process.delivering => return Ok(send_again(process, state, request, now)),
            Step::To { .. } | Step::Stay | Step::Refused => return Ok(Decision::reply(Reply::Accepted(process.id.clone()))),
        }
    }
    if state.under_way(&holder.id).count() >= MAX_UNDER_WAY {
        return Err(Refusal::TooMany.into());
    }
    approve(state, holder, request, now)
}

fn send_again(process: &Process, state: State, request: &Prepared, now: Timestamp) -> Decision<super::Issuer> {
    let again = Process { state, delivering: true, updated_at: now, ..process.clone() };
    Decision::action("issuance.repeated")
        .effect(lane(&process.id), Effect::Deliver { process: process.id.clone(), token: request.token.clone() })
        .event(Event::Process(Arc::new(again)))
        .replying(Reply::Accepted(process.id.clone()))
}

fn lane(process: &IssuerPid) -> String {
    format!("issuance/{process}")
}

fn approve(state: &IssuerState, holder: &Holder, request: &Prepared, now: Timestamp) -> Decided {
    // SUBMITTED and APPROVED in one turn: nothing that a request waits for lies between them.
    let Step::To { state: approved, .. } = issuance::step(State::Submitted, issuance::Command::Approve) else {
        return Err(Refusal::Conflict("the request cannot be approved".to_owned()).into());
    };
    let mut all_claims = Claims::new();
    let (mut slots, mut requested, mut issued) = (Vec::new(), Vec::new(), Vec::new());
    for (id, fresh) in request.credentials.iter().zip(&request.fresh) {
        let definition = state.definitions.get(id).ok_or_else(|| Refusal::Invalid(format!("credential object {id} does not exist")))?;
        let (claims, mapped) = judge(state, holder, definition)?;
        let on_this_form = slots.iter().filter(|(format, _)| *format == definition.format).map(|(_, slot)| *slot);
        let slot = state.lists.free_slot(definition.format, fresh.index % LIST_BITS, &on_this_form.collect::<Vec<_>>());
        slots.push((definition.format, slot));
        let credential = issue(definition, holder, request, fresh, slot, mapped, now);
        requested.push(Requested { definition: id.clone(), format: definition.format, credential: credential.id.clone() });
        issued.push(Event::Credential(Arc::new(credential)));
        all_claims.extend(claims);
    }
    let process = Process {
        id: request.process.clone(),
        holder: holder.id.clone(),
        holder_did: holder.did.clone(),
        holder_pid: request.holder_pid.clone(),
        claims: Arc::new(all_claims),
        requested,
        state: approved,
        delivering: true,
        error: None,
        created_at: now,
        updated_at: now,
    };
    let decision = Decision::action("issuance.approved")
        .effect(lane(&process.id), Effect::Deliver { process: process.id.clone(), token: request.token.clone() })
        .replying(Reply::Accepted(process.id.clone()))
        .event(Event::Process(Arc::new(process)));
    Ok(issued.into_iter().fold(decision, Decision::event))
}

/// The claims attested for the definition, and what it maps of them.
fn judge(state: &IssuerState, holder: &Holder, definition: &Definition) -> Result<(Claims, Mapped), Refusal> {
    let refused = |required: String| Refusal::NotEntitled(format!("credential object {} requires {required}", definition.id));
    let mut claims = Claims::new();
    for id in &definition.attestations {
        let attestation = state.attestations.get(id).ok_or_else(|| refused(format!("the attestation {id}")))?;
        claims.extend(attestation.attest(holder));
    }
    if let Some(rule) = definition.unfulfilled(&claims) {
        return Err(refused(format!("that {rule}")));
    }
    let mapped = mappings::map(&definition.mappings, &claims).map_err(|path| refused(format!("the claim {path}")))?;
    if serde_json::to_vec(&mapped.subject).map_or(usize::MAX, |json| json.len()) > MAX_CLAIMS_BYTES {
        return Err(refused(format!("claims of at most {MAX_CLAIMS_BYTES} bytes")));
    }
    Ok((claims, mapped))
}

fn issue(
    definition: &Definition,
    holder: &Holder,
    request: &Prepared,
    fresh: &Fresh,
    slot: Slot,
    mapped: Mapped,
    now: Timestamp,
) -> IssuedCredential {
    let mut credential = IssuedCredential {
        id: fresh.credential.clone(),
        definition: definition.id.clone(),
        process: request.process.clone(),
        holder: holder.id.clone(),
        holder_did: holder.did.clone(),
        issuer: request.issuer.clone(),
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
    credential
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
        topic: "usage".into(),
        kind: "org.cellspace.usage.credential-issued",
        data: json!({"issuer": issuer, "holder": process.holder, "credential": requested.credential, "definition": requested.definition}),
        key: issuer,
    }
}
