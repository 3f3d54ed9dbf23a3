//! A provider's large catalog: filling it, changing it, and reading its pages, each held against the model.

use super::{
    model::{Expected, Model, compare},
    shape::{Shape, Viewer, asset_id, definition_id, policy_id, properties},
};
use crate::{
    http::{Answer, Call, Connection},
    scenario::catalog::{Dataspace, Provider},
    subject::Subject,
    world::Party,
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cellspace_client::Client;
use futures::{TryStreamExt, stream::FuturesUnordered};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Requests at once while it is filled.
const AT_ONCE: usize = 32;
/// Pause after the platform asked to come back later.
const LATER: Duration = Duration::from_millis(500);
/// How often it may ask so.
const PATIENCE: usize = 60;
/// Datasets of a page while all of them are walked through; a page has at most a megabyte.
const STRIDE: usize = 500;

/// The catalog.
pub struct Catalog {
    space: Arc<Dataspace>,
    pub provider: Arc<Provider>,
    pub model: Model,
    /// How often a page was put off.
    put_off: AtomicU64,
}

/// A call that must succeed, later if the platform says so.
pub async fn surely(connection: &mut Connection, call: Call) -> Result<Answer> {
    let what = format!("{} {}", call.method, call.path);
    for _ in 0..PATIENCE {
        let answer = connection.send(call.clone()).await.with_context(|| what.clone())?;
        if answer.is_shed() {
            tokio::time::sleep(LATER).await;
            continue;
        }
        ensure!(answer.status.is_success(), "{what} answered {}", answer.told());
        return Ok(answer);
    }
    anyhow::bail!("{what} was put off for too long")
}

/// Where a page of a catalog begins: a link's path and query.
pub type Place = Option<String>;

/// What the link of this relation names.
fn link(answer: &Answer, relation: &str) -> Place {
    let links = answer.headers.get(header::LINK)?.to_str().ok()?;
    let wanted = format!("rel=\"{relation}\"");
    let one = links.split(", ").find(|one| one.ends_with(&wanted))?;
    let url = url::Url::parse(one.strip_prefix('<')?.split_once('>')?.0).ok()?;
    Some(format!("{}?{}", url.path(), url.query()?))
}

impl Catalog {
    /// Fills the catalog of a provider that offers nothing yet.
    pub async fn fill(space: &Arc<Dataspace>, provider: &Arc<Provider>, subject: &Subject, shape: Shape) -> Result<Self> {
        let catalog = Self { space: space.clone(), provider: provider.clone(), model: Model::new(shape), put_off: AtomicU64::new(0) };
        let begun = Instant::now();
        let mut connection = Connection::new(&subject.admin, None)?;
        for policy in 0..shape.policies {
            surely(&mut connection, catalog.create("policydefinitions", &catalog.policy(policy))).await?;
        }
        // Definitions come before, between and after the assets that they select.
        let next = AtomicUsize::new(0);
        (0..AT_ONCE).map(|_| catalog.fill_on(subject, &next)).collect::<FuturesUnordered<_>>().try_collect::<Vec<()>>().await?;
        eprintln!("{} definitions over as many assets made in {:.1} s", shape.definitions, begun.elapsed().as_secs_f64());
        Ok(catalog)
    }

    /// Makes one pair after the other over a connection of its own.
    async fn fill_on(&self, subject: &Subject, next: &AtomicUsize) -> Result<()> {
        let mut connection = Connection::new(&subject.admin, None)?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.model.shape.definitions {
                return Ok(());
            }
            let (asset, definition) = (self.asset(n)?, self.definition(n)?);
            surely(&mut connection, self.create("contractdefinitions", &definition)).await?;
            surely(&mut connection, self.create("assets", &asset)).await?;
        }
    }

    fn path(&self, resource: &str) -> String {
        Dataspace::path(&self.provider.context, resource)
    }

    pub fn create(&self, resource: &str, body: &Value) -> Call {
        self.space.call(Method::POST, self.path(resource), body)
    }

    pub fn replace(&self, resource: &str, body: &Value) -> Call {
        self.space.call(Method::PUT, self.path(resource), body)
    }

    pub fn delete(&self, resource: &str) -> Call {
        Call { method: Method::DELETE, ..self.get(resource) }
    }

    pub fn get(&self, resource: &str) -> Call {
        Call::get(self.path(resource), &self.space.admin)
    }

    /// Something of a participant that does not exist.
    pub fn unknown(&self) -> Call {
        Call::get(Dataspace::path("nobody", "assets/none"), &self.space.admin)
    }

    /// An asset as it is now in the model.
    pub fn asset(&self, n: usize) -> Result<Value> {
        let revision = self.model.revisions.get(&n).copied().unwrap_or(0);
        let mut asset = self.space.asset(&asset_id(n), revision);
        let more = asset["properties"].as_object_mut().context("properties")?;
        more.extend(properties(n).map(|(name, value)| (name.to_owned(), value.into())));
        Ok(asset)
    }

    /// A definition as it is now in the model.
    pub fn definition(&self, n: usize) -> Result<Value> {
        let definition = self.model.definitions.get(n).with_context(|| format!("no definition {n}"))?;
        let body = json!({"@id": definition_id(n), "accessPolicyId": policy_id(definition.policy), "contractPolicyId": "members",
            "assetsSelector": [definition.selector.criterion()]});
        Ok(Client::typed("ContractDefinition", body))
    }

    /// An access policy as it is now in the model.
    pub fn policy(&self, n: usize) -> Value {
        let mut regions = vec![format!("plant-{n}")];
        regions.extend(self.model.admits.get(n).copied().flatten().map(|viewer| viewer.region().text()));
        let constraint = json!([{"leftOperand": format!("{}.region", self.space.name), "operator": "isAnyOf", "rightOperand": regions}]);
        let permission = json!([{"action": "use", "constraint": constraint}]);
        Client::typed("PolicyDefinition", json!({"@id": policy_id(n), "policy": {"@type": "Set", "permission": permission}}))
    }

    /// A request for a page of at most so many datasets.
    pub fn call(&self, party: &Party, place: &Place, limit: usize) -> Call {
        let body = json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "CatalogRequestMessage", "filter": [{"limit": limit}]});
        Call {
            method: Method::POST,
            path: place.clone().unwrap_or_else(|| self.provider.catalog.clone()),
            bearer: Some(party.token(&self.provider.did)),
            body: Bytes::from(body.to_string()),
            key: None,
        }
    }

    /// How often the platform put a page off, which it may only do after a start.
    pub fn put_off(&self) -> u64 {
        self.put_off.load(Ordering::Relaxed)
    }

    /// Asks for a page and holds it against the model, later if the platform says so.
    pub async fn page(&self, c: &mut Connection, party: &Party, place: &Place, limit: usize, expected: &[Expected]) -> Result<Answer> {
        for _ in 0..PATIENCE {
            // A token of its own for each attempt.
            let answer = c.send(self.call(party, place, limit)).await?;
            if answer.is_shed() {
                self.put_off.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LATER).await;
                continue;
            }
            ensure!(answer.status == StatusCode::OK, "the catalog answered {}", answer.told());
            compare(&answer, expected)?;
            return Ok(answer);
        }
        anyhow::bail!("the catalog was put off for too long")
    }

    /// Goes through the catalog from its beginning until so many datasets were passed; answers where the next page begins. All pages are held against the
    /// model, and at the end nothing may follow.
    pub async fn walk(&self, c: &mut Connection, party: &Party, seen: &[Expected], passed: usize) -> Result<Place> {
        let (mut place, mut at) = (None, 0);
        while at < passed {
            let end = (at + STRIDE).min(passed);
            let expected = seen.get(at..end).context("no such page")?;
            let answer = self.page(c, party, &place, end - at, expected).await?;
            place = link(&answer, "next");
            ensure!(place.is_some() == (end < seen.len()), "after {end} of {} datasets the next page is {place:?}", seen.len());
            at = end;
        }
        Ok(place)
    }

    /// Goes back through the catalog from a place, to its beginning.
    pub async fn walk_back(&self, c: &mut Connection, party: &Party, seen: &[Expected], from: &Place, passed: usize) -> Result<()> {
        // The page there says what lies before it.
        let end = (passed + STRIDE).min(seen.len());
        let answer = self.page(c, party, from, end - passed, seen.get(passed..end).context("no such page")?).await?;
        let (mut place, mut at) = (link(&answer, "previous"), passed);
        while at > 0 {
            ensure!(place.is_some(), "no page is said to lie before dataset {at}");
            let begin = at.saturating_sub(STRIDE);
            let answer = self.page(c, party, &place, at - begin, seen.get(begin..at).context("no such page")?).await?;
            (place, at) = (link(&answer, "previous"), begin);
        }
        ensure!(place.is_none(), "a page is said to lie before the first one");
        Ok(())
    }
}

/// The viewers' counterparties: some of a world that have the region of each.
pub fn parties(all: &[Arc<Party>], viewer: Viewer) -> Vec<Arc<Party>> {
    all.iter().filter(|party| party.region == viewer.region()).cloned().collect()
}
