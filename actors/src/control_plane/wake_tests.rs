//! Deadlines of negotiations and transfers wake a participant that nobody asks for, after a restart, and also when the rows are those of an earlier version,
//! which knew of no deadline in them.

use super::{
    ControlPlane, Event,
    dsp::Role,
    negotiation::{self, Agreement, Negotiation},
    participant, testing,
    transfer::{self, Transfer},
};
use crate::{
    DcpOptions, OutboundHttp, PublicUrls, Services,
    access::TokenIssuer,
    fabric::Backlog,
    outbound::OutboundOptions,
    settings::SettingsCache,
    trust::{Trust, TrustOptions, testing::TestVault},
};
use cellspace_cluster::{Address, Agent, Clock, Cluster, Options, RowOf, SystemClock};
use cellspace_schemas::{Owner, Timestamp, management::ParticipantContextState};
use cellspace_storage::{
    AuditRow, Batch, CommitOutcome, EmbeddedOptions, EmbeddedStore, OpenError, Partitions, Permit, RowChange, Seq, Slots, Wake, WakeIndex,
};
use serde_json::{Value, json};
use std::{future::Future, path::Path, sync::Arc, time::Duration};
use tokio::{
    runtime::Runtime,
    task::{spawn_blocking, yield_now},
    time::timeout,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longest time for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The machine's clock, so much later.
#[derive(Debug)]
struct Later(Duration);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
    }
}

/// One life of a node, on a runtime of its own, with the rows that it finds there.
fn life<F: Future<Output = ()>>(folder: &Path, later: Duration, rows: Vec<Event>, live: impl FnOnce(EmbeddedStore, Cluster) -> F) {
    Runtime::new().unwrap().block_on(async {
        // Tasks of the last life may still be letting go of the directory.
        let opened = async {
            loop {
                match EmbeddedStore::open(folder, EmbeddedOptions::default()) {
                    Err(OpenError::Locked { .. }) => yield_now().await,
                    opened => break opened.unwrap(),
                }
            }
        };
        let store = timeout(PATIENCE, opened).await.unwrap();
        if !rows.is_empty() {
            seed(&store, rows).await;
        }
        let cluster = Cluster::new(Arc::new(store.clone()), Arc::new(store.clone()), Arc::new(Later(later)), Options::default());
        let services = services(&store, &cluster).await;
        cluster.register(Arc::new(ControlPlane::new(services, Arc::new(testing::Silent))));
        cluster.start().await.unwrap();
        timeout(PATIENCE, live(store.clone(), cluster.clone())).await.unwrap();
        cluster.drain(Duration::from_secs(5)).await;
        spawn_blocking(move || store.close()).await.unwrap();
    });
}

async fn services(store: &EmbeddedStore, cluster: &Cluster) -> Services {
    let http = OutboundHttp::new(OutboundOptions::default()).unwrap();
    let vault = Arc::new(TestVault::default());
    let urls = PublicUrls { public: "http://localhost:8080".parse().unwrap(), admin: "http://localhost:8081".parse().unwrap() };
    Services {
        cluster: cluster.clone(),
        cell: "cell-1".into(),
        tokens: Arc::new(TokenIssuer::open(vault.clone(), "http://localhost:8081".into()).await.unwrap()),
        vault,
        events: Arc::new(store.clone()),
        trust: Arc::new(Trust::new(Arc::new(http.clone()), TrustOptions::default())),
        own: http.clone(),
        http,
        dcp: DcpOptions::default(),
        urls: Arc::new(urls),
        settings: SettingsCache::default(),
        workers: Arc::default(),
        backlog: Backlog::default(),
        status_lists: Arc::default(),
    }
}

fn address() -> Address {
    Address::of::<ControlPlane>(Owner::new("p").unwrap())
}

/// Writes the rows as a version did that saw no deadline in them.
async fn seed(store: &EmbeddedStore, events: Vec<Event>) {
    let put = |event: Event| {
        let RowOf::Put(key) = ControlPlane::row(&event) else { panic!("{event:?} writes nothing") };
        RowChange::Put(key, json!({"v": 1, "body": event}).to_string().into())
    };
    let (partition, rows) = (address().partition(), events.into_iter().map(put).collect());
    let epoch = store.claim(&partition, 1).await.unwrap().epoch;
    let (audit, wake) = (AuditRow("{}".into()), Wake::default());
    let batch = Batch { partition: partition.clone(), epoch, seq: Seq(1), rows, audit, wake, publish: vec![], permit: Permit::default() };
    assert_eq!(store.commit(batch).await, CommitOutcome::Applied);
    store.release(&partition, epoch);
}

/// Waits until the row is as wanted, without asking its agent.
async fn stored(store: &EmbeddedStore, event: Event, wanted: impl Fn(Event) -> bool) {
    let RowOf::Put(key) = ControlPlane::row(&event) else { panic!("{event:?} writes nothing") };
    loop {
        let row = store.get(&address().partition(), &key).await.unwrap().unwrap();
        let mut row: Value = serde_json::from_slice(&row.value).unwrap();
        if wanted(serde_json::from_value(row["body"].take()).unwrap()) {
            return;
        }
        yield_now().await;
    }
}

/// In a first life somebody looks at the participant once; in a second one, so much later, nobody does.
fn wakes(rows: Vec<Event>, due: Timestamp, later: Duration, awaited: Event, wanted: impl Fn(Event) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let here = testing::participant(ParticipantContextState::Activated);
    let rows = std::iter::once(participant::Event::Set(here).into()).chain(rows).collect();
    life(folder.path(), Duration::ZERO, rows, async |store, cluster| {
        assert!(cluster.read::<ControlPlane, _>(&address(), |state| state.participant.is_some()).await.unwrap());
        let known = loop {
            match store.due(&Slots::All, Timestamp(i64::MAX), None, 9).await.unwrap().entries.pop() {
                Some(row) => break row,
                None => yield_now().await,
            }
        };
        assert_eq!((known.due, known.partition), (due, address().partition()));
    });
    life(folder.path(), later, vec![], async |store, _cluster| stored(&store, awaited, wanted).await);
}

#[test]
fn a_negotiation_that_waited_too_long_wakes_its_participant() {
    let waiting =
        Negotiation { state_at: SystemClock.now(), ..negotiation::tests::negotiation(negotiation::State::Requested, Role::Consumer) };
    let due = waiting.due().unwrap();
    let row: Event = negotiation::Event::Set(Arc::new(waiting)).into();
    let ended = |event| match event {
        Event::Negotiation(negotiation::Event::Set(n)) => {
            matches!(n.state, negotiation::State::Terminating | negotiation::State::Terminated)
        }
        other => panic!("{other:?}"),
    };
    wakes(vec![row.clone()], due, DAY * 8, row, ended);
}

#[test]
fn a_transfer_that_is_to_be_looked_at_wakes_its_participant() {
    let mut agreed = negotiation::tests::negotiation(negotiation::State::Finalized, Role::Provider);
    let agreement = Agreement::on(&agreed.offer, "ag".parse().unwrap(), testing::own(), testing::peer(), Timestamp(5));
    agreed.agreement = Some(Arc::new(agreement));
    let due = SystemClock.now().plus(DAY);
    let running = Transfer { look_at: Some(due), ..transfer::tests::transfer(transfer::State::Started, Role::Provider) };
    let row: Event = transfer::Event::Set(Arc::new(running)).into();
    let looked = |event| match event {
        Event::Transfer(transfer::Event::Set(t)) => t.look_at.is_none(),
        other => panic!("{other:?}"),
    };
    wakes(vec![negotiation::Event::Set(Arc::new(agreed)).into(), row.clone()], due, DAY * 2, row, looked);
}
