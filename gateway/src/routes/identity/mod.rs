//! Identity API: administration of participants' credential services.

mod credentials;
mod dids;
mod keys;
mod participants;

use super::{paging, prefixes::IDENTITY};
use crate::{
    App,
    http::{Access, Api, ApiError, Listener, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::credential_service::{self, Command, CredentialService, Refusal, State, listing, questions::Listed};
use cellspace_cluster::Address;
use cellspace_schemas::{ParticipantContextId, fabric::Page};

/// Entries of a list over all participant contexts, when the request does not say.
const DEFAULT_LIMIT: u32 = 50;
/// Entries of such a list at most.
const MAX_LISTED: u32 = 1_000;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    [participants::routes(), keys::routes(), dids::routes(), credentials::routes()].concat()
}

fn route(method: Verb, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { listener: Listener::Admin, api: Api::Identity, method, path, prefixes: IDENTITY, access, handler }
}

/// The participant context of the path.
fn address(request: &Request) -> Result<Address, ApiError> {
    Ok(Address::of::<CredentialService>(&request.id::<ParticipantContextId>("participant")?))
}

/// Asks the credential service of the path's participant context.
async fn ask(app: &App, request: &Request, command: Command) -> Result<credential_service::Reply, ApiError> {
    let address = address(request)?;
    let asked = app.services.cluster.ask::<CredentialService>(&address, command, request.call()?).await;
    asked.map_err(|error| ApiError::from_ask(error, refused))
}

/// Reads the credential service of the path's participant context. `None` from `query` means that what was asked for does not exist.
async fn read<T>(app: &App, request: &Request, query: impl FnOnce(&State) -> Option<T>) -> Result<T, ApiError> {
    let address = address(request)?;
    let found = app.services.cluster.read::<CredentialService, _>(&address, query).await;
    found.map_err(|error| ApiError::from_ask(error, refused))?.ok_or_else(|| ApiError::not_found("not found"))
}

/// The page that `offset` and `limit` ask for.
fn page(request: &Request) -> Result<Page, ApiError> {
    let (offset, limit) = (paging::number(request, "offset", 0)?, paging::number(request, "limit", DEFAULT_LIMIT)?);
    if limit == 0 || limit > MAX_LISTED {
        return Err(ApiError::invalid(format!("limit must be 1 to {MAX_LISTED}")));
    }
    Ok(Page { offset, limit })
}

/// Answers a page of all participant contexts.
async fn contexts(app: &App, request: &Request, of: Listed) -> Result<Reply, ApiError> {
    Reply::ok(&listing::contexts(&app.services, page(request)?, of).await.map_err(ApiError::later)?)
}

/// Answers a page of what all participant contexts have.
async fn things(app: &App, request: &Request, of: Listed) -> Result<Reply, ApiError> {
    Reply::ok(&listing::things(&app.services, page(request)?, of).await.map_err(ApiError::later)?)
}

fn refused(refusal: Refusal) -> ApiError {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoContext | Refusal::OtherDid | Refusal::NoKey | Refusal::NoService | Refusal::NoCredential | Refusal::NoRequest => {
            ApiError::not_found(message)
        }
        Refusal::ContextExists
        | Refusal::Deleted
        | Refusal::Inactive
        | Refusal::DidInUse
        | Refusal::KeyExists
        | Refusal::KeyState { .. }
        | Refusal::ServiceExists
        | Refusal::CredentialExists
        | Refusal::RequestExists
        | Refusal::Full(_) => ApiError::conflict(message),
        Refusal::DidNotServed { .. } | Refusal::BadKey(_) | Refusal::BadCredential(_) => ApiError::invalid(message),
        Refusal::Sender(error) => error.into(),
    }
}
