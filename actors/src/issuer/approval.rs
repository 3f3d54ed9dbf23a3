//! Approval: requests that wait in `SUBMITTED` for the word of whoever governs the issuer, such as the onboarding service of a dataspace authority.
//!
//! Attestations are evaluated twice. Before the question, so that nobody is asked about who is not entitled, and whoever decides sees what would be issued.
//! And again when it is approved, so that nothing is issued that does not hold any more. What is issued is what was shown: nothing that an attestation or a
//! definition says otherwise meanwhile slips in behind the approval.

#[cfg(test)]
mod tests;

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
