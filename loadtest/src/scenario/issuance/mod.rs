//! Participants of the platform ask its issuer for credentials, until they hold them.
//!
//! Real HTTP and DCP between the two: request, delivery, verification, storage. When the window has ended, the books of both sides are compared, credential by
//! credential.

mod books;
mod office;

pub use office::Office;

use super::play;
use crate::{
    drive::{Verdict, Worker},
    http::Connection,
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
};
use anyhow::Result;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::HashSet, sync::Arc};
use uuid::Uuid;

/// Who asks.
const HOLDERS: usize = 400;
/// Requests at once, when nothing else is asked for.
const CONCURRENCY: usize = 16;
/// Bytes of the answer to a wait, and of a request.
const ANSWER: usize = 350;
const REQUEST: usize = 250;

/// Lets one holder after the other ask.
struct Clerk {
    office: Arc<Office>,
    admin: Connection,
    random: StdRng,
    /// Requests that were made, whatever became of them.
    made: Arc<Mutex<HashSet<String>>>,
}

impl Worker for Clerk {
    async fn operate(&mut self) -> Verdict {
        let number = self.random.random_range(0..self.office.holders.len());
        let Some(holder) = self.office.holders.get(number) else { return Verdict::Wrong("no holder".to_owned()) };
        let pid = Uuid::new_v4().to_string();
        let issued = self.office.issue(&mut self.admin, holder, &pid).await;
        // One that was shed was not made.
        if issued != Err(Verdict::Shed) {
            self.made.lock().insert(pid);
        }
        issued.err().unwrap_or(Verdict::Good)
    }
}

/// Plays the scenario.
pub async fn run(common: &Common) -> Result<Report> {
    let subject = Subject::open(common, &[]).await?;
    let seed = common.seed.unwrap_or_default();
    let office = Office::open(&subject, HOLDERS).await?;
    let made = Arc::<Mutex<HashSet<String>>>::default();
    let workers = common.workers(CONCURRENCY);
    let clerk = |n: usize| {
        let (admin, random) = (Connection::new(&subject.admin, subject.tape.clone())?, StdRng::seed_from_u64(seed.wrapping_add(n as u64)));
        Ok(Clerk { office: office.clone(), admin, random, made: made.clone() })
    };
    let clerks = (0..workers).map(clerk).collect::<Result<Vec<_>>>()?;
    let (_, mut outcome, mut report) = play::window("issuance", &subject, common, clerks, std::future::ready(Ok(()))).await?;
    let requests = std::mem::take(&mut *made.lock());
    eprintln!("comparing the books of both sides");
    books::look(&office, &subject, &requests).await?.into_iter().for_each(|wrong| outcome.wrong(wrong));
    play::per_operation(&mut report, &outcome, "credential");
    report.more.insert("credentials_compared".to_owned(), requests.len().into());
    let sizes = Sizes { request: REQUEST, token: office.platform.admin.token.len(), answer: ANSWER, connections: workers };
    play::conclude(report, outcome, &subject, common, sizes).await
}
