//! Those who are asked: participants of the node that is to die, each with something that it keeps and something that it has to deliver, and some of the other nodes.

use crate::{
    cell::{Cell, GATEWAY},
    dev::{HOST, free_ports},
    http::{Answer, Call, Connection},
    scenario::catalog::{Dataspace, Provider},
    subject::Subject,
    transcript::Tape,
};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
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
const NEGOTIATIONS: &str = "contractnegotiations";
/// Participants made, or looked for, at once.
const AT_ONCE: usize = 32;
/// Longest time until somebody is answered.
const LONGEST: Duration = Duration::from_secs(120);
/// Before somebody asks again that was not answered as it must be.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is asked, and for what.
#[derive(Debug, Clone)]
pub struct Question {
    path: String,
    /// Id of what is answered.
    id: String,
}

impl Question {
    fn new(provider: &Provider, resource: &str, id: &str) -> Self {
        Self { path: Dataspace::path(&provider.context, &format!("{resource}/{id}")), id: id.to_owned() }
    }

    fn is_answered_by(&self, answer: &Answer) -> bool {
        let found = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        answer.status == 200 && found()["@id"] == self.id
    }
}

/// All who are asked.
pub struct Crowd {
    /// Those of the node that is to die, for what they have to deliver; the one that much is kept of is not among them.
    pub struck: Vec<Question>,
    /// Some of the other nodes.
    pub others: Vec<Question>,
    /// One of the node that is to die, of which much is kept.
    pub large: Question,
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
        let nobody = Nobody::find()?;
        let make = |number| async move { space.provider(subject, number, OFFERS).await };
        let waiting = |number| async move { nobody.is_asked_by(&make(number).await?, subject, space).await };
        let struck = stream::iter(here).map(waiting).buffered(AT_ONCE).try_collect().await?;
        let others = stream::iter(elsewhere).map(make).buffered(AT_ONCE).map_ok(|one| Question::new(&one, "assets", ASSET));
        let others = others.try_collect().await?;
        let large = Question::new(&space.provider(subject, large, MANY).await?, "assets", ASSET);
        Ok(Self { struck, others, large, token: space.admin.clone() })
    }
}

/// A counterparty that is not there: what is for it waits.
#[derive(Debug, Clone, Copy)]
struct Nobody {
    port: u16,
}

impl Nobody {
    fn find() -> Result<Self> {
        Ok(Self { port: free_ports(&[HOST], 1)? })
    }

    /// The participant asks it for a contract; the question for that.
    async fn is_asked_by(self, participant: &Provider, subject: &Subject, space: &Dataspace) -> Result<Question> {
        let did = format!("did:web:127.0.0.1%3A{}:nobody", self.port);
        let policy = json!({ "@type": "Offer", "@id": "offer", "assigner": did, "target": ASSET, "permission": [{ "action": "use" }] });
        let address = format!("http://127.0.0.1:{}/nobody/dsp", self.port);
        let request = json!({ "profile": space.name, "counterPartyAddress": address, "counterPartyId": did, "policy": policy });
        let path = Dataspace::path(&participant.context, NEGOTIATIONS);
        let call = space.call(Method::POST, path, &cellspace_client::Client::typed("ContractRequest", request));
        let answer = space.make(&mut Connection::new(&subject.admin, None)?, call).await?;
        let begun: Value = serde_json::from_slice(&answer.body)?;
        Ok(Question::new(participant, NEGOTIATIONS, begun["@id"].as_str().with_context(|| answer.told())?))
    }
}

/// How somebody's question went.
#[derive(Debug)]
pub struct Asked {
    /// The moment that it is counted from.
    pub since: Instant,
    /// Until it was answered.
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
    asks: Question,
}

impl Client {
    /// By way of the gateway.
    pub fn new(cell: &Cell, token: &str, asks: &Question, tape: Option<Arc<Tape>>) -> Result<Self> {
        Ok(Self { connection: Connection::new(&cell.admin(GATEWAY), tape)?, token: token.to_owned(), asks: asks.clone() })
    }

    /// Asks until it is answered as it must be, coming back when it is told to.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ask(&mut self, since: Instant) -> Result<Asked> {
        let mut asked = Asked { since, took: Duration::ZERO, again: 0, wrong: Vec::new() };
        loop {
            let call = Call::get(self.asks.path.as_str(), &self.token);
            let pause = match self.connection.send(call).await {
                Ok(answer) if self.asks.is_answered_by(&answer) => {
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
            ensure!(since.elapsed() < LONGEST, "{} was not answered within {LONGEST:?}: {asked:?}", self.asks.path);
            sleep(pause).await;
        }
    }
}
