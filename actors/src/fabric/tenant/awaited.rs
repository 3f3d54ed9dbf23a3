//! What a profile hears of the orchestrations that it awaits: their results, as events, and, when those do not come, what a look at the
//! orchestrations themselves brings. Pure.

use super::{
    ProfileRecord, TenantAgent, TenantState,
    agent::{Decided, Effect, Event, Outcome},
    profile::{failed, moved, request, set},
};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    EventPosition, Timestamp,
    fabric::{DeploymentState, OrchestrationResponse, ParticipantProfileId, keys},
};
use std::{sync::Arc, time::Duration};

/// A result that has not come after this time is looked for.
const CHECK: Duration = Duration::from_secs(600);
/// Looks that may find no orchestration before the profile is given up; each one asks for the orchestration again.
pub const MAX_MISSED: u32 = 6;

/// When a profile that comes into this state is checked.
pub fn check_at(state: DeploymentState, now: Timestamp) -> Option<Timestamp> {
    match state {
        DeploymentState::Pending | DeploymentState::Disposing => Some(now.plus(CHECK)),
        DeploymentState::Initial
        | DeploymentState::Active
        | DeploymentState::Disposed
        | DeploymentState::Locked
        | DeploymentState::Offline
        | DeploymentState::Error => None,
    }
}

/// Stores the record; nobody else is told, since the profile is what it was.
fn kept(action: &'static str, record: ProfileRecord) -> Decision<TenantAgent> {
    Decision::action(action).event(Event::Profile(Arc::new(record)))
}

/// An orchestration about the profile ended. Counts once: an event at or before the source's mark changes nothing.
pub fn ended(state: &TenantState, response: &OrchestrationResponse, source: &str, position: EventPosition, now: Timestamp) -> Decided {
    let record = ParticipantProfileId::new(&response.correlation_id).ok().and_then(|id| state.profile(&id));
    let Some(record) = record else { return Ok(Decision::nothing()) };
    if record.marks.get(source).is_some_and(|mark| position <= *mark) {
        return Ok(Decision::nothing());
    }
    let Some((action, mut record)) = end(record, response, now) else { return Ok(Decision::nothing()) };
    record.marks.insert(source.to_owned(), position);
    Ok(set(action, record))
}

/// What the end of an orchestration makes of the profile; `None` when it was not awaited, or says nothing new.
fn end(record: &ProfileRecord, response: &OrchestrationResponse, now: Timestamp) -> Option<(&'static str, ProfileRecord)> {
    if !record.awaits.contains(&response.manifest_id) {
        return None;
    }
    let mut record = record.clone();
    let disposes = response.orchestration_type.disposes();
    if !disposes && !response.properties.is_empty() {
        record.outputs.clone_from(&response.properties);
    }
    let detail = response.error_detail.clone().unwrap_or_else(|| "no reason given".to_owned());
    match (disposes, response.success, record.profile.state()) {
        // pending -> active
        (false, true, DeploymentState::Pending) => Some(("participant-profile.active", moved(&record, DeploymentState::Active, now))),
        // pending -> error: the orchestration undoes what it did, and says so in a second result
        (false, false, DeploymentState::Pending) => Some(("participant-profile.failed", failed(&record, detail, now))),
        // disposing -> disposed, error -> disposed (after a failed deployment; the error stays readable)
        (true, true, DeploymentState::Disposing | DeploymentState::Error) => {
            Some(("participant-profile.disposed", moved(&record, DeploymentState::Disposed, now)))
        }
        // disposing -> error
        (true, false, DeploymentState::Disposing) => Some(("participant-profile.disposal-failed", failed(&record, detail, now))),
        // error -> error: undoing failed as well; both reasons stay
        (true, false, DeploymentState::Error) => {
            let both = format!("{}; undoing it failed: {detail}", record.profile.error_detail);
            Some(("participant-profile.disposal-failed", failed(&record, both, now)))
        }
        (
            true | false,
            true | false,
            DeploymentState::Initial
            | DeploymentState::Pending
            | DeploymentState::Active
            | DeploymentState::Disposing
            | DeploymentState::Disposed
            | DeploymentState::Locked
            | DeploymentState::Offline
            | DeploymentState::Error,
        ) => None,
    }
}

/// The profile under this key has waited for long: its orchestrations are looked at.
pub fn due(state: &TenantState, key: &str) -> Decision<TenantAgent> {
    let record = ParticipantProfileId::new(key).ok().and_then(|id| state.profile(&id));
    let Some(record) = record.filter(|record| record.check_at.is_some()) else { return Decision::nothing() };
    let id = record.profile.id.clone();
    let record = ProfileRecord { check_at: None, ..record.as_ref().clone() };
    kept("participant-profile.overdue", record).effect(format!("orchestration/{id}"), Effect::Check(id))
}

/// What was found: those that have ended, and whether one is under way. While the log is away nothing is missing, since requests wait for it for as long.
pub fn found(ended: Vec<OrchestrationResponse>, running: bool, log_is_away: bool) -> Outcome {
    match (ended.is_empty(), running || log_is_away) {
        (false, _) => Outcome::Ended(ended),
        (true, true) => Outcome::Running,
        (true, false) => Outcome::Missing,
    }
}

/// What a look at the orchestrations brought. A profile that is not waiting any more has heard of them meanwhile.
pub fn looked(state: &TenantState, id: &ParticipantProfileId, outcome: &Outcome, now: Timestamp) -> Decision<TenantAgent> {
    let waiting = state.profile(id).and_then(|record| Some((record, check_at(record.profile.state(), now)?)));
    let Some((record, again)) = waiting else { return Decision::nothing() };
    let later = |missed: u32| ProfileRecord { check_at: Some(again), missed, ..record.as_ref().clone() };
    match outcome {
        Outcome::Ended(responses) => {
            let mut found: Option<(&'static str, ProfileRecord)> = None;
            for response in responses {
                let current = found.as_ref().map_or(record.as_ref(), |(_, record)| record);
                found = end(current, response, now).or(found);
            }
            found.map_or_else(|| kept("participant-profile.waiting", later(0)), |(action, record)| set(action, record))
        }
        Outcome::Running | Outcome::Shown => kept("participant-profile.waiting", later(0)),
        // Asked for again under the same id: a request that comes late after all is the same request.
        Outcome::Missing if record.missed < MAX_MISSED => {
            let orchestration = if record.profile.state() == DeploymentState::Disposing { keys::DISPOSE } else { keys::DEPLOY };
            let waiting = kept("participant-profile.requested-again", later(record.missed + 1));
            match record.awaits.first().map(|id| request(record, id, orchestration)) {
                Some(Ok(fact)) => waiting.fact(fact),
                Some(Err(_)) | None => waiting,
            }
        }
        Outcome::Missing => set(
            "participant-profile.failed",
            failed(record, "the orchestration could not be started: see the dead letters".to_owned(), now),
        ),
    }
}
