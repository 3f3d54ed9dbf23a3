//! Decisions about sources, flows and usage. Pure.

use super::{
    agent::{DataPlane, Decided},
    command::{Beginning, Effect, OfferedAddress, Opening, Prepared, Refusal, Reply, Signalled},
    flow::{Flow, Grant, Role, Signal, next},
    signing_key::LIFETIME,
    source::Source,
    state::{DataPlaneState, Event},
    usage,
};
use crate::records;
use cellspace_cluster::{Decision, Rejection};
use cellspace_schemas::{KeyAlias, ParticipantContextId, SourceName, Timestamp, dps::DataFlowState};
use std::sync::Arc;
use uuid::Uuid;

/// Sources of one participant at most.
pub const MAX_SOURCES: usize = 1_000;
/// Flows of one participant at most that are not in a final state.
pub const MAX_OPEN_FLOWS: usize = 50_000;
/// Flows in a final state that are remembered; the oldest is forgotten for a newer one.
pub const MAX_FINISHED_FLOWS: usize = 1_000;
/// Flows that one turn ends when the participant is gone.
const DISPOSED_AT_ONCE: usize = 256;
/// Lane of what is removed from the vault.
const VAULT_LANE: &str = "vault";

/// Decides on a command.
///
/// # Errors
/// [`Refusal`], or stale preparation.
pub fn decide(state: &DataPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::PutSource { name, source, record, tenant } => {
            let decision = put_source(state, name, source, record.as_ref())?;
            Ok(belongs(state, tenant.as_ref(), decision))
        }
        Prepared::DeleteSource(name) => delete_source(state, name),
        Prepared::Open(opening) => open(state, opening, now),
        Prepared::Signal(signalled) => signal(state, signalled, now),
        Prepared::RecordUsage { participant, batch } => Ok(record_usage(state, participant, batch, now)),
        Prepared::Dispose => Ok(dispose(state, now)),
        Prepared::Record(command) => records::decide(state, command, now),
    }
}

fn put_source(state: &DataPlaneState, name: &SourceName, source: &Arc<Source>, record: Option<&KeyAlias>) -> Decided {
    if state.disposed {
        return Err(Refusal::UnknownParticipant.into());
    }
    let before = state.sources.get(name);
    if before.is_none() && state.sources.size() >= MAX_SOURCES {
        return Err(Refusal::Limit { what: "sources", limit: MAX_SOURCES }.into());
    }
    let mut decision = Decision::action("source.set");
    let alias = source.authorization.as_ref().map(|a| &a.alias);
    match (alias, record) {
        (Some(alias), Some(record)) => {
            decision = decision.event(Event::SecretSet { alias: alias.clone(), record: record.clone() });
            if let Some(old) = state.secrets.get(alias) {
                decision = decision.effect(VAULT_LANE, Effect::Forget(old.clone()));
            }
        }
        (Some(alias), None) if !state.secrets.contains_key(alias) => return Err(Refusal::UnknownSecret(alias.clone()).into()),
        (Some(_) | None, None | Some(_)) => {}
    }
    if let Some(old) = before.and_then(|b| b.authorization.as_ref()).filter(|old| Some(&old.alias) != alias) {
        decision = drop_secret(state, name, &old.alias, decision);
    }
    Ok(decision.event(Event::SourceSet(name.clone(), source.clone())))
}

fn delete_source(state: &DataPlaneState, name: &SourceName) -> Decided {
    let source = state.sources.get(name).ok_or_else(|| Refusal::UnknownSource(name.clone()))?;
    let mut decision = Decision::action("source.removed").event(Event::SourceRemoved(name.clone()));
    if let Some(authorization) = &source.authorization {
        decision = drop_secret(state, name, &authorization.alias, decision);
    }
    Ok(decision)
}

/// Removes the secret that only the source `name` uses.
fn drop_secret(state: &DataPlaneState, name: &SourceName, alias: &KeyAlias, decision: Decision<DataPlane>) -> Decision<DataPlane> {
    let uses = |source: &Source| source.authorization.as_ref().is_some_and(|a| a.alias == *alias);
    let shared = state.sources.iter().any(|(other, source)| other != name && uses(source));
    match state.secrets.get(alias) {
        Some(record) if !shared => decision.event(Event::SecretRemoved(alias.clone())).effect(VAULT_LANE, Effect::Forget(record.clone())),
        Some(_) | None => decision,
    }
}

fn open(state: &DataPlaneState, opening: &Opening, now: Timestamp) -> Decided {
    let (signal, role) = match opening.beginning {
        Beginning::Prepare => (Signal::Prepare, Role::Consumer),
        Beginning::Start { .. } => (Signal::Start, Role::Provider),
    };
    if state.disposed {
        return Err(Refusal::UnknownParticipant.into());
    }
    if let Some(flow) = state.flows.get(&opening.flow) {
        // Preparing what is prepared in the same way changes nothing; a second start must be refused (signaling, "Start").
        let same = signal == Signal::Prepare && flow.state == DataFlowState::Prepared && flow.terms == opening.terms;
        if same || flow.is_repeat(signal, Some(&opening.message)) {
            return Ok(Decision::reply(Reply::Flow(flow.clone())));
        }
        return Err(Refusal::FlowExists(opening.flow.clone()).into());
    }
    if state.open_flows() >= MAX_OPEN_FLOWS {
        return Err(Refusal::Limit { what: "open data flows", limit: MAX_OPEN_FLOWS }.into());
    }
    let to = next(DataFlowState::Initialized, role, signal).map_err(Refusal::from)?;
    let (mut source, mut grant) = (None, None);
    if let Beginning::Start { source: name, grant: id } = &opening.beginning {
        if !state.sources.contains_key(name) {
            return Err(Refusal::UnknownSource(name.clone()).into());
        }
        source = Some(name.clone());
        grant = Some(granted(*id, now));
    }
    let flow = Arc::new(Flow {
        id: opening.flow.clone(),
        role,
        state: to,
        terms: opening.terms.clone(),
        source,
        grant,
        received: None,
        last: (signal, Some(opening.message.clone())),
        reason: None,
        created_at: now,
        updated_at: now,
    });
    let decision = Decision::action(action(signal)).event(Event::FlowSet(flow.clone())).replying(Reply::Flow(flow));
    Ok(belongs(state, opening.tenant.as_ref(), decision))
}

/// Keeps whose tenant's it is.
fn belongs(state: &DataPlaneState, tenant: Option<&Arc<str>>, decision: Decision<DataPlane>) -> Decision<DataPlane> {
    if state.tenant.as_ref() == tenant { decision } else { decision.event(Event::TenantSet(tenant.cloned())) }
}

fn signal(state: &DataPlaneState, input: &Signalled, now: Timestamp) -> Decided {
    let before = state.flows.get(&input.flow).ok_or_else(|| Refusal::UnknownFlow(input.flow.clone()))?;
    let unchanged = || Ok(Decision::reply(Reply::Flow(before.clone())));
    if before.is_repeat(input.signal, input.message.as_ref()) {
        return unchanged();
    }
    let to = next(before.state, before.role, input.signal).map_err(Refusal::from)?;
    // Only a consumer that pulls has a use for an address, and only while data may flow.
    let offered = input.address.as_ref().filter(|_| before.role == Role::Consumer && to == DataFlowState::Started);
    if to == before.state && offered.is_none() {
        return unchanged();
    }
    let mut flow = Flow::clone(before);
    flow.last = (input.signal, input.message.clone());
    flow.reason.clone_from(&input.reason);
    flow.updated_at = now;
    flow.state = to;
    let mut decision = Decision::action(action(input.signal));
    match offered {
        Some(OfferedAddress::Stored(address)) => flow.received = Some(address.clone()),
        Some(OfferedAddress::NotStored) => return Err(Rejection::Stale),
        None => {}
    }
    if to.is_final() {
        (flow.received, flow.grant) = (None, None);
        decision = make_room(state, 1, decision);
    } else if before.state == DataFlowState::Suspended && flow.role == Role::Provider {
        // What was handed out before the suspension stays worthless.
        flow.grant = Some(granted(input.grant, now));
    }
    // Nothing names what is not taken.
    if let (None, Some(OfferedAddress::Stored(address))) = (offered, &input.address) {
        decision = decision.effect(VAULT_LANE, Effect::Forget(address.record.clone()));
    }
    if let Some(old) = before.received.as_ref().filter(|old| flow.received.as_ref().map(|r| &r.record) != Some(&old.record)) {
        decision = decision.effect(VAULT_LANE, Effect::Forget(old.record.clone()));
    }
    let flow = Arc::new(flow);
    Ok(decision.event(Event::FlowSet(flow.clone())).replying(Reply::Flow(flow)))
}

/// Forgets the flows that ended longest ago, so that `more` can be remembered.
fn make_room(state: &DataPlaneState, more: usize, mut decision: Decision<DataPlane>) -> Decision<DataPlane> {
    let excess = (state.finished.size() + more).saturating_sub(MAX_FINISHED_FLOWS);
    for (_, oldest) in state.finished.iter().take(excess) {
        decision = decision.event(Event::FlowForgotten(oldest.clone()));
        if state.usage.contains_key(oldest) {
            decision = decision.event(Event::UsageForgotten(oldest.clone()));
        }
    }
    decision
}

/// Ends some flows; with the last of them go sources and secrets. What ended is remembered, since usage of cut responses is still to come.
fn dispose(state: &DataPlaneState, now: Timestamp) -> Decision<DataPlane> {
    let mut decision = Decision::action("data_plane.disposed");
    if !state.disposed {
        decision = decision.event(Event::Disposed);
    }
    let open = || state.flows.values().filter(|flow| !flow.state.is_final());
    let ending: Vec<_> = open().take(DISPOSED_AT_ONCE).collect();
    decision = make_room(state, ending.len(), decision);
    for before in &ending {
        let mut flow = Flow::clone(before);
        (flow.state, flow.updated_at) = (DataFlowState::Terminated, now);
        flow.reason = Some("the participant context is gone".to_owned());
        (flow.received, flow.grant) = (None, None);
        if let Some(address) = &before.received {
            decision = decision.effect(VAULT_LANE, Effect::Forget(address.record.clone()));
        }
        decision = decision.event(Event::FlowSet(Arc::new(flow)));
    }
    if state.open_flows() > ending.len() {
        return decision.replying(Reply::More);
    }
    for name in state.sources.keys() {
        decision = decision.event(Event::SourceRemoved(name.clone()));
    }
    for (alias, record) in &state.secrets {
        decision = decision.event(Event::SecretRemoved(alias.clone())).effect(VAULT_LANE, Effect::Forget(record.clone()));
    }
    decision
}

fn granted(id: Uuid, now: Timestamp) -> Grant {
    Grant { id, issued_at: now, expires_at: now.plus(LIFETIME) }
}

fn record_usage(state: &DataPlaneState, participant: &ParticipantContextId, batch: &usage::Batch, now: Timestamp) -> Decision<DataPlane> {
    if usage::is_counted(state, batch) {
        return Decision::nothing();
    }
    let mut decision = Decision::action("usage.recorded");
    if let Some(silent) = usage::displaced(state, batch.sender) {
        decision = decision.event(Event::MarkForgotten(silent));
    }
    decision = decision.event(Event::MarkSet(batch.sender, usage::Mark { counter: batch.counter, at: now }));
    for (flow, amount) in &batch.amounts {
        decision = decision.fact(usage::fact(participant, state, flow, *amount));
        // A flow that is forgotten is billed all the same.
        if state.flows.contains_key(flow) {
            let before = state.usage.get(flow).copied().unwrap_or_default();
            decision = decision.event(Event::UsageSet(flow.clone(), before.plus(*amount)));
        }
    }
    decision
}

const fn action(signal: Signal) -> &'static str {
    match signal {
        Signal::Prepare => "dataflow.prepared",
        Signal::Start | Signal::Started => "dataflow.started",
        Signal::Suspend => "dataflow.suspended",
        Signal::Resume => "dataflow.resumed",
        Signal::Terminate => "dataflow.terminated",
        Signal::Completed => "dataflow.completed",
    }
}

#[cfg(test)]
mod tests;
