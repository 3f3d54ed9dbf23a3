//! Form posts, as OAuth 2.0 token endpoints take them (RFC 6749, appendix B).

use super::{OutboundError, OutboundHttp, OutboundResponse, client_span, failed, record, traced, whole};
use cellspace_cluster::trace;
use http::{Method, header};
use url::{Url, form_urlencoded};

impl OutboundHttp {
    /// Posts the fields once and reads the whole answer.
    ///
    /// # Errors
    /// [`OutboundError`] when no whole answer came; an error status is an answer.
    pub async fn post_form(&self, url: Url, fields: &[(&str, &str)]) -> Result<OutboundResponse, OutboundError> {
        self.check_target(&url)?;
        let target = url.origin().ascii_serialization();
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let request = request.header(header::ACCEPT, "application/json");
        let span = client_span(&Method::POST, &target);
        let exchange = async {
            let response = traced(request).send().await.map_err(|e| failed(&e, &target))?;
            whole(response, &target, self.options.max_body).await
        };
        let outcome = trace::within(span.clone(), None, exchange).await;
        record(&span, outcome.as_ref().map(|answer| answer.status));
        outcome
    }
}
