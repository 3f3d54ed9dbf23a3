//! The one way in which the trust path reaches others, so that tests can stand in for the world.

use crate::outbound::{OutboundError, OutboundHttp, OutboundRequest, OutboundResponse};
use futures::{FutureExt, future::BoxFuture};
use http::Method;
use url::Url;

/// Sends a request to another party.
pub trait Fetch: Send + Sync + 'static {
    /// Sends once and reads an answer of at most `limit` bytes; what still has the entity tag `known` is answered by 304.
    fn fetch<'a>(
        &'a self,
        request: OutboundRequest,
        known: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OutboundResponse, OutboundError>>;
    /// Whether plain http and private addresses may be called.
    fn allows_private(&self) -> bool;
}

impl Fetch for OutboundHttp {
    fn fetch<'a>(
        &'a self,
        request: OutboundRequest,
        known: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OutboundResponse, OutboundError>> {
        self.send_unless(request, known, limit).boxed()
    }

    fn allows_private(&self) -> bool {
        Self::allows_private(self)
    }
}

/// A GET without credentials.
pub(super) fn get(url: Url, accept: &'static str) -> OutboundRequest {
    OutboundRequest { method: Method::GET, url, bearer: None, body: None, accept: Some(accept), trace: None }
}
