//! Registration of participants, as an onboarding leaves them: context in both APIs, key, DID document, two credentials.

use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    scenario::catalog::Dataspace,
    subject::Subject,
    world::{MEMBERSHIP, PARTNER, World},
};
use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Who is registered, and how many may be.
pub struct Registry {
    world: Arc<World>,
    space: Dataspace,
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Registry {
    pub const fn new(world: Arc<World>, space: Dataspace) -> Self {
        Self { world, space, next: AtomicUsize::new(0), end: AtomicUsize::new(0) }
    }

    /// Lets so many be registered in all.
    pub fn allow(&self, end: usize) {
        self.end.store(end, Ordering::Relaxed);
    }

    pub fn token_length(&self) -> usize {
        self.space.admin.len()
    }

    fn take(&self) -> Option<usize> {
        let end = self.end.load(Ordering::Relaxed);
        let next = |next: usize| (next < end).then_some(next + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    /// What is wrong with some of so many participants.
    pub async fn sample(&self, subject: &Subject, participants: usize, samples: usize) -> Result<Vec<String>> {
        let mut connection = Connection::new(&subject.admin, None)?;
        let mut wrong = Vec::new();
        for n in 0..samples.min(participants) {
            let context = self.space.context(n * participants / samples.min(participants));
            let path = format!("/api/identity/v1beta/participants/{context}/credentials");
            let answer = connection.send(Call::get(path, &self.space.admin)).await?;
            let held: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if held.as_array().map_or(0, Vec::len) != 2 {
                wrong.push(format!("{context} does not hold its credentials: {}", answer.told()));
            }
        }
        Ok(wrong)
    }
}

/// Registers one participant after the other.
pub struct Registrar {
    registry: Arc<Registry>,
    connection: Connection,
    public: String,
    host: String,
}

impl Registrar {
    pub fn new(registry: &Arc<Registry>, subject: &Subject) -> Result<Self> {
        let connection = Connection::new(&subject.admin, subject.tape.clone())?;
        Ok(Self { registry: registry.clone(), connection, public: subject.public.clone(), host: subject.did_host() })
    }

    async fn register(&mut self, number: usize) -> Result<()> {
        let Registry { world, space, .. } = &*self.registry;
        let context = space.context(number);
        let did = Dataspace::did(&self.host, &context);
        space.participant(&mut self.connection, &self.public, &did, &context).await?;
        let claims = [
            (MEMBERSHIP, json!({"id": did, "since": "2024-05-01T00:00:00Z"})),
            (PARTNER, json!({"id": did, "region": format!("region-{}", number % 4), "tier": number % 2})),
        ];
        for (n, (kind, subject)) in claims.into_iter().enumerate() {
            let credential = world.issuer.issue(kind, subject, (number * 2 + n) % 100_000);
            let body = json!({"verifiableCredentialContainer": {"rawVc": credential}});
            let path = format!("/api/identity/v1beta/participants/{context}/credentials");
            space.make(&mut self.connection, space.call(Method::POST, path, &body)).await?;
        }
        Ok(())
    }
}

impl Worker for Registrar {
    async fn operate(&mut self) -> Verdict {
        let Some(number) = self.registry.take() else { return Verdict::Done };
        match self.register(number).await {
            Ok(()) => Verdict::Good,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}
