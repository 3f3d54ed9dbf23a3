//! Lists of what a participant may have very many of: assets, policy definitions, contract definitions.

use super::{
    control_plane::{answered, snapshot},
    paging,
};
use crate::{
    App,
    http::{ApiError, Reply, Request},
};
use cellspace_actors::control_plane::resources::{OfferDefinition, State};
use cellspace_schemas::{
    management::{Asset, PolicyDefinition},
    query_spec::{Criterion, PathRules},
};
use serde_json::Value;
use std::sync::Arc;

/// How many are looked at on the spot. More would hold up the executor's other tasks.
const FEW: usize = 1_000;

/// One of them.
pub(super) trait Resource: Sized + 'static {
    /// All of a participant, in the order of their ids.
    fn all(state: &State) -> impl ExactSizeIterator<Item = &Arc<Self>>;
    /// The one with this id.
    fn at<'s>(state: &'s State, id: &str) -> Option<&'s Arc<Self>>;
    /// Its id.
    fn id(&self) -> &str;
    /// Its form in the API.
    fn json(&self) -> Value;
}

impl Resource for Asset {
    fn all(state: &State) -> impl ExactSizeIterator<Item = &Arc<Self>> {
        state.assets()
    }
    fn at<'s>(state: &'s State, id: &str) -> Option<&'s Arc<Self>> {
        state.asset(&id.parse().ok()?)
    }
    fn id(&self) -> &str {
        self.id.as_str()
    }
    fn json(&self) -> Value {
        self.to_json()
    }
}

impl Resource for PolicyDefinition {
    fn all(state: &State) -> impl ExactSizeIterator<Item = &Arc<Self>> {
        state.policies()
    }
    fn at<'s>(state: &'s State, id: &str) -> Option<&'s Arc<Self>> {
        state.policy(&id.parse().ok()?)
    }
    fn id(&self) -> &str {
        self.id.as_str()
    }
    fn json(&self) -> Value {
        self.to_json()
    }
}

impl Resource for OfferDefinition {
    fn all(state: &State) -> impl ExactSizeIterator<Item = &Arc<Self>> {
        state.definitions()
    }
    fn at<'s>(state: &'s State, id: &str) -> Option<&'s Arc<Self>> {
        state.definition(&id.parse().ok()?)
    }
    fn id(&self) -> &str {
        self.definition.id.as_str()
    }
    fn json(&self) -> Value {
        self.definition.to_json()
    }
}

/// Answers a query over all of a kind. Those that it names by their ids are found by them.
///
/// # Errors
/// Every violated rule of a query; not found when there is no such participant.
pub(super) async fn list<T: Resource>(app: App, request: Request, rules: &PathRules) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    let query = paging::query(&request, rules)?;
    let named = query.filter.iter().find_map(Criterion::ids);
    let looked_at = named.as_ref().map_or_else(|| T::all(&state.resources).len(), Vec::len);
    let answer = move || match named {
        Some(ids) => {
            let items = ids.iter().filter_map(|id| T::at(&state.resources, id));
            answered(&request, &query, items, |item| item.id(), |item| item.json())
        }
        None => answered(&request, &query, T::all(&state.resources), |item| item.id(), |item| item.json()),
    };
    paging::beside(looked_at > FEW, answer).await
}
