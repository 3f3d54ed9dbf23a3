//! Contract negotiations between participants of one platform, to FINALIZED on both sides.

use super::{
    catalog::probes::{self, Message},
    members::{Members, Pair, Sides, begin},
    play::{self, check, exchange, text},
};
use crate::{
    drive::{Verdict, Worker},
    http::{Call, Connection},
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::{Result, anyhow};
use cellspace_client::provider::{DATA_SET, FILE};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use std::{collections::HashSet, sync::Arc};

const RESOURCE: &str = "contractnegotiations";
/// Length of the answer to a wait.
const ANSWER: usize = 130;

/// A finalized negotiation.
pub struct Finalized {
    pair: Pair,
    sides: Sides,
}

/// One negotiation to its end.
pub async fn negotiate(admin: &mut Connection, pair: Pair) -> Result<Finalized, Verdict> {
    let sides = begin(admin, &pair, RESOURCE, pair.wanted()?.request.clone(), "FINALIZED").await?;
    Ok(Finalized { pair, sides })
}

/// The agreement's id, after it was found to be the same on both sides, and between the right parties about the right thing.
pub async fn agreement(admin: &mut Connection, done: &Finalized) -> Result<String, Verdict> {
    let Finalized { pair, sides } = done;
    let (consumer, provider, offer) = (&*pair.consumer, &pair.provider.participant, &pair.wanted()?.offer);
    let path = |id: &str| format!("{RESOURCE}/{id}/agreement");
    let ours = exchange(admin, Call::get(consumer.path(&path(&sides.ours)), &consumer.caller.token)).await?;
    let theirs = exchange(admin, Call::get(provider.path(&path(&sides.theirs)), &provider.caller.token)).await?;
    check(ours == theirs, || format!("the sides hold different agreements: {ours} and {theirs}"))?;
    let parties = ours["providerId"] == *provider.did && ours["consumerId"] == *consumer.did && ours["assetId"] == *offer.asset;
    check(parties, || format!("the agreement is between others, or about another asset: {ours}"))?;
    let rules = ["permission", "prohibition", "obligation"];
    let same = rules.iter().all(|rule| of(&ours["policy"][rule]) == of(&offer.policy[rule]));
    check(same && ours["policy"]["permission"] != Value::Null, || format!("the agreement {ours} has other rules than {}", offer.policy))?;
    Ok(text(&ours, "@id")?.to_owned())
}

/// Rules, however none and one are written.
fn of(rules: &Value) -> &[Value] {
    match rules {
        Value::Null => &[],
        Value::Array(rules) => rules,
        one => std::slice::from_ref(one),
    }
}

/// Negotiates one contract after the other.
pub struct Negotiator {
    members: Arc<Members>,
    admin: Connection,
    random: StdRng,
    done: Option<Finalized>,
    /// All agreements of the run.
    agreements: Arc<Mutex<HashSet<String>>>,
}

impl Negotiator {
    /// Between random pairs; no agreement is one of those that were made before.
    pub fn new(members: &Arc<Members>, subject: &Subject, seed: u64, agreements: &Arc<Mutex<HashSet<String>>>) -> Result<Self> {
        let admin = Connection::new(&subject.admin, subject.tape.clone())?;
        let (members, agreements) = (members.clone(), agreements.clone());
        Ok(Self { members, admin, random: StdRng::seed_from_u64(seed), done: None, agreements })
    }
}

impl Worker for Negotiator {
    async fn operate(&mut self) -> Verdict {
        let negotiated = match self.members.random(&mut self.random) {
            Ok(pair) => negotiate(&mut self.admin, pair).await,
            Err(verdict) => Err(verdict),
        };
        match negotiated {
            Ok(done) => {
                self.done = Some(done);
                Verdict::Good
            }
            Err(verdict) => verdict,
        }
    }

    async fn check(&mut self) -> Verdict {
        let Some(done) = self.done.take() else { return Verdict::Wrong("nothing was negotiated".to_owned()) };
        match agreement(&mut self.admin, &done).await {
            Ok(id) if self.agreements.lock().insert(id.clone()) => Verdict::Good,
            Ok(id) => Verdict::Wrong(format!("the agreement {id} was made twice")),
            Err(verdict) => verdict,
        }
    }
}

/// Negotiates once between every two, so that all know each other; answers pair and agreement.
pub async fn acquaint(subject: &Subject, members: &Members) -> Result<Vec<(Pair, String)>> {
    let mut admin = Connection::new(&subject.admin, None)?;
    let mut agreements = Vec::new();
    for pair in members.pairs(DATA_SET) {
        let told = |verdict: Verdict| anyhow!("{verdict:?}");
        let done = negotiate(&mut admin, pair.clone()).await.map_err(told)?;
        agreements.push((pair, agreement(&mut admin, &done).await.map_err(told)?));
    }
    anyhow::ensure!(members.pairs(FILE).len() == agreements.len(), "the providers do not offer both assets");
    Ok(agreements)
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let members = Arc::new(Members::open(&subject).await?);
    let known = acquaint(&subject, &members).await?;
    let agreements = Arc::new(Mutex::new(known.into_iter().map(|(_, id)| id).collect()));
    let workers = common.workers(1);
    let negotiator = |n: usize| Negotiator::new(&members, &subject, seed.wrapping_add(n as u64), &agreements);
    let negotiators = (0..workers).map(negotiator).collect::<Result<Vec<_>>>()?;
    let (_, mut outcome, mut report) = play::window("negotiation", &subject, common, negotiators, std::future::ready(Ok(()))).await?;
    play::per_operation(&mut report, &outcome, "negotiation");
    for wrong in probes::by_strangers(&subject, seed, Message::Negotiation).await? {
        outcome.wrong(wrong);
    }
    let pair = members.random(&mut StdRng::seed_from_u64(seed)).map_err(|verdict| anyhow!("{verdict:?}"))?;
    let (request, token) = (pair.wanted().map_or(0, |wanted| wanted.request.len()), pair.consumer.caller.token.len());
    play::conclude(report, outcome, &subject, common, Sizes { request, token, answer: ANSWER, connections: workers }).await
}
