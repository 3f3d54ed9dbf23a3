//! Whoever carries out a move is killed, at each of its steps, and a whole cell is: others go on, and nothing that was acknowledged is lost.

use super::{CELLS, Clients, Known, MOVERS, PATIENCE, Place, home, made, moved};
use crate::support::Platform;
use cellspace::{Node, node::Roles};
use cellspace_schemas::Owner;
use cellspace_storage::{Batch, CellName, Movable, NodeName, PartitionKey, Partitions, Permit, ScyllaOptions, ScyllaStore, testkit::Turn};
use futures::future::{FutureExt, join_all};
use serde::{Deserialize, Serialize};
use std::{
    os::unix::process::ExitStatusExt,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    join,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

/// What a copy of this test program is to do, as its parent says it.
const ORDERS: &str = "CELLSPACE_TEST_ORDERS";
const SIGKILL: i32 = 9;
/// How long a lease and its margin last in a cell that is left: longer in all than the calls for a move go on that see it end.
const LASTING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(1));
/// How long the first of those calls goes on, and by how much longer each next one, since a busy machine may need that.
const CALL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(100));
/// Of the clients of a participant, so that what they write does not grow for as long as this lasts.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    place: Known,
    urls: (String, String),
    task: Task,
}

#[derive(Debug, Serialize, Deserialize)]
enum Task {
    /// Carries out a move, by a process of this name that serves nothing, until it is killed as this event comes for this time.
    Moves { node: String, owner: String, to: String, dies: (String, usize) },
    /// Is the second cell, until it is killed.
    Serves,
}

/// Kills this process, as `kill -9` does, when it is about to do something, or has done it.
struct Killer {
    at: String,
    left: AtomicUsize,
}

#[derive(Default)]
struct Fields {
    action: String,
    step: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "action" => value.clone_into(&mut self.action),
            "step" => value.clone_into(&mut self.step),
            _ => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Killer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let told = match fields.action.as_str() {
            "owner.relocation_step" => format!("before {}", fields.step),
            "owner.relocation_step_ended" => format!("after {}", fields.step),
            "owner.relocation_copied" => "amid a copy".to_owned(),
            _ => return,
        };
        if told == self.at && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = std::process::Command::new("sh").args(["-c", "kill -KILL $PPID"]).status();
        }
    }
}

impl Orders {
    /// As a process of its own.
    async fn follow(self) {
        let place = Place { known: self.place, _dir: None };
        let urls = (self.urls.0.parse().unwrap(), self.urls.1.parse().unwrap());
        match self.task {
            Task::Serves => {
                let _serves = Box::pin(place.start(1, Some(urls), |cell| (cell.terms.lease, cell.terms.margin) = LASTING)).await;
                println!("up");
                std::future::pending().await
            }
            Task::Moves { node, owner, to, dies: (at, times) } => {
                let killer = Killer { at, left: AtomicUsize::new(times) };
                tracing::subscriber::set_global_default(tracing_subscriber::registry().with(killer)).unwrap();
                let mover = Box::pin(place.start(0, Some(urls), |cell| {
                    cell.node = NodeName(node);
                    cell.roles = Roles { gateway: true, runtime: false, fabric: false };
                }));
                let mover = mover.await;
                let (directory, owner) = (mover.app.nodes.clone().unwrap(), Owner::new(&owner).unwrap());
                loop {
                    let cluster = &mover.app.services.cluster;
                    let report = Box::pin(directory.move_to(cluster, &owner, "control-plane", &CellName(to.clone()))).await.unwrap();
                    assert!(report.given_up.is_none(), "{report:?}");
                    if report.done {
                        println!("done");
                        return;
                    }
                }
            }
        }
    }

    /// Has a copy of this test program follow them, which runs the test of this name alone.
    fn given_to(&self, test: &str) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([&format!("two_cells::killed::{test}"), "--exact", "--nocapture"]);
        child.env(ORDERS, serde_json::to_string(self).unwrap()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        child.spawn().unwrap()
    }

    fn given() -> Option<Self> {
        std::env::var(ORDERS).ok().map(|orders| serde_json::from_str(&orders).unwrap())
    }
}

impl Place {
    async fn stores(&self) -> Vec<ScyllaStore> {
        let mut stores = Vec::new();
        for keyspace in &self.keyspaces {
            stores.push(ScyllaStore::open(ScyllaOptions::new(self.cassandra.clone(), keyspace)).await.unwrap());
        }
        stores
    }
}

/// The cells in which something of the participant can be served, and those in which something of it lies.
async fn where_it_is(stores: &[ScyllaStore], node: &Node, owner: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut serve, mut hold) = (Vec::new(), Vec::new());
    for (cell, store) in CELLS.into_iter().zip(stores) {
        let mut all = Vec::new();
        for kind in node.app.services.cluster.kinds() {
            let key = PartitionKey { owner: Owner::new(owner).unwrap(), kind: kind.to_owned(), name: String::new() };
            all.push(store.standing(&key).await.unwrap());
        }
        serve.extend(all.iter().any(|standing| standing.seal.is_none() && standing.seq.is_some()).then_some(cell));
        hold.extend(all.iter().any(|standing| standing.holds).then_some(cell));
    }
    (serve, hold)
}

/// How a move ends whose mover has died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Somebody asks for it again.
    Asked,
    /// Nothing was decided: others give it up by themselves.
    GivenUp,
    /// It was decided: others end it by themselves, before anybody asks for it again.
    Ended,
}

/// At which steps movers die, and for which time that each comes to one. The groups are played at once, each with a participant of its own, by nodes of these names.
const DEATHS: [&[(&str, usize, End)]; 3] = [
    // Once all is sealed whoever is asked finds that; of what nobody asks for it is not found that it is sealed.
    &[("amid a copy", 1, End::Asked), ("before copy", 1, End::GivenUp), ("after copy", 1, End::Asked), ("after seal", 2, End::Asked)],
    &[("after record moving", 1, End::Asked), ("before record moved", 1, End::Asked), ("after record moved", 1, End::Ended)],
    &[("after unseal", 1, End::Ended), ("before clear", 1, End::Ended), ("after record settled", 1, End::Asked)],
];

/// Movers that are sent for one death at most.
const TRIES: usize = 5;

/// Where movers die.
struct Deaths {
    place: Place,
    platform: Arc<Platform>,
    ports: [u16; 2],
    stores: Vec<ScyllaStore>,
}

impl Deaths {
    /// One after another, by movers of this name, while the participant is used.
    async fn of(&self, owner: &str, node: &str, test: &str, deaths: &[(&str, usize, End)]) {
        let Self { platform, ports, .. } = self;
        made(platform, ports[0], owner).await;
        let clients = Clients::begin(platform, owner, *ports, PAUSE);
        // Enough for copies of several batches.
        clients.more(150).await;
        for (n, (at, times, end)) in deaths.iter().enumerate() {
            let (from, to) = self.dies(owner, node, test, (at, *times)).await;
            // Whoever is asked for it: all are served again before long.
            match end {
                End::Asked => moved(platform, ports[n % 2], owner, to).await,
                End::GivenUp | End::Ended => clients.more(20).await,
            }
            self.settled(owner, at, if *end == End::GivenUp { &from } else { to }).await;
            clients.more(10).await;
        }
        clients.end_well(platform).await;
    }

    /// Sends a mover that dies at this step, when it has come to so many of them; where from, and where to.
    async fn dies(&self, owner: &str, node: &str, test: &str, (at, times): (&str, usize)) -> (String, &'static str) {
        let Self { platform, .. } = self;
        let urls = (platform.node.urls.public.to_string(), platform.node.urls.admin.to_string());
        for _ in 0..TRIES {
            let from = home(&platform.node, owner).await;
            let to = CELLS[usize::from(from == CELLS[0])];
            let task = Task::Moves { node: node.to_owned(), owner: owner.to_owned(), to: to.to_owned(), dies: (at.to_owned(), times) };
            let mut mover = Orders { place: self.place.known.clone(), urls: urls.clone(), task }.given_to(test);
            let ended = timeout(PATIENCE, mover.wait()).await.expect("the mover ends").unwrap();
            if ended.signal() == Some(SIGKILL) {
                return (from, to);
            }
            // Others found what was left to do, and were faster: it ended well, and the next one goes back.
            assert!(ended.success(), "{at}: {ended}");
        }
        panic!("{at}: it was to be killed");
    }

    /// Who is served may still be on the way to be settled.
    async fn settled(&self, owner: &str, at: &str, cell: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = home(&self.platform.node, owner).await;
            let (serve, hold) = where_it_is(&self.stores, &self.platform.node, owner).await;
            if now == cell && serve == [cell] && hold == [cell] {
                return;
            }
            assert!(Instant::now() < until, "{at}: {owner} is in {now} and not {cell}, is served in {serve:?} and lies in {hold:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_ended_or_given_up_whenever_its_mover_is_killed() {
    const NAME: &str = "a_move_is_ended_or_given_up_whenever_its_mover_is_killed";
    if let Some(orders) = Orders::given() {
        return Box::pin(orders.follow()).await;
    }
    let Some(place) = Place::of("two_cells_killed").await else { return };
    let a = Box::pin(place.node(0, None)).await;
    let b = Box::pin(place.node(1, Some(&a))).await;
    let mut platform = Platform::of(a, None).await;
    platform.beside = vec![b];
    let ports = [&platform.node, &platform.beside[0]].map(|node| node.admin_address().unwrap().port());
    let stores = place.stores().await;
    let deaths = Deaths { place, platform: Arc::new(platform), ports, stores };
    let played = MOVERS.iter().zip(DEATHS).enumerate();
    let played = played.map(|(n, (node, group))| {
        let deaths = &deaths;
        async move { deaths.of(&format!("p{}", n + 1), node, NAME, group).await }.boxed()
    });
    join_all(played).await;
    deaths.place.left_by(Arc::into_inner(deaths.platform).unwrap()).await;
}

/// A commit of which a node has written the events when it dies.
async fn begun(store: &ScyllaStore) -> PartitionKey {
    let key = PartitionKey { owner: Owner::new("p1").unwrap(), kind: "control-plane".to_owned(), name: String::new() };
    let claim = store.claim(&key, 1 << 20).await.unwrap();
    // Asked for after the events are written.
    let permit = Permit::while_so(|| panic!("the node dies"));
    let batch = Batch { permit, ..Turn::after(&key, claim).publish("never", "k", "never").batch() };
    let store = store.clone();
    assert!(tokio::spawn(async move { store.commit(batch).await }).await.unwrap_err().is_panic());
    key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_leaves_a_cell_of_which_every_node_is_dead() {
    const NAME: &str = "a_participant_leaves_a_cell_of_which_every_node_is_dead";
    if let Some(orders) = Orders::given() {
        return Box::pin(orders.follow()).await;
    }
    let Some(place) = Place::of("two_cells_left").await else { return };
    let a = Box::pin(place.node(0, None)).await;
    let urls = (a.urls.public.to_string(), a.urls.admin.to_string());
    let mut second = Orders { place: place.known.clone(), urls, task: Task::Serves }.given_to(NAME);
    let mut said = BufReader::new(second.stdout.take().unwrap()).lines();
    while !timeout(PATIENCE, said.next_line()).await.expect("it starts").unwrap().expect("it is up").ends_with("up") {}
    let (platform, stores) = (Arc::new(Platform::of(a, None).await), place.stores().await);
    let port = platform.node.admin_address().unwrap().port();
    made(&platform, port, "p1").await;
    moved(&platform, port, "p1", CELLS[1]).await;
    let clients = Clients::begin(&platform, "p1", [port; 2], PAUSE);
    clients.more(50).await;
    second.kill().await.unwrap();
    let left = begun(&stores[1]).await;
    assert!(stores[1].standing(&left).await.unwrap().publishing.is_some());
    // Each call is over before the lease is: one goes on with what another one has seen.
    let (directory, owner, back) = (platform.node.app.nodes.as_ref().unwrap(), Owner::new("p1").unwrap(), CellName(CELLS[0].to_owned()));
    let (mut time, longest) = (CALL.0, LASTING.0 + LASTING.1);
    loop {
        let call = directory.move_to(&platform.node.app.services.cluster, &owner, "control-plane", &back);
        if timeout(time, Box::pin(call)).await.is_ok_and(|report| report.unwrap().done) {
            break;
        }
        time += CALL.1;
        assert!(time < longest, "it does not end");
    }
    assert_eq!(home(&platform.node, "p1").await, CELLS[0]);
    assert_eq!(stores[1].standing(&left).await.unwrap().publishing, None);
    // Nobody goes to a cell that serves nobody, and is served where it is meanwhile.
    let away = CellName(CELLS[1].to_owned());
    let goes = Box::pin(directory.move_to(&platform.node.app.services.cluster, &owner, "control-plane", &away));
    let (report, ()) = join!(goes, async {
        clients.more(20).await;
        clients.end_well(&platform).await;
    });
    let report = report.unwrap();
    assert!(!report.done && report.cell.0 == CELLS[0] && report.waits.is_some(), "{report:?}");
    assert_eq!(where_it_is(&stores, &platform.node, "p1").await, (vec![CELLS[0]], vec![CELLS[0]]));
    place.left_by(Arc::into_inner(platform).unwrap()).await;
}
