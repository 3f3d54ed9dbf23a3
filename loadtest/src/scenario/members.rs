//! Participants of one platform, onboarded through its APIs with credentials of its hosted issuer. Half of them offer data to the others, and talk
//! with them as with strangers: over HTTP, DSP and DCP.

use super::play::{check, exchange, text};
use crate::{
    drive::Verdict,
    http::{Call, Connection},
    subject::Subject,
};
use anyhow::{Context, Result};
use bytes::Bytes;
use cellspace_client::{
    operator::{self, Platform},
    provider,
    sharing::{self, Offer},
    source,
    tenants::{self, Participant},
};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use rand::{RngExt, rngs::StdRng};
use serde_json::Value;
use std::sync::Arc;

/// Providers, and consumers.
pub const EACH: usize = 8;
/// Participants onboarded at once.
const AT_ONCE: usize = 8;

/// An offer, and the request for a contract about it.
pub struct Wanted {
    pub offer: Offer,
    pub request: Bytes,
}

/// A participant that offers.
pub struct Provider {
    pub participant: Participant,
    pub offers: Vec<Wanted>,
}

/// All of them.
pub struct Members {
    pub providers: Vec<Arc<Provider>>,
    pub consumers: Vec<Arc<Participant>>,
    platform: Platform,
    suffix: String,
}

/// Who asks whom for what.
#[derive(Clone)]
pub struct Pair {
    pub consumer: Arc<Participant>,
    pub provider: Arc<Provider>,
    /// Position of the offer.
    pub offer: usize,
}

/// Something to tell the runs on one platform apart.
pub fn suffix() -> String {
    let text = uuid::Uuid::new_v4().simple().to_string();
    format!("-{}", text.get(..12).unwrap_or(&text))
}

impl Members {
    /// Onboards everybody; every consumer has seen every provider's offers, each of which has an access and a contract policy on credentials.
    pub async fn open(subject: &Subject) -> Result<Self> {
        eprintln!("onboarding {EACH} providers and {EACH} consumers");
        let (mut client, admin) = subject.client().await?;
        let (host, suffix) = (&subject.did_host(), &suffix());
        let platform = operator::prepare_once_more(&mut client, admin, host, suffix).await?;
        let of = &platform;
        let source = &format!("http://{}", source::serve().await?);
        let onboard = |name: String| async move { tenants::onboard(&mut subject.silent(), of, &name, host, true).await };
        let consumers = stream::iter(0..EACH).map(|n| onboard(format!("consumer-{n}{suffix}"))).buffered(AT_ONCE);
        let consumers: Vec<Arc<Participant>> = consumers.map_ok(Arc::new).try_collect().await?;
        let first = consumers.first().context("no consumer")?;
        let provide = |name: String| async move {
            let participant = onboard(name).await?;
            let mut client = subject.silent();
            provider::offer(&mut client, &participant, source).await?;
            let offers = sharing::catalog(&mut client, first, &participant, 3).await?;
            let wanted = |offer: Offer| Wanted { request: sharing::contract_request(&participant, &offer).to_string().into(), offer };
            let offers = offers.into_iter().map(wanted).collect();
            anyhow::Ok(Arc::new(Provider { participant, offers }))
        };
        let providers = stream::iter(0..EACH).map(|n| provide(format!("provider-{n}{suffix}"))).buffered(AT_ONCE).try_collect().await?;
        Ok(Self { providers, consumers, suffix: suffix.clone(), platform })
    }

    /// One consumer more, with this number among all.
    pub async fn consumer(&self, subject: &Subject, number: usize) -> Result<Arc<Participant>> {
        let name = format!("consumer-{number}{}", self.suffix);
        Ok(Arc::new(tenants::onboard(&mut subject.silent(), &self.platform, &name, &subject.did_host(), true).await?))
    }

    /// The request for one participant more, which has this DID.
    pub fn request(&self, did: &str) -> Value {
        tenants::profile(&self.platform, did, true)
    }

    /// Any consumer with any offer of any provider.
    pub fn random(&self, random: &mut StdRng) -> Result<Pair, Verdict> {
        let (consumer, provider) = (random.random_range(0..self.consumers.len()), random.random_range(0..self.providers.len()));
        let (consumer, provider) = self.consumers.get(consumer).zip(self.providers.get(provider)).ok_or_else(nobody)?;
        let offer = random.random_range(0..provider.offers.len());
        Ok(Pair { consumer: consumer.clone(), provider: provider.clone(), offer })
    }

    /// Each consumer with the first offer of each provider about this asset.
    pub fn pairs(&self, asset: &str) -> Vec<Pair> {
        let about = |provider: &Provider| provider.offers.iter().position(|wanted| wanted.offer.asset == asset);
        let of = |consumer: &Arc<Participant>, provider: &Arc<Provider>| {
            Some(Pair { consumer: consumer.clone(), provider: provider.clone(), offer: about(provider)? })
        };
        self.consumers.iter().flat_map(|consumer| self.providers.iter().filter_map(move |provider| of(consumer, provider))).collect()
    }
}

fn nobody() -> Verdict {
    Verdict::Wrong("no such pair".to_owned())
}

impl Pair {
    /// The offer.
    pub fn wanted(&self) -> Result<&Wanted, Verdict> {
        self.provider.offers.get(self.offer).ok_or_else(nobody)
    }
}

/// Ids of one process at both sides.
#[derive(Debug, Clone)]
pub struct Sides {
    pub ours: String,
    pub theirs: String,
}

/// Begins a process of `resource` at the consumer and waits until it is in the state `wanted` on both sides.
pub async fn begin(admin: &mut Connection, pair: &Pair, resource: &str, body: Bytes, wanted: &str) -> Result<Sides, Verdict> {
    let (consumer, provider) = (&*pair.consumer, &pair.provider.participant);
    let begun = exchange(admin, Call::json(Method::POST, consumer.path(resource), &consumer.caller.token, body)).await?;
    let ours = text(&begun, "@id")?.to_owned();
    reached(admin, consumer, resource, &ours, wanted).await?;
    let query = sharing::counterpart(&ours).to_string();
    let path = provider.path(&format!("{resource}/request"));
    let found = exchange(admin, Call::json(Method::POST, path, &provider.caller.token, query)).await?;
    check(found.as_array().is_some_and(|found| found.len() == 1), || format!("the provider's {resource} for {ours} are {found}"))?;
    let theirs = text(&found[0], "@id")?.to_owned();
    if found[0]["state"] != wanted {
        reached(admin, provider, resource, &theirs, wanted).await?;
    }
    Ok(Sides { ours, theirs })
}

async fn reached(admin: &mut Connection, who: &Participant, resource: &str, id: &str, wanted: &str) -> Result<(), Verdict> {
    let path = who.path(&format!("{resource}/{id}/state?wait={wanted}&timeout=20s"));
    let state = exchange(admin, Call::get(path, &who.caller.token)).await?;
    check(state["state"] == wanted, || format!("{resource} {id} is {} at {}, expected {wanted}", state["state"], who.caller.name))
}
