//! Contract negotiation protocol, both roles (DSP 2025-1, "Contract Negotiation HTTPS Binding").

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
    negotiation::{Command, Incoming, Message, Reply as Negotiated, process},
};
use cellspace_schemas::{
    NegotiationId,
    dsp::{
        message::Message as Typed,
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage,
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
        api: Api::DspNegotiation,
        method,
        path,
        prefixes: DSP,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Post, "/{participant}/{profile}/negotiations/request", |a, r| Box::pin(first(a, r, Message::Request))),
        route(Verb::Post, "/{participant}/{profile}/negotiations/offers", |a, r| Box::pin(first(a, r, Message::Offer))),
        route(Verb::Get, "/{participant}/{profile}/negotiations/{pid}", |a, r| Box::pin(get(a, r))),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/request", |a, r| {
            Box::pin(next::<ContractRequestMessage>(a, r, Message::Request))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/offers", |a, r| {
            Box::pin(next::<ContractOfferMessage>(a, r, Message::Offer))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/events", |a, r| {
            Box::pin(next::<ContractNegotiationEventMessage>(a, r, Message::Event))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/agreement", |a, r| {
            Box::pin(next::<ContractAgreementMessage>(a, r, Message::Agreement))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/agreement/verification", |a, r| {
            Box::pin(next::<ContractAgreementVerificationMessage>(a, r, Message::Verification))
        }),
        route(Verb::Post, "/{participant}/{profile}/negotiations/{pid}/termination", |a, r| {
            Box::pin(next::<ContractNegotiationTerminationMessage>(a, r, Message::Termination))
        }),
    ]
}

/// A message that begins a negotiation: answered with what it began.
async fn first<T: Typed + DeserializeOwned>(app: App, request: Request, wrap: fn(T) -> Message) -> Result<Reply, ApiError> {
    receive(&app, &request, None, wrap, StatusCode::CREATED).await
}

/// A message in a negotiation.
async fn next<T: Typed + DeserializeOwned>(app: App, request: Request, wrap: fn(T) -> Message) -> Result<Reply, ApiError> {
    // Text that can be no process of ours is the id of none.
    let id: NegotiationId = request.param("pid")?.parse().map_err(|_| nothing(&request))?;
    receive(&app, &request, Some(id), wrap, StatusCode::OK).await
}

async fn receive<T: Typed + DeserializeOwned>(
    app: &App,
    request: &Request,
    id: Option<NegotiationId>,
    wrap: fn(T) -> Message,
    status: StatusCode,
) -> Result<Reply, ApiError> {
    let target = dsp::target(app, request).await?;
    let (message, envelope) = target.read::<T>(app, request)?;
    let message = wrap(message);
    let (consumer, provider) = message.pids();
    let (consumer, provider) = (consumer.cloned(), provider.cloned());
    let command = Command::Receive(Box::new(Incoming { envelope, id, message }));
    match target.ask(app, request, T::TYPE, (consumer.as_ref(), provider.as_ref()), command.into()).await? {
        Answer::Negotiation(Negotiated::Process(process)) => answer(status, &process),
        _ => Err(ApiError::internal("a message was answered without a negotiation")),
    }
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let target = dsp::target(&app, &request).await?;
    let sender = target.sender(&app, &request).await?;
    let id = request.param("pid")?.parse::<NegotiationId>().ok();
    let found = id.and_then(|id| target.state.negotiations.get(&id));
    let own = found.filter(|n| n.counterparty == sender && n.profile == target.profile).ok_or_else(|| nothing(&request))?;
    answer(StatusCode::OK, &process(own))
}
