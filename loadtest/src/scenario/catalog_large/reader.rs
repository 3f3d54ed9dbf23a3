//! Load: counterparties that read the first page, over and over.

use super::{
    catalog::Catalog,
    model::{Expected, compare},
};
use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    world::Party,
};
use anyhow::{Context, Result};
use rand::{RngExt, rngs::StdRng};
use std::sync::Arc;

/// Datasets of a page.
pub const PAGE: usize = 50;

/// One who reads.
pub struct Reader {
    pub catalog: Arc<Catalog>,
    pub parties: Arc<Vec<Arc<Party>>>,
    /// The first page.
    pub expected: Arc<Vec<Expected>>,
    pub connection: Connection,
    pub random: StdRng,
    call: Option<Call>,
}

impl Reader {
    pub fn new(
        catalog: &Arc<Catalog>,
        parties: &Arc<Vec<Arc<Party>>>,
        expected: &Arc<Vec<Expected>>,
        connection: Connection,
        random: StdRng,
    ) -> Self {
        let (catalog, parties, expected) = (catalog.clone(), parties.clone(), expected.clone());
        Self { catalog, parties, expected, connection, random, call: None }
    }

    async fn read(&mut self) -> Result<Verdict> {
        let call = self.call.take().context("a request")?;
        let answer = self.connection.send(call).await?;
        if answer.is_shed() {
            return Ok(Verdict::Shed);
        }
        anyhow::ensure!(answer.status == 200, "the catalog answered {}", answer.told());
        compare(&answer, &self.expected)?;
        Ok(Verdict::Good)
    }
}

impl Worker for Reader {
    async fn prepare(&mut self) {
        let n = self.random.random_range(0..self.parties.len().max(1));
        self.call = self.parties.get(n).map(|party| self.catalog.call(party, &None, PAGE));
    }

    async fn operate(&mut self) -> Verdict {
        self.read().await.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")))
    }
}
