//! Who plays: participants of the cell, each with a token of its own that is renewed, and the node that serves it.

use super::super::members::{Members, Provider, Wanted};
use crate::{
    cell::{Cell, NODES},
    http::Call,
};
use anyhow::{Context, Result, ensure};
use cellspace_client::{Caller, Client, operator, tenants::Participant};
use http::Method;
use parking_lot::RwLock;
use serde_json::json;
use std::{collections::VecDeque, sync::Arc};

/// Participants beside the usual ones, until each node serves one, at most.
const MOST_MORE: usize = 48;
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
    pub members: Members,
    secret: String,
}

impl World {
    /// Onboards everybody, and finds out where each is served.
    pub async fn open(cell: &Cell) -> Result<Self> {
        let subject = &cell.subject()?;
        let members = Members::open(subject).await?;
        let (mut client, admin) = subject.client().await?;
        let body = json!({ "id": PORTAL, "scopes": [], "mayExchange": true });
        let made = client.step(&admin, "registers a client", Method::POST, "/api/v1/clients", Some(body), 201).await?.body;
        let secret = made["clientSecret"].as_str().context("no clientSecret")?.to_owned();
        let portal = client.client_token(PORTAL, PORTAL, &secret).await?;
        let (providers, consumers) = (members.providers.len(), members.consumers.len());
        let roles = members.providers.iter().cloned().map(Role::Provider);
        let mut roles: VecDeque<Role> = roles.chain(members.consumers.iter().cloned().map(Role::Consumer)).collect();
        let (mut parties, mut more) = (Vec::<Party>::new(), 0);
        loop {
            let Some(role) = roles.pop_front() else {
                // Where somebody is served follows from an id that nobody chooses: others come until each node serves one.
                let Some(node) = NODES.into_iter().find(|node| parties.iter().all(|party| party.home != *node)) else { break };
                ensure!(more < MOST_MORE, "none of {} participants is served by node {node}", parties.len());
                roles.push_back(Role::Consumer(members.consumer(subject, consumers + more).await?));
                more += 1;
                continue;
            };
            let participant = role.participant();
            let caller = operator::act_for(&mut client, &admin, &portal, &participant.caller.name, &participant.context).await?;
            let home = cell.home(&participant.context).await?;
            parties.push(Party { role, token: RwLock::new(caller.token.into()), home });
        }
        Ok(Self { parties, providers, members, secret })
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
