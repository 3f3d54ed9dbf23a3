//! Verifiers fetch a status list of the platform's issuer, while credentials on it are suspended and resumed: withdrawn as by a revocation, but without end.
//!
//! Every list is held against the client's model: a change that was acknowledged before the fetch began must be shown, and none that was not sent. Each
//! state's signature is verified. How much memory the bits of a list take is measured apart, by `loadtest-parts`.

mod model;

use super::{issuance::Office, parts, play};
use crate::{
    drive::{Pace, Verdict, Worker, drive, quantile_ms},
    http::{Answer, Call, Connection},
    measure::calibration::Sizes,
    options::Common,
    report::Report,
    subject::Subject,
    world::claims,
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cellspace_schemas::bitstring::{Bitstring, Encoding};
use hdrhistogram::Histogram;
use http::{Method, header};
use model::Model;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Who holds credentials on the list, and how many are on it.
const HOLDERS: usize = 64;
const CREDENTIALS: usize = 3_000;
/// Credentials issued at once.
const AT_ONCE: usize = 16;
/// Fetches at once, when nothing else is asked for.
const CONNECTIONS: usize = 8;
/// Which part of the fetches follows a change.
const CHANGES: f64 = 0.01;
/// How many credentials change: the others stay as they are.
const CHANGED: usize = 500;
/// Entries of a list where nothing is said of it.
const LEAST_ENTRIES: u32 = 131_072;

/// A credential on the list.
struct Listed {
    id: String,
    bit: usize,
    suspended: bool,
}

/// The list.
struct List {
    office: Arc<Office>,
    path: String,
    /// Those that are not being changed; the one that waits longest is next.
    idle: Mutex<VecDeque<Listed>>,
    model: Mutex<Model>,
    /// Set bits of the states that were seen, by their entity tags, with the bytes that showed them.
    states: Mutex<HashMap<String, (Bytes, Arc<HashSet<usize>>)>>,
    /// From a change to the end of the fetch that shows it, in microseconds.
    visible: Mutex<Histogram<u64>>,
    /// Bits of it.
    entries: AtomicUsize,
}

/// Issues a credential to one holder after the other.
struct Clerk {
    office: Arc<Office>,
    admin: Connection,
    next: Arc<AtomicUsize>,
}

impl Worker for Clerk {
    async fn operate(&mut self) -> Verdict {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= CREDENTIALS {
            return Verdict::Done;
        }
        let Some(holder) = self.office.holders.get(number % HOLDERS) else { return Verdict::Wrong("no holder".to_owned()) };
        self.office.issue(&mut self.admin, holder, &Uuid::new_v4().to_string()).await.err().unwrap_or(Verdict::Good)
    }
}

/// Path of the list that a credential's suspension is on, and its bit there.
fn entry(credential: &Value) -> Option<(String, usize)> {
    let entries = credential["credentialStatus"].as_array()?;
    let entry = entries.iter().find(|entry| entry["statusPurpose"] == "suspension")?;
    let url = url::Url::parse(entry["statusListCredential"].as_str()?).ok()?;
    Some((url.path().to_owned(), entry["statusListIndex"].as_str()?.parse().ok()?))
}

impl List {
    async fn open(subject: &Subject) -> Result<Arc<Self>> {
        let office = Office::open(subject, HOLDERS).await?;
        eprintln!("issuing {CREDENTIALS} credentials");
        let next = Arc::new(AtomicUsize::new(0));
        let clerk = |_| Ok(Clerk { office: office.clone(), admin: Connection::new(&subject.admin, None)?, next: next.clone() });
        let clerks = (0..AT_ONCE).map(clerk).collect::<Result<Vec<_>>>()?;
        let (_, outcome) = drive(clerks, Pace { rate: None, time: Duration::from_secs(3_600) }).await?;
        ensure!(outcome.good == CREDENTIALS as u64, "only {} of {CREDENTIALS} were issued: {:?}", outcome.good, outcome.told);
        let all = office.all(&mut Connection::new(&subject.admin, None)?, "credentials").await?;
        let (mut paths, mut idle) = (HashSet::new(), VecDeque::new());
        for issued in &all {
            let (path, bit) = entry(&issued["credential"]).context("a credential without a place on a list of suspensions")?;
            paths.insert(path);
            idle.push_back(Listed { id: issued["id"].as_str().context("no id")?.to_owned(), bit, suspended: false });
        }
        ensure!(paths.len() == 1 && idle.len() == CREDENTIALS, "{} credentials on {} lists", idle.len(), paths.len());
        idle.truncate(CHANGED);
        let path = paths.into_iter().next().context("a list")?;
        let visible = Mutex::new(Histogram::new_with_bounds(1, 120_000_000, 3)?);
        let (model, states, entries) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Ok(Arc::new(Self { office, path, idle: Mutex::new(idle), model, states, visible, entries }))
    }

    /// The bits that an answer shows as set; read and verified once for each state.
    fn shown(&self, answer: &Answer) -> Result<Arc<HashSet<usize>>, String> {
        let tag = answer.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).ok_or("no entity tag")?;
        if let Some((body, shown)) = self.states.lock().get(tag) {
            return if *body == answer.body { Ok(shown.clone()) } else { Err("two lists with one entity tag".to_owned()) };
        }
        let jwt = std::str::from_utf8(&answer.body).map_err(|_| "no text")?;
        if !self.office.key.signed(jwt) {
            return Err("a list that the issuer did not sign".to_owned());
        }
        let list: Value = claims(jwt).ok_or("no claims")?;
        let encoded = list["credentialSubject"]["encodedList"].as_str().ok_or("no list")?;
        let bits = Bitstring::decode(encoded, Encoding::Bitstring).map_err(|error| error.to_string())?;
        self.entries.store(bits.len(), Ordering::Relaxed);
        let shown = Arc::new((0..bits.len()).filter(|bit| bits.get(*bit) == Ok(true)).collect::<HashSet<_>>());
        self.states.lock().insert(tag.to_owned(), (answer.body.clone(), shown.clone()));
        Ok(shown)
    }

    fn judge(&self, began: Instant, answer: &Answer) -> Verdict {
        if answer.is_shed() {
            return Verdict::Shed;
        }
        if answer.status != 200 {
            return Verdict::Wrong(answer.told());
        }
        let judged = self.shown(answer).and_then(|shown| self.model.lock().judge(began, &shown));
        judged.err().map_or(Verdict::Good, Verdict::Wrong)
    }
}

/// Fetches the list again and again.
struct Fetcher {
    list: Arc<List>,
    public: Connection,
    admin: Connection,
    random: StdRng,
}

impl Fetcher {
    async fn fetch(&mut self) -> Verdict {
        let began = Instant::now();
        match self.public.send(Call::get(&self.list.path, "")).await {
            Ok(answer) => self.list.judge(began, &answer),
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }

    /// Suspends or resumes a credential, and fetches the list, which must show it.
    async fn change(&mut self, Listed { id, bit, suspended }: Listed) -> Verdict {
        let list = self.list.clone();
        let path = list.office.path(&format!("credentials/{id}/{}", if suspended { "resume" } else { "suspend" }));
        let call = Call::json(Method::POST, path, &list.office.platform.admin.token, json!({"reason": "measured"}).to_string());
        let began = Instant::now();
        list.model.lock().changing(bit, !suspended);
        // One of which it is not known what became of it is not changed again.
        match self.admin.send(call).await {
            Ok(answer) if answer.status.is_success() => list.model.lock().changed(bit),
            Ok(answer) => return Verdict::Wrong(format!("a change is answered {}", answer.told())),
            Err(error) => return Verdict::Wrong(format!("{error:#}")),
        }
        list.idle.lock().push_back(Listed { id, bit, suspended: !suspended });
        let verdict = self.fetch().await;
        if verdict == Verdict::Good {
            list.visible.lock().saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        verdict
    }
}

impl Worker for Fetcher {
    async fn operate(&mut self) -> Verdict {
        self.fetch().await
    }

    /// Between two fetches, now and then a change.
    async fn check(&mut self) -> Verdict {
        if !self.random.random_bool(CHANGES) {
            return Verdict::Good;
        }
        let next = self.list.idle.lock().pop_front();
        match next {
            Some(listed) => self.change(listed).await,
            None => Verdict::Wrong("no credential is left that could be changed".to_owned()),
        }
    }
}

/// How many bits a list has that is for so many entries.
fn bits_for(entries: u32) -> Option<u32> {
    entries.max(LEAST_ENTRIES).checked_next_power_of_two()
}

/// Plays the scenario; with `entries`, on a platform whose lists are for so many credentials.
pub async fn run(entries: Option<u32>, common: &Common) -> Result<Report> {
    let bits = match entries {
        Some(entries) => {
            common.own("another one's lists are as long as they are")?;
            bits_for(entries).context("a list cannot have so many entries")?
        }
        None => LEAST_ENTRIES,
    };
    let subject = Subject::open(common, &["--status-list-bits", &bits.to_string()]).await?;
    let seed = common.seed.unwrap_or_default();
    let full = parts::measure(&["status-list", "--entries", "1000000"]).await?;
    let list = List::open(&subject).await?;
    let workers = common.workers(CONNECTIONS);
    let fetcher = |n: usize| {
        let connection = |base: &str| Connection::new(base, subject.tape.clone());
        let (public, admin) = (connection(&subject.public)?, connection(&subject.admin)?);
        Ok(Fetcher { list: list.clone(), public, admin, random: StdRng::seed_from_u64(seed.wrapping_add(n as u64)) })
    };
    let fetchers = (0..workers).map(fetcher).collect::<Result<Vec<_>>>()?;
    let ready = async {
        list.visible.lock().reset();
        Ok(())
    };
    let (_, mut outcome, mut report) = play::window("status-list", &subject, common, fetchers, ready).await?;
    let answer = Connection::new(&subject.public, None)?.send(Call::get(&list.path, "")).await?.body.len();
    let visible = list.visible.lock().clone();
    for (name, value) in [
        ("entries", json!(list.entries.load(Ordering::Relaxed))),
        ("list_bytes", json!(answer)),
        ("change_visible_p50_ms", json!(quantile_ms(&visible, 0.5))),
        ("change_visible_p95_ms", json!(quantile_ms(&visible, 0.95))),
        ("change_visible_max_ms", json!(quantile_ms(&visible, 1.0))),
    ] {
        report.more.insert(name.to_owned(), value);
    }
    play::changes(&mut report, &mut outcome, visible.len(), CHANGES);
    report.more.extend(full.into_iter().map(|(name, value)| (format!("full_{name}"), value)));
    play::conclude(report, outcome, &subject, common, Sizes { request: 0, token: 0, answer, connections: workers }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_credential_is_read() {
        let status = |purpose: &str, index: &str| json!({"statusPurpose": purpose, "statusListIndex": index, "statusListCredential": format!("http://localhost:1/statuslist/issuer/{purpose}")});
        let credential = json!({"credentialStatus": [status("suspension", "7"), status("revocation", "8")]});
        assert_eq!(entry(&credential), Some(("/statuslist/issuer/suspension".to_owned(), 7)));
        assert_eq!(entry(&json!({"credentialStatus": [status("revocation", "8")]})), None);
    }

    #[test]
    fn lists_have_a_bit_for_each_entry() {
        assert_eq!(
            [1, 131_072, 131_073, 1_000_000, u32::MAX].map(bits_for),
            [Some(131_072), Some(131_072), Some(262_144), Some(1 << 20), None]
        );
    }
}
