//! What the negotiation of a number is: the load generator knows the same rules, and checks by them what it is shown.

use anyhow::{Context, Result};
use cellspace_schemas::{AgreementId, Did, NegotiationId, Pid, dsp::negotiation::MessageOffer};
use serde_json::json;

/// Counterparties and assets that share the negotiations.
const COUNTERPARTIES: u64 = 1_000;
const ASSETS: u64 = 5_000;

/// One of four is terminated, the others are finalized.
pub const fn is_terminated(number: u64) -> bool {
    number % 4 == 3
}

pub fn id(number: u64) -> Result<NegotiationId> {
    format!("ended-{number:07}").parse().context("a negotiation's id")
}

pub fn counterparty(number: u64) -> Result<Did> {
    Did::new(format!("did:web:counterparty-{:04}.example", number % COUNTERPARTIES)).context("a DID")
}

pub fn theirs(number: u64) -> Result<Pid> {
    Pid::new(format!("theirs-{number:07}")).context("a process id")
}

pub fn agreement(number: u64) -> Result<AgreementId> {
    format!("agreed-{number:07}").parse().context("an agreement's id")
}

pub fn offer(number: u64) -> Result<MessageOffer> {
    let constraint = json!({ "leftOperand": "MembershipCredential", "operator": "eq", "rightOperand": "active" });
    let offer = json!({ "@type": "Offer", "@id": format!("offer-{number:07}"), "target": format!("asset-{:04}", number % ASSETS),
        "permission": [{ "action": "use", "constraint": [constraint] }] });
    serde_json::from_value(offer).context("an offer")
}
