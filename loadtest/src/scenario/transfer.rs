//! Transfers under agreements made before, to STARTED on both sides, with a token that opens the data.

use super::{
    catalog::probes::{self, Message},
    members::{Members, Pair, begin},
    negotiation,
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
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use cellspace_client::{sharing, source};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::sync::Arc;

const RESOURCE: &str = "transferprocesses";
/// Length of the answer to a wait.
const ANSWER: usize = 120;
/// Which part of the transfers is pulled whole.
const PULLS: f64 = 0.1;

/// An agreement to transfer under.
struct Contract {
    pair: Pair,
    request: Bytes,
}

struct Puller {
    contracts: Arc<Vec<Contract>>,
    admin: Connection,
    public: Connection,
    /// Base URL of the data.
    base: String,
    random: StdRng,
    /// The contract's number and the transfer's id.
    started: Option<(usize, String)>,
}

impl Puller {
    async fn start(&mut self) -> Result<(usize, String), Verdict> {
        let number = self.random.random_range(0..self.contracts.len());
        let contract = self.contracts.get(number).ok_or_else(|| Verdict::Wrong("no contract".to_owned()))?;
        let sides = begin(&mut self.admin, &contract.pair, RESOURCE, contract.request.clone(), "STARTED").await?;
        Ok((number, sides.ours))
    }

    /// The token is there; of some transfers the data too.
    async fn pull(&mut self) -> Result<(), Verdict> {
        let (number, transfer) = self.started.take().ok_or_else(|| Verdict::Wrong("nothing was started".to_owned()))?;
        let contract = self.contracts.get(number).ok_or_else(|| Verdict::Wrong("no contract".to_owned()))?;
        let consumer = &contract.pair.consumer;
        let path = format!("/tokens/{}/{transfer}", consumer.context);
        let access = exchange(&mut self.admin, Call::get(path, &consumer.caller.token)).await?;
        let (endpoint, token) = (text(&access, "endpoint")?, text(&access, "token")?);
        if !self.random.random_bool(PULLS) {
            return Ok(());
        }
        let path = endpoint.strip_prefix(&self.base).ok_or_else(|| Verdict::Wrong(format!("the data is at {endpoint}")))?;
        let answer = self.public.send(Call::get(path, token)).await.map_err(|error| Verdict::Wrong(format!("{error:#}")))?;
        check(answer.status == 200 && answer.body == source::data_set(), || format!("the data is answered {}", answer.told()))
    }
}

impl Worker for Puller {
    async fn operate(&mut self) -> Verdict {
        match self.start().await {
            Ok(started) => {
                self.started = Some(started);
                Verdict::Good
            }
            Err(verdict) => verdict,
        }
    }

    async fn check(&mut self) -> Verdict {
        self.pull().await.err().unwrap_or(Verdict::Good)
    }
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let members = Members::open(&subject).await?;
    let contract = |(pair, agreement): (Pair, String)| {
        let request = sharing::transfer_request(&pair.provider.participant, &agreement).to_string().into();
        Contract { pair, request }
    };
    let contracts: Vec<_> = negotiation::acquaint(&subject, &members).await?.into_iter().map(contract).collect();
    let contracts = Arc::new(contracts);
    let workers = common.workers(1);
    let puller = |n: usize| {
        let connection = |base: &str| Connection::new(base, subject.tape.clone());
        let (admin, public) = (connection(&subject.admin)?, connection(&subject.public)?);
        let random = StdRng::seed_from_u64(seed.wrapping_add(n as u64));
        Ok(Puller { contracts: contracts.clone(), admin, public, base: subject.public.clone(), random, started: None })
    };
    let pullers = (0..workers).map(puller).collect::<Result<Vec<_>>>()?;
    let (pullers, mut outcome, mut report) = play::window("transfer", &subject, common, pullers, std::future::ready(Ok(()))).await?;
    play::per_operation(&mut report, &outcome, "transfer");
    report.more.insert("pulled_share".to_owned(), json!(PULLS));
    drop(pullers);
    let refused = probes::by_strangers(&subject, seed, Message::Transfer).await?;
    ended(&subject, &contracts).await?.into_iter().chain(refused).for_each(|wrong| outcome.wrong(wrong));
    let contract = contracts.first().context("no contract")?;
    let (request, token) = (contract.request.len(), contract.pair.consumer.caller.token.len());
    play::conclude(report, outcome, &subject, common, Sizes { request, token, answer: ANSWER, connections: workers }).await
}

/// A token is that of its transfer: when that is terminated, the token opens nothing more. Answers what was not so.
async fn ended(subject: &Subject, contracts: &[Contract]) -> Result<Vec<String>> {
    let connection = |base: &str| Connection::new(base, subject.tape.clone());
    let (mut admin, mut public) = (connection(&subject.admin)?, connection(&subject.public)?);
    let mut wrong = Vec::new();
    for contract in contracts {
        let told = |verdict: Verdict| anyhow!("{verdict:?}");
        let (admin, who) = (&mut admin, &contract.pair.consumer);
        let sides = begin(admin, &contract.pair, RESOURCE, contract.request.clone(), "STARTED").await.map_err(told)?;
        let path = format!("/tokens/{}/{}", who.context, sides.ours);
        let access = exchange(admin, Call::get(path, &who.caller.token)).await.map_err(told)?;
        let (endpoint, token) = (text(&access, "endpoint").map_err(told)?, text(&access, "token").map_err(told)?);
        let call = Call::get(endpoint.strip_prefix(&subject.public).context("the data is elsewhere")?, token);
        let open = public.send(call.clone()).await?;
        if open.status != 200 || open.body != source::data_set() {
            wrong.push(format!("the data of {} is answered {}", sides.ours, open.told()));
        }
        let body = cellspace_client::Client::typed("TerminateTransfer", json!({ "reason": "no longer needed" })).to_string();
        let path = who.path(&format!("{RESOURCE}/{}/terminate", sides.ours));
        let answer = admin.send(Call::json(http::Method::POST, path, &who.caller.token, body)).await?;
        anyhow::ensure!(answer.status == 204, "a termination is answered {}", answer.told());
        let provider = &contract.pair.provider.participant;
        let path = provider.path(&format!("{RESOURCE}/{}/state?wait=TERMINATED&timeout=20s", sides.theirs));
        let state = exchange(admin, Call::get(path, &provider.caller.token)).await.map_err(told)?;
        anyhow::ensure!(state["state"] == "TERMINATED", "the transfer is {} at the provider", state["state"]);
        let closed = public.send(call).await?;
        if !matches!(closed.status.as_u16(), 401 | 403) {
            wrong.push(format!("the token of the ended transfer {} is answered {}", sides.ours, closed.told()));
        }
    }
    Ok(wrong)
}
