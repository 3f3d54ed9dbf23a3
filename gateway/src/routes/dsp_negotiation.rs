//! Contract negotiation protocol, both roles (DSP 2025-1, "Contract Negotiation HTTPS Binding").

use super::{
    dsp::{Protocol, first, get, next},
    prefixes::DSP,
};
use crate::http::{Access, Api, Listener, Route, Verb, route::Handler};
use cellspace_actors::control_plane::{
    Command, ControlPlaneState,
    agent::Reply as Answer,
    archive::Key,
    dsp::Envelope,
    negotiation::{self, Incoming, Message, process},
};
use cellspace_schemas::{
    Did, NegotiationId, Pid, ProfileId,
    dsp::negotiation::{
        ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
        ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
    },
};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    type P = Negotiations;
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Public,
        api: Api::DspNegotiation,
        method,
        path,
        prefixes: DSP,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Post, "/{participant}/{profile}/negotiations/request", |a, r| {
            Box::pin(first::<P, ContractRequestMessage>(a, r, Message::Request))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/offers", |a, r| {
            Box::pin(first::<P, ContractOfferMessage>(a, r, Message::Offer))
        }),
        route(Verb::Get, "/{participant}/{profile}/negotiations/{pid}", |a, r| Box::pin(get::<P>(a, r))),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/request", |a, r| {
            Box::pin(next::<P, ContractRequestMessage>(a, r, Message::Request))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/offers", |a, r| {
            Box::pin(next::<P, ContractOfferMessage>(a, r, Message::Offer))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/events", |a, r| {
            Box::pin(next::<P, ContractNegotiationEventMessage>(a, r, Message::Event))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/agreement", |a, r| {
            Box::pin(next::<P, ContractAgreementMessage>(a, r, Message::Agreement))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/agreement/verification", |a, r| {
            Box::pin(next::<P, ContractAgreementVerificationMessage>(a, r, Message::Verification))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/termination", |a, r| {
            Box::pin(next::<P, ContractNegotiationTerminationMessage>(a, r, Message::Termination))
        }),
    ]
}

/// The contract negotiation protocol.
struct Negotiations;

impl Protocol for Negotiations {
    type Id = NegotiationId;
    type Received = Message;
    type Process = ContractNegotiation;

    fn pids(message: &Message) -> (Option<&Pid>, Option<&Pid>) {
        message.pids()
    }

    fn command(envelope: Envelope, id: Option<NegotiationId>, message: Message) -> Command {
        negotiation::Command::Receive(Box::new(Incoming { envelope, id, message })).into()
    }

    fn process(answer: Answer) -> Option<ContractNegotiation> {
        match answer {
            Answer::Negotiation(negotiation::Reply::Process(process)) => Some(process),
            _ => None,
        }
    }

    fn key(id: &NegotiationId) -> Key {
        Key::Negotiation(id.clone())
    }

    fn find<'a>(state: &'a ControlPlaneState, id: &NegotiationId) -> Option<(&'a Did, &'a ProfileId, ContractNegotiation)> {
        state.negotiations.get(id).map(|n| (&n.counterparty, &n.profile, process(n)))
    }
}
