//! What goes on while a test takes something away: participants who share data, and others who come in.

use crate::support::{PATIENCE, Platform, text};
use cellspace_client::{
    Caller, Client, Silent, operator, provider,
    sharing::{self, Offer},
    tenants::{self, Participant},
};
use reqwest::{Method, StatusCode};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// A provider with an offer, and who takes it.
pub struct Sharers {
    consumer: Arc<Participant>,
    provider: Arc<Participant>,
    offer: Offer,
}

impl Sharers {
    /// What the consumer has negotiated.
    pub async fn negotiated(&self, platform: &Platform) -> serde_json::Value {
        let query = crate::management::body("QuerySpec", serde_json::json!({"limit": 500, "sortField": "createdAt"}));
        platform.must(Method::POST, &self.consumer.path("contractnegotiations/request"), Some(query)).await
    }
}

impl Sharers {
    /// Until a platform that has just been started believes tokens: those that are as old as its start may have been used before.
    pub async fn are_believed(&self, platform: &Platform) {
        let (asking, until) = (client(platform), Instant::now() + PATIENCE);
        while sharing::catalog_answer(&asking, &self.consumer, &self.provider).await.unwrap().status != 200 {
            assert!(Instant::now() < until, "no token is believed");
        }
    }
}

/// Two participants who share data as fast as they can.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<[AtomicUsize; 2]>,
    tasks: JoinSet<()>,
}

impl Load {
    pub fn start(platform: &Platform, sharers: &Sharers) -> Self {
        let Sharers { consumer, provider, offer } = sharers;
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicUsize::new(0) }; 2]));
        let mut load = Self { stop, done, tasks: JoinSet::new() };
        let parts = || (load.stop.clone(), load.done.clone(), consumer.clone(), provider.clone());
        let ((stop, done, one, other), asking) = (parts(), client(platform));
        load.tasks.spawn_local(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = sharing::catalog_answer(&asking, &one, &other).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
                done[0].fetch_add(1, Ordering::Relaxed);
            }
        });
        let ((stop, done, one, other), mut asking, offer) = (parts(), client(platform), offer.clone());
        load.tasks.spawn_local(async move {
            while !stop.load(Ordering::Relaxed) {
                sharing::negotiate(&mut asking, &one, &other, &offer, "FINALIZED").await.unwrap();
                done[1].fetch_add(1, Ordering::Relaxed);
            }
        });
        load
    }

    /// Until so many more catalogs and negotiations went well. Fails with the first that did not.
    pub async fn more(&mut self, count: usize) {
        let now = || [0, 1].map(|at| self.done[at].load(Ordering::Relaxed));
        let (before, until) = (now(), Instant::now() + PATIENCE);
        while now().iter().zip(before).any(|(now, before)| now - before < count) {
            assert!(Instant::now() < until, "{:?} went well", now());
            // Half a second of load at a time.
            if let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(500), self.tasks.join_next()).await {
                ended.unwrap();
            }
        }
    }

    pub async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

fn client(platform: &Platform) -> Client {
    let urls = &platform.node.urls;
    Client::new(platform.http.clone(), urls.admin(""), urls.public(""), Box::new(Silent))
}

/// What the operator has prepared.
pub struct Prepared {
    client: Client,
    platform: operator::Platform,
}

impl Prepared {
    pub async fn of(platform: &Platform) -> Self {
        let (mut client, admin) = (client(platform), Caller { name: "admin".into(), token: platform.token.clone() });
        let prepared = operator::prepare(&mut client, admin, &platform.node.urls.did_host()).await.unwrap();
        Self { client, platform: prepared }
    }

    /// Two participants that come in now.
    pub async fn sharers(&mut self, platform: &Platform) -> Sharers {
        let host = platform.node.urls.did_host();
        let provider = tenants::onboard(&mut self.client, &self.platform, "acme", &host, true).await.unwrap();
        let consumer = tenants::onboard(&mut self.client, &self.platform, "buyer", &host, true).await.unwrap();
        provider::offer(&mut self.client, &provider, "http://localhost:1").await.unwrap();
        let offers = sharing::offers(&sharing::catalog_answer(&self.client, &consumer, &provider).await.unwrap().body);
        Sharers { consumer: Arc::new(consumer), provider: Arc::new(provider), offer: offers[0].clone() }
    }

    /// Asks for a participant of this name: the answer, and where its profile is told of when it is made.
    pub async fn ask(&self, platform: &Platform, name: &str) -> (reqwest::Response, String) {
        let tenant = platform.must(Method::POST, "/api/tm/tenants", Some(tenants::tenant(name))).await;
        let profiles = format!("/api/tm/tenants/{}/participant-profiles", text(&tenant, "id"));
        let did = format!("did:web:{}:{name}", platform.node.urls.did_host());
        let new = tenants::profile(&self.platform, &did, false);
        (platform.admin(Method::POST, &profiles).json(&new).send().await.unwrap(), profiles)
    }

    /// The same, which must be let in: where its profile is.
    pub async fn late(&self, platform: &Platform, name: &str) -> String {
        let (answer, profiles) = self.ask(platform, name).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        format!("{profiles}/{}", text(&answer.json().await.unwrap(), "id"))
    }
}

/// What is told of a participant that is asked for; `true`: its agents are there.
pub async fn is_active(platform: &Platform, profile: &str, wait: &str) -> bool {
    let found = platform.must(Method::GET, &format!("{profile}?wait=active&timeout={wait}"), None).await;
    assert_ne!(found["error"], true, "{found}");
    found["vpas"].as_array().unwrap().iter().all(|vpa| vpa["state"] == "active")
}

/// Waits until it is.
pub async fn catches_up(platform: &Platform, profile: &str) {
    let until = Instant::now() + PATIENCE;
    while !is_active(platform, profile, "10s").await {
        assert!(Instant::now() < until, "provisioning did not catch up");
    }
}
