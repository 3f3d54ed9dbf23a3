//! Requests that other nodes of the cell have passed on: they go through the same stack as if they had come in here.

use super::answer::SocketBody;
use crate::{http::Listener, node::DRAIN};
use cellspace_actors::{Services, settings};
use cellspace_cluster::link::{BoxError, Forwarded, LinkBody, Requests};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::{convert::Infallible, sync::Arc};
use tokio_util::sync::CancellationToken;
use tower::Service;

type Stack = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<SocketBody>> + Send + Sync>;

/// The stacks of the listeners that requests are passed on to.
pub struct Received {
    public: Stack,
    admin: Stack,
    services: Arc<Services>,
    /// Cancelled when the node is to drain.
    drained: CancellationToken,
}

impl Received {
    /// These stacks; `drained` is cancelled when a peer says that this node is to drain.
    pub fn new<P, A>(services: Arc<Services>, drained: CancellationToken, public: P, admin: A) -> Self
    where
        P: Service<Request<Incoming>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
        A: Service<Request<Incoming>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
    {
        Self { public: stack(public), admin: stack(admin), services, drained }
    }
}

fn stack<S>(service: S) -> Stack
where
    S: Service<Request<Incoming>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static,
{
    let service = Mutex::new(service);
    Box::new(move |request| {
        // It is always ready.
        let answer = service.lock().clone().call(request);
        Box::pin(async move {
            let Ok(answer) = answer.await;
            answer
        })
    })
}

impl Requests for Received {
    fn forwarded(&self, how: Forwarded, mut request: Request<Incoming>) -> BoxFuture<'static, Response<LinkBody>> {
        let stack = match how.listener.as_str() {
            name if name == Listener::Public.name() => &self.public,
            name if name == Listener::Admin.name() => &self.admin,
            other => {
                let mut answer = Response::new(Empty::new().map_err(|never| -> BoxError { match never {} }).boxed_unsync());
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                Forwarded::not_here(&mut answer, &format!("nothing is passed on to the listener {other}"));
                return Box::pin(async move { answer });
            }
        };
        request.extensions_mut().insert(how);
        let answer = stack(request);
        Box::pin(async move { answer.await.map(|body| body.map_err(BoxError::from).boxed_unsync()) })
    }

    /// Draining, for one, is said by nodes of the own cell alone.
    fn is_of_all(&self, news: &str) -> bool {
        news == settings::agent::CHANGED
    }

    fn announced(&self, news: String) -> BoxFuture<'static, ()> {
        if news == DRAIN {
            self.drained.cancel();
        }
        let services = self.services.clone();
        Box::pin(async move {
            if news != settings::agent::CHANGED {
                return;
            }
            // Should this fail, it is looked at again soon.
            if let Err(error) = settings::agent::refresh(&services).await {
                tracing::warn!(category = "app", %error, "changed settings cannot be read");
            }
        })
    }
}
