//! Requests of holders (DCP 1.0, 6.4): judged in one turn, and in the same one approved, with the credentials and their places on the status lists, unless
//! somebody has to approve first.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{
        Purpose, StatusListId,
        admin::Command as Admin,
        admission::is_judged,
        status_list::StatusCommand,
        testing::{World, did, guarded, holder, open},
    };
    use proptest::prelude::*;
    use std::{collections::HashSet, time::Duration};

    const BOTH: [&str; 2] = ["membership", "manufacturer"];

    fn process<'a>(world: &'a World, pid: &IssuerPid) -> &'a Process {
        world.state.processes.get(pid).unwrap()
    }

    #[test]
    fn a_request_is_approved_and_delivered_in_two_turns() {
        let mut world = World::seeded();
        world.log.clear();
        let pid = world.request("acme", "h-1", &BOTH).unwrap();
        assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Approved, 1));
        let credentials: Vec<_> = world.state.credentials.values().cloned().collect();
        assert_eq!(credentials.len(), 2);
        for credential in &credentials {
            assert_eq!((&credential.holder_did, &credential.issuer), (&did("acme"), &did("issuer")));
            assert_eq!(credential.subject.get("since"), Some(&json!("2026")));
            assert_eq!(credential.valid_until.since(credential.valid_from).as_secs(), 3_600);
        }
        world.sent(Ok(())).unwrap();
        assert_eq!(process(&world, &pid).state, State::Delivered);
        let usage = "org.cellspace.usage.credential-issued";
        assert_eq!(world.log, ["issuance.approved", "issuance.delivered", usage, usage]);
    }

    #[test]
    fn what_is_refused_stores_nothing() {
        let mut world = World::seeded();
        world.admin(holder("unsigned", &json!({"signed": "no", "since": "2026"}))).unwrap();
        world.admin(holder("unknown-date", &json!({"signed": true}))).unwrap();
        let before = world.rows.len();
        assert_eq!(world.request("stranger", "h", &BOTH), Err(Refusal::UnknownHolder));
        assert!(matches!(world.request("acme", "h", &["membership", "gold"]), Err(Refusal::Invalid(_))));
        let Err(Refusal::NotEntitled(rule)) = world.request("unsigned", "h", &["membership"]) else { panic!("entitled") };
        assert_eq!(rule, "credential object membership requires that signed eq true");
        let Err(Refusal::NotEntitled(claim)) = world.request("unknown-date", "h", &["membership"]) else { panic!("entitled") };
        assert_eq!(claim, "credential object membership requires the claim since");
        assert_eq!((world.rows.len(), world.outbox.len()), (before, 0));
    }

    #[test]
    fn requests_name_some_credentials_each_once() {
        let request = |ids: &[&str]| Request {
            bearer: SecretText::new("secret"),
            holder_pid: HolderPid::new("h").unwrap(),
            credentials: ids.iter().map(|id| CredentialDefinitionId::new(id).unwrap()).collect(),
        };
        assert!(request(&BOTH).check().is_ok());
        assert!(request(&[]).check().is_err());
        assert!(request(&["a", "b", "a"]).check().is_err());
        let many: Vec<String> = (0..=MAX_REQUESTED).map(|n| n.to_string()).collect();
        assert!(request(&many.iter().map(String::as_str).collect::<Vec<_>>()).check().is_err());
        assert!(!format!("{:?}", request(&BOTH)).contains("secret"));
    }

    #[test]
    fn services_attest_or_nothing_is_issued() {
        let mut world = World::seeded();
        let service =
            json!({"id": "registration-office", "attestationType": "http", "configuration": {"url": "https://office.example/attest"}});
        world.admin(Admin::CreateAttestation(serde_json::from_value(service).unwrap())).unwrap();
        let schema = json!({"properties": {"since": {"const": "2026"}}}).to_string();
        let body = json!({"id": "office", "credentialType": "OfficeCredential", "format": "vc20-bssl/jwt", "validity": "3600", "jsonSchema": schema,
            "attestations": ["registration", "registration-office"],
            "rules": [{"type": "expression", "configuration": {"claim": "registered", "operator": "eq", "value": true}}],
            "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}]});
        world.admin(Admin::CreateDefinition(serde_json::from_value(body).unwrap())).unwrap();
        let said = |claims: Option<serde_json::Value>| {
            Attested::from([("registration-office".parse().unwrap(), claims.map(|claims| claims.as_object().unwrap().clone()))])
        };
        for (claims, required) in [
            (None, "the attestation registration-office"),
            (Some(json!({})), "registered"),
            (Some(json!({"registered": true, "since": "1999"})), "jsonSchema"),
        ] {
            match world.request_with("acme", "h-1", &["office"], said(claims)) {
                Err(Refusal::NotEntitled(told)) => assert!(told.contains(required), "{told}"),
                other => panic!("{other:?}"),
            }
        }
        let pid = world.request_with("acme", "h-1", &["office"], said(Some(json!({"registered": true})))).unwrap();
        assert_eq!(process(&world, &pid).claims.get("registered"), Some(&json!(true)));
        // A repeat of what stands needs nobody.
        let judged = |world: &World, pid: &str| {
            let (holder, asked) = (world.state.holder_by_did(&did("acme")).unwrap(), ["office".parse().unwrap()]);
            is_judged(&world.state, holder, &HolderPid::new(pid).unwrap(), &asked, Timestamp(0))
        };
        assert!(!judged(&world, "h-1") && judged(&world, "h-2"));
        assert_eq!(world.request("acme", "h-1", &["office"]), Ok(pid));
        // Who was not asked yet is asked before anything is decided.
        let request = Prepared { attested: Attested::new(), ..prepared("h-3", &["office"]) };
        assert!(matches!(decide(&world.state, &request, Timestamp(0)), Err(Rejection::Stale)));
        // After a failure all is attested anew.
        world.sent(Err("gone")).unwrap();
        assert!(judged(&world, "h-1"));
    }

    fn prepared(pid: &str, credentials: &[&str]) -> Prepared {
        let fresh =
            |n: usize| Fresh { credential: CredentialId::new(format!("fresh-{n}")).unwrap(), index: 7, list_bits: ListBits::default() };
        Prepared {
            holder: did("acme"),
            issuer: did("issuer"),
            token: None,
            holder_pid: HolderPid::new(pid).unwrap(),
            credentials: credentials.iter().map(|id| CredentialDefinitionId::new(id).unwrap()).collect(),
            process: IssuerPid::new("fresh").unwrap(),
            fresh: (0..credentials.len()).map(fresh).collect(),
            attested: Attested::new(),
        }
    }

    #[test]
    fn a_repeat_is_answered_again() {
        let mut world = World::seeded();
        let pid = world.request("acme", "h-1", &BOTH).unwrap();
        // On its way: nothing changes.
        assert_eq!(world.request("acme", "h-1", &BOTH), Ok(pid.clone()));
        assert_eq!((world.outbox.len(), world.state.credentials.size()), (1, 2));
        world.sent(Ok(())).unwrap();
        // Delivered: the same credentials are sent once more, whatever number of times is asked meanwhile.
        for _ in 0..3 {
            assert_eq!(world.request("acme", "h-1", &BOTH), Ok(pid.clone()));
        }
        assert_eq!((world.outbox.len(), world.state.credentials.size(), process(&world, &pid).state), (1, 2, State::Delivered));
        // Not taken this time: the holder has them all the same.
        world.sent(Err("gone")).unwrap();
        assert_eq!((process(&world, &pid).state, process(&world, &pid).error.as_deref()), (State::Delivered, None));
        assert!(matches!(world.request("acme", "h-1", &["membership"]), Err(Refusal::Conflict(_))));
        assert_eq!(world.log.iter().filter(|kind| kind.contains("usage")).count(), 2, "billed once");
    }

    #[test]
    fn a_failed_request_is_judged_anew() {
        let mut world = World::seeded();
        let first = world.request("acme", "h-1", &BOTH).unwrap();
        world.sent(Err("the holder's credential service answered 410")).unwrap();
        assert_eq!(process(&world, &first).state, State::Errored);
        assert_eq!(process(&world, &first).error.as_deref(), Some("the holder's credential service answered 410"));
        let second = world.request("acme", "h-1", &["membership"]).unwrap();
        assert_ne!(first, second);
        assert_eq!(world.request("acme", "h-1", &["membership"]), Ok(second));
    }

    #[test]
    fn removing_a_holder_gives_up_what_is_on_its_way() {
        let mut world = World::seeded();
        let pid = world.request("acme", "h-1", &BOTH).unwrap();
        world.admin(Admin::DeleteHolder("acme".parse().unwrap())).unwrap();
        assert_eq!(process(&world, &pid).state, State::Errored);
        assert_eq!(world.request("acme", "h-1", &BOTH), Err(Refusal::UnknownHolder));
        world.sent(Err("the issuance was given up")).unwrap();
        assert_eq!(process(&world, &pid).error.as_deref(), Some("the holder was removed"));
        // Registered again without the claim: nothing of the old approval counts.
        world.admin(holder("acme", &json!({}))).unwrap();
        assert!(matches!(world.request("acme", "h-1", &BOTH), Err(Refusal::NotEntitled(_))));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Request(usize, usize, usize),
        Sent(bool),
        Status(usize, usize),
        Delete(usize),
        Register(usize),
        Decide(usize, bool),
        Pass(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (0_usize..2, 0_usize..3, 0_usize..4).prop_map(|(h, p, c)| Act::Request(h, p, c)),
            3 => any::<bool>().prop_map(Act::Sent),
            2 => (0_usize..8, 0_usize..3).prop_map(|(c, s)| Act::Status(c, s)),
            1 => (0_usize..2).prop_map(Act::Delete),
            1 => (0_usize..2).prop_map(Act::Register),
            2 => (0_usize..4, any::<bool>()).prop_map(|(n, yes)| Act::Decide(n, yes)),
            1 => (0_u64..80).prop_map(Act::Pass),
        ];
        proptest::collection::vec(act, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..cellspace_schemas::testkit::proptest_config() })]
        /// Whatever happens: no two credentials share a place, no request has two deliveries under way, a credential once delivered stays as it was,
        /// and the state loaded from the rows is the state in memory.
        #[test]
        fn histories_keep_the_promises(acts in acts()) {
            let mut world = World::seeded();
            world.admin(guarded("guarded", Some("https://onboarding.example/"))).unwrap();
            world.admin(open("open", true)).unwrap();
            let all = ["membership", "manufacturer", "guarded"];
            let holders = ["acme", "other"];
            let mut claims = std::collections::HashMap::new();
            for act in acts {
                let _ = match act {
                    // Who is not registered may ask for this one.
                    Act::Request(h, p, 3) => world.request(holders[h], &format!("h-{p}"), &["open"]).map(drop),
                    Act::Request(h, p, c) => world.request(holders[h], &format!("h-{p}"), &all[..=c]).map(drop),
                    Act::Sent(_) if world.outbox.is_empty() => Ok(()),
                    Act::Sent(ok) => world.sent(if ok { Ok(()) } else { Err("no") }).map(drop),
                    Act::Status(n, s) => match world.state.credentials.keys().nth(n).cloned() {
                        Some(credential) => {
                            let command = StatusCommand::ALL[s];
                            world.admin(Admin::ChangeStatus { credential, command, reason: None }).map(drop)
                        }
                        None => Ok(()),
                    },
                    Act::Delete(h) => world.admin(Admin::DeleteHolder(holders[h].parse().unwrap())).map(drop),
                    Act::Decide(n, yes) => match world.state.processes.keys().nth(n).cloned() {
                        Some(pid) if yes => world.approve(&pid).map(drop),
                        Some(pid) => world.reject(&pid, None).map(drop),
                        None => Ok(()),
                    },
                    Act::Pass(seconds) => { world.pass(Duration::from_secs(seconds)); Ok(()) }
                    Act::Register(h) => world.admin(holder(holders[h], &json!({"signed": true, "since": "2026"}))).map(drop),
                };
                let mut places = HashSet::new();
                for credential in world.state.credentials.values() {
                    prop_assert!(places.insert((credential.format, credential.slot)));
                    let now = credential.jwt_claims(&crate::issuer::credential::tests::issuer(), &crate::issuer::credential::tests::urls());
                    prop_assert_eq!(claims.entry(credential.id.clone()).or_insert_with(|| now.clone()), &now);
                }
                for process in world.state.processes.values() {
                    let deliveries = world.outbox.iter().filter(|e| matches!(e.as_ref(), Effect::Deliver { process: p, .. } if *p == process.id));
                    prop_assert_eq!(deliveries.count(), usize::from(process.delivering));
                    let waits = matches!(process.answer, Some(approval::Answer::Open(_)));
                    prop_assert_eq!(waits, process.state == State::Submitted);
                    prop_assert_eq!(waits, world.deadlines.contains_key(&format!("approval/{}", process.id)));
                }
                let reloaded = world.reloaded();
                for format in cellspace_schemas::dcp::CredentialFormat::ALL {
                    for purpose in Purpose::ALL {
                        let id = StatusListId { format, purpose, number: 1 };
                        prop_assert_eq!(world.state.lists.content(id, ListBits::default()), reloaded.lists.content(id, ListBits::default()));
                    }
                }
                for holder in holders {
                    prop_assert_eq!(world.state.holder_by_did(&did(holder)), reloaded.holder_by_did(&did(holder)));
                    for id in [holder.parse().unwrap(), did(holder).as_str().parse().unwrap()] {
                        let under_way = |state: &IssuerState| state.under_way(&id).cloned().collect::<Vec<_>>();
                        prop_assert_eq!(under_way(&world.state), under_way(&reloaded));
                        let all = |state: &IssuerState| state.of_stranger(&id).cloned().collect::<Vec<_>>();
                        prop_assert_eq!(all(&world.state), all(&reloaded));
                    }
                    for pid in 0..3 {
                        let pid = HolderPid::new(format!("h-{pid}")).unwrap();
                        prop_assert_eq!(world.state.process_of(&did(holder), &pid), reloaded.process_of(&did(holder), &pid));
                    }
                }
            }
        }
    }
}
