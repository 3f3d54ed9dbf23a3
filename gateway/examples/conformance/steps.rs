//! Follows processes, and does in each what the script says, by the product's ordinary commands.

use crate::{
    participant::UnderTest,
    script::{self, Deal, Move},
};
use anyhow::Result;
use cellspace_actors::control_plane::{ControlPlane, ControlPlaneState, dsp::Role, negotiation, transfer};
use cellspace_schemas::{NegotiationId, TransferId};
use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

/// Between reaching a state and the next step. The suite takes note of a state some hundred milliseconds late, and takes no message before.
const PAUSE: Duration = Duration::from_millis(300);

/// What has just begun with us as provider.
#[derive(Debug)]
enum Begun {
    Negotiation(NegotiationId, &'static [(negotiation::State, Deal)]),
    Transfer(TransferId, &'static [(transfer::State, Move)]),
}

/// Finds processes that the counterparty begins, for as long as the node runs.
pub async fn of_providers(under_test: Arc<UnderTest>) {
    let mut known = HashSet::new();
    loop {
        let found = under_test.watch(|state| Some(begun(state, &mut known)).filter(|begun| !begun.is_empty())).await;
        let Ok(found) = found else { return };
        for begun in found {
            let under_test = under_test.clone();
            match begun {
                Begun::Negotiation(id, script) => told(async move { negotiation(&under_test, id, script).await }),
                Begun::Transfer(id, script) => told(async move { transfer(&under_test, id, script).await }),
            }
        }
    }
}

fn begun(state: &ControlPlaneState, known: &mut HashSet<String>) -> Vec<Begun> {
    let negotiations = state.negotiations.iter().filter(|n| n.role == Role::Provider);
    let negotiations =
        negotiations.map(|n| (n.id.to_string(), Begun::Negotiation(n.id.clone(), script::negotiation(n.offer.target.as_str()))));
    let transfers = state.transfers.iter().filter(|t| t.role == Role::Provider);
    let transfers = transfers.map(|t| (t.id.to_string(), Begun::Transfer(t.id.clone(), script::transfer(t.agreement.as_str()))));
    negotiations.chain(transfers).filter(|(id, _)| known.insert(id.clone())).map(|(_, begun)| begun).collect()
}

/// Follows a negotiation that we began as consumer.
pub fn of_negotiation(under_test: Arc<UnderTest>, id: NegotiationId, dataset: &str) {
    let script = script::negotiation(dataset);
    told(async move { negotiation(&under_test, id, script).await });
}

/// Follows a transfer that we began as consumer.
pub fn of_transfer(under_test: Arc<UnderTest>, id: TransferId, agreement: &str) {
    let script = script::transfer(agreement);
    told(async move { transfer(&under_test, id, script).await });
}

fn told(following: impl Future<Output = Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = following.await {
            tracing::warn!(category = "app", action = "script.ended", "{error:#}");
        }
    });
}

async fn negotiation(under_test: &UnderTest, id: NegotiationId, script: &[(negotiation::State, Deal)]) -> Result<()> {
    for (wanted, deal) in script {
        let reached = under_test.watch(|state| match state.negotiations.get(&id) {
            Some(n) if n.state == *wanted => Some(Some(n.clone())),
            Some(n) if !n.state.is_final() => None,
            Some(_) | None => Some(None),
        });
        let Some(negotiation) = reached.await? else { return Ok(()) };
        tokio::time::sleep(PAUSE).await;
        under_test.ask(deal.command(&negotiation)).await?;
    }
    Ok(())
}

async fn transfer(under_test: &UnderTest, id: TransferId, script: &[(transfer::State, Move)]) -> Result<()> {
    for (wanted, step) in script {
        let reached = under_test.watch(|state| match state.transfers.get(&id) {
            Some(t) if t.state == *wanted => Some(true),
            Some(t) if !t.state.is_final() => None,
            Some(_) | None => Some(false),
        });
        if !reached.await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        under_test.ask(transfer::Command::Act { id: id.clone(), act: step.act() }).await?;
    }
    Ok(())
}

impl UnderTest {
    /// Waits until `query` finds something in the published state.
    pub async fn watch<T>(&self, query: impl FnMut(&ControlPlaneState) -> Option<T>) -> Result<T> {
        Ok(self.services.cluster.watch::<ControlPlane, T>(&self.address, query).await?)
    }
}
