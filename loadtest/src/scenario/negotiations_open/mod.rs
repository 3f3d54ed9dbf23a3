//! Participants that negotiate and look at catalogs, alone and beside one with very many open negotiations: its counterparties do not answer, have no time,
//! or have taken its request and are never heard of again.

mod holdup;

use super::{
    members::Members,
    negotiation,
    play::{self, check, exchange},
};
use crate::{
    drive::{Outcome, Pace, Verdict, Worker, drive},
    http::{Call, Connection},
    measure::{Meter, calibration::Sizes},
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Result, anyhow, ensure};
use cellspace_client::{
    Client,
    sharing::{self, PROFILE},
};
use holdup::Holdup;
use http::Method;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Negotiations and catalog requests of the others a second, and who makes them.
const NEGOTIATIONS_PER_SECOND: f64 = 20.0;
const CATALOGS_PER_SECOND: f64 = 100.0;
const NEGOTIATORS: usize = 16;
const BROWSERS: usize = 32;
/// Offers that each of them sees of each other.
const OFFERS: usize = 3;
/// Until what was opened at once is as it stays: by then a message that is not taken is sent again every ten seconds or more.
const LEAD: Duration = Duration::from_secs(20);
/// How much slower the others may become.
const RATIO: f64 = 1.5;
/// Length of the answer to a wait.
const ANSWER: usize = 130;

/// Looks at catalogs through its own platform.
struct Browser {
    members: Arc<Members>,
    admin: Connection,
    random: StdRng,
}

impl Browser {
    async fn look(&mut self) -> Result<(), Verdict> {
        let pair = self.members.random(&mut self.random)?;
        let (consumer, provider) = (&*pair.consumer, &pair.provider.participant);
        let scope = "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read";
        let body =
            json!({ "profile": PROFILE, "counterPartyAddress": provider.dsp, "counterPartyId": provider.did, "additionalScopes": [scope] });
        let body = Client::typed("CatalogRequest", body).to_string();
        let catalog =
            exchange(&mut self.admin, Call::json(Method::POST, consumer.path("catalog/request"), &consumer.caller.token, body)).await?;
        let seen = sharing::offers(&catalog).len();
        check(seen == OFFERS, || format!("{seen} offers are visible, expected {OFFERS}: {catalog}"))
    }
}

impl Worker for Browser {
    async fn operate(&mut self) -> Verdict {
        self.look().await.err().unwrap_or(Verdict::Good)
    }
}

/// The others.
struct Others {
    negotiators: Vec<negotiation::Negotiator>,
    browsers: Vec<Browser>,
}

impl Others {
    fn new(members: &Arc<Members>, subject: &Subject, seed: u64, agreements: HashSet<String>) -> Result<Self> {
        let agreements = Arc::new(Mutex::new(agreements));
        let negotiators =
            (0..NEGOTIATORS).map(|n| negotiation::Negotiator::new(members, subject, seed.wrapping_add(n as u64), &agreements));
        let browser = |n: usize| {
            let admin = Connection::new(&subject.admin, subject.tape.clone())?;
            Ok(Browser { members: members.clone(), admin, random: StdRng::seed_from_u64(seed ^ (n as u64 + 1).rotate_left(32)) })
        };
        Ok(Self { negotiators: negotiators.collect::<Result<_>>()?, browsers: (0..BROWSERS).map(browser).collect::<Result<_>>()? })
    }

    /// Lets all work for so long; what the negotiators saw, and the browsers.
    async fn work(&mut self, time: Duration) -> Result<(Outcome, Outcome)> {
        let pace = |rate| Pace { rate: Some(rate), time };
        let (negotiators, browsers) = (std::mem::take(&mut self.negotiators), std::mem::take(&mut self.browsers));
        let both = tokio::try_join!(drive(negotiators, pace(NEGOTIATIONS_PER_SECOND)), drive(browsers, pace(CATALOGS_PER_SECOND)))?;
        let ((negotiators, negotiated), (browsers, browsed)) = both;
        (self.negotiators, self.browsers) = (negotiators, browsers);
        Ok((negotiated, browsed))
    }
}

/// How much slower something has become; an error of `outcome` when that is too much.
fn ratio(what: &str, (alone, beside): (&Outcome, &Outcome), wrong: &mut Vec<String>) -> Value {
    let ratio = beside.quantile_ms(0.95) / alone.quantile_ms(0.95);
    if ratio > RATIO {
        wrong.push(format!("the 95th percentile of {what} is {ratio:.2} times that alone"));
    }
    json!((ratio * 1_000.0).round() / 1_000.0)
}

/// Plays the scenario.
pub async fn run(open: usize, common: &Common) -> Result<Report> {
    common.no_rate("20 negotiations and 100 catalog requests a second are made")?;
    common.no_concurrency("20 negotiations and 100 catalog requests a second are made")?;
    ensure!((10..=10_000).contains(&open), "--open must be 10 to 10,000");
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let mut members = Members::open(&subject).await?;
    let busy = members.consumers.pop().ok_or_else(|| anyhow!("no consumer"))?;
    let members = Arc::new(members);
    let known = negotiation::acquaint(&subject, &members).await?;
    let mut others = Others::new(&members, &subject, seed, known.into_iter().map(|(_, id)| id).collect())?;
    let time = common.pace().time;
    let (negotiated_warm, browsed_warm) = others.work(play::WARM_UP).await?;
    let (negotiated_alone, browsed_alone) = others.work(time).await?;
    eprintln!(
        "alone: p95 {:.2} and {:.2} ms; now {open} open negotiations",
        negotiated_alone.quantile_ms(0.95),
        browsed_alone.quantile_ms(0.95)
    );

    let holdup = Holdup::open(&subject, busy, open).await?;
    sleep(LEAD).await;
    let before = holdup.asked();
    let meter = Meter::start(&subject).await?;
    let (mut negotiated, browsed) = others.work(time).await?;
    let mut report = meter.stop(&subject, "negotiations-open", &negotiated).await?;
    let asked_again = holdup.asked() - before;
    let mut wrong = Vec::new();
    let figures = [
        ("negotiation_p95_alone_ms", json!(negotiated_alone.quantile_ms(0.95))),
        ("negotiation_p95_ratio", ratio("negotiations", (&negotiated_alone, &negotiated), &mut wrong)),
        ("catalogs", json!(browsed.good)),
        ("catalog_p95_alone_ms", json!(browsed_alone.quantile_ms(0.95))),
        ("catalog_p95_ms", json!(browsed.quantile_ms(0.95))),
        ("catalog_p95_ratio", ratio("catalog requests", (&browsed_alone, &browsed), &mut wrong)),
        ("open_negotiations", json!(open)),
        ("messages_sent_again", json!(asked_again)),
    ];
    if asked_again == 0 {
        wrong.push("nothing was sent again to those who have no time".to_owned());
    }
    wrong.extend(holdup.wrong().await?);
    wrong.into_iter().for_each(|wrong| negotiated.wrong(wrong));
    let windows = [
        ("negotiations at first", &negotiated_warm),
        ("catalogs at first", &browsed_warm),
        ("negotiations alone", &negotiated_alone),
        ("catalogs alone", &browsed_alone),
        ("catalogs", &browsed),
    ];
    for (who, other) in windows {
        other.told.iter().for_each(|wrong| negotiated.told.push(format!("{who}: {wrong}")));
        negotiated.errors += other.errors;
        negotiated.shed += other.shed;
    }
    report.more.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    let pair = members.random(&mut StdRng::seed_from_u64(seed)).map_err(|verdict| anyhow!("{verdict:?}"))?;
    let (request, token) = (pair.wanted().map_or(0, |wanted| wanted.request.len()), pair.consumer.caller.token.len());
    play::conclude(report, negotiated, &subject, common, Sizes { request, token, answer: ANSWER, connections: NEGOTIATORS }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Takes(Duration);

    impl Worker for Takes {
        async fn operate(&mut self) -> Verdict {
            sleep(self.0).await;
            Verdict::Good
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_much_slower_is_wrong() {
        let of = async |ms| {
            let pace = Pace { rate: None, time: Duration::from_secs(10) };
            drive(vec![Takes(Duration::from_millis(ms))], pace).await.unwrap().1
        };
        let (alone, slower, slow) = (of(100).await, of(140).await, of(200).await);
        let mut wrong = Vec::new();
        let slightly = ratio("x", (&alone, &slower), &mut wrong).as_f64().unwrap();
        assert!((1.3..1.5).contains(&slightly) && wrong.is_empty(), "{slightly}");
        let much = ratio("x", (&alone, &slow), &mut wrong).as_f64().unwrap();
        assert!((1.9..2.1).contains(&much) && wrong.len() == 1, "{much} {wrong:?}");
    }
}
