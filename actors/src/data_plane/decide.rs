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
/// Lane of what is removed from the vault.
const VAULT_LANE: &str = "vault";

/// Decides on a command.
///
/// # Errors
/// [`Refusal`], or stale preparation.
pub fn decide(state: &DataPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    match prepared {
        Prepared::PutSource { name, source, record } => put_source(state, name, source, record.as_ref()),
        Prepared::DeleteSource(name) => delete_source(state, name),
        Prepared::Open(opening) => open(state, opening, now),
        Prepared::Signal(signalled) => signal(state, signalled, now),
        Prepared::RecordUsage { participant, batch } => Ok(record_usage(state, participant, batch)),
    }
}

fn put_source(state: &DataPlaneState, name: &SourceName, source: &Arc<Source>, record: Option<&KeyAlias>) -> Decided {
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
    let mut decision = Decision::action(action(signal));
    let (mut source, mut grant) = (None, None);
    if let Beginning::Start { source: name, key, grant: id } = &opening.beginning {
        if !state.sources.contains_key(name) {
            return Err(Refusal::UnknownSource(name.clone()).into());
        }
        if state.key.as_ref() != Some(key) {
            decision = decision.event(Event::KeyMade(key.clone()));
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
    Ok(decision.event(Event::FlowSet(flow.clone())).replying(Reply::Flow(flow)))
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
        if let Some((_, oldest)) = state.finished.first().filter(|_| state.finished.size() >= MAX_FINISHED_FLOWS) {
            decision = decision.event(Event::FlowForgotten(oldest.clone()));
            if state.usage.contains_key(oldest) {
                decision = decision.event(Event::UsageForgotten(oldest.clone()));
            }
        }
    } else if before.state == DataFlowState::Suspended && flow.role == Role::Provider {
        // What was handed out before the suspension stays worthless.
        flow.grant = Some(granted(input.grant, now));
    }
    if let Some(old) = before.received.as_ref().filter(|old| flow.received.as_ref().map(|r| &r.record) != Some(&old.record)) {
        decision = decision.effect(VAULT_LANE, Effect::Forget(old.record.clone()));
    }
    let flow = Arc::new(flow);
    Ok(decision.event(Event::FlowSet(flow.clone())).replying(Reply::Flow(flow)))
}

fn granted(id: Uuid, now: Timestamp) -> Grant {
    Grant { id, issued_at: now, expires_at: now.plus(LIFETIME) }
}

fn record_usage(state: &DataPlaneState, participant: &ParticipantContextId, batch: &usage::Batch) -> Decision<DataPlane> {
    let mut decision = Decision::action("usage.recorded");
    for (flow, amount) in &batch.amounts {
        let Some(total) = usage::counted(state, flow, batch.id, *amount) else { continue };
        decision = decision.fact(usage::fact(participant, state, flow, *amount));
        // A flow that is forgotten is billed all the same.
        if state.flows.contains_key(flow) {
            decision = decision.event(Event::UsageSet(flow.clone(), total));
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
