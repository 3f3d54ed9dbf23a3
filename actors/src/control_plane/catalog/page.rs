//! Which datasets a counterparty sees, a page at a time.

use super::render::{self, Endpoint};
use crate::control_plane::{
    ControlPlaneState,
    policy::{Evaluation, is_fulfilled},
    resources::{DefinitionSet, OfferDefinition, Rendered},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use cellspace_schemas::{AssetId, PolicyDefinitionId, QuerySpec, TransferType, management::Asset, query_spec::PathRules};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A page ends when its text has so many bytes, even if more was asked for.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// Where a page begins, as its link says (`continuationToken`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// With the first dataset after this one.
    After(AssetId),
    /// So that it ends with the last dataset before this one.
    Before(AssetId),
}

impl Cursor {
    /// Reads a continuation token; `None` when it is none of ours.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let (kind, id) = token.split_at_checked(1)?;
        let id = AssetId::new(String::from_utf8(BASE64.decode(id).ok()?).ok()?).ok()?;
        match kind {
            "a" => Some(Self::After(id)),
            "b" => Some(Self::Before(id)),
            _ => None,
        }
    }

    /// The continuation token.
    #[must_use]
    pub fn token(&self) -> String {
        match self {
            Self::After(id) => format!("a{}", BASE64.encode(id.as_str())),
            Self::Before(id) => format!("b{}", BASE64.encode(id.as_str())),
        }
    }
}

/// A page of a catalog.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Datasets in their JSON form, in the order of their ids.
    pub datasets: Vec<String>,
    /// Catalogs of other services in their JSON form.
    pub catalogs: Vec<String>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
    /// Where the previous page ends, when there is one.
    pub previous: Option<Cursor>,
}

/// Fields that a counterparty's filter may name: what it can see, nothing private.
pub(super) const DATASET_PATHS: PathRules = PathRules { fields: &["id", "@id", "properties"], free_properties: true };

/// Transfer types by the labels and profiles of an asset.
type TypesByHints<'a> = HashMap<(&'a [String], &'a [String]), Arc<BTreeSet<TransferType>>>;

/// A counterparty that looks at the catalog. Each access policy is evaluated at most once per request.
pub struct Viewer<'a> {
    state: &'a ControlPlaneState,
    evaluation: Evaluation<'a>,
    endpoint: Endpoint,
    access: RefCell<HashMap<&'a PolicyDefinitionId, bool>>,
    types: RefCell<TypesByHints<'a>>,
}

impl<'a> Viewer<'a> {
    /// Looks at this state; `endpoint_url` is the DSP base that offers are negotiated at.
    #[must_use]
    pub fn new(state: &'a ControlPlaneState, evaluation: Evaluation<'a>, endpoint_url: &str) -> Self {
        Self { state, evaluation, endpoint: Endpoint::new(endpoint_url), access: RefCell::default(), types: RefCell::default() }
    }

    /// Definitions among these whose offer is visible.
    fn visible(&self, definitions: &DefinitionSet) -> Vec<&'a OfferDefinition> {
        let resources = &self.state.resources;
        let there = definitions.iter().filter_map(|id| resources.definition(id)).map(AsRef::as_ref);
        there
            .filter(|d| self.grants(&d.definition.access_policy_id) && resources.policy(&d.definition.contract_policy_id).is_some())
            .collect()
    }

    fn grants(&self, access: &'a PolicyDefinitionId) -> bool {
        if let Some(known) = self.access.borrow().get(access) {
            return *known;
        }
        let policy = self.state.resources.policy(access);
        let granted = policy.is_some_and(|policy| is_fulfilled(&policy.policy, &self.evaluation));
        self.access.borrow_mut().insert(access, granted);
        granted
    }

    fn transfer_types(&self, asset: &'a Asset) -> Arc<BTreeSet<TransferType>> {
        let metadata = asset.dataplane_metadata.as_ref();
        let asked: (&[String], &[String]) = metadata.map_or((&[], &[]), |m| (&m.labels, &m.profiles));
        if let Some(known) = self.types.borrow().get(&asked) {
            return known.clone();
        }
        let types = Arc::new(self.state.data_planes.transfer_types(metadata));
        self.types.borrow_mut().insert(asked, types.clone());
        types
    }

    /// What this counterparty sees of the asset that these definitions select. A dataset without a way to transfer it is none (DSP 2025-1, 5.3.2).
    fn seen(&self, id: &AssetId, definitions: &DefinitionSet) -> Option<Seen<'a>> {
        let offers = self.visible(definitions);
        if offers.is_empty() {
            return None;
        }
        let asset = self.state.resources.rendered_asset(id)?;
        if asset.value().is_catalog {
            return Some(Seen::Catalog(asset));
        }
        let types = self.transfer_types(asset.value());
        (!types.is_empty()).then_some(Seen::Dataset { asset, offers, types })
    }

    fn render(&self, seen: Seen<'a>) -> Shown {
        match seen {
            Seen::Catalog(asset) => Shown::Catalog(render::catalog_asset(asset)),
            Seen::Dataset { asset, offers, types } => {
                let terms = |d: &OfferDefinition| self.state.resources.rendered_policy(&d.definition.contract_policy_id);
                let offers = offers.into_iter().filter_map(|definition| Some((definition, terms(definition)?)));
                Shown::Dataset(render::dataset(asset, offers, &types, &self.endpoint))
            }
        }
    }

    /// One dataset by its id, as an object without `@context`; hidden and unknown ones are the same `None`.
    #[must_use]
    pub fn dataset(&self, id: &AssetId) -> Option<String> {
        match self.render(self.seen(id, self.state.resources.offers_of(id)?)?) {
            Shown::Dataset(text) => Some(text),
            Shown::Catalog(_) => None,
        }
    }

    /// A page. The query's offset counts from the catalog's beginning, and is spent when a cursor says where to go on; the query cannot sort. Only what
    /// is on the page is rendered.
    #[must_use]
    pub fn page(&self, query: &QuerySpec, cursor: Option<&Cursor>) -> Page {
        let resources = &self.state.resources;
        let matches = |id: &AssetId| {
            query.filter.is_empty()
                || resources.asset(id).is_some_and(|a| query.matches(&json!({"@id": a.id.as_str(), "properties": a.properties})))
        };
        let visible = |(id, definitions): (&'a AssetId, _)| self.seen(id, definitions).filter(|_| matches(id)).map(|seen| (id, seen));
        let (mut found, more) = match cursor {
            Some(Cursor::Before(id)) => {
                let (mut found, more) = self.fill(resources.offered_before(id).rev().filter_map(visible), query.limit);
                found.reverse();
                (found, more)
            }
            Some(Cursor::After(id)) => self.fill(resources.offered(Some(id)).filter_map(visible), query.limit),
            None => self.fill(resources.offered(None).filter_map(visible).skip(query.offset), query.limit),
        };
        let backwards = matches!(cursor, Some(Cursor::Before(_)));
        let (first, last) = (found.first().map(|(id, _)| *id), found.last().map(|(id, _)| *id));
        let before = |id: &AssetId| resources.offered_before(id).rev().filter_map(visible).next().is_some();
        let after = |id: &AssetId| resources.offered(Some(id)).filter_map(visible).next().is_some();
        let has_previous = first.is_some_and(|id| if backwards { more } else { (cursor.is_some() || query.offset > 0) && before(id) });
        let has_next = last.is_some_and(|id| if backwards { after(id) } else { more });
        let mut page = Page {
            next: last.filter(|_| has_next).map(|id| Cursor::After(id.clone())),
            previous: first.filter(|_| has_previous).map(|id| Cursor::Before(id.clone())),
            ..Page::default()
        };
        for (_, shown) in found.drain(..) {
            match shown {
                Shown::Dataset(text) => page.datasets.push(text),
                Shown::Catalog(text) => page.catalogs.push(text),
            }
        }
        page
    }

    /// Up to `limit` items and [`MAX_PAGE_BYTES`], and whether there are more.
    fn fill<'i>(&self, items: impl Iterator<Item = (&'i AssetId, Seen<'a>)>, limit: usize) -> (Vec<(&'i AssetId, Shown)>, bool) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (id, seen) in items {
            if found.len() >= limit {
                return (found, true);
            }
            let shown = self.render(seen);
            if bytes + shown.len() > MAX_PAGE_BYTES && !found.is_empty() {
                return (found, true);
            }
            bytes += shown.len();
            found.push((id, shown));
        }
        (found, false)
    }
}

/// An asset that is visible.
enum Seen<'a> {
    Dataset { asset: &'a Rendered<Asset>, offers: Vec<&'a OfferDefinition>, types: Arc<BTreeSet<TransferType>> },
    Catalog(&'a Rendered<Asset>),
}

enum Shown {
    Dataset(String),
    Catalog(String),
}

impl Shown {
    fn len(&self) -> usize {
        match self {
            Self::Dataset(text) | Self::Catalog(text) => text.len(),
        }
    }
}
