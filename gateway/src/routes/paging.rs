//! Lists that are asked for with a query: the page, how many there are in all, and where the next page begins.

use crate::http::{ApiError, Reply, Request};
use cellspace_schemas::{
    QuerySpec,
    query_spec::{Page, PathRules},
};
use http::{HeaderName, header};
use serde::Serialize;
use std::str::FromStr;

/// How many entries all pages have together; left out where counting them would take too long.
pub(super) const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// Parameter of the URL that goes on behind a page, with the same body as before.
const CURSOR: &str = "cursor";

/// The query in the body, and the cursor in the URL.
///
/// # Errors
/// Every violated rule.
pub(super) fn query(request: &Request, rules: &PathRules) -> Result<QuerySpec, ApiError> {
    after(request, QuerySpec::from_document(&request.body, rules)?)
}

/// As [`query`], of an API without JSON-LD.
///
/// # Errors
/// Every violated rule.
pub(super) fn plain_query(request: &Request, rules: &PathRules) -> Result<QuerySpec, ApiError> {
    after(request, QuerySpec::from_body(&request.body, rules)?)
}

fn after(request: &Request, query: QuerySpec) -> Result<QuerySpec, ApiError> {
    match request.query.get(CURSOR) {
        None => Ok(query),
        Some(token) => query.after(token).map_err(|violation| vec![violation].into()),
    }
}

/// A number in the URL's query; `default` when it says none.
///
/// # Errors
/// Invalid request when it says something else.
pub(super) fn number<T: FromStr>(request: &Request, name: &str, default: T) -> Result<T, ApiError> {
    let Some(text) = request.query.get(name) else { return Ok(default) };
    text.parse().map_err(|_| ApiError::invalid(format!("{name} must be a number")))
}

/// The answer to a query: an array of what is on the page, as `view` shows it.
///
/// # Errors
/// Internal error when it cannot be written.
pub(super) fn listed<T, V: Serialize>(
    request: &Request,
    query: &QuerySpec,
    page: Page<T>,
    view: impl Fn(T) -> V,
) -> Result<Reply, ApiError> {
    let Page { items, total, next } = page;
    let mut reply = Reply::ok(&items.into_iter().map(view).collect::<Vec<_>>())?;
    if let Some(total) = total {
        reply = reply.header(TOTAL, &total.to_string());
    }
    if let Some(next) = next {
        reply = reply.header(header::LINK, &format!("<{}?{CURSOR}={}>; rel=\"next\"", request.path, next.token(query)));
    }
    Ok(reply)
}

/// An answer, made off the executor's threads when it is `long`: there it would hold up other tasks.
///
/// # Errors
/// Those of `answer`; internal error when that ends without one.
pub(super) async fn beside(long: bool, answer: impl FnOnce() -> Result<Reply, ApiError> + Send + 'static) -> Result<Reply, ApiError> {
    if !long {
        return answer();
    }
    tokio::task::spawn_blocking(answer).await.map_err(|ended| ApiError::internal(ended.to_string()))?
}
