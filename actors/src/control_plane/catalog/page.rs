//! Which datasets a counterparty sees, a page at a time.

use super::{
    merged::{From, Visible, merged},
    render::{self, Endpoint},
};
use crate::control_plane::{
    ControlPlaneState,
    policy::{Evaluation, is_fulfilled},
    resources::{Access, Offering, Rendered, Row},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use cellspace_schemas::{
    AssetId, Did, QuerySpec,
    dsp::SentContext,
    management::{Asset, PolicyDefinition},
    query_spec::PathRules,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

/// A page ends when its text has so many bytes, even if more was asked for.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Room that is there from the beginning.
const USUAL_PAGE_BYTES: usize = 8 << 10;

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
    /// What is on it, in JSON.
    text: String,
    datasets: Vec<Range<usize>>,
    catalogs: Vec<Range<usize>>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
    /// Where the previous page ends, when there is one.
    pub previous: Option<Cursor>,
}

impl Page {
    fn texts(&self, places: &[Range<usize>]) -> impl Iterator<Item = &str> {
        places.iter().filter_map(|place| self.text.get(place.clone()))
    }

    /// Datasets in their JSON form, in the order of their ids.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.texts(&self.datasets)
    }

    /// Catalogs of other services in their JSON form.
    pub fn catalogs(&self) -> impl Iterator<Item = &str> {
        self.texts(&self.catalogs)
    }
}

/// Fields that a counterparty's filter may name: what it can see, nothing private.
pub(super) const DATASET_PATHS: PathRules = PathRules { fields: &["id", "@id", "properties.*"], free_properties: true };

/// Labels and profiles of an asset.
type Hints<'a> = (&'a [String], &'a [String]);
type DistributionsByHints<'a> = HashMap<Hints<'a>, Arc<str>>;

/// Terms that are remembered in a request.
const MAX_TERMS: usize = 8;

/// A counterparty that looks at the catalog. Each access policy is evaluated at most once per request.
pub struct Viewer<'a> {
    state: &'a ControlPlaneState,
    evaluation: Evaluation<'a>,
    endpoint: Endpoint,
    distributions: RefCell<DistributionsByHints<'a>>,
    /// The distributions asked for last: neighbours mostly have the same.
    last_distributions: RefCell<Option<(Hints<'a>, Arc<str>)>>,
    /// Offers of one participant have few terms.
    terms: RefCell<Vec<&'a Rendered<PolicyDefinition>>>,
}

impl<'a> Viewer<'a> {
    /// Looks at this state; `endpoint_url` is the DSP base that offers are negotiated at.
    #[must_use]
    pub fn new(state: &'a ControlPlaneState, evaluation: Evaluation<'a>, endpoint_url: &str) -> Self {
        Self {
            state,
            evaluation,
            endpoint: Endpoint::new(endpoint_url),
            distributions: RefCell::default(),
            last_distributions: RefCell::default(),
            terms: RefCell::default(),
        }
    }

    fn grants(&self, access: &'a Access) -> bool {
        match &access.comparisons {
            Some(comparisons) => comparisons.are_fulfilled(&self.evaluation),
            None => is_fulfilled(&access.policy.value().policy, &self.evaluation),
        }
    }

    /// Text of the distributions of an asset; empty when it cannot be transferred.
    fn distributions(&self, Visible { asset, row }: &Visible<'a>) -> Arc<str> {
        let metadata = asset.value().dataplane_metadata.as_ref().filter(|_| row.has_hints());
        let hints: Hints<'a> = metadata.map_or((&[], &[]), |m| (&m.labels, &m.profiles));
        let mut last = self.last_distributions.borrow_mut();
        if let Some((_, text)) = last.as_ref().filter(|(of, _)| *of == hints) {
            return text.clone();
        }
        let render = || render::distributions(&self.state.data_planes.transfer_types(metadata), &self.endpoint).into();
        let text: Arc<str> = self.distributions.borrow_mut().entry(hints).or_insert_with(render).clone();
        *last = Some((hints, text.clone()));
        text
    }

    fn terms(&self, id: &str) -> Option<&'a Rendered<PolicyDefinition>> {
        let mut known = self.terms.borrow_mut();
        if let Some(terms) = known.iter().find(|terms| terms.value().id.as_str() == id) {
            return Some(*terms);
        }
        let terms = self.state.resources.terms(id)?.as_ref();
        if known.len() < MAX_TERMS {
            known.push(terms);
        }
        Some(terms)
    }

    /// Offers whose terms are there.
    fn offers<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = (&'r str, &'r Rendered<PolicyDefinition>)> {
        row.offers().filter_map(|(id, terms)| Some((id, self.terms(terms)?)))
    }

    /// What is shown of an asset with these offers. A dataset without a way to transfer it is none (DSP 2025-1, 5.3.2).
    fn seen(&self, visible: Visible<'a>) -> Option<Seen<'a>> {
        self.offers(&visible.row).next()?;
        if visible.row.is_catalog() {
            return Some(Seen::Catalog(visible.asset));
        }
        let distributions = self.distributions(&visible);
        (!distributions.is_empty()).then_some(Seen::Dataset { visible, distributions })
    }

    /// One dataset by its id, as an object without `@context`; hidden and unknown ones are the same `None`.
    #[must_use]
    pub fn dataset(&self, id: &AssetId) -> Option<String> {
        let offered = self.state.resources.offers_of(id)?;
        let mut judged = BTreeMap::new();
        let mut grants = |access: &'a Arc<Rendered<PolicyDefinition>>| {
            let access = access.value();
            *judged.entry(&access.id).or_insert_with(|| is_fulfilled(&access.policy, &self.evaluation))
        };
        let is_visible = |offering: &'a Offering| self.state.resources.access(offering).is_some_and(&mut grants);
        match self.seen(Visible::some_of(offered, is_visible))? {
            Seen::Dataset { visible, distributions } => {
                let mut text = String::new();
                render::dataset(&mut text, visible.asset, self.offers(&visible.row), &distributions);
                Some(text)
            }
            Seen::Catalog(_) => None,
        }
    }

    /// A page as catalog of this participant, with the contexts of its profile.
    #[must_use]
    pub fn catalog(&self, page: &Page, participant: &Did, context: &SentContext) -> String {
        render::catalog(page, participant, &self.endpoint, context)
    }

    /// A page. The query's offset counts from the catalog's beginning, and is spent when a cursor says where to go on; the query cannot sort. Only what
    /// is on the page is rendered.
    #[must_use]
    pub fn page(&self, query: &QuerySpec, cursor: Option<&Cursor>) -> Page {
        let matches = |asset: &Asset| query.filter.is_empty() || asset.public_fields().meet(&query.filter);
        let granted: Vec<_> = self.state.resources.views().iter().filter(|view| self.grants(&view.access)).collect();
        let visible =
            |from| merged(&granted, from).filter(|visible| matches(visible.asset.value())).filter_map(|visible| self.seen(visible));
        let (mut page, ends, more) = match cursor {
            Some(Cursor::Before(id)) => {
                let (mut page, ends, more) = self.fill(visible(From::Before(id)), query.limit);
                page.datasets.reverse();
                page.catalogs.reverse();
                (page, ends.map(|(last, first)| (first, last)), more)
            }
            Some(Cursor::After(id)) => self.fill(visible(From::After(id)), query.limit),
            None => self.fill(visible(From::Start).skip(query.offset), query.limit),
        };
        let (first, last) = ends.unzip();
        // Mostly the one that the page begins behind is there still, which is seen sooner than what else there is.
        let is_there = |id: &AssetId| {
            let mut offered = granted.iter().filter_map(|view| view.assets.get(id));
            offered.any(|offered| matches(offered.asset().value()) && self.seen(Visible::all_of(offered)).is_some())
        };
        let any = |from| visible(from).next().is_some();
        let has_previous = first.is_some_and(|id| match cursor {
            Some(Cursor::Before(_)) => more,
            Some(Cursor::After(behind)) => is_there(behind) || any(From::Before(id)),
            None => query.offset > 0 && any(From::Before(id)),
        });
        let has_next = last.is_some_and(|id| match cursor {
            Some(Cursor::Before(before)) => is_there(before) || any(From::After(id)),
            Some(Cursor::After(_)) | None => more,
        });
        page.next = last.filter(|_| has_next).map(|id| Cursor::After(id.clone()));
        page.previous = first.filter(|_| has_previous).map(|id| Cursor::Before(id.clone()));
        page
    }

    /// Up to `limit` items and [`MAX_PAGE_BYTES`], the ids of the first and the last one, and whether there are more.
    fn fill(&self, items: impl Iterator<Item = Seen<'a>>, limit: usize) -> (Page, Option<(&'a AssetId, &'a AssetId)>, bool) {
        let (mut page, mut ends) = (Page { text: String::with_capacity(USUAL_PAGE_BYTES), ..Page::default() }, None);
        for seen in items {
            let (found, start) = (page.datasets.len() + page.catalogs.len(), page.text.len());
            if found >= limit {
                return (page, ends, true);
            }
            let places = match &seen {
                Seen::Catalog(asset) => {
                    page.text.push_str(&render::catalog_asset(asset));
                    &mut page.catalogs
                }
                Seen::Dataset { visible, distributions } => {
                    render::dataset(&mut page.text, visible.asset, self.offers(&visible.row), distributions);
                    &mut page.datasets
                }
            };
            if page.text.len() > MAX_PAGE_BYTES && found > 0 {
                page.text.truncate(start);
                return (page, ends, true);
            }
            places.push(start..page.text.len());
            let id = seen.id();
            ends = Some((ends.map_or(id, |(first, _)| first), id));
        }
        (page, ends, false)
    }
}

/// An asset that is visible.
enum Seen<'a> {
    /// With its visible offers, and the text of its distributions.
    Dataset {
        visible: Visible<'a>,
        distributions: Arc<str>,
    },
    Catalog(&'a Rendered<Asset>),
}

impl<'a> Seen<'a> {
    fn id(&self) -> &'a AssetId {
        match self {
            Self::Dataset { visible: Visible { asset, .. }, .. } | Self::Catalog(asset) => &asset.value().id,
        }
    }
}
