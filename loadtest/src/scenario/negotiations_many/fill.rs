//! Makes the negotiations, each by a request to the participant and messages with a counterparty: a tenth is negotiated to its end with providers of the platform,
//! the others are refused by counterparties of ours.

use super::model::Known;
use crate::{
    drive::{Outcome, Pace, Verdict, Worker, drive},
    http::{Call, Connection},
    scenario::{
        members::{Members, Pair, begin},
        play::{exchange, text},
        strangers::{Manner, Strangers},
    },
    subject::Subject,
};
use anyhow::{Result, ensure};
use cellspace_client::{sharing::PROFILE, tenants::Participant};
use http::Method;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const RESOURCE: &str = "contractnegotiations";
/// One of so many is finalized.
const FINALIZED: usize = 10;
/// Counterparties that refuse, and one of them that was asked only now and then.
const STRANGERS: usize = 30;
const SELDOM: usize = 5_000;
/// Assets that they are asked for.
const ASSETS: usize = 100;
/// Requests at once.
const REFUSED_AT_ONCE: usize = 64;
const FINALIZED_AT_ONCE: usize = 32;
/// Longest time.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Whom the negotiation of this number is with.
const fn stranger(number: usize) -> usize {
    if number.is_multiple_of(SELDOM) { 0 } else { 1 + number % (STRANGERS - 1) }
}

/// What all work on.
struct Work {
    consumer: Arc<Participant>,
    members: Arc<Members>,
    strangers: Arc<Strangers>,
    next: AtomicUsize,
    end: usize,
    made: Mutex<Vec<Known>>,
}

impl Work {
    fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }

    fn keep(&self, known: Known) {
        self.made.lock().push(known);
    }
}

/// Is refused.
struct Refused {
    work: Arc<Work>,
    admin: Connection,
}

impl Refused {
    async fn ask(&mut self, number: usize) -> Result<(), Verdict> {
        let Work { consumer, strangers, .. } = &*self.work;
        let (stranger, asset) = (stranger(number), format!("asset-{:03}", number % ASSETS));
        let body = strangers.request(stranger, &asset, PROFILE).to_string();
        let token = &consumer.caller.token;
        let begun = exchange(&mut self.admin, Call::json(Method::POST, consumer.path(RESOURCE), token, body)).await?;
        let id = text(&begun, "@id")?.to_owned();
        let path = consumer.path(&format!("{RESOURCE}/{id}/state?wait=TERMINATED&timeout=20s"));
        let state = exchange(&mut self.admin, Call::get(path, token)).await?;
        if state["state"] != "TERMINATED" {
            return Err(Verdict::Wrong(format!("{id} is {state}")));
        }
        self.work.keep(Known { id, state: "TERMINATED", counterparty: strangers.did(stranger), asset, correlation: None });
        Ok(())
    }
}

impl Worker for Refused {
    async fn operate(&mut self) -> Verdict {
        let Some(number) = self.work.take() else { return Verdict::Done };
        self.ask(number).await.err().unwrap_or(Verdict::Good)
    }
}

/// Comes to an agreement.
struct Agreed {
    work: Arc<Work>,
    admin: Connection,
}

impl Agreed {
    async fn negotiate(&mut self, number: usize) -> Result<(), Verdict> {
        let providers = &self.work.members.providers;
        let provider = providers.get(number % providers.len().max(1)).ok_or_else(|| Verdict::Wrong("no provider".to_owned()))?;
        let offer = number / providers.len().max(1) % provider.offers.len().max(1);
        let pair = Pair { consumer: self.work.consumer.clone(), provider: provider.clone(), offer };
        let wanted = pair.wanted()?;
        let sides = begin(&mut self.admin, &pair, RESOURCE, wanted.request.clone(), "FINALIZED").await?;
        let (counterparty, asset) = (provider.participant.did.clone(), wanted.offer.asset.clone());
        self.work.keep(Known { id: sides.ours, state: "FINALIZED", counterparty, asset, correlation: Some(sides.theirs) });
        Ok(())
    }
}

impl Worker for Agreed {
    async fn operate(&mut self) -> Verdict {
        let Some(number) = self.work.take() else { return Verdict::Done };
        self.negotiate(number).await.err().unwrap_or(Verdict::Good)
    }
}

/// Makes so many negotiations of the consumer; answers them and how many were made a second.
///
/// # Errors
/// When one of them does not end as it must.
pub async fn fill(subject: &Subject, members: &Arc<Members>, consumer: &Arc<Participant>, count: usize) -> Result<(Vec<Known>, f64)> {
    let strangers = Strangers::open(Manner::Refuses).await?;
    let finalized = count / FINALIZED;
    let work = |end: usize| {
        let (consumer, members, strangers) = (consumer.clone(), members.clone(), strangers.clone());
        Arc::new(Work { consumer, members, strangers, next: AtomicUsize::new(0), end, made: Mutex::default() })
    };
    let (agreed, refused) = (work(finalized), work(count - finalized));
    let pace = Pace { rate: None, time: LONGEST };
    eprintln!("negotiating {finalized} contracts");
    let worker = |_| Ok(Agreed { work: agreed.clone(), admin: Connection::new(&subject.admin, None)? });
    let first = made(drive((0..FINALIZED_AT_ONCE).map(worker).collect::<Result<Vec<_>>>()?, pace).await?.1, finalized)?;
    eprintln!("being refused {} contracts", count - finalized);
    let worker = |_| Ok(Refused { work: refused.clone(), admin: Connection::new(&subject.admin, None)? });
    let second = made(drive((0..REFUSED_AT_ONCE).map(worker).collect::<Result<Vec<_>>>()?, pace).await?.1, count - finalized)?;
    let mut all = std::mem::take(&mut *agreed.made.lock());
    all.append(&mut refused.made.lock());
    #[allow(clippy::cast_precision_loss)] // a count of negotiations
    let per_second = count as f64 / (first + second).as_secs_f64();
    Ok((all, per_second))
}

fn made(outcome: Outcome, count: usize) -> Result<Duration> {
    ensure!(outcome.good == count as u64, "only {} of {count} negotiations ended as they must: {:?}", outcome.good, outcome.told);
    Ok(outcome.elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_counterparty_is_asked_seldom() {
        let mut with = [0_usize; STRANGERS];
        (0..90_000).for_each(|number| with[stranger(number)] += 1);
        assert_eq!(with[0], 18);
        assert!(with[1..].iter().all(|n| (3_000..3_200).contains(n)), "{with:?}");
    }
}
