//! Counterparties that nobody has met: each request brings a DID, a key and two credentials that the platform has to look up and verify.
//!
//! Everything that a stranger will be asked for is made ahead of the window; its issuer and the issuer's status list are known already.

use super::{Asker, CONNECTIONS, Cast, PROVIDERS, Request, ahead, cast::CHANGES, probes};
use crate::{
    drive::{Outcome, Verdict, Worker},
    options::Common,
    report::Report,
    scenario::play,
    subject::Subject,
    world::Party,
};
use anyhow::Result;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Strangers made ahead, for each second of the window.
const AHEAD_PER_SECOND: f64 = 2_500.0;

/// Strangers who are ready to ask.
struct Strangers {
    cast: Arc<Cast>,
    ready: Mutex<Vec<Request>>,
    /// How many were made when they were needed.
    late: AtomicU64,
}

impl Strangers {
    /// A stranger's request to a random provider, with all that it will be asked for.
    fn request(&self, number: usize, random: &mut StdRng) -> Result<Request> {
        let request = Request::new(self.cast.provider(random)?, &self.cast.world.party(number)?);
        self.cast.world.prepare(&request.party, &request.provider.did);
        Ok(request)
    }

    /// The request of one who is such.
    fn next(&self, random: &mut StdRng, such: impl Fn(&Party) -> bool) -> Result<Request> {
        let mut ready = self.ready.lock();
        // The last one, or one soon before it: what parties see goes by their numbers.
        if let Some(place) = ready.iter().rposition(|request| such(&request.party)) {
            return Ok(ready.swap_remove(place));
        }
        drop(ready);
        self.late.fetch_add(1, Ordering::Relaxed);
        loop {
            let number = self.cast.world.grow(1)?;
            if such(&*self.cast.world.party(number)?) {
                return self.request(number, random);
            }
        }
    }

    /// Makes so many, on all cores.
    async fn make_ahead(self: &Arc<Self>, count: usize, seed: u64) -> Result<()> {
        let first = self.cast.world.grow(count)?;
        let halves = [first..first + count / 2, first + count / 2..first + count].map(|numbers| {
            let strangers = self.clone();
            tokio::task::spawn_blocking(move || -> Result<()> {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(numbers.start as u64));
                let made = numbers.map(|number| strangers.request(number, &mut random)).collect::<Result<Vec<_>>>()?;
                strangers.ready.lock().extend(made);
                Ok(())
            })
        });
        for half in halves {
            half.await??;
        }
        Ok(())
    }
}

/// One connection, over which a stranger after the other asks.
struct Door {
    strangers: Arc<Strangers>,
    asker: Asker,
}

impl Door {
    fn next(&mut self) -> Result<Request> {
        let (change, random) = (self.asker.changed()?, &mut self.asker.random);
        match change {
            None => self.strangers.next(random, |_| true),
            Some(change) => {
                let request = self.strangers.next(random, |party| change.shows(party))?;
                Ok(Request::new(&change.provider, &request.party))
            }
        }
    }
}

impl Worker for Door {
    async fn prepare(&mut self) {
        self.asker.change().await;
    }

    async fn operate(&mut self) -> Verdict {
        match self.next() {
            Ok(request) => request.ask(&mut self.asker.public).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// What is wrong with how often strangers were asked for something: once for each request that was not shed.
fn unasked(what: &str, asked: u64, outcome: &Outcome) -> Option<String> {
    let (least, most) = (outcome.good + outcome.errors, outcome.good + outcome.errors + outcome.shed);
    (!(least..=most).contains(&asked)).then(|| format!("{asked} {what} were asked for by {most} requests, {} of them shed", outcome.shed))
}

/// Plays the scenario.
pub async fn run(offers: usize, common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let cast = Cast::open(&subject, seed, PROVIDERS, 1, offers).await?;
    let strangers = Arc::new(Strangers { cast: cast.clone(), ready: Mutex::default(), late: AtomicU64::new(0) });

    let workers = common.workers(CONNECTIONS);
    let door = |n: usize| {
        let asker = Asker::new(&cast, &subject, seed.wrapping_add(n as u64), subject.tape.clone())?;
        Ok(Door { strangers: strangers.clone(), asker })
    };
    let doors = (0..workers).map(door).collect::<Result<Vec<_>>>()?;
    let asked_before = Cell::new((0, 0));
    let ready = async {
        let count = ahead(common.pace().time, AHEAD_PER_SECOND);
        eprintln!("making {count} strangers ahead");
        strangers.make_ahead(count, seed).await?;
        strangers.late.store(0, Ordering::Relaxed);
        asked_before.set(cast.world.asked());
        cast.changes();
        Ok(())
    };
    let (doors, mut outcome, mut report) = play::window("catalog-cold", &subject, common, doors, ready).await?;
    drop(doors);
    let (before, after) = (asked_before.get(), cast.world.asked());
    play::changes(&mut report, &mut outcome, cast.changes(), CHANGES);
    let (queries, documents) = (after.0 - before.0, after.1 - before.1);
    let wrong = [unasked("DID documents", documents, &outcome), unasked("presentations", queries, &outcome)];
    wrong.into_iter().flatten().chain(probes::all(&cast, &subject, probes::Message::Catalog).await?).for_each(|wrong| outcome.wrong(wrong));
    report.more.insert("did_documents".to_owned(), json!(documents));
    report.more.insert("presentation_queries".to_owned(), json!(queries));
    report.more.insert("strangers_made_late".to_owned(), json!(strangers.late.load(Ordering::Relaxed)));
    play::conclude(report, outcome, &subject, common, cast.sizes(&subject, workers).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{Pace, drive};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn every_stranger_is_asked_once() {
        struct Answers(u32);
        impl Worker for Answers {
            async fn operate(&mut self) -> Verdict {
                self.0 += 1;
                match self.0 {
                    1..=7 => Verdict::Good,
                    8 => Verdict::Wrong("wrong".to_owned()),
                    9 | 10 => Verdict::Shed,
                    _ => Verdict::Done,
                }
            }
        }
        let (_, outcome) = drive(vec![Answers(0)], Pace { rate: None, time: Duration::from_secs(1) }).await.unwrap();
        for (asked, good) in [(7, false), (8, true), (10, true), (11, false)] {
            assert_eq!(unasked("documents", asked, &outcome).is_none(), good, "{asked}");
        }
    }
}
