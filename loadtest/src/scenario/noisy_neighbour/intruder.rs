//! Who attacks the neighbours. Whatever they do, they must be refused, and soon enough.

use super::hostile::Hostile;
use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    scenario::catalog::{Cast, Provider, REQUEST},
    world::Flaw,
};
use anyhow::Result;
use http::Method;
use rand::{SeedableRng, rngs::StdRng};
use std::sync::Arc;

async fn intrude(connection: &mut Connection, provider: &Provider, token: &str) -> Verdict {
    match connection.send(Call::json(Method::POST, provider.catalog.as_str(), token, REQUEST.as_bytes())).await {
        Ok(answer) if answer.is_shed() => Verdict::Shed,
        Ok(answer) if answer.status.is_client_error() || answer.status.is_server_error() => Verdict::Good,
        Ok(answer) => Verdict::Wrong(format!("an intruder is answered {}", answer.told())),
        Err(error) => Verdict::Wrong(format!("{error:#}")),
    }
}

/// Counterparties whose DID documents or presentations do not come; every request from another one.
pub struct Guest {
    hostile: Arc<Hostile>,
    provider: Arc<Provider>,
    connection: Connection,
}

impl Guest {
    pub fn new(hostile: &Arc<Hostile>, provider: Arc<Provider>, public: &str) -> Result<Self> {
        Ok(Self { hostile: hostile.clone(), provider, connection: Connection::new(public, None)? })
    }
}

impl Worker for Guest {
    async fn operate(&mut self) -> Verdict {
        match self.hostile.guest() {
            Ok(guest) => intrude(&mut self.connection, &self.provider, &guest.token(&self.provider.did)).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// Requests with tokens that nobody signed.
pub struct Flood {
    cast: Arc<Cast>,
    provider: Arc<Provider>,
    connection: Connection,
    random: StdRng,
}

impl Flood {
    pub fn new(cast: &Arc<Cast>, provider: Arc<Provider>, public: &str, n: usize) -> Result<Self> {
        let (connection, random) = (Connection::new(public, None)?, StdRng::seed_from_u64(n as u64));
        Ok(Self { cast: cast.clone(), provider, connection, random })
    }
}

impl Worker for Flood {
    async fn operate(&mut self) -> Verdict {
        match self.cast.party(&mut self.random) {
            Ok(party) => intrude(&mut self.connection, &self.provider, &party.flawed(&self.provider.did, Flaw::Signature)).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}
