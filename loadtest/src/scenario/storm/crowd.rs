//! Those who are asked: participants of the node that is to die, each with something that it keeps, and some of the other nodes.

use crate::{
    cell::{Cell, GATEWAY},
    http::{Answer, Call, Connection},
    scenario::catalog::{Dataspace, Provider},
    subject::Subject,
    transcript::Tape,
};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Offers of each, and of the one that much is kept of: more rows than are read at once.
const OFFERS: usize = 1;
const MANY: usize = 300;
/// What is asked for.
const ASSET: &str = "asset-0000";
/// Participants made, or looked for, at once.
const AT_ONCE: usize = 32;
/// Longest time until somebody is answered.
const LONGEST: Duration = Duration::from_secs(120);
/// Before somebody asks again that was not answered as it must be.
const PAUSE: Duration = Duration::from_secs(1);

/// All who are asked.
pub struct Crowd {
    /// Those of the node that is to die, the one that much is kept of not among them.
    pub struck: Vec<Arc<Provider>>,
    /// Some of the other nodes.
    pub others: Vec<Arc<Provider>>,
    /// One of the node that is to die, of which much is kept.
    pub large: Arc<Provider>,
    pub token: String,
}

impl Crowd {
    /// Makes so many of the node `victim`, and so many others.
    pub async fn open(cell: &Cell, subject: &Subject, space: &Dataspace, victim: &str, struck: usize, others: usize) -> Result<Self> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        eprintln!("making {} participants", struck + others + 1);
        // Where somebody is served follows from an id: those are made that are where they are to be.
        let mut homes = stream::iter(0..).map(|n| async move { anyhow::Ok((n, cell.home(&space.context(n)).await?)) }).buffered(AT_ONCE);
        while here.len() <= struck || elsewhere.len() < others {
            let (number, home) = homes.next().await.context("a number")??;
            let (place, wanted) = if home == victim { (&mut here, struck + 1) } else { (&mut elsewhere, others) };
            if place.len() < wanted {
                place.push(number);
            }
        }
        drop(homes);
        let large = here.pop().context("a participant")?;
        let make = |numbers: Vec<usize>| {
            let made = stream::iter(numbers).map(|number| space.provider(subject, number, OFFERS));
            made.buffered(AT_ONCE).map_ok(Arc::new).try_collect::<Vec<_>>()
        };
        let large = Arc::new(space.provider(subject, large, MANY).await?);
        Ok(Self { struck: make(here).await?, others: make(elsewhere).await?, large, token: space.admin.clone() })
    }
}

/// How somebody's question went.
#[derive(Debug, Default)]
pub struct Asked {
    /// Since the moment that it is counted from.
    pub took: Duration,
    /// Times it was told to come again.
    pub again: u32,
    /// What else it was told.
    pub wrong: Vec<String>,
}

/// One who asks one participant, over a connection of its own.
pub struct Client {
    connection: Connection,
    token: String,
    pub asks: Arc<Provider>,
}

impl Client {
    /// By way of the gateway.
    pub fn new(cell: &Cell, token: &str, asks: &Arc<Provider>, tape: Option<Arc<Tape>>) -> Result<Self> {
        Ok(Self { connection: Connection::new(&cell.admin(GATEWAY), tape)?, token: token.to_owned(), asks: asks.clone() })
    }

    /// Asks until it is answered as it must be, coming back when it is told to.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ask(&mut self, since: Instant) -> Result<Asked> {
        let mut asked = Asked::default();
        loop {
            let call = Call::get(Dataspace::path(&self.asks.context, &format!("assets/{ASSET}")), &self.token);
            let pause = match self.connection.send(call).await {
                Ok(answer) if is_good(&answer) => {
                    asked.took = since.elapsed();
                    return Ok(asked);
                }
                Ok(answer) if answer.is_shed() => {
                    asked.again += 1;
                    answer.come_again()
                }
                other => {
                    asked.wrong.push(other.map_or_else(|error| format!("{error:#}"), |answer| answer.told()));
                    PAUSE
                }
            };
            ensure!(since.elapsed() < LONGEST, "{} was not answered within {LONGEST:?}: {asked:?}", self.asks.context);
            sleep(pause).await;
        }
    }
}

fn is_good(answer: &Answer) -> bool {
    let asset = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    answer.status == 200 && asset()["@id"] == ASSET
}
