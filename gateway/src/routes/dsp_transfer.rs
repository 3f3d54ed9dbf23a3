//! Transfer process protocol, both roles (DSP 2025-1, "Transfer Process HTTPS Binding").

use super::{
    dsp::{self, answer, nothing},
    prefixes::DSP,
};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::control_plane::{
    agent::Reply as Answer,
    transfer::{Command, Incoming, Message, Reply as Transferred, process},
};
use cellspace_schemas::{
    TransferId,
    dsp::{
        message::Message as Typed,
        transfer::{
            TransferCompletionMessage, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage, TransferTerminationMessage,
        },
    },
};
use http::StatusCode;
use serde::de::DeserializeOwned;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
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
        route(Verb::Post, "/{participant}/{profile}/transfers/request", |a, r| Box::pin(request(a, r))),
        route(Verb::Get, "/{participant}/{profile}/transfers/{pid}", |a, r| Box::pin(get(a, r))),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/start", |a, r| {
            Box::pin(next::<TransferStartMessage>(a, r, Message::Start))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/suspension", |a, r| {
            Box::pin(next::<TransferSuspensionMessage>(a, r, Message::Suspension))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/completion", |a, r| {
            Box::pin(next::<TransferCompletionMessage>(a, r, Message::Completion))
        }),
        route(Verb::Post, "/{participant}/{profile}/transfers/{pid}/termination", |a, r| {
            Box::pin(next::<TransferTerminationMessage>(a, r, Message::Termination))
        }),
    ]
}

/// The message that begins a transfer: answered with what it began.
async fn request(app: App, request: Request) -> Result<Reply, ApiError> {
    receive::<TransferRequestMessage>(&app, &request, None, Message::Request, StatusCode::CREATED).await
}

/// A message in a transfer.
async fn next<T: Typed + DeserializeOwned>(app: App, request: Request, wrap: fn(T) -> Message) -> Result<Reply, ApiError> {
    // Text that can be no process of ours is the id of none.
    let id: TransferId = request.param("pid")?.parse().map_err(|_| nothing(&request))?;
    receive(&app, &request, Some(id), wrap, StatusCode::OK).await
}

async fn receive<T: Typed + DeserializeOwned>(
    app: &App,
    request: &Request,
    id: Option<TransferId>,
    wrap: fn(T) -> Message,
    status: StatusCode,
) -> Result<Reply, ApiError> {
    let target = dsp::target(app, request).await?;
    let (message, envelope) = target.read::<T>(app, request)?;
    let message = wrap(message);
    let (consumer, provider) = message.pids();
    let (consumer, provider) = (consumer.clone(), provider.cloned());
    let command = Command::Receive(Box::new(Incoming { envelope, id, message }));
    match target.ask(app, request, T::TYPE, (Some(&consumer), provider.as_ref()), command.into()).await? {
        Answer::Transfer(Transferred::Process(process)) => answer(status, &process),
        _ => Err(ApiError::internal("a message was answered without a transfer")),
    }
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let target = dsp::target(&app, &request).await?;
    let sender = target.sender(&app, &request).await?;
    let id = request.param("pid")?.parse::<TransferId>().ok();
    let found = id.and_then(|id| target.state.transfers.get(&id));
    let own = found.filter(|t| t.counterparty == sender && t.profile == target.profile).ok_or_else(|| nothing(&request))?;
    answer(StatusCode::OK, &process(own))
}
