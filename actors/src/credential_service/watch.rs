//! Held credentials on their way to their end: told of a week before, asked for anew a day before, and looked up in their issuers' status lists at once and
//! then once a day (DCP 1.0 leaves all of it to the holder).
//!
//! A credential has one deadline, for whatever comes next; nothing is kept of those that are not due.

use super::{
    CredentialService, Effect, Event, State,
    agent::Decided,
    credential::{CredentialEvent, StoredCredential, TABLE},
    holder_request::{self, RequestEvent, RequestState},
};
use crate::{derived_id::derived_id, fabric::topics::FACTS};
use cellspace_cluster::{Decision, Fact};
use cellspace_schemas::{
    Timestamp,
    issuer::{CredentialId, HolderPid},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// How long before its end a credential is told of; one that lives no longer than that is told of when it is to be renewed.
pub const WARNING: Duration = Duration::from_secs(7 * 86_400);
/// How long before its end a credential is asked for anew; a quarter of its life when that is less.
pub const RENEWAL: Duration = Duration::from_secs(86_400);
/// How often it is asked for, in equal parts of the time that is left.
pub const MAX_RENEWALS: u32 = 6;
/// Between two requests that take each other's place, at the least; doubled each time that the next one would come sooner. An issuer whose credentials end ever
/// sooner is not asked ever faster, and one whose credentials live no longer than this is asked once.
pub const RENEWAL_PAUSE: Duration = Duration::from_secs(2);
/// How often the pause is doubled at most: to most of a day.
const MAX_HASTE: u32 = 15;
/// How often the status of a credential is looked up.
pub const STATUS_EVERY: Duration = Duration::from_secs(86_400);

/// What its issuer's status lists say of a credential, when they were looked at last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldStatus {
    /// Neither revoked nor suspended.
    #[default]
    Active,
    /// Not valid for the time being.
    Suspended,
    /// Not valid any more.
    Revoked,
}

/// What was done for a credential so far, and when its status is looked up next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Whether its end was told of.
    pub warned: bool,
    /// How often it was asked for anew.
    pub renewals: u32,
    /// When its status is looked up; never for one without.
    pub look_at: Option<Timestamp>,
    /// Since when it is held. Its life counts from then when it began earlier, or does not say when.
    #[serde(default)]
    pub stored_at: Timestamp,
    /// When it was asked for anew, or when the one was whose place it took.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
    /// How often the pause between requests was too short, less how often it was not.
    #[serde(default)]
    pub haste: u32,
    /// Whose place it takes later, since it does not count yet.
    #[serde(default)]
    pub replaces: Option<Replaces>,
}

/// A credential that another one takes the place of when the time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaces {
    /// Which.
    pub credential: CredentialId,
    /// When.
    pub at: Timestamp,
}

impl Watch {
    /// Of a credential that is stored now; its status is looked up at once.
    #[must_use]
    pub fn begin(has_status: bool, now: Timestamp) -> Self {
        Self { look_at: has_status.then_some(now), stored_at: now, ..Self::default() }
    }

    /// Of one that takes another's place: at its pace, and with what was done already when it ends no later; otherwise an issuer that grants no more time
    /// would be asked without end.
    #[must_use]
    pub(super) fn going_on_from(&self, earlier: &Self, ends_later: bool) -> Self {
        let paced = Self { asked_at: earlier.asked_at, haste: earlier.haste, ..self.clone() };
        if ends_later { paced } else { Self { warned: earlier.warned, renewals: earlier.renewals, ..paced } }
    }

    /// When it may be asked for anew, whenever it ends.
    fn earliest(&self) -> Timestamp {
        self.asked_at.map_or(Timestamp::default(), |at| at.plus(RENEWAL_PAUSE * (1 << self.haste.min(MAX_HASTE))))
    }
}

impl StoredCredential {
    /// When its end is told of, and from when on it is asked for anew.
    fn milestones(&self) -> Option<(Timestamp, Timestamp, Duration)> {
        let until = self.valid_until?;
        let life = until.since(self.valid_from.map_or(self.watch.stored_at, |from| from.max(self.watch.stored_at)));
        let left = RENEWAL.min(life / 4);
        let renewal = until.minus(left);
        Some((if life > WARNING { until.minus(WARNING) } else { renewal }, renewal, left))
    }

    /// Whether it ends later than the other.
    pub(super) fn outlives(&self, other: &Self) -> bool {
        self.valid_until.is_none_or(|until| other.valid_until.is_some_and(|end| until > end))
    }

    /// Names its signed form in what is asked about it.
    #[must_use]
    pub(super) fn digest(&self) -> Uuid {
        derived_id(&[&self.raw])
    }

    /// When something is to be done for it.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.status == HeldStatus::Revoked {
            return None;
        }
        let milestones = self.milestones();
        let warning = milestones.filter(|_| !self.watch.warned).map(|(at, ..)| at);
        let renewal = milestones.filter(|_| self.request.is_some() && self.watch.renewals < MAX_RENEWALS);
        let renewal = renewal.map(|(_, at, left)| at.plus(left / MAX_RENEWALS * self.watch.renewals).max(self.watch.earliest()));
        let look = self.watch.look_at.filter(|at| self.valid_until.is_none_or(|until| *at < until));
        let replaces = self.watch.replaces.as_ref().map(|replaces| replaces.at);
        [warning, renewal, look, replaces].into_iter().flatten().min()
    }
}

/// Key of its deadline, and lane of what is asked about it.
pub(super) fn lane(id: &CredentialId) -> String {
    format!("{TABLE}/{id}")
}

/// The deadline that the credential now has.
#[must_use]
pub fn deadline(event: &CredentialEvent) -> (String, Option<Timestamp>) {
    match event {
        CredentialEvent::Stored(credential) => (lane(&credential.id), credential.due_at()),
        CredentialEvent::Removed(id) => (lane(id), None),
    }
}

/// The time of a credential has come: everything that is due is done, so that its next deadline is a later one.
pub fn due(state: &State, id: &CredentialId, now: Timestamp) -> Decided {
    let Some(held) = state.credentials.get(id).filter(|held| held.due_at().is_some_and(|at| at <= now)) else {
        return Ok(Decision::nothing());
    };
    if held.valid_until.is_some_and(|until| until <= now) {
        // Nothing can be done for it any more.
        let watch = Watch { warned: true, renewals: MAX_RENEWALS, look_at: None, replaces: None, ..held.watch };
        return Ok(Decision::action("credential.expired").event(stored(StoredCredential { watch, ..(**held).clone() })));
    }
    let mut watch = held.watch.clone();
    let mut decision = Decision::action("credential.watched");
    if watch.replaces.as_ref().is_some_and(|replaces| replaces.at <= now) {
        let (events, later) = replace(state, held, now);
        decision.action = "credential.renewed";
        decision.events.extend(events);
        watch.replaces = later;
    }
    if let Some((warning, renewal, left)) = held.milestones() {
        if !watch.warned && warning <= now {
            watch.warned = true;
            decision.action = "credential.expiring";
            decision = decision.fact(fact(held, "org.cellspace.credential.expiring"));
        }
        let passed = (0..MAX_RENEWALS).filter(|n| renewal.plus(left / MAX_RENEWALS * *n) <= now).count();
        let passed = u32::try_from(passed).unwrap_or(MAX_RENEWALS);
        let earliest = watch.earliest();
        if held.request.is_some() && passed > watch.renewals && earliest <= now {
            let hasty = renewal.plus(left / MAX_RENEWALS * watch.renewals) < earliest;
            watch.haste = if hasty { watch.haste + 1 } else { watch.haste.saturating_sub(1) }.min(MAX_HASTE);
            (watch.asked_at, watch.renewals) = (Some(now), passed);
            decision = renew(state, held, passed, now, decision);
        }
    }
    if watch.look_at.is_some_and(|at| at <= now) {
        watch.look_at = Some(now.plus(STATUS_EVERY));
        decision = decision.effect(lane(id), Effect::LookAtStatus(id.clone(), held.digest()));
    }
    Ok(decision.event(stored(StoredCredential { watch, ..(**held).clone() })))
}

/// It takes the place of the one that it renews: what of that goes, and when to look again. One that is suspended waits for the other's end.
fn replace(state: &State, held: &StoredCredential, now: Timestamp) -> (Vec<Event>, Option<Replaces>) {
    let old = held.watch.replaces.as_ref().and_then(|replaces| state.credentials.get(&replaces.credential));
    // It may have been issued anew meanwhile.
    let old = old.filter(|old| !old.outlives(held));
    match old {
        None => (Vec::new(), None),
        Some(old) if held.is_valid(now) || old.valid_until.is_some_and(|until| until <= now) => {
            (holder_request::taken_over(state, old, held.request.as_ref()), None)
        }
        Some(old) => (Vec::new(), old.valid_until.map(|at| Replaces { credential: old.id.clone(), at })),
    }
}

/// Asks for the same again, unless a credential that outlives this one is there, or on its way.
fn renew(
    state: &State,
    held: &StoredCredential,
    attempt: u32,
    now: Timestamp,
    decision: Decision<CredentialService>,
) -> Decision<CredentialService> {
    let id = &held.id;
    let attempts = move || state.requests.values().filter(move |request| request.renews.as_ref() == Some(id));
    // One that is ISSUED has done what it could.
    let under_way = attempts().any(|request| request.state != RequestState::Error);
    let source = held.request.as_ref().and_then(|pid| state.requests.get(pid));
    let Some(asked) = source.and_then(|source| source.entry_of(held)).filter(|asked| {
        let free = state.requests.size() < holder_request::MAX_REQUESTS;
        let instead = |other: &Arc<StoredCredential>| {
            // By what was asked for, where that is known: another object may be of the same type.
            let same = holder_request::entry_of(state, other)
                .map_or_else(|| other.format == held.format && other.types.contains(&asked.credential_type), |entry| entry.id == asked.id);
            // One that begins when this one has ended leaves a time without any.
            let in_time = other.valid_from.is_none_or(|from| held.valid_until.is_none_or(|until| from <= until));
            other.issuer == held.issuer && same && other.status == HeldStatus::Active && in_time && other.outlives(held)
        };
        free && state.active_context().is_some() && !under_way && !state.credentials.values().any(instead)
    }) else {
        return decision;
    };
    let until = held.valid_until.map_or(0, |until| until.0);
    let pid = HolderPid::from_uuid(derived_id(&["renewal", held.id.as_str(), &until.to_string(), &attempt.to_string()]));
    // What an attempt before came to is told by this one.
    let decision =
        attempts().fold(decision, |decision, failed| decision.event(Event::Request(RequestEvent::Removed(failed.holder_pid.clone()))));
    let (made, effect) = holder_request::renewal(&pid, &held.issuer, asked.clone(), held.id.clone(), now);
    let mut decision = decision.event(made).effect(holder_request::lane(&pid), effect);
    decision.action = "credential.renewing";
    decision
}

/// What its issuer's lists say now of the credential of this signed form.
pub fn looked_at(state: &State, id: &CredentialId, form: Uuid, status: HeldStatus) -> Decided {
    let told = |held: &&Arc<StoredCredential>| held.status != status && held.status != HeldStatus::Revoked && held.digest() == form;
    let Some(held) = state.credentials.get(id).filter(told) else {
        return Ok(Decision::nothing());
    };
    let changed = StoredCredential { status, ..(**held).clone() };
    let action = match status {
        HeldStatus::Active => "credential.held.resumed",
        HeldStatus::Suspended => "credential.held.suspended",
        HeldStatus::Revoked => "credential.held.revoked",
    };
    let fact = fact(&changed, "org.cellspace.credential.held-status-changed");
    Ok(Decision::action(action).event(stored(changed)).fact(fact))
}

fn stored(credential: StoredCredential) -> Event {
    Event::Credential(CredentialEvent::Stored(Arc::new(credential)))
}

fn fact(held: &StoredCredential, kind: &'static str) -> Fact {
    Fact {
        topic: FACTS.into(),
        key: held.holder.to_string(),
        kind,
        data: json!({"credential": held.id, "holder": held.holder, "issuer": held.issuer, "types": held.types, "status": held.status,
            "validUntil": held.valid_until.map(Timestamp::to_rfc3339)}),
    }
}
