//! Lists of archived processes, in a store: what is found by marks is what is found by looking at all.

use super::{
    Field, Filed, Sought,
    event::{self, filing},
    list::{self, Asked, Limits, ListError, MAX_MATCHES},
};
use crate::control_plane::{
    ControlPlane, ControlPlaneState, Event,
    dsp::Role,
    negotiation::{self, Agreement, Negotiation, State, view},
};
use cellspace_cluster::{Address, Agent, Cluster, Options, RowOf, SystemClock};
use cellspace_schemas::{
    Did, Owner, QuerySpec, Timestamp,
    query_spec::{Criterion, Operator, SortOrder},
};
use cellspace_storage::{AuditRow, Batch, CommitOutcome, EmbeddedOptions, EmbeddedStore, Partitions, Permit, RowChange, Seq, Wake};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};
use tokio::runtime::Runtime;

/// Processes in the archive: more than are read at once.
const ARCHIVED: usize = 600;
/// More than it is seen by at first which field has the fewest.
const EARLY: usize = 70;
const STATES: [State; 3] = [State::Finalized, State::Terminated, State::Requested];

fn peer(n: usize) -> Did {
    Did::new(format!("did:web:peer-{n}")).unwrap()
}

/// One of very many for the most part, or one of few.
fn process(n: usize, state: State) -> Negotiation {
    let role = if n.is_multiple_of(7) { Role::Provider } else { Role::Consumer };
    let mut process = negotiation::tests::negotiation(state, role);
    process.id = format!("n-{n:05}").parse().unwrap();
    process.counterparty = peer(if n.is_multiple_of(150) { 9 } else { n % 3 });
    let asset = match n {
        ..EARLY => "early",
        n if n < ARCHIVED / 2 => "first",
        _ => "second",
    };
    process.offer.target = asset.parse().unwrap();
    // Some began at the same time.
    process.created_at = Timestamp(i64::try_from(n * 31 % 250).unwrap() - 100);
    process.state_at = Timestamp(i64::try_from(n * 7_919 % 1_000).unwrap());
    process.counterparty_pid = None;
    if state == State::Finalized {
        let agreement = Agreement::on(&process.offer, format!("ag-{n}").parse().unwrap(), peer(0), peer(1), Timestamp(5));
        process.agreement = Some(Arc::new(agreement));
    }
    process
}

/// A participant with an archive, and what is in it and in the state.
struct World {
    runtime: Runtime,
    cluster: Cluster,
    address: Address,
    state: Arc<ControlPlaneState>,
    /// With the fields that queries compare.
    all: BTreeMap<String, (Arc<Negotiation>, Value)>,
    _folder: tempfile::TempDir,
}

impl World {
    /// As it is now, or as an earlier version left it, without marks.
    fn open(marked: bool) -> Self {
        let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).unwrap());
        let cluster = Cluster::new(store.clone(), store.clone(), Arc::new(SystemClock), Options::default());
        let address = Address::of::<ControlPlane>(Owner::new("acme").unwrap());
        let (mut state, mut all, mut rows) = (ControlPlaneState::default(), BTreeMap::new(), Vec::new());
        for event in [event::Event::Opened].into_iter().chain(marked.then_some(event::Event::Marking)) {
            event::apply(&mut state.archive, &event);
        }
        for n in 0..ARCHIVED {
            let process = Arc::new(process(n, if n.is_multiple_of(4) { State::Terminated } else { State::Finalized }));
            let filed = filing(&process, event::Event::Negotiation(process.clone()));
            for event in filed.into_iter().filter(|event| marked || !matches!(event, event::Event::Marked(_))) {
                let event = Event::from(event);
                let RowOf::Put(key) = ControlPlane::row(&event) else { panic!("{event:?} writes nothing") };
                rows.push(RowChange::Put(key, json!({"v": 1, "body": event}).to_string().into()));
            }
            all.insert(process.id().to_owned(), (process.clone(), fields(&process)));
        }
        // Some are in the state alone, and some came back and have another state since.
        for n in (0..ARCHIVED).step_by(97).chain(ARCHIVED..ARCHIVED + 20) {
            let process = Arc::new(process(n, State::Requested));
            Negotiation::show(&mut state, process.clone());
            all.insert(process.id().to_owned(), (process.clone(), fields(&process)));
        }
        let committed = runtime.block_on(async {
            let partition = address.partition();
            let claim = store.claim(&partition, 1).await.unwrap();
            let (audit, wake) = (AuditRow("{}".into()), Wake::default());
            store
                .commit(Batch { partition, epoch: claim.epoch, seq: Seq(1), rows, audit, wake, publish: vec![], permit: Permit::default() })
                .await
        });
        assert_eq!(committed, CommitOutcome::Applied);
        Self { runtime, cluster, address, state: Arc::new(state), all, _folder: folder }
    }

    fn listed(&self, limits: Limits, query: &QuerySpec, sought: &[Sought]) -> Result<list::Listed<Negotiation>, ListError> {
        let asked = Asked { query: query.clone(), sought: sought.to_vec(), judged: is_judged(query, sought), fields: Box::new(fields) };
        self.runtime.block_on(list::all_within(limits, &self.cluster, &self.address, &self.state, &Arc::new(asked)))
    }

    /// Ids on the page that the query asks for, where the next one begins, and how many there are if that is known.
    fn page(&self, query: &QuerySpec, sought: &[Sought]) -> (Vec<String>, Option<String>, Option<usize>) {
        // With so few, both ways of the newest are gone.
        let limits = Limits { few: 100, ..Limits::default() };
        let listed = self.listed(limits, query, sought).unwrap();
        let page = if is_judged(query, sought) { query.unfiltered() } else { query.clone() }.page(listed.found, |n| fields(n), |n| n.id());
        let next = page.next.map(|next| next.token(query));
        (page.items.iter().map(|n| n.id().to_owned()).collect(), next, page.total.filter(|_| listed.whole))
    }
}

/// As it is done for what is sought in every criterion.
fn is_judged(query: &QuerySpec, sought: &[Sought]) -> bool {
    sought.len() == query.filter.len()
}

fn fields(n: &Negotiation) -> Value {
    view::negotiation_for_query(n, "acme")
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::open(true));

const FIELDS: [(&str, Field); 4] =
    [("state", Field::State), ("type", Field::Role), ("counterPartyId", Field::Counterparty), ("assetId", Field::Asset)];

fn sought(query: &QuerySpec) -> Vec<Sought> {
    let of = |criterion: &Criterion| {
        let (_, field) = FIELDS.iter().find(|(name, _)| criterion.left.names(name))?;
        Sought::of::<Negotiation>(*field, criterion)
    };
    query.filter.iter().filter_map(of).collect()
}

fn values() -> impl Strategy<Value = Value> {
    let words = [
        "FINALIZED",
        "TERMINATED",
        "REQUESTED",
        "CONSUMER",
        "PROVIDER",
        "early",
        "first",
        "second",
        "third",
        "did:web:peer-0",
        "did:web:peer-9",
    ];
    let codes = STATES.map(State::code);
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(Value::from),
        1 => proptest::sample::select(codes.to_vec()).prop_map(Value::from),
        1 => proptest::sample::select(codes.to_vec()).prop_map(|code| code.to_string().into()),
        1 => proptest::sample::select(vec![json!({"no": "text"}), json!(1200.0), json!("1200.0"), json!(true)]),
    ]
}

fn criteria() -> impl Strategy<Value = Criterion> {
    let left = proptest::sample::select(vec!["state", "type", "counterPartyId", "assetId", "edc:state"]);
    let right = prop_oneof![
        3 => values().prop_map(|value| (Operator::Equal, value)),
        2 => prop::collection::vec(values(), 0..4).prop_map(|values| (Operator::In, values.into())),
        1 => values().prop_map(|value| (Operator::NotEqual, value)),
    ];
    (left, right).prop_map(|(left, (operator, right))| Criterion { left: left.parse().unwrap(), operator, right })
}

fn queries() -> impl Strategy<Value = QuerySpec> {
    let sort = proptest::sample::select(vec![None, None, Some("stateTimestamp"), Some("createdAt"), Some("edc:createdAt")]);
    let order = proptest::sample::select(vec![SortOrder::Asc, SortOrder::Desc]);
    (0..60_usize, 1..80_usize, sort, order, prop::collection::vec(criteria(), 0..4)).prop_map(|(offset, limit, sort, order, filter)| {
        QuerySpec { offset, limit, sort: sort.map(|sort| sort.parse().unwrap()), order, filter, after: None }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..cellspace_schemas::testkit::proptest_config() })]

    /// Page after page the same is found by marks, by looking at all, and by definition.
    #[test]
    fn marks_lead_to_what_meets_the_query(query in queries()) {
        let world = &*WORLD;
        let mut at = query.clone();
        for _ in 0..3 {
            let defined = at.page(world.all.values(), |(_, fields)| fields.clone(), |(n, _)| n.id());
            let ids: Vec<String> = defined.items.iter().map(|(n, _)| n.id().to_owned()).collect();
            let (found, next, total) = world.page(&at, &sought(&at));
            prop_assert_eq!(&found, &ids, "{:?}", at);
            prop_assert_eq!(&next, &defined.next.as_ref().map(|next| next.token(&at)));
            prop_assert!(total.is_none() || total == defined.total);
            if at.after.is_none() {
                let (looked, looked_next, _) = world.page(&at, &[]);
                prop_assert_eq!((&found, &next), (&looked, &looked_next));
            }
            let Some(next) = next else { break };
            at = query.clone().after(&next).unwrap();
        }
    }
}

#[test]
fn what_was_archived_without_marks_is_found() {
    let world = World::open(false);
    let query = QuerySpec {
        filter: vec![Criterion { left: "state".parse().unwrap(), operator: Operator::Equal, right: json!(1_400) }],
        ..QuerySpec::default()
    };
    let (found, ..) = world.page(&query, &sought(&query));
    assert_eq!(found.len(), 50, "{:?}", State::Terminated.code());
    assert_eq!(WORLD.page(&query, &sought(&query)).0, found);
}

/// A list costs what its way costs, and one that is too long is left for the next.
#[test]
fn what_would_take_too_long_is_refused() {
    let world = &*WORLD;
    let by = |left: &str, right: &str| Criterion { left: left.parse().unwrap(), operator: Operator::Equal, right: json!(right) };
    let created = |order, filter| QuerySpec { sort: Some("createdAt".parse().unwrap()), order, filter, limit: 2, ..QuerySpec::default() };
    let changed = || QuerySpec { sort: Some("stateTimestamp".parse().unwrap()), limit: 2, ..QuerySpec::default() };
    let peer_9 = || vec![by("counterPartyId", "did:web:peer-9")];
    let limits = |rows, reads, few| Limits { rows, reads, few, ..Limits::default() };
    let both = |one: Criterion, others: Vec<Criterion>| [vec![one], others].concat();
    let table = [
        ("the few of a peer", created(SortOrder::Desc, peer_9()), limits(300, 4, 10), true),
        ("its newest, among all", created(SortOrder::Desc, peer_9()), limits(700, 700, 1), true),
        ("among too many: its few are looked for after all", created(SortOrder::Desc, peer_9()), limits(300, 20, 1), true),
        ("the newest of all", created(SortOrder::Desc, vec![]), limits(10, 10, 10), true),
        ("the oldest of all", created(SortOrder::Asc, vec![]), limits(10, 10, 10), true),
        ("too many that must be read: all are looked at", created(SortOrder::Asc, vec![]), limits(ARCHIVED, 0, 10), true),
        ("too many rows", changed(), limits(ARCHIVED - 1, ARCHIVED, 10), false),
        (
            "the field with the few leads",
            QuerySpec { filter: both(by("type", "CONSUMER"), peer_9()), ..QuerySpec::default() },
            limits(150, 4, 0),
            true,
        ),
        (
            "also when it is the other one later",
            QuerySpec { filter: both(by("assetId", "early"), vec![by("type", "CONSUMER")]), limit: 100, ..QuerySpec::default() },
            limits(300, 70, 0),
            true,
        ),
        (
            "too many marks: all are looked at",
            QuerySpec { filter: vec![by("type", "CONSUMER")], ..QuerySpec::default() },
            limits(256, 10, 10),
            true,
        ),
    ];
    for (what, query, limits, told) in table {
        let outcome = world.listed(limits, &query, &sought(&query));
        assert_eq!(outcome.is_ok(), told, "{what}: {:?}", outcome.err());
        assert!(told || matches!(outcome, Err(ListError::TooMany)), "{what}");
    }
    let skips = QuerySpec { offset: MAX_MATCHES + 1, ..QuerySpec::default() };
    assert!(world.listed(Limits::default(), &skips, &[]).is_err());
    let sorted = QuerySpec { sort: Some("stateTimestamp".parse().unwrap()), ..QuerySpec::default() };
    for (matches, told) in [(ARCHIVED, true), (100, false)] {
        assert_eq!(world.listed(Limits { matches, ..Limits::default() }, &sorted, &[]).is_ok(), told);
    }
}

#[test]
fn states_are_found_by_their_numbers() {
    let asks = |right: Value| {
        let criterion = Criterion { left: "state".parse().unwrap(), operator: Operator::In, right };
        Sought::of::<Negotiation>(Field::State, &criterion).map(|sought| sought.values.join(" "))
    };
    let finalized = State::Finalized.code();
    assert_eq!(asks(json!([finalized, finalized.to_string(), "FINALIZED", "OTHER", 1])).as_deref(), Some("1 FINALIZED OTHER"));
    assert_eq!(asks(json!([1200.0])), None, "a number that is written otherwise");
    assert_eq!(asks(json!((0..17).collect::<Vec<_>>())), None, "too many to look up");
}
