//! Data of running flows: checked and streamed by the data plane's workers; nothing is gathered here.

use super::prefixes::DATA;
use crate::{
    App,
    http::{Access, Api, ApiError, Body, ErrorKind, Listener, Reply, Request, Route, Verb},
};
use cellspace_actors::data_plane::{DataPlane, Pull, PullError, TargetError, pull};
use cellspace_cluster::Address;
use cellspace_schemas::{ParticipantContextId, TransferId};

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |path| Route {
        listener: Listener::Public,
        api: Api::Native,
        method: Verb::Get,
        path,
        prefixes: DATA,
        access: Access::Open,
        handler: |app, request| Box::pin(data(app, request)),
    };
    vec![route("/{participant}/{flow}"), route("/{participant}/{flow}/{*path}")]
}

async fn data(app: App, request: Request) -> Result<Reply, ApiError> {
    // A text that can be no id is answered as an id that is not there.
    let (Ok(participant), Ok(flow)) = (request.id::<ParticipantContextId>("participant"), request.id::<TransferId>("flow")) else {
        return Err(refused(&PullError::Token));
    };
    let path = request.params.get("path").map(|rest| format!("/{rest}")).unwrap_or_default();
    let pulled = pull(
        &app.services,
        Pull {
            participant: &participant,
            flow: &flow,
            method: request.method.clone(),
            path: &path,
            query: request.raw_query.as_deref(),
            headers: &request.headers,
            token: request.bearer(),
            trace: request.trace.clone(),
        },
    );
    let pulled = pulled.await.map_err(|error| {
        tracing::info!(category = "app", vpa = %Address::of::<DataPlane>(&participant), action = "data.refused", flow = %flow, reason = %error);
        refused(&error)
    })?;
    tracing::info!(category = "app", vpa = %Address::of::<DataPlane>(&participant), action = "data.opened", flow = %flow, status = pulled.status.as_u16());
    let body = match pulled.body {
        Some(chunks) => Body::told(chunks),
        // Of unknown length: the answer's own header says how long the data would be.
        None => Body::told(futures::stream::empty()),
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = pulled.status;
    *response.headers_mut() = pulled.headers;
    Ok(Reply(response))
}

fn refused(error: &PullError) -> ApiError {
    let kind = match error {
        PullError::Token => ErrorKind::BadToken,
        PullError::OtherToken | PullError::NotStarted | PullError::Target(TargetError::Closed | TargetError::Query) => {
            ErrorKind::NotAuthorized
        }
        PullError::Target(TargetError::Path) => ErrorKind::Invalid,
        PullError::Method => ErrorKind::MethodNotAllowed,
        PullError::NotFound => ErrorKind::NotFound,
        PullError::Source(_) => ErrorKind::BadGateway,
        PullError::TooMany => ErrorKind::TooMany,
        PullError::Unavailable(cause) => return ApiError::not_now(cause),
    };
    ApiError::new(kind, error.to_string())
}
