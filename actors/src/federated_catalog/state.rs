//! What the agent knows: target nodes and how its crawls stand. Views lie apart.

use super::CrawlKey;
use cellspace_cluster::RowOf;
use cellspace_schemas::{Did, Timestamp, dsp::BaseUrl, management::TargetNode};
use cellspace_storage::{APART, RowKey};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Table of target nodes.
const TARGETS: &str = "target";
/// Table of crawls, and what their deadlines begin with.
pub(super) const CRAWLS: &str = "crawl";
/// Table of views, set apart.
const VIEWS: &str = "view";

/// Everything one agent knows; a clone is cheap.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Target nodes that were named to it.
    pub targets: RedBlackTreeMapSync<Did, Arc<TargetNode>>,
    /// How its crawls stand.
    pub crawls: RedBlackTreeMapSync<CrawlKey, Arc<Crawl>>,
}

/// How a crawl stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Crawl {
    /// What is looked at.
    pub key: CrawlKey,
    /// Where it says its versions, when whoever named it said so.
    pub url: Option<BaseUrl>,
    /// When somebody asked for the view, to the hour.
    pub asked_at: Timestamp,
    /// When it is looked again; `None` while it is under way.
    pub next: Option<Timestamp>,
    /// The view, when there is one.
    pub seen: Option<Seen>,
    /// How often it failed since it last brought a view.
    pub failures: u32,
    /// Why it did the last time.
    pub failure: Option<Failure>,
}

/// What is known of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// When the target showed it.
    pub at: Timestamp,
    /// Where: the base of the messages to the target.
    pub address: BaseUrl,
    /// Length of its text.
    pub bytes: usize,
    /// Of its text.
    pub digest: String,
    /// Whether the target has more than a view may hold.
    pub cut: bool,
}

/// Why there is no newer view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Since when that is known.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The target node as it now is.
    Target(Arc<TargetNode>),
    /// It is gone.
    TargetRemoved(Did),
    /// The crawl as it now stands.
    Crawl(Arc<Crawl>),
    /// It is given up.
    CrawlRemoved(CrawlKey),
    /// The view as it now is: the text of a catalog.
    View(CrawlKey, Arc<str>),
    /// It is gone.
    ViewRemoved(CrawlKey),
}

impl Event {
    /// Which row the event writes.
    #[must_use]
    pub fn row(&self) -> RowOf {
        match self {
            Self::Target(target) => RowOf::Put(RowKey::new(TARGETS, target.id.as_str())),
            Self::TargetRemoved(id) => RowOf::Delete(RowKey::new(TARGETS, id.as_str())),
            Self::Crawl(crawl) => RowOf::Put(RowKey::new(CRAWLS, &crawl.key.to_string())),
            Self::CrawlRemoved(key) => RowOf::Delete(RowKey::new(CRAWLS, &key.to_string())),
            Self::View(key, _) => RowOf::Put(view_row(key)),
            Self::ViewRemoved(key) => RowOf::Delete(view_row(key)),
        }
    }

    /// The deadline that the event's crawl now has.
    #[must_use]
    pub fn deadline(&self) -> Option<(String, Option<Timestamp>)> {
        match self {
            Self::Crawl(crawl) => Some((deadline(&crawl.key), crawl.next)),
            Self::CrawlRemoved(key) => Some((deadline(key), None)),
            Self::Target(_) | Self::TargetRemoved(_) | Self::View(..) | Self::ViewRemoved(_) => None,
        }
    }
}

/// The row of a view.
pub(super) fn view_row(key: &CrawlKey) -> RowKey {
    RowKey::new(&format!("{APART}{VIEWS}"), &key.to_string())
}

fn deadline(key: &CrawlKey) -> String {
    format!("{CRAWLS}/{key}")
}

impl State {
    /// All rows of its own: views lie apart.
    #[must_use]
    pub fn rows(&self) -> Vec<Event> {
        let targets = self.targets.values().cloned().map(Event::Target);
        targets.chain(self.crawls.values().cloned().map(Event::Crawl)).collect()
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Target(target) => self.targets.insert_mut(target.id.clone(), target.clone()),
            Event::TargetRemoved(id) => {
                self.targets.remove_mut(id);
            }
            Event::Crawl(crawl) => self.crawls.insert_mut(crawl.key.clone(), crawl.clone()),
            Event::CrawlRemoved(key) => {
                self.crawls.remove_mut(key);
            }
            Event::View(..) | Event::ViewRemoved(_) => {}
        }
    }

    /// Whether this target is named here, at this address, for this profile.
    pub(super) fn names(&self, key: &CrawlKey, url: Option<&BaseUrl>) -> bool {
        self.targets.get(&key.target).is_some_and(|target| target.url.as_ref() == url && target.supports(&key.profile))
    }

    /// Bytes of all views but that of this key.
    pub(super) fn kept_beside(&self, key: &CrawlKey) -> usize {
        let others = self.crawls.values().filter(|crawl| crawl.key != *key);
        others.filter_map(|crawl| crawl.seen.as_ref()).map(|seen| seen.bytes).sum()
    }
}
