//! Posts of JSON with headers of the sender's choice, where it is the status of the answer that matters.

use super::{OutboundError, OutboundHttp, OutboundResponse, client_span, failed, record, traced, whole};
use bytes::Bytes;
use cellspace_cluster::trace;
use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method, header};
use url::Url;

impl OutboundHttp {
    /// Posts the body once, with these headers; sensitive values must be marked so. Of an answer longer than `limit` bytes, or one that breaks off, the
    /// body is left out: its status has been said.
    ///
    /// # Errors
    /// [`OutboundError`] when no answer began; an error status is an answer.
    pub async fn post(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        context: Option<TraceContext>,
        limit: usize,
    ) -> Result<OutboundResponse, OutboundError> {
        self.check_target(&url)?;
        let target = url.origin().ascii_serialization();
        let request = self.client.post(url).headers(headers).header(header::CONTENT_TYPE, "application/json").body(body);
        let span = client_span(&Method::POST, &target);
        let exchange = async {
            let response = traced(request).send().await.map_err(|e| failed(&e, &target))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = whole(response, &target, limit.min(self.options.max_body)).await.map(|answer| answer.body).unwrap_or_default();
            Ok(OutboundResponse { status, headers, body })
        };
        let outcome = trace::within(span.clone(), context.as_ref(), exchange).await;
        record(&span, outcome.as_ref().map(|answer| answer.status));
        outcome
    }
}
