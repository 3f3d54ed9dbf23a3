//! Who plays: participants of the cell, each with a token of its own that is renewed, and the node that serves it.

use super::super::members::{Members, Provider, Wanted};
use crate::{
    cell::{Cell, NODES},
    http::{Call, Connection},
    measure::counters::Metrics,
    subject::Subject,
};
use anyhow::{Context, Result, ensure};
use cellspace_client::{Caller, Client, operator, tenants::Participant};
use http::Method;
use parking_lot::RwLock;
use serde_json::json;
use std::sync::Arc;

/// Requests that a node of the cell has passed on, among its metrics.
const PASSED_ON: &str = "cellspace_http_forwarded_total{outcome=\"answered\"}";
/// The client that acts for participants.
const PORTAL: &str = "chaos-portal";

/// A participant.
pub struct Party {
    role: Role,
    token: RwLock<Arc<str>>,
    /// The node that serves it while the cell is whole.
    pub home: &'static str,
}

enum Role {
    Provider(Arc<Provider>),
    Consumer(Arc<Participant>),
}

impl Role {
    fn participant(&self) -> &Participant {
        match self {
            Self::Provider(provider) => &provider.participant,
            Self::Consumer(consumer) => consumer,
        }
    }
}

impl Party {
    pub fn participant(&self) -> &Participant {
        self.role.participant()
    }

    /// A call with its token.
    pub fn call(&self, method: Method, resource: &str, body: impl Into<bytes::Bytes>) -> Call {
        Call::json(method, self.participant().path(resource), &self.token.read().clone(), body)
    }

    pub fn get(&self, resource: &str) -> Call {
        self.call(Method::GET, resource, bytes::Bytes::new())
    }

    /// What it offers.
    pub fn offers(&self) -> &[Wanted] {
        match &self.role {
            Role::Provider(provider) => &provider.offers,
            Role::Consumer(_) => &[],
        }
    }
}

/// All of them, providers first.
pub struct World {
    pub parties: Vec<Party>,
    pub providers: usize,
    secret: String,
}

impl World {
    /// Onboards everybody, and finds out where each is served.
    pub async fn open(cell: &Cell, subject: &Subject) -> Result<Self> {
        let members = Members::open(subject).await?;
        let (mut client, admin) = subject.client().await?;
        let body = json!({ "id": PORTAL, "scopes": [], "mayExchange": true });
        let made = client.step(&admin, "registers a client", Method::POST, "/api/v1/clients", Some(body), 201).await?.body;
        let secret = made["clientSecret"].as_str().context("no clientSecret")?.to_owned();
        let portal = client.client_token(PORTAL, PORTAL, &secret).await?;
        let providers = members.providers.len();
        let roles = members.providers.into_iter().map(Role::Provider);
        let roles: Vec<Role> = roles.chain(members.consumers.into_iter().map(Role::Consumer)).collect();
        let mut parties = Vec::new();
        for role in roles {
            let participant = role.participant();
            let caller = operator::act_for(&mut client, &admin, &portal, &participant.caller.name, &participant.context).await?;
            let home = home(cell, &client, participant).await?;
            parties.push(Party { role, token: RwLock::new(caller.token.into()), home });
        }
        for node in NODES {
            ensure!(parties.iter().any(|party| party.home == node), "none of the participants is served by node {node}: once more");
        }
        Ok(Self { parties, providers, secret })
    }

    /// Gives everybody a new token.
    pub async fn renew(&self, client: &mut Client) -> Result<()> {
        let portal = client.client_token(PORTAL, PORTAL, &self.secret).await?;
        for party in &self.parties {
            let Participant { caller: Caller { name, .. }, context, .. } = party.participant();
            let caller = client.exchange_token(name, &portal, context, "read write").await?;
            *party.token.write() = caller.token.into();
        }
        Ok(())
    }

    pub fn party(&self, place: usize) -> Option<&Party> {
        self.parties.get(place)
    }

    /// Places of those that this node serves while the cell is whole.
    pub fn of(&self, node: &str) -> Vec<usize> {
        (0..self.parties.len()).filter(|place| self.party(*place).is_some_and(|party| party.home == node)).collect()
    }
}

/// The node that answers the participant's requests itself: each of them is asked, and all others pass it on.
async fn home(cell: &Cell, client: &Client, participant: &Participant) -> Result<&'static str> {
    for node in NODES {
        let passed_on = async || anyhow::Ok(Metrics::at(&client.http, &cell.ops(node)).await?.value(PASSED_ON));
        let before = passed_on().await?;
        let mut connection = Connection::new(&cell.admin(node), None)?;
        let path = participant.path("assets/request");
        let body = Client::typed("QuerySpec", json!({ "limit": 1 })).to_string();
        let answer = connection.send(Call::json(Method::POST, path, &participant.caller.token, body)).await?;
        ensure!(answer.status == 200, "{} is answered {}", participant.did, answer.told());
        #[allow(clippy::float_cmp)] // counts
        if passed_on().await? == before {
            return Ok(node);
        }
    }
    anyhow::bail!("no node serves {}", participant.did)
}
