//! Cold activation: a participant that has left memory is asked for something that it keeps.

use super::{
    catalog::{Dataspace, Provider},
    play,
};
use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    measure::{calibration::Sizes, counters::Metrics},
    options::Common,
    report::Report,
    subject::Subject,
    world::World,
};
use anyhow::{Result, ensure};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

const PARTICIPANTS: usize = 3_000;
/// The same on Cassandra, where it takes longer to make them and they are asked less often.
const ON_CASSANDRA: usize = 600;
/// Assets of each, with a policy and a contract definition for each asset.
pub(super) const ASSETS: usize = 4;
/// Requests at once, when nothing else is asked for.
const CONNECTIONS: usize = 4;
/// How long the platform keeps what is not used.
const IDLE_AFTER: &str = "1s";
/// When a participant that was asked has surely left memory: unused for a second, and two sweeps later.
const COLD_AFTER: Duration = Duration::from_secs(5);
/// Bytes of an answer, about.
const ANSWER: usize = 400;
/// Until everybody has left memory.
const LEAVING: Duration = Duration::from_secs(60);
/// Those of the agents that are asked.
pub(super) const RESIDENT: &str = "cellspace_activations{kind=\"control-plane\"}";
pub(super) const ACTIVATED: &str = "cellspace_activations_total{kind=\"control-plane\"}";

/// Participants in the order in which they are asked, and from when each has left memory.
type Queue = Arc<Mutex<VecDeque<(Instant, Arc<Provider>)>>>;

/// One who asks those that have left memory.
struct Waker {
    queue: Queue,
    connection: Connection,
    token: String,
    next: Option<Arc<Provider>>,
}

/// Asks the participant for the last of its assets, however it stands in memory.
pub(super) async fn ask(connection: &mut Connection, token: &str, participant: &Provider) -> Verdict {
    let asset = format!("asset-{:04}", ASSETS - 1);
    let path = Dataspace::path(&participant.context, &format!("assets/{asset}"));
    let answer = match connection.send(Call::get(path, token)).await {
        Ok(answer) if answer.is_shed() => return Verdict::Shed,
        Ok(answer) => answer,
        Err(error) => return Verdict::Wrong(format!("{error:#}")),
    };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == 200 && body["@id"] == asset { Verdict::Good } else { Verdict::Wrong(answer.told()) }
}

impl Worker for Waker {
    async fn prepare(&mut self) {
        let next = self.queue.lock().pop_front();
        if let Some((cold, participant)) = next {
            sleep_until(cold).await;
            self.next = Some(participant);
        }
    }

    async fn operate(&mut self) -> Verdict {
        let Some(participant) = self.next.take() else { return Verdict::Wrong("nobody is left to be asked".to_owned()) };
        let verdict = ask(&mut self.connection, &self.token, &participant).await;
        self.queue.lock().push_back((Instant::now() + COLD_AFTER, participant));
        verdict
    }
}

/// Waits until no participant is in memory.
async fn all_cold(subject: &Subject) -> Result<()> {
    let until = Instant::now() + LEAVING;
    loop {
        let resident = Metrics::read(subject).await?.value(RESIDENT);
        if resident < 0.5 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{resident} participants do not leave memory");
        sleep(Duration::from_millis(250)).await;
    }
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    common.own("participants leave memory after a second there")?;
    let subject = Subject::open(common, &["--idle-after", IDLE_AFTER]).await?;
    let seed = common.seed.unwrap_or_default();
    let world = World::open(seed, 0).await?;
    let space = Dataspace::open(&subject, &world).await?;
    let participants = if common.cassandra.is_some() { ON_CASSANDRA } else { PARTICIPANTS };
    eprintln!("making {participants} participants");
    let mut participants = space.providers(&subject, participants, ASSETS).await?;
    participants.shuffle(&mut StdRng::seed_from_u64(seed));
    all_cold(&subject).await?;

    let now = Instant::now();
    let queue: Queue = Arc::new(Mutex::new(participants.into_iter().map(|participant| (now, participant)).collect()));
    let workers = common.workers(CONNECTIONS);
    let waker = |_| {
        let connection = Connection::new(&subject.admin, subject.tape.clone())?;
        Ok(Waker { queue: queue.clone(), connection, token: space.admin.clone(), next: None })
    };
    let wakers = (0..workers).map(waker).collect::<Result<Vec<_>>>()?;
    let activated_before = Cell::new(0.0);
    let ready = async {
        all_cold(&subject).await?;
        let now = Instant::now();
        queue.lock().iter_mut().for_each(|(cold, _)| *cold = now);
        activated_before.set(Metrics::read(&subject).await?.value(ACTIVATED));
        Ok(())
    };
    let (wakers, mut outcome, mut report) = play::window("activation", &subject, common, wakers, ready).await?;
    drop(wakers);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // totals are whole and not negative
    let activations = (Metrics::read(&subject).await?.value(ACTIVATED) - activated_before.get()) as u64;
    let gets = outcome.good + outcome.errors + outcome.shed;
    if activations != gets {
        outcome.wrong(format!("{activations} activations for {gets} requests"));
    }
    report.more.insert("activations".to_owned(), json!(activations));
    let sizes = Sizes { request: 0, token: space.admin.len(), answer: ANSWER, connections: workers };
    play::conclude(report, outcome, &subject, common, sizes).await
}
