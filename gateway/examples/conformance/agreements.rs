//! The agreements that the suite expects to be there: negotiated before it runs, in both roles, by the protocol.

use crate::{
    counterpart::Counterpart,
    desk::{Question, Reached},
    participant::UnderTest,
    script::{SHOWN, TRANSFERRED},
};
use anyhow::{Context, Result, bail};
use cellspace_actors::control_plane::{
    agent::Reply,
    negotiation::{self, Act, Command, Negotiation, NewNegotiation, State},
};
use cellspace_client::client::text;
use cellspace_schemas::{NegotiationId, dsp::message::CONTEXT};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Makes them all.
pub async fn make(counterpart: &Counterpart, under_test: &UnderTest, offers: &BTreeMap<&str, String>) -> Result<()> {
    let table = Table { counterpart, under_test };
    let dataset = SHOWN[0];
    let offer = offers.get(dataset).with_context(|| format!("no offer of {dataset}"))?;
    for test in TRANSFERRED {
        let offer = json!({"@type": "Offer", "@id": offer, "target": dataset, "permission": [{"action": "use"}]});
        let (given, taken) = (format!("ATP{test}"), format!("ATPC{test}"));
        table.give(&given, &offer).await.with_context(|| format!("agreement {given}"))?;
        table.take(&taken, &offer).await.with_context(|| format!("agreement {taken}"))?;
    }
    Ok(())
}

/// Both parties.
struct Table<'a> {
    counterpart: &'a Counterpart,
    under_test: &'a UnderTest,
}

impl Table<'_> {
    /// An agreement with the participant under test as provider.
    async fn give(&self, agreement: &str, offer: &Value) -> Result<()> {
        let consumer = format!("consumer-{agreement}");
        let request = json!({"consumerPid": consumer, "callbackAddress": self.counterpart.sink()?, "offer": offer});
        let begun = self.send("/negotiations/request", "ContractRequestMessage", request).await?;
        let provider = text(&begun, "providerPid")?;
        let (id, pids): (NegotiationId, _) = (provider.parse()?, json!({"consumerPid": consumer, "providerPid": provider}));
        self.act(&id, Act::Agree(agreement.parse()?)).await?;
        self.reached(&id, State::Agreed).await?;
        let path = format!("/negotiations/{provider}/agreement/verification");
        self.send(&path, "ContractAgreementVerificationMessage", pids).await?;
        self.act(&id, Act::Finalize).await?;
        self.reached(&id, State::Finalized).await
    }

    /// An agreement with the participant under test as consumer.
    async fn take(&self, agreement: &str, offer: &Value) -> Result<()> {
        let (counterpart, under_test) = (self.counterpart, self.under_test);
        let new = NewNegotiation {
            id: None,
            profile: under_test.profile.clone(),
            counterparty: counterpart.did.clone(),
            address: counterpart.sink()?,
            offer: serde_json::from_value(offer.clone())?,
            callbacks: Vec::new(),
        };
        let id = begin(under_test, new).await?;
        self.reached(&id, State::Requested).await?;
        let provider = Counterpart::pid_for(id.as_str());
        let with = |name: &str, value: Value| {
            let mut body = json!({"consumerPid": id, "providerPid": provider});
            body[name] = value;
            body
        };
        let mut terms = offer.clone();
        terms["@type"] = json!("Agreement");
        terms["@id"] = json!(agreement);
        terms["assigner"] = json!(counterpart.did);
        terms["assignee"] = json!(under_test.did);
        self.send(&format!("/negotiations/{id}/agreement"), "ContractAgreementMessage", with("agreement", terms)).await?;
        self.act(&id, Act::Verify).await?;
        self.reached(&id, State::Verified).await?;
        let event = with("eventType", json!("FINALIZED"));
        self.send(&format!("/negotiations/{id}/events"), "ContractNegotiationEventMessage", event).await?;
        Ok(())
    }

    async fn send(&self, path: &str, kind: &str, mut message: Value) -> Result<Value> {
        message["@context"] = json!([CONTEXT]);
        message["@type"] = json!(kind);
        self.counterpart.exchange(&self.under_test.did, &format!("{}{path}", self.under_test.dsp()), Some(&message)).await
    }

    async fn act(&self, id: &NegotiationId, act: Act) -> Result<()> {
        self.under_test.desks.ask(Command::Act { id: id.clone(), act: Box::new(act) }).await.map(drop)
    }

    async fn reached(&self, id: &NegotiationId, wanted: State) -> Result<()> {
        match self.under_test.desks.put(&Question::Negotiation { id: id.clone(), state: wanted }).await? {
            Reached::<Negotiation>::At(_) => Ok(()),
            Reached::Past(found) => bail!("expected {wanted:?}, found {found}"),
        }
    }
}

/// Begins a negotiation as consumer.
pub async fn begin(under_test: &UnderTest, new: NewNegotiation) -> Result<NegotiationId> {
    match under_test.desks.ask(Command::Request(Box::new(new))).await? {
        Reply::Negotiation(negotiation::Reply::Begun { id, .. }) => Ok(id),
        other => bail!("a negotiation was begun with {other:?}"),
    }
}
