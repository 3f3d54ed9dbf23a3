//! Which datasets a counterparty sees, a page at a time.

use super::{
    merged::{From, Visible, merged},
    render::{self, Endpoint, Offer},
};
use crate::control_plane::{
    ControlPlaneState,
    policy::{Evaluation, is_fulfilled},
    resources::{Offering, Rendered},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use cellspace_schemas::{
    AssetId, Did, QuerySpec,
    management::{Asset, PolicyDefinition},
    query_spec::PathRules,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
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
pub(super) const DATASET_PATHS: PathRules = PathRules { fields: &["id", "@id", "properties.*"], free_properties: true };

/// Distributions by the labels and profiles of an asset.
type DistributionsByHints<'a> = HashMap<(&'a [String], &'a [String]), Arc<str>>;

/// A counterparty that looks at the catalog. Each access policy is evaluated at most once per request.
pub struct Viewer<'a> {
    state: &'a ControlPlaneState,
    evaluation: Evaluation<'a>,
    endpoint: Endpoint,
    distributions: RefCell<DistributionsByHints<'a>>,
}

impl<'a> Viewer<'a> {
    /// Looks at this state; `endpoint_url` is the DSP base that offers are negotiated at.
    #[must_use]
    pub fn new(state: &'a ControlPlaneState, evaluation: Evaluation<'a>, endpoint_url: &str) -> Self {
        Self { state, evaluation, endpoint: Endpoint::new(endpoint_url), distributions: RefCell::default() }
    }

    fn grants(&self, access: &'a Rendered<PolicyDefinition>) -> bool {
        is_fulfilled(&access.value().policy, &self.evaluation)
    }

    /// Text of the distributions of an asset; empty when it cannot be transferred.
    fn distributions(&self, asset: &'a Asset) -> Arc<str> {
        let metadata = asset.dataplane_metadata.as_ref();
        let hints: (&[String], &[String]) = metadata.map_or((&[], &[]), |m| (&m.labels, &m.profiles));
        if let Some(known) = self.distributions.borrow().get(&hints) {
            return known.clone();
        }
        let text: Arc<str> = render::distributions(&self.state.data_planes.transfer_types(metadata), &self.endpoint).into();
        self.distributions.borrow_mut().insert(hints, text.clone());
        text
    }

    /// What is shown of an asset with these offers. A dataset without a way to transfer it is none (DSP 2025-1, 5.3.2).
    fn seen(&self, (asset, offers): Visible<'a>) -> Option<Seen<'a>> {
        let offers: Vec<Offer<'a>> =
            offers.into_iter().filter_map(|offering| Some((offering, self.state.resources.terms(offering)?.as_ref()))).collect();
        if offers.is_empty() {
            return None;
        }
        if asset.value().is_catalog {
            return Some(Seen::Catalog(asset));
        }
        let distributions = self.distributions(asset.value());
        (!distributions.is_empty()).then_some(Seen::Dataset { asset, offers, distributions })
    }

    fn render(seen: &Seen<'_>) -> Shown {
        match seen {
            Seen::Catalog(asset) => Shown::Catalog(render::catalog_asset(asset)),
            Seen::Dataset { asset, offers, distributions } => Shown::Dataset(render::dataset(asset, offers, distributions)),
        }
    }

    /// One dataset by its id, as an object without `@context`; hidden and unknown ones are the same `None`.
    #[must_use]
    pub fn dataset(&self, id: &AssetId) -> Option<String> {
        let offered = self.state.resources.offers_of(id)?;
        let mut judged = BTreeMap::new();
        let mut grants =
            |access: &'a Arc<Rendered<PolicyDefinition>>| *judged.entry(&access.value().id).or_insert_with(|| self.grants(access));
        let visible = |offering: &&'a Offering| self.state.resources.access(offering).is_some_and(&mut grants);
        let offers: Vec<&Offering> = offered.offers.values().map(AsRef::as_ref).filter(visible).collect();
        match Self::render(&self.seen((&offered.asset, offers))?) {
            Shown::Dataset(text) => Some(text),
            Shown::Catalog(_) => None,
        }
    }

    /// A page as catalog of this participant.
    #[must_use]
    pub fn catalog(&self, page: &Page, participant: &Did) -> String {
        render::catalog(&page.datasets, &page.catalogs, participant, &self.endpoint)
    }

    /// A page. The query's offset counts from the catalog's beginning, and is spent when a cursor says where to go on; the query cannot sort. Only what
    /// is on the page is rendered.
    #[must_use]
    pub fn page(&self, query: &QuerySpec, cursor: Option<&Cursor>) -> Page {
        let matches = |asset: &Asset| query.filter.is_empty() || asset.public_fields().meet(&query.filter);
        let views = self.state.resources.views();
        let granted: Vec<_> = views.filter(|(access, _)| self.grants(access)).map(|(_, assets)| assets).collect();
        let visible = |from| merged(&granted, from).filter(|(asset, _)| matches(asset.value())).filter_map(|visible| self.seen(visible));
        let (found, more) = match cursor {
            Some(Cursor::Before(id)) => {
                let (mut found, more) = Self::fill(visible(From::Before(id)), query.limit);
                found.reverse();
                (found, more)
            }
            Some(Cursor::After(id)) => Self::fill(visible(From::After(id)), query.limit),
            None => Self::fill(visible(From::Start).skip(query.offset), query.limit),
        };
        let backwards = matches!(cursor, Some(Cursor::Before(_)));
        let (first, last) = (found.first().map(|(id, _)| *id), found.last().map(|(id, _)| *id));
        let any = |from| visible(from).next().is_some();
        let has_previous =
            first.is_some_and(|id| if backwards { more } else { (cursor.is_some() || query.offset > 0) && any(From::Before(id)) });
        let has_next = last.is_some_and(|id| if backwards { any(From::After(id)) } else { more });
        let mut page = Page {
            next: last.filter(|_| has_next).map(|id| Cursor::After(id.clone())),
            previous: first.filter(|_| has_previous).map(|id| Cursor::Before(id.clone())),
            ..Page::default()
        };
        for (_, shown) in found {
            match shown {
                Shown::Dataset(text) => page.datasets.push(text),
                Shown::Catalog(text) => page.catalogs.push(text),
            }
        }
        page
    }

    /// Up to `limit` items and [`MAX_PAGE_BYTES`], and whether there are more.
    fn fill(items: impl Iterator<Item = Seen<'a>>, limit: usize) -> (Vec<(&'a AssetId, Shown)>, bool) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for seen in items {
            if found.len() >= limit {
                return (found, true);
            }
            let shown = Self::render(&seen);
            if bytes + shown.len() > MAX_PAGE_BYTES && !found.is_empty() {
                return (found, true);
            }
            bytes += shown.len();
            found.push((seen.id(), shown));
        }
        (found, false)
    }
}

/// An asset that is visible.
enum Seen<'a> {
    /// With its visible offers, and the text of its distributions.
    Dataset {
        asset: &'a Rendered<Asset>,
        offers: Vec<Offer<'a>>,
        distributions: Arc<str>,
    },
    Catalog(&'a Rendered<Asset>),
}

impl<'a> Seen<'a> {
    fn id(&self) -> &'a AssetId {
        match self {
            Self::Dataset { asset, .. } | Self::Catalog(asset) => &asset.value().id,
        }
    }
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
