//! Approval: requests that wait in `SUBMITTED` for the word of whoever governs the issuer, such as the onboarding service of a dataspace authority.
//!
//! Attestations are evaluated twice. Before the question, so that nobody is asked about who is not entitled, and whoever decides sees what would be issued.
//! And again when it is approved, so that nothing is issued that does not hold any more. What is issued is what was shown: nothing that an attestation or a
//! definition says otherwise meanwhile slips in behind the approval.

use super::{
    Definition, Holder, Issuer, IssuerState, Process,
    admin::MAX_REASON_BYTES,
    admission,
    agent::{Decided, Effect, Refusal, Reply},
    attestation::{MAX_URL_BYTES, service_url},
    call_out::{self, Attested},
    hook::{Ask, hook_id},
    issuance::{self, Requested, State, Step},
    mappings::Mapped,
    requests::{self, Fresh, Judged, lane},
    state::Event,
};
use cellspace_cluster::{Decision, Rejection};
use cellspace_schemas::{
    Did, SecretText, Timestamp,
    issuer::{CredentialDefinitionId, IssuerPid, admin::ApprovalBody},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use url::Url;
use uuid::Uuid;

/// Longest time that a request may wait: 90 days.
const MAX_TIMEOUT: Duration = Duration::from_secs(90 * 86_400);
/// First segment of deadlines and lanes.
const QUESTION: &str = "approval/";

/// What a definition asks for before its credentials are issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The service that is told of requests.
    pub hook: Option<Url>,
    /// How long a request waits.
    pub timeout: Duration,
}

impl Approval {
    /// What an operator's body says.
    ///
    /// # Errors
    /// No URL of a service, or no time.
    pub fn new(body: &ApprovalBody) -> Result<Self, String> {
        let hook = body.hook.as_deref().map(|text| {
            let rule = || format!("the hook of an approval must be a URL, http or https, without a user, of at most {MAX_URL_BYTES} bytes");
            service_url(text).ok_or_else(rule)
        });
        let timeout = Duration::from_secs(body.timeout);
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(format!("the timeout of an approval must be 1 to {} seconds", MAX_TIMEOUT.as_secs()));
        }
        Ok(Self { hook: hook.transpose()?, timeout })
    }

    /// As it is answered.
    #[must_use]
    pub fn body(&self) -> ApprovalBody {
        ApprovalBody { hook: self.hook.as_ref().map(ToString::to_string), timeout: self.timeout.as_secs() }
    }
}

/// What became of the question whether a request is approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Nobody has decided yet.
    Open(Arc<Question>),
    /// Approved.
    Approved,
    /// Rejected.
    Rejected,
    /// Nobody decided in time, or there was nobody left to decide about.
    Missing,
}

/// What is decided about, and what is needed of the request then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Until when.
    pub until: Timestamp,
    /// Access token for the holder's credential service, when it gave one.
    pub token: Option<SecretText>,
    /// What would be issued, in the order of the request.
    pub subjects: Vec<Mapped>,
    /// On which [`Definition::terms`], in the same order.
    pub terms: Vec<Uuid>,
}

/// A decision about a request, of an operator or of a governance authority's service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// The credentials are issued.
    Approve(IssuerPid),
    /// They are not.
    Reject {
        /// Which request.
        process: IssuerPid,
        /// Why; the holder is told.
        reason: Option<String>,
    },
}

/// A decision with what others said.
#[derive(Debug)]
pub enum Prepared {
    /// The credentials are issued.
    Approve(Approved),
    /// They are not.
    Reject {
        /// Which request.
        process: IssuerPid,
        /// Why.
        reason: Option<String>,
    },
}

/// An approval with what is needed to issue.
#[derive(Debug)]
pub struct Approved {
    /// Which request.
    pub process: IssuerPid,
    /// Who issues.
    pub issuer: Did,
    /// One per credential asked for.
    pub fresh: Vec<Fresh>,
    /// What services attest now.
    pub attested: Attested,
}

/// How long a request for these definitions waits; `None` when none of them asks for approval.
#[must_use]
pub(super) fn timeout<'a>(definitions: impl Iterator<Item = &'a Definition>) -> Option<Duration> {
    definitions.filter_map(|definition| definition.approval.as_ref()).map(|approval| approval.timeout).min()
}

/// The request waits, and each hook of its definitions is told.
pub(super) fn submit(
    request: &requests::Prepared,
    holder: &Holder,
    judged: Judged<'_>,
    timeout: Duration,
    now: Timestamp,
) -> Decision<Issuer> {
    let mut hooks: Vec<(&Url, &CredentialDefinitionId)> = Vec::new();
    for (definition, _) in &judged.grants {
        let hook = definition.approval.as_ref().and_then(|approval| approval.hook.as_ref());
        if let Some(hook) = hook.filter(|hook| hooks.iter().all(|(told, _)| told != hook)) {
            hooks.push((hook, &definition.id));
        }
    }
    let mut decision = Decision::action("issuance.submitted").replying(Reply::Accepted(request.process.clone()));
    for (n, (hook, definition)) in hooks.into_iter().enumerate() {
        let (process, issuer) = (request.process.clone(), request.issuer.clone());
        let ask = Ask { process, definition: definition.clone(), hook: hook_id(hook), issuer };
        decision = decision.effect(format!("{QUESTION}{}/{n}", request.process), Effect::Ask(ask));
    }
    let requested = judged.grants.iter().zip(&request.fresh).map(|((definition, _), fresh)| Requested {
        definition: definition.id.clone(),
        format: definition.format,
        credential: fresh.credential.clone(),
    });
    let requested = requested.collect();
    let (terms, subjects) = judged.grants.into_iter().map(|(definition, mapped)| (definition.terms(), mapped)).unzip();
    let question = Question { until: now.plus(timeout), token: request.token.clone(), subjects, terms };
    let answer = Some(Answer::Open(Arc::new(question)));
    let process = Process { answer, ..request.process(holder, State::Submitted, judged.claims, requested, now) };
    decision.event(Event::Process(Arc::new(process)))
}

/// Whether a repeat of a request that waits came with another access token than the one that is kept.
#[must_use]
pub(super) fn has_other_token(process: &Process, repeat: &requests::Prepared) -> bool {
    matches!(&process.answer, Some(Answer::Open(question)) if repeat.token.is_some() && repeat.token != question.token)
}

/// The request waits on, and what is sent to its holder then comes with the token of its repeat: an earlier one may have ended by that time.
pub(super) fn with_token_of(process: &Process, repeat: &requests::Prepared, now: Timestamp) -> Decision<Issuer> {
    let answer = match &process.answer {
        Some(Answer::Open(question)) => Some(Answer::Open(Arc::new(Question { token: repeat.token.clone(), ..Question::clone(question) }))),
        other => other.clone(),
    };
    let kept = Process { answer, updated_at: now, ..process.clone() };
    Decision::action("issuance.repeated").event(Event::Process(Arc::new(kept))).replying(Reply::Accepted(process.id.clone()))
}

/// Decides about a decision. Pure. The same one again changes nothing; another one, or one that comes too late, is refused.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &IssuerState, prepared: &Prepared, now: Timestamp) -> Decided {
    let (Prepared::Approve(Approved { process: pid, .. }) | Prepared::Reject { process: pid, .. }) = prepared;
    let process = state.processes.get(pid).ok_or_else(|| Refusal::not_found("issuance process", pid))?;
    match (&process.answer, prepared) {
        (Some(Answer::Open(question)), Prepared::Approve(approved)) if question.until > now => {
            approve(state, process, question, approved, now)
        }
        (Some(Answer::Open(question)), Prepared::Reject { reason, .. }) if question.until > now => {
            let reason = reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()).unwrap_or("the request was not approved");
            if reason.len() > MAX_REASON_BYTES {
                return Err(Refusal::Invalid(format!("reason has at most {MAX_REASON_BYTES} bytes")).into());
            }
            end(process, question, Answer::Rejected, "issuance.rejected", reason, now)
        }
        (Some(Answer::Approved), Prepared::Approve(_)) | (Some(Answer::Rejected), Prepared::Reject { .. }) => Ok(Decision::nothing()),
        (None | Some(_), _) => {
            Err(Refusal::Conflict(format!("nothing is to be decided any more, the process is {}", process.state.name())).into())
        }
    }
}

fn approve(state: &IssuerState, process: &Process, question: &Question, approved: &Approved, now: Timestamp) -> Decided {
    let Step::To { state: next, .. } = issuance::step(process.state, issuance::Command::Approve) else {
        return Err(Refusal::Conflict(format!("a process that is {} cannot be approved", process.state.name())).into());
    };
    let holder = state.holders.get(&process.holder).filter(|holder| holder.did == process.holder_did);
    let holder = holder.ok_or_else(|| Refusal::Conflict("the holder has another DID by now".to_owned()))?;
    let definitions = process.definitions();
    if !admission::admits(state, holder, &definitions) {
        return Err(Refusal::Conflict("the holder must be registered by now".to_owned()).into());
    }
    if !call_out::is_complete(state, &definitions, &approved.attested) || approved.fresh.len() != definitions.len() {
        return Err(Rejection::Stale);
    }
    // What is not so any more stands in the way of the decision; it is no fault of whoever decides.
    let judged = requests::judge(state, holder, &definitions, &approved.attested).map_err(|refusal| match refusal {
        Refusal::Invalid(rule) | Refusal::NotEntitled(rule) => Refusal::Conflict(rule),
        other => other,
    })?;
    if let Some(((definition, _), _)) = judged.grants.iter().zip(&question.terms).find(|((d, _), asked)| d.terms() != **asked) {
        let rule = format!("type, format, validity or contexts of {} are not as they were shown, reject the request", definition.id);
        return Err(Refusal::Conflict(rule).into());
    }
    let grants: Vec<(&Definition, Mapped)> =
        judged.grants.iter().zip(&question.subjects).map(|((d, _), shown)| (*d, shown.clone())).collect();
    if let Some((definition, _)) = grants.iter().find(|(definition, shown)| !definition.describes(&holder.did, &shown.subject)) {
        let rule = format!("what was shown is not as the jsonSchema of {} says by now, reject the request", definition.id);
        return Err(Refusal::Conflict(rule).into());
    }
    let (requested, issued) = requests::issue(state, &process.id, holder, &approved.issuer, grants, &approved.fresh, now);
    let answer = Some(Answer::Approved);
    let process = Process { state: next, delivering: true, requested, answer, updated_at: now, ..process.clone() };
    let decision = Decision::action("issuance.approved")
        .effect(lane(&process.id), Effect::Deliver { process: process.id.clone(), token: question.token.clone() })
        .event(Event::Process(Arc::new(process)));
    Ok(issued.into_iter().fold(decision, Decision::event))
}

/// The request ends without a credential, and its holder is told why.
///
/// # Errors
/// [`Refusal::Conflict`] when the table has no such arrow.
pub(super) fn end(process: &Process, question: &Question, answer: Answer, action: &'static str, reason: &str, now: Timestamp) -> Decided {
    let Step::To { state, .. } = issuance::step(process.state, issuance::Command::Reject) else {
        return Err(Refusal::Conflict(format!("a process that is {} cannot be rejected", process.state.name())).into());
    };
    let ended = Process { state, error: Some(reason.to_owned()), answer: Some(answer), updated_at: now, ..process.clone() };
    let told = Effect::Reject { process: process.id.clone(), token: question.token.clone() };
    Ok(Decision::action(action).effect(lane(&process.id), told).event(Event::Process(Arc::new(ended))))
}

/// The deadline of a process: that of its question, while it is open.
#[must_use]
pub(super) fn deadline(process: &Process) -> Option<(String, Option<Timestamp>)> {
    let until = match process.answer.as_ref()? {
        Answer::Open(question) => Some(question.until),
        Answer::Approved | Answer::Rejected | Answer::Missing => None,
    };
    Some((format!("{QUESTION}{}", process.id), until))
}

/// A deadline has passed.
///
/// # Errors
/// As [`end`].
pub(super) fn due(state: &IssuerState, key: &str, now: Timestamp) -> Decided {
    let pid = key.strip_prefix(QUESTION).and_then(|id| IssuerPid::new(id).ok());
    match pid.and_then(|pid| state.processes.get(&pid)).map(|process| (process, &process.answer)) {
        Some((process, Some(Answer::Open(question)))) if question.until <= now => {
            end(process, question, Answer::Missing, "issuance.expired", "the request was not decided in time", now)
        }
        Some(_) | None => Ok(Decision::nothing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{
        admin::Command as Admin,
        testing::{World, definition, did, guarded, holder},
    };
    use serde_json::json;

    const HOOK: &str = "https://onboarding.example/requests";

    fn world() -> World {
        let mut world = World::seeded();
        world.admin(guarded("guarded", Some(HOOK))).unwrap();
        world.log.clear();
        world
    }

    fn process<'a>(world: &'a World, pid: &IssuerPid) -> &'a Process {
        world.state.processes.get(pid).unwrap()
    }

    fn subjects(world: &World) -> Vec<serde_json::Value> {
        world.state.credentials.values().map(|credential| json!(*credential.subject)).collect()
    }

    #[test]
    fn a_request_waits_until_it_is_approved() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["membership", "guarded"]).unwrap();
        assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Submitted, 0));
        assert!(matches!(world.outbox.front().map(AsRef::as_ref), Some(Effect::Ask(ask)) if ask.process == pid));
        world.sent(Err("nobody listens")).unwrap();
        // It waits all the same, and a repeat of the request is the same one.
        assert_eq!(world.request("acme", "h-1", &["membership", "guarded"]), Ok(pid.clone()));
        assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Submitted, 0));
        world.approve(&pid).unwrap();
        assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Approved, 2));
        assert!(world.deadlines.is_empty());
        // Again: nothing. The other way round: refused.
        world.approve(&pid).unwrap();
        assert!(matches!(world.reject(&pid, None), Err(Refusal::Conflict(_))));
        world.sent(Ok(())).unwrap();
        world.approve(&pid).unwrap();
        assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Delivered, 0));
        let usage = "org.cellspace.usage.credential-issued";
        assert_eq!(world.log, ["issuance.submitted", "issuance.approved", "issuance.delivered", usage, usage]);
    }

    #[test]
    fn what_is_sent_comes_with_the_newest_token() {
        let token = |text: &str| Some(SecretText::new(text));
        for approved in [true, false] {
            let mut world = world();
            world.admin(guarded("quiet", None)).unwrap();
            world.token = token("first");
            let pid = world.request("acme", "h-1", &["quiet"]).unwrap();
            // The same one, or none, changes nothing.
            for (came, rows) in [("first", 0), ("second", 1)] {
                let log = world.log.len();
                world.token = token(came);
                assert_eq!(world.request("acme", "h-1", &["quiet"]), Ok(pid.clone()));
                assert_eq!(world.log.len(), log + rows, "{came}");
            }
            world.token = None;
            assert_eq!(world.request("acme", "h-1", &["quiet"]), Ok(pid.clone()));
            assert_eq!(world.log.last().unwrap(), "issuance.repeated");
            assert_eq!((process(&world, &pid).state, world.deadlines.len(), world.outbox.len()), (State::Submitted, 1, 0));
            // Of other credentials it is no repeat, and its token is not kept.
            world.token = token("third");
            assert!(matches!(world.request("acme", "h-1", &["membership"]), Err(Refusal::Conflict(_))));
            if approved {
                world.approve(&pid).unwrap()
            } else {
                world.reject(&pid, None).unwrap()
            };
            match world.outbox.front().map(AsRef::as_ref) {
                Some(Effect::Deliver { token: sent, .. } | Effect::Reject { token: sent, .. }) => assert_eq!(*sent, token("second")),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_rejected_request_ends_and_its_holder_is_told() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        world.sent(Ok(())).unwrap();
        assert!(matches!(world.reject(&pid, Some(&"x".repeat(MAX_REASON_BYTES + 1))), Err(Refusal::Invalid(_))));
        world.reject(&pid, Some("no member")).unwrap();
        assert_eq!((process(&world, &pid).state, process(&world, &pid).error.as_deref()), (State::Errored, Some("no member")));
        world.reject(&pid, Some("another reason")).unwrap();
        assert_eq!(process(&world, &pid).error.as_deref(), Some("no member"));
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
        assert!(matches!(world.outbox.front().map(AsRef::as_ref), Some(Effect::Reject { process, .. }) if *process == pid));
        assert_eq!((world.outbox.len(), world.state.credentials.size()), (1, 0));
        // Asked again, it is another question.
        let again = world.request("acme", "h-1", &["guarded"]).unwrap();
        assert_ne!(again, pid);
        world.approve(&again).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
    }

    #[test]
    fn what_nobody_decides_ends() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        world.pass(Duration::from_secs(99));
        assert_eq!(process(&world, &pid).state, State::Submitted);
        world.pass(Duration::from_secs(1));
        assert_eq!((process(&world, &pid).state, process(&world, &pid).answer.clone()), (State::Errored, Some(Answer::Missing)));
        assert!(matches!(world.outbox.back().map(AsRef::as_ref), Some(Effect::Reject { .. })));
        assert!(world.deadlines.is_empty());
        for verdict in [world.approve(&pid), world.reject(&pid, None)] {
            assert!(matches!(verdict, Err(Refusal::Conflict(_))));
        }
    }

    #[test]
    fn only_what_waits_is_decided_about() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["membership"]).unwrap();
        for verdict in [world.approve(&pid), world.reject(&pid, None)] {
            assert!(matches!(verdict, Err(Refusal::Conflict(_))));
        }
        let none = IssuerPid::new("none").unwrap();
        for verdict in [world.approve(&none), world.reject(&none, None)] {
            assert!(matches!(verdict, Err(Refusal::NotFound(..))));
        }
    }

    #[test]
    fn nobody_is_asked_about_who_is_not_entitled() {
        let mut world = world();
        world.admin(holder("unsigned", &json!({"signed": false, "since": "2026"}))).unwrap();
        assert!(matches!(world.request("unsigned", "h-1", &["guarded"]), Err(Refusal::NotEntitled(_))));
        assert!(world.outbox.is_empty());
    }

    #[test]
    fn what_is_issued_is_what_was_shown_if_it_still_holds() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        let Admin::CreateHolder(there) = holder("acme", &json!({"signed": true, "since": "1926"})) else { panic!("no holder") };
        let unsigned = serde_json::from_value(json!({"holderId": "acme", "did": did("acme"), "properties": {"since": "2026"}})).unwrap();
        let elsewhere = serde_json::from_value(json!({"holderId": "acme", "did": did("acme-2")})).unwrap();
        for changed in [unsigned, elsewhere] {
            world.admin(Admin::UpdateHolder(changed)).unwrap();
            assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
            assert_eq!(process(&world, &pid).state, State::Submitted, "it may be approved later");
        }
        // Entitled again, and another one now: that was not approved.
        world.admin(Admin::UpdateHolder(there)).unwrap();
        world.approve(&pid).unwrap();
        assert_eq!(subjects(&world), [json!({"since": "2026"})]);
    }

    #[test]
    fn a_definition_that_changed_stands_in_the_way_only_where_it_must() {
        let mut world = world();
        let Admin::CreateDefinition(mut body) = guarded("guarded", Some(HOOK)) else { panic!("no definition") };
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        body.json_schema = Some(json!({"required": ["level"]}).to_string());
        world.admin(Admin::UpdateDefinition(body.clone())).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
        world.admin(Admin::DeleteDefinition("guarded".parse().unwrap())).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
        // What asks for no approval any more is still waited for by who had to be approved.
        (body.json_schema, body.approval) = (None, None);
        world.admin(Admin::CreateDefinition(body)).unwrap();
        world.approve(&pid).unwrap();
        assert_eq!(process(&world, &pid).state, State::Approved);
    }

    #[test]
    fn what_a_definition_says_otherwise_was_not_approved() {
        let mut world = world();
        let Admin::CreateDefinition(body) = guarded("guarded", Some(HOOK)) else { panic!("no definition") };
        let pid = world.request("acme", "h-1", &["membership", "guarded"]).unwrap();
        for change in [
            json!({"credentialType": "OtherCredential"}),
            json!({"format": "VC1_0_JWT"}),
            json!({"validity": "7200"}),
            json!({"additionalContext": ["https://example.com/context"]}),
        ] {
            let mut changed = json!(body);
            changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            world.admin(Admin::UpdateDefinition(serde_json::from_value(changed).unwrap())).unwrap();
            assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))), "{change}");
        }
        assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Submitted, 0));
        world.admin(Admin::UpdateDefinition(body)).unwrap();
        world.approve(&pid).unwrap();
    }

    #[test]
    fn a_hook_is_told_for_as_long_as_there_is_one_and_something_to_decide() {
        let mut world = world();
        world.admin(guarded("second", Some(HOOK))).unwrap();
        let pid = world.request("acme", "h-1", &["guarded", "second"]).unwrap();
        let Some(Effect::Ask(ask)) = world.outbox.pop_front().as_deref().cloned() else { panic!("nobody is asked") };
        assert!(world.outbox.is_empty(), "it is one hook");
        let told = |world: &World| ask.target(&world.state).map(ToString::to_string);
        let moved = |to: Option<&str>| {
            let Admin::CreateDefinition(body) = guarded("second", to) else { panic!("no definition") };
            Admin::UpdateDefinition(body)
        };
        assert_eq!(told(&world).as_deref(), Some(HOOK));
        // Who asked first is gone; the other one's question stays.
        world.admin(Admin::DeleteDefinition("guarded".parse().unwrap())).unwrap();
        assert_eq!(told(&world).as_deref(), Some(HOOK));
        world.admin(moved(None)).unwrap();
        assert_eq!(told(&world), None);
        // It is elsewhere by now.
        let elsewhere = "https://office.example/";
        world.admin(guarded("guarded", Some(elsewhere))).unwrap();
        assert_eq!(told(&world).as_deref(), Some(elsewhere));
        world.admin(moved(Some(HOOK))).unwrap();
        assert_eq!(told(&world).as_deref(), Some(HOOK));
        world.reject(&pid, None).unwrap();
        assert_eq!(told(&world), None);
    }

    #[test]
    fn who_is_not_registered_is_approved_only_for_what_is_open() {
        let mut world = world();
        let Admin::CreateDefinition(mut open) = guarded("open", Some(HOOK)) else { panic!("no definition") };
        (open.anonymous_allowed, open.attestations, open.rules, open.mappings) = (true, Vec::new(), Vec::new(), Vec::new());
        world.admin(Admin::CreateDefinition(open.clone())).unwrap();
        let pid = world.request("stranger", "h-1", &["open"]).unwrap();
        open.anonymous_allowed = false;
        world.admin(Admin::UpdateDefinition(open)).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
        let taken = serde_json::from_value(json!({"holderId": did("stranger"), "did": did("stranger")})).unwrap();
        world.admin(Admin::UpdateHolder(taken)).unwrap();
        world.approve(&pid).unwrap();
    }

    #[test]
    fn each_hook_is_told_once_and_the_first_deadline_counts() {
        let mut world = world();
        let Admin::CreateDefinition(mut quick) = guarded("quick", Some(HOOK)) else { panic!("no definition") };
        quick.approval.as_mut().unwrap().timeout = 10;
        world.admin(Admin::CreateDefinition(quick)).unwrap();
        world.admin(guarded("other", Some("https://office.example/"))).unwrap();
        world.admin(guarded("quiet", None)).unwrap();
        world.request("acme", "h-1", &["guarded", "quick", "other", "quiet"]).unwrap();
        assert_eq!(world.outbox.len(), 2);
        world.pass(Duration::from_secs(10));
        assert!(world.deadlines.is_empty());
    }

    #[test]
    fn a_holder_that_is_removed_leaves_no_question() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        world.admin(Admin::DeleteHolder("acme".parse().unwrap())).unwrap();
        assert_eq!((process(&world, &pid).state, process(&world, &pid).answer.clone()), (State::Errored, Some(Answer::Missing)));
        assert_eq!(process(&world, &pid).error.as_deref(), Some("the holder was removed"));
        assert!(world.deadlines.is_empty());
        assert!(matches!(world.outbox.back().map(AsRef::as_ref), Some(Effect::Reject { .. })));
    }

    #[test]
    fn waiting_requests_of_a_holder_are_bounded() {
        let mut world = world();
        for n in 0..admission::MAX_UNDER_WAY {
            world.request("acme", &format!("h-{n}"), &["guarded"]).unwrap();
        }
        assert_eq!(world.request("acme", "one-more", &["guarded"]), Err(Refusal::TooMany));
        world.pass(Duration::from_secs(1_000));
        assert!(world.request("acme", "one-more", &["guarded"]).is_ok());
    }

    #[test]
    fn a_token_waits_in_the_row_alone() {
        let mut world = world();
        let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
        let Some(Answer::Open(question)) = process(&world, &pid).answer.clone() else { panic!("no question") };
        let question = Question { token: Some(SecretText::new("s3cret")), ..Question::clone(&question) };
        let waiting = Process { answer: Some(Answer::Open(Arc::new(question))), ..process(&world, &pid).clone() };
        assert!(!format!("{waiting:?}").contains("s3cret"));
        let view = serde_json::to_string(&waiting.view(&"issuer".parse().unwrap())).unwrap();
        assert!(!view.contains("s3cret"), "{view}");
    }

    #[test]
    fn services_are_asked_again() {
        let mut world = world();
        let office = serde_json::from_value(json!({"id": "office", "attestationType": "http", "configuration": {"url": HOOK}})).unwrap();
        world.admin(Admin::CreateAttestation(office)).unwrap();
        let Admin::CreateDefinition(mut body) = definition("checked", "vc20-bssl/jwt") else { panic!("no definition") };
        body.attestations.push("office".parse().unwrap());
        body.approval = Some(serde_json::from_value(json!({})).unwrap());
        world.admin(Admin::CreateDefinition(body)).unwrap();
        let said = |claims: Option<serde_json::Value>| {
            Attested::from([("office".parse().unwrap(), claims.map(|claims| claims.as_object().unwrap().clone()))])
        };
        let pid = world.request_with("acme", "h-1", &["checked"], said(Some(json!({"since": "2020"})))).unwrap();
        assert!(matches!(world.approve_with(&pid, said(None)), Err(Refusal::Conflict(_))));
        world.approve_with(&pid, said(Some(json!({"since": "2021"})))).unwrap();
        assert_eq!(subjects(&world), [json!({"since": "2020"})]);
    }
}
