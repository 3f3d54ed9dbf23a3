//! Follows processes, and does in each what the script says, by the product's ordinary commands.

use crate::{
    desk::{Begun, Question, Reached},
    participant::UnderTest,
    script::{self, Deal, Move},
};
use anyhow::Result;
use cellspace_actors::control_plane::{
    negotiation,
    transfer::{self, Transfer},
};
use cellspace_schemas::{NegotiationId, TransferId};
use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

/// Between reaching a state and the next step. The suite takes note of a state some hundred milliseconds late, and takes no message before.
const PAUSE: Duration = Duration::from_millis(300);

/// Finds processes that the counterparty begins, for as long as somebody answers.
pub async fn of_providers(under_test: Arc<UnderTest>) {
    let mut known = HashSet::new();
    loop {
        let found: Vec<Begun> = match under_test.desks.put(&Question::Begun { known: known.clone() }).await {
            Ok(found) => found,
            Err(error) => return ended(&error),
        };
        for begun in found {
            known.insert(begun.id());
            match begun {
                Begun::Negotiation(id, dataset) => of_negotiation(under_test.clone(), id, dataset.as_str()),
                Begun::Transfer(id, agreement) => of_transfer(under_test.clone(), id, agreement.as_str()),
            }
        }
    }
}

/// Follows a negotiation about the dataset.
pub fn of_negotiation(under_test: Arc<UnderTest>, id: NegotiationId, dataset: &str) {
    let script = script::negotiation(dataset);
    told(async move { negotiation(&under_test, id, script).await });
}

/// Follows a transfer under the agreement.
pub fn of_transfer(under_test: Arc<UnderTest>, id: TransferId, agreement: &str) {
    let script = script::transfer(agreement);
    told(async move { transfer(&under_test, id, script).await });
}

fn told(following: impl Future<Output = Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = following.await {
            ended(&error);
        }
    });
}

fn ended(error: &anyhow::Error) {
    tracing::warn!(category = "app", action = "script.ended", "{error:#}");
}

async fn negotiation(under_test: &UnderTest, id: NegotiationId, script: &[(negotiation::State, Deal)]) -> Result<()> {
    for (wanted, deal) in script {
        let Reached::At(found) = under_test.desks.put(&Question::Negotiation { id: id.clone(), state: *wanted }).await? else {
            return Ok(());
        };
        tokio::time::sleep(PAUSE).await;
        under_test.desks.ask(deal.command(&found)).await?;
    }
    Ok(())
}

async fn transfer(under_test: &UnderTest, id: TransferId, script: &[(transfer::State, Move)]) -> Result<()> {
    for (wanted, step) in script {
        let reached: Reached<Transfer> = under_test.desks.put(&Question::Transfer { id: id.clone(), state: *wanted }).await?;
        let Reached::At(_) = reached else { return Ok(()) };
        tokio::time::sleep(PAUSE).await;
        under_test.desks.ask(transfer::Command::Act { id: id.clone(), act: step.act() }).await?;
    }
    Ok(())
}
