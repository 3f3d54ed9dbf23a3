//! What happens to a participant's negotiations and transfers, while it happens: server-sent events (HTML standard, section 9.2). No peer has this route.
//!
//! `GET P/events` goes on after the `Last-Event-ID` that the client names in that header or as `?lastEventId=`, without one from now. Where that is not
//! known any more, the first event is `reset`: the client asks for what it needs, and hears what follows. It asks for a scope that reads all of the API,
//! since it tells of negotiations and transfers alike.

use super::control_plane::{address, route, snapshot, told};
use crate::{
    App,
    http::{Access, ApiError, Provisioner, Reply, Request, Role, Route, Verb},
};
use bytes::Bytes;
use cellspace_actors::{
    ControlPlane,
    control_plane::{ControlPlaneState, process_events::followed},
};
use cellspace_cluster::{Address, Following, Happened};
use cellspace_schemas::{EventPosition, ParticipantContextId};
use futures::{StreamExt, stream};
use http::{HeaderName, header};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Between two signs of life when nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long one stream lasts: clients come back with their last id, and with a token that is still good.
const LONGEST: Duration = Duration::from_secs(600);
/// When clients that were cut off come back, in milliseconds.
const RETRY_MILLIS: u32 = 1_000;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:read", Provisioner::Denied);
    vec![route(Verb::Follow, "/participants/{participant}/events", READ, |a, r| Box::pin(follow(a, r)))]
}

async fn follow(app: App, request: Request) -> Result<Reply, ApiError> {
    let after = after(&request)?;
    snapshot(&app, &request).await?;
    let address = address(&request)?;
    let following = app.services.cluster.follow::<ControlPlane>(&address, after).await.map_err(told)?;
    let owner = match &request.principal {
        Some(principal) if principal.role == Role::Participant => Some(request.id("participant")?),
        _ => None,
    };
    let opening = opening(&following);
    let (shown, until) = (following.position(), Instant::now() + LONGEST);
    let events = Events { app, address, following, owner, shown, until };
    let chunks = stream::unfold(events, |mut events| async move { Some((events.next().await?, events)) });
    Ok(Reply::stream("text/event-stream", stream::iter([opening]).chain(chunks)).header(header::CACHE_CONTROL, "no-store"))
}

/// The position after which the client wants to hear.
///
/// # Errors
/// Invalid request.
pub fn after(request: &Request) -> Result<Option<EventPosition>, ApiError> {
    let header = request.headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
    let text = header.or_else(|| request.query.get("lastEventId").map(String::as_str)).filter(|text| !text.is_empty());
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| ApiError::invalid("Last-Event-ID must be the id of an event of this participant"))
}

/// What a stream begins with.
fn opening(following: &Following<ControlPlane>) -> Bytes {
    let position = following.position();
    let first = if following.is_lost() {
        let data = json!({"reason": "what happened since that id is not known here: ask for what you need, what follows is told"});
        format!("event: reset\ndata: {data}\n")
    } else {
        String::new()
    };
    format!("retry: {RETRY_MILLIS}\nid: {position}\n{first}\n").into()
}

/// One client's stream.
struct Events {
    app: App,
    address: Address,
    following: Following<ControlPlane>,
    /// The participant itself, when it is its own token that opened the stream.
    owner: Option<ParticipantContextId>,
    /// The position that the client was shown.
    shown: EventPosition,
    until: Instant,
}

impl Events {
    /// What the client is sent next; `None` at the end: of its time, of the node, of the participant.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let pause = KEEP_ALIVE.min(self.until.saturating_duration_since(Instant::now()));
            match timeout(pause, self.following.next()).await {
                Ok(Ok(Some(happened))) => {
                    if let Some(event) = self.event(&happened).await? {
                        return Some(event);
                    }
                }
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) if Instant::now() >= self.until => return None,
                Err(_) => {
                    self.allowed().await?;
                    return Some(self.sign_of_life());
                }
            }
        }
    }

    /// A comment; with the position, when it has moved on without an event: clients keep it, and come back nearer.
    fn sign_of_life(&mut self) -> Bytes {
        let position = self.following.position();
        if std::mem::replace(&mut self.shown, position) == position { ":\n\n".into() } else { format!(":\nid: {position}\n\n").into() }
    }

    /// The participant's state, as long as it is there and whose token this is may ask for it.
    async fn allowed(&self) -> Option<Arc<ControlPlaneState>> {
        let state = self.app.services.cluster.snapshot::<ControlPlane>(&self.address).await.ok()?;
        state.participant.as_ref()?;
        match &self.owner {
            Some(owner) if !self.app.known.is_on(owner).await => None,
            Some(_) | None => Some(state),
        }
    }

    /// The event as it is sent, when it is one that is told. The outer `None` ends the stream.
    async fn event(&mut self, happened: &Happened) -> Option<Option<Bytes>> {
        let state = self.allowed().await?;
        let event = followed(&self.app.services, &self.address, state, happened).await.ok()?;
        let Some((name, envelope)) = event else { return Some(None) };
        self.shown = happened.position;
        Some(Some(format!("event: {name}\nid: {}\ndata: {envelope}\n\n", happened.position).into()))
    }
}
