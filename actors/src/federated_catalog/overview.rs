//! What one participant is shown: its views, wherever they are kept.

use super::{
    CrawlKey, FederatedCatalog, State,
    agent::{Command, Standing, Wanted, address, installation},
    claims::own_claims,
    state::{Crawl, Event, view_row},
    visible::{Viewer, flattened},
};
use crate::{
    ControlPlane, Services,
    control_plane::{Participant, catalog::RequestError, policy::ParticipantAgent, questions::ParticipantOf},
    settings::Settings,
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::{
    ParticipantContextId, ProfileId,
    dsp::CONTEXT,
    management::{MANAGEMENT_CONTEXT, TargetNode},
};
use futures::future::join_all;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// Views that are looked into at once, on the whole node: each takes a few times its length while that lasts.
static LOOKING: Semaphore = Semaphore::const_new(4);
/// What others are told of a look that failed.
const NOT_SEEN: &str = "the target did not show its catalog";
/// How long the first look at targets is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A target in a profile, as one participant is shown it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key as text.
    pub id: String,
    /// What is looked at.
    pub key: CrawlKey,
    /// Who looks.
    pub crawler: ParticipantContextId,
    /// The target node.
    pub target: Arc<TargetNode>,
    /// How the crawl stands; `None` when there is no room for it.
    pub crawl: Option<Arc<Crawl>>,
}

impl Entry {
    /// Bytes of the view, before anything is taken out of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.crawl.as_ref().and_then(|crawl| crawl.seen.as_ref()).map_or(0, |seen| seen.bytes)
    }

    fn wanted(&self, settings: &Settings) -> Wanted {
        let shared = settings.profiles.get(&self.key.profile).is_some_and(|profile| profile.crawled_by.as_ref() == Some(&self.crawler));
        Wanted { key: self.key.clone(), url: self.target.url.clone(), shared }
    }
}

/// All that one participant is shown, in the order of the entries' ids.
pub struct Overview {
    /// What there is.
    pub entries: Vec<Entry>,
    participant: ParticipantContextId,
    settings: Arc<Settings>,
    /// The participant's claims in the profiles where somebody crawls for it.
    claims: BTreeMap<ProfileId, Arc<ParticipantAgent>>,
    services: Services,
}

/// Finds out what the participant is shown, and notes that it asked: what was never looked at is looked at now, and waited for a moment.
///
/// # Errors
/// [`RequestError`]
pub async fn overview(services: &Services, participant: &Arc<Participant>, call: &Call) -> Result<Overview, RequestError> {
    let settings = services.settings.load();
    let (own, common) = (state(services, &address(&participant.id)).await?, state(services, &installation()).await?);
    let mut entries = entries(participant, &settings, &own, &common);
    let crawlers: BTreeSet<&ParticipantContextId> = entries.iter().map(|entry| &entry.crawler).collect();
    let states = join_all(crawlers.into_iter().map(|crawler| async {
        let wanted = entries.iter().filter(|entry| entry.crawler == *crawler);
        let wanted: Vec<Wanted> = wanted.map(|entry| entry.wanted(&settings)).collect();
        Ok::<_, RequestError>((crawler.clone(), looked_at(services, crawler, &wanted, call).await?))
    }));
    let states: BTreeMap<ParticipantContextId, Arc<State>> = states.await.into_iter().collect::<Result<_, _>>()?;
    for entry in &mut entries {
        entry.crawl = states.get(&entry.crawler).and_then(|state| state.crawls.get(&entry.key)).cloned();
    }
    let mut claims = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.crawler != participant.id) {
        let profile = &entry.key.profile;
        if !claims.contains_key(profile) {
            let trusted = settings.profiles.get(profile).map_or(&[][..], |profile| &profile.trusted_issuers);
            claims.insert(profile.clone(), Arc::new(own_claims(services, participant, trusted).await?));
        }
    }
    Ok(Overview { entries, participant: participant.id.clone(), settings, claims, services: services.clone() })
}

/// What there is to see: the participant's own target nodes, and those of the installation, in the profiles that it is associated with. What it names
/// itself it looks at itself. Pure.
pub(super) fn entries(participant: &Participant, settings: &Settings, own: &State, common: &State) -> Vec<Entry> {
    let mut found = BTreeMap::new();
    for profile in participant.profiles(settings).iter().filter_map(|name| settings.profiles.get(name)) {
        let mut add = |target: &Arc<TargetNode>, crawler: &ParticipantContextId| {
            let key = CrawlKey { target: target.id.clone(), profile: profile.name.clone() };
            // Nobody is its own counterparty.
            if target.supports(&profile.name) && target.id != participant.identity && !found.contains_key(&key) {
                let entry = Entry { id: key.to_string(), key: key.clone(), crawler: crawler.clone(), target: target.clone(), crawl: None };
                found.insert(key, entry);
            }
        };
        let crawler = profile.crawled_by.as_ref().unwrap_or(&participant.id);
        let (own, common) = ((own, &participant.id), (common, crawler));
        // Who looks for all looks where all ask it to.
        let order = if profile.crawled_by.as_ref() == Some(&participant.id) { [common, own] } else { [own, common] };
        order.into_iter().for_each(|(named, crawler)| named.targets.values().for_each(|target| add(target, crawler)));
    }
    let mut entries: Vec<Entry> = found.into_values().collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

/// The state of an agent that may not have been written yet.
pub(super) async fn state(services: &Services, address: &Address) -> Result<Arc<State>, RequestError> {
    match services.cluster.snapshot_anywhere::<FederatedCatalog, _>(address, &Standing).await {
        Ok(state) => Ok(state),
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        Err(other) => Err(RequestError::Unavailable(other.to_string())),
    }
}

/// Whether the participant that crawls is there, for whoever it does.
async fn is_there(services: &Services, crawler: &ParticipantContextId) -> Result<bool, RequestError> {
    let address = Address::of::<ControlPlane>(crawler);
    match services.cluster.query::<ControlPlane, _>(&address, &ParticipantOf).await {
        Ok(participant) => Ok(participant.is_some()),
        Err(AskError::NotRegistered) => Ok(false),
        Err(other) => Err(RequestError::Unavailable(other.to_string())),
    }
}

/// How the crawls of a participant stand, these among them.
async fn looked_at(
    services: &Services,
    crawler: &ParticipantContextId,
    wanted: &[Wanted],
    call: &Call,
) -> Result<Arc<State>, RequestError> {
    let address = address(crawler);
    let mut known = state(services, &address).await?;
    let news = known.news(wanted, services.cluster.now());
    // Nothing is begun for one that was never made, or is gone.
    if news.is_empty() || !is_there(services, crawler).await? {
        return Ok(known);
    }
    let asked = services.cluster.ask_anywhere::<FederatedCatalog>(&address, Command::Want(news.clone()), call.clone()).await;
    asked.map_err(|error| RequestError::Unavailable(error.to_string()))?;
    known = state(services, &address).await?;
    // What others have begun is not waited for: it shows the next time.
    let is_first_look = |state: &State| {
        let mut begun = news.iter().filter_map(|wanted| state.crawls.get(&wanted.key));
        begun.any(|crawl| crawl.next.is_none() && crawl.seen.is_none() && crawl.failure.is_none())
    };
    // What another node's agent has begun shows the next time too.
    if !is_first_look(&known) || services.cluster.finds_elsewhere(&address.owner).await {
        return Ok(known);
    }
    let looked = |state: &State| (!is_first_look(state)).then(|| Arc::new(state.clone()));
    let looked = services.cluster.wait::<FederatedCatalog, _>(&address, PATIENCE, looked).await;
    match looked.map_err(|error| RequestError::Unavailable(error.to_string()))? {
        Some(state) => Ok(state),
        None => state(services, &address).await,
    }
}

impl Overview {
    /// What `then` makes of the catalog of an entry, without a view an empty one. `crawl` says how fresh it is, `originator` where it was seen: additions
    /// to the catalog.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] when the view cannot be read.
    pub async fn catalog<T: Send + 'static>(
        &self,
        entry: &Entry,
        flatten: bool,
        then: impl FnOnce(Value) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let unavailable = |why: String| RequestError::Unavailable(format!("the view of {} cannot be read: {why}", entry.key.target));
        let room = LOOKING.acquire().await.map_err(|closed| unavailable(closed.to_string()))?;
        let mut text = None;
        if entry.bytes() > 0 {
            let row = self.services.cluster.apart::<FederatedCatalog>(&address(&entry.crawler), &view_row(&entry.key)).await;
            if let Some(Event::View(_, view)) = row.map_err(|error| unavailable(error.to_string()))? {
                text = Some(view);
            }
        }
        // What another one was shown is shown to nobody as it is.
        let claims = match self.claims.get(&entry.key.profile) {
            _ if entry.crawler == self.participant => None,
            Some(claims) => Some(claims.clone()),
            None => return Err(unavailable("it is not known who asks".to_owned())),
        };
        let (settings, now) = (self.settings.clone(), self.services.cluster.now());
        let told = crawl(entry, entry.crawler == self.participant, now.millis());
        let target = entry.key.target.clone();
        let made = move || -> Result<T, serde_json::Error> {
            let _room = room;
            let mut catalog = match text {
                Some(text) => serde_json::from_str(&text)?,
                None => json!({"@context": [MANAGEMENT_CONTEXT, CONTEXT], "@type": "Catalog", "@id": target.as_str(),
                    "participantId": target.as_str(), "dataset": []}),
            };
            if let Some(claims) = claims {
                Viewer::new(&settings, &claims, now).filter(&mut catalog);
            }
            if flatten {
                flattened(&mut catalog);
            }
            if let Value::Object(fields) = &mut catalog {
                fields.extend(told);
            }
            Ok(then(catalog))
        };
        // A view may be long: no thread of the executor is held up by it.
        let made = tokio::task::spawn_blocking(made).await.map_err(|ended| unavailable(ended.to_string()))?;
        made.map_err(|error| unavailable(error.to_string()))
    }
}

/// What is said of the crawl beside the catalog. Why one fails is told to whoever looks: the reason may be what the target tells that one alone.
pub(super) fn crawl(entry: &Entry, is_own: bool, now: i64) -> Map<String, Value> {
    let (mut beside, mut crawl) = (Map::new(), Map::new());
    crawl.insert("target".to_owned(), entry.key.target.as_str().into());
    crawl.insert("profile".to_owned(), entry.key.profile.as_str().into());
    if let Some(name) = &entry.target.name {
        crawl.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(seen) = entry.crawl.as_ref().and_then(|crawl| crawl.seen.as_ref()) {
        beside.insert("originator".to_owned(), seen.address.as_str().into());
        crawl.insert("seenAt".to_owned(), seen.at.millis().into());
        crawl.insert("age".to_owned(), (now.saturating_sub(seen.at.millis()).max(0) / 1_000).into());
        crawl.insert("cut".to_owned(), seen.cut.into());
    }
    match &entry.crawl {
        Some(known) => {
            if let Some(failure) = &known.failure {
                crawl.insert("failedAt".to_owned(), failure.at.millis().into());
                crawl.insert("error".to_owned(), if is_own { failure.reason.as_str() } else { NOT_SEEN }.into());
                crawl.insert("failures".to_owned(), known.failures.into());
            }
            if let Some(next) = known.next {
                crawl.insert("nextAt".to_owned(), next.millis().into());
            }
        }
        None => {
            crawl.insert("error".to_owned(), "it is not looked at: whoever would is not there, or looks at too many".into());
        }
    }
    beside.insert("crawl".to_owned(), Value::Object(crawl));
    beside
}
