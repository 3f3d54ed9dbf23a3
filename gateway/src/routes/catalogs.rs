//! The federated catalog: catalogs of all target nodes as they were last seen (Federated Catalog API; below a participant, which that does not have).

use super::{
    catalog::told,
    control_plane::{route, snapshot},
    paging,
};
use crate::{
    App,
    http::{Access, ApiError, ErrorKind, Provisioner, Reply, Request, Route, Verb},
};
use cellspace_actors::federated_catalog::{Entry, Overview, overview};
use cellspace_schemas::{
    QuerySpec,
    query_spec::{FieldPath, Page, PathRules},
    violation::Violation,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Bytes of the views on one page at most; of one that is longer there is a page of its own.
const MAX_PAGE: usize = 16 << 20;
/// Catalogs say what they like.
const PATHS: PathRules = PathRules { fields: &[], free_properties: true };

/// The route.
#[must_use]
pub fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("management-api:catalog:read", Provisioner::Denied);
    vec![route(Verb::Query, "/participants/{participant}/catalogs/request", READ, |app, request| Box::pin(catalogs(app, request)))]
}

async fn catalogs(app: App, request: Request) -> Result<Reply, ApiError> {
    let flatten = match request.query.get("flatten").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(vec![Violation::new("?flatten", "must be true or false")].into()),
    };
    let query = paging::query(&request, &PATHS)?;
    let state = snapshot(&app, &request).await?;
    let participant = state.active().map_err(|refusal| ApiError::new(ErrorKind::NotAuthorized, refusal.to_string()))?;
    let found = overview(&app.services, participant, &request.call_without_key()).await.map_err(told)?;
    let page = page(&found, &query, flatten).await?;
    paging::listed(&request, &query, page, |catalog| catalog)
}

/// What a catalog is sorted by, when that has an order: more of it need not be kept.
fn sorted_by(query: &QuerySpec, catalog: &Value) -> Value {
    let value = query.sort.as_ref().and_then(|sort| sort.first(catalog));
    value.filter(|value| !value.is_object() && !value.is_array()).cloned().unwrap_or_default()
}

/// The catalogs that the query asks for. Views are looked into one after the other: those of all target nodes together need not fit into memory.
async fn page(found: &Overview, query: &QuerySpec, flatten: bool) -> Result<Page<Value>, ApiError> {
    let mut entries: Vec<(&Entry, Value)> = Vec::new();
    let asked = Arc::new(query.clone());
    for entry in &found.entries {
        let sorted_by = match (&query.sort, query.filter.as_slice()) {
            (None, []) => Value::Null,
            _ => {
                let asked = asked.clone();
                let judged = move |catalog: Value| asked.matches(&catalog).then(|| sorted_by(&asked, &catalog));
                let Some(value) = found.catalog(entry, flatten, judged).await.map_err(told)? else { continue };
                value
            }
        };
        entries.push((entry, sorted_by));
    }
    // What matches is known: the rest is the place on the page.
    let by_value: FieldPath = "value".parse().map_err(ApiError::internal)?;
    let mut place = QuerySpec { filter: Vec::new(), sort: query.sort.as_ref().map(|_| by_value), ..query.clone() };
    let paged = |place: &QuerySpec| place.page(entries.iter(), |(_, value)| json!({ "value": value }), |(entry, _)| entry.id.as_str());
    let mut page = paged(&place);
    let mut bytes = 0_usize;
    let fitting = page.items.iter().take_while(|(entry, _)| {
        bytes = bytes.saturating_add(entry.bytes());
        bytes <= MAX_PAGE
    });
    let fitting = fitting.count().max(1);
    if fitting < page.items.len() {
        place.limit = fitting;
        page = paged(&place);
    }
    let mut catalogs = Vec::with_capacity(page.items.len());
    for (entry, _) in page.items {
        catalogs.push(found.catalog(entry, flatten, |catalog| catalog).await.map_err(told)?);
    }
    Ok(Page { items: catalogs, total: page.total, next: page.next })
}
