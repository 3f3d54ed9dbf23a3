//! Transfer process protocol, both roles (DSP 2025-1, "Transfer Process HTTPS Binding").

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
    transfer::{self, Incoming, Message, process},
};
use cellspace_schemas::{
    Did, Pid, ProfileId, TransferId,
    dsp::transfer::{
        TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
        TransferTerminationMessage,
    },
};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    type P = Transfers;
    let route = |method, path, handler: Handler| Route {
        listener: Listener::Public,
        api: Api::DspTransfer,
        method,
        path,
        prefixes: DSP,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Post, "/{participant}/{profile}/transfers/request", |a, r| {
            Box::pin(first::<P, TransferRequestMessage>(a, r, Message::Request))
        }),
        route(Verb::Get, "/{participant}/{profile}/transfers/{pid}", |a, r| Box::pin(get::<P>(a, r))),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/start", |a, r| {
            Box::pin(next::<P, TransferStartMessage>(a, r, Message::Start))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/suspension", |a, r| {
            Box::pin(next::<P, TransferSuspensionMessage>(a, r, Message::Suspension))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/completion", |a, r| {
            Box::pin(next::<P, TransferCompletionMessage>(a, r, Message::Completion))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/termination", |a, r| {
            Box::pin(next::<P, TransferTerminationMessage>(a, r, Message::Termination))
        }),
    ]
}

/// The transfer process protocol.
struct Transfers;

impl Protocol for Transfers {
    type Id = TransferId;
    type Received = Message;
    type Process = TransferProcess;

    fn pids(message: &Message) -> (Option<&Pid>, Option<&Pid>) {
        let (consumer, provider) = message.pids();
        (Some(consumer), provider)
    }

    fn command(envelope: Envelope, id: Option<TransferId>, message: Message) -> Command {
        transfer::Command::Receive(Box::new(Incoming { envelope, id, message })).into()
    }

    fn process(answer: Answer) -> Option<TransferProcess> {
        match answer {
            Answer::Transfer(transfer::Reply::Process(process)) => Some(process),
            _ => None,
        }
    }

    fn key(id: &TransferId) -> Key {
        Key::Transfer(id.clone())
    }

    fn find<'a>(state: &'a ControlPlaneState, id: &TransferId) -> Option<(&'a Did, &'a ProfileId, TransferProcess)> {
        state.transfers.get(id).map(|t| (&t.counterparty, &t.profile, process(t)))
    }
}
