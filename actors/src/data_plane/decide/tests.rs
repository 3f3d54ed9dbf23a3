//! Properties that hold after any commands in any order.

use super::*;
use crate::data_plane::{
    flow::{ReceivedAddress, Terms},
    source::Authorization,
    usage::Amount,
};
use cellspace_cluster::{Agent, Input, RowOf};
use cellspace_schemas::{MessageId, TransferId, source::SourceMethod};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn terms(agreement: u8) -> Terms {
    Terms {
        counter_party: "did:web:peer".parse().unwrap(),
        dataspace: "p".parse().unwrap(),
        agreement: format!("ag-{agreement}").parse().unwrap(),
        dataset: "set".parse().unwrap(),
        transfer_type: "HttpData-PULL".parse().unwrap(),
    }
}

fn source(alias: Option<u8>) -> Arc<Source> {
    Arc::new(Source {
        base_url: "https://s.example/".parse().unwrap(),
        methods: SourceMethod::all(),
        path_prefixes: Vec::new(),
        allow_query: false,
        authorization: alias.map(|alias| Authorization { alias: secret(alias), header: "authorization".into() }),
    })
}

fn secret(alias: u8) -> KeyAlias {
    format!("secret-{alias}").parse().unwrap()
}

fn flow(n: u8) -> TransferId {
    format!("t-{n}").parse().unwrap()
}

fn message(n: u8) -> MessageId {
    format!("m-{n}").parse().unwrap()
}

/// A vault record that no other command brought.
fn record(step: usize) -> KeyAlias {
    format!("record-{step}").parse().unwrap()
}

/// What a command is made of; the step number makes its ids fresh.
#[derive(Debug, Clone)]
enum Asked {
    Put { name: u8, alias: Option<u8>, with_secret: bool },
    Delete(u8),
    Prepare { flow: u8, message: u8, agreement: u8 },
    Start { flow: u8, message: u8, source: u8 },
    Signal { flow: u8, message: Option<u8>, signal: Signal, address: bool },
    Usage { flow: u8, sender: u8, counter: u8, bytes: u32 },
}

fn asked() -> impl Strategy<Value = Asked> {
    let signals =
        prop_oneof![Just(Signal::Started), Just(Signal::Suspend), Just(Signal::Resume), Just(Signal::Terminate), Just(Signal::Completed)];
    prop_oneof![
        1 => (0..3_u8, proptest::option::of(0..2_u8), any::<bool>()).prop_map(|(name, alias, with_secret)| Asked::Put { name, alias, with_secret }),
        1 => (0..3_u8).prop_map(Asked::Delete),
        1 => (0..4_u8, 0..3_u8, 0..2_u8).prop_map(|(flow, message, agreement)| Asked::Prepare { flow, message, agreement }),
        1 => (0..4_u8, 0..3_u8, 0..3_u8).prop_map(|(flow, message, source)| Asked::Start { flow, message, source }),
        3 => (0..4_u8, proptest::option::of(0..4_u8), signals, any::<bool>())
            .prop_map(|(flow, message, signal, address)| Asked::Signal { flow, message, signal, address }),
        1 => (0..4_u8, 0..2_u8, 0..4_u8, any::<u32>())
            .prop_map(|(flow, sender, counter, bytes)| Asked::Usage { flow, sender, counter, bytes }),
    ]
}

fn prepared(asked: &Asked, step: usize) -> Prepared {
    let name = |n: u8| -> SourceName { format!("s-{n}").parse().unwrap() };
    let fresh = Uuid::from_u128(step as u128);
    let opening = |n: u8, m: u8, agreement, beginning| {
        Prepared::Open(Box::new(Opening { beginning, flow: flow(n), message: message(m), terms: terms(agreement), tenant: None }))
    };
    match asked {
        Asked::Put { name: n, alias, with_secret } => {
            let record = (*with_secret && alias.is_some()).then(|| record(step));
            Prepared::PutSource { name: name(*n), source: source(*alias), record, tenant: Some("tenant".into()) }
        }
        Asked::Delete(n) => Prepared::DeleteSource(name(*n)),
        Asked::Prepare { flow, message, agreement } => opening(*flow, *message, *agreement, Beginning::Prepare),
        Asked::Start { flow, message, source } => opening(*flow, *message, 0, Beginning::Start { source: name(*source), grant: fresh }),
        Asked::Signal { flow: n, message: m, signal, address } => Prepared::Signal(Box::new(Signalled {
            flow: flow(*n),
            message: m.map(message),
            signal: *signal,
            reason: None,
            address: address.then(|| {
                let (endpoint, endpoint_type) = ("https://x".to_owned(), "t".to_owned());
                OfferedAddress::Stored(ReceivedAddress { endpoint, endpoint_type, record: record(step) })
            }),
            grant: fresh,
        })),
        Asked::Usage { flow: n, sender, counter, bytes } => Prepared::RecordUsage {
            participant: "me".parse().unwrap(),
            batch: usage::Batch {
                sender: Uuid::from_u128(u128::from(*sender)),
                counter: u64::from(*counter),
                amounts: BTreeMap::from([(flow(*n), Amount { responses: 1, bytes: u64::from(*bytes) })]),
            },
        },
    }
}

/// The state with the rows it was written as.
#[derive(Default)]
struct Stored {
    state: DataPlaneState,
    rows: BTreeMap<Vec<u8>, Event>,
    forgotten: BTreeSet<KeyAlias>,
}

impl Stored {
    fn take(&mut self, command: &Prepared, now: Timestamp) -> Option<Decision<DataPlane>> {
        if let Some(record) = command.made() {
            self.state.notes.apply(&records::Event::Begun(record.clone(), now));
        }
        let before = self.state.clone();
        let decision = match DataPlane::decide(&before, &Input::Command(repeatable(command)), now) {
            Ok(decision) => decision,
            Err(_) => {
                command.made().into_iter().for_each(|record| self.state.notes.apply(&records::Event::Settled(record.clone())));
                return None;
            }
        };
        for event in &decision.events {
            self.state.apply(event);
            match event.row() {
                RowOf::Put(key) => self.rows.insert(key.as_bytes().to_vec(), event.clone()),
                RowOf::Delete(key) => self.rows.remove(key.as_bytes()),
            };
        }
        assert!(!decision.changes() || self.state.notes.is_empty(), "what is decided settles its note");
        command.made().into_iter().for_each(|record| self.state.notes.apply(&records::Event::Settled(record.clone())));
        for outgoing in &decision.effects {
            let Effect::Forget(alias) = &outgoing.effect;
            self.forgotten.insert(alias.clone());
        }
        Some(decision)
    }

    /// Records of the vault that something names.
    fn named(&self) -> BTreeSet<KeyAlias> {
        let received = self.state.flows.values().filter_map(|flow| flow.received.as_ref().map(|r| r.record.clone()));
        self.state.secrets.values().cloned().chain(received).collect()
    }
}

/// The same command once more; preparation is not repeated here.
fn repeatable(command: &Prepared) -> Prepared {
    match command {
        Prepared::PutSource { name, source, record, tenant } => {
            Prepared::PutSource { name: name.clone(), source: source.clone(), record: record.clone(), tenant: tenant.clone() }
        }
        Prepared::DeleteSource(name) => Prepared::DeleteSource(name.clone()),
        Prepared::Open(o) => Prepared::Open(Box::new(Opening {
            beginning: match &o.beginning {
                Beginning::Prepare => Beginning::Prepare,
                Beginning::Start { source, grant } => Beginning::Start { source: source.clone(), grant: *grant },
            },
            flow: o.flow.clone(),
            message: o.message.clone(),
            terms: o.terms.clone(),
            tenant: o.tenant.clone(),
        })),
        Prepared::Signal(s) => Prepared::Signal(Box::new(Signalled {
            flow: s.flow.clone(),
            message: s.message.clone(),
            signal: s.signal,
            reason: s.reason.clone(),
            address: s.address.clone(),
            grant: s.grant,
        })),
        Prepared::RecordUsage { participant, batch } => Prepared::RecordUsage { participant: participant.clone(), batch: batch.clone() },
        Prepared::Dispose => Prepared::Dispose,
        Prepared::Record(command) => Prepared::Record(command.clone()),
    }
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    #[test]
    fn whatever_is_asked(commands in prop::collection::vec(asked(), 0..60)) {
        let mut stored = Stored::default();
        for (step, asked) in commands.iter().enumerate() {
            let now = Timestamp(step as i64 * 1_000);
            let before = stored.state.clone();
            let command = prepared(asked, step);
            let decision = stored.take(&command, now);
            if decision.is_none() {
                continue;
            }
            for (id, flow) in before.flows.iter() {
                let after = &stored.state.flows[id];
                prop_assert!(!flow.state.is_final() || after == flow, "final stays final");
                prop_assert!(after.terms == flow.terms && after.role == flow.role && after.source == flow.source);
            }
            if let Prepared::Signal(signalled) = &command {
                let (was, is) = (&before.flows[&signalled.flow], &stored.state.flows[&signalled.flow]);
                let allowed = was.is_repeat(signalled.signal, signalled.message.as_ref()) || next(was.state, was.role, signalled.signal).is_ok();
                prop_assert!(allowed && (is.state == was.state || next(was.state, was.role, signalled.signal) == Ok(is.state)));
            }
            // The same message once more is answered alike and changes nothing.
            let repeats = match asked {
                Asked::Put { .. } | Asked::Delete(_) | Asked::Signal { message: None, address: true, .. } => false,
                Asked::Usage { .. } | Asked::Prepare { .. } | Asked::Start { .. } | Asked::Signal { .. } => true,
            };
            if repeats {
                let first = decision.map(|d| d.reply);
                let (rows, facts) = (stored.rows.clone(), stored.state.usage.clone());
                let again = stored.take(&command, Timestamp(now.millis() + 1));
                prop_assert_eq!(again.map(|d| (d.reply, d.facts.len())), first.map(|reply| (reply, 0)));
                prop_assert!(rows == stored.rows && facts == stored.state.usage);
            }
        }
        // No record is forgotten that is named, and every alias that a source names has one.
        prop_assert!(stored.named().is_disjoint(&stored.forgotten));
        for source in stored.state.sources.values() {
            if let Some(authorization) = &source.authorization {
                prop_assert!(stored.state.secrets.contains_key(&authorization.alias));
            }
        }
        // A flow serves at most its own grant, and only while it runs.
        for flow in stored.state.flows.values() {
            let runs = flow.role == Role::Provider && flow.state == DataFlowState::Started;
            prop_assert_eq!(flow.grant.is_some_and(|grant| flow.serves(grant.id)), runs);
            prop_assert!(!flow.serves(Uuid::max()));
        }
        // Loading the rows in the order of their keys gives the same state.
        let mut loaded = DataPlaneState::default();
        stored.rows.values().for_each(|event| loaded.apply(event));
        prop_assert_eq!(format!("{:?}", sorted(&loaded)), format!("{:?}", sorted(&stored.state)));
    }
}

/// The state in an order that does not depend on how it came about.
fn sorted(state: &DataPlaneState) -> impl std::fmt::Debug + use<> {
    (
        (state.tenant.clone(), state.disposed),
        state.sources.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>(),
        state.secrets.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>(),
        state.flows.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>(),
        state.finished.iter().cloned().collect::<Vec<_>>(),
        state.usage.iter().map(|(k, v)| (k.clone(), *v)).collect::<BTreeMap<_, _>>(),
        state.marks.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(),
        state.open_flows(),
    )
}

#[test]
fn what_ended_long_ago_is_forgotten() {
    let mut stored = Stored::default();
    let open = |n: usize| {
        let id: TransferId = format!("t-{n}").parse().unwrap();
        let opening = Opening { beginning: Beginning::Prepare, flow: id, message: message(1), terms: terms(0), tenant: None };
        Prepared::Open(Box::new(opening))
    };
    let end = |n: usize| {
        let flow = format!("t-{n}").parse().unwrap();
        let (message, signal, grant) = (Some(message(2)), Signal::Terminate, Uuid::nil());
        Prepared::Signal(Box::new(Signalled { flow, message, signal, reason: None, address: None, grant }))
    };
    for n in 0..MAX_FINISHED_FLOWS + 5 {
        let now = Timestamp(n as i64);
        stored.take(&open(n), now).unwrap();
        stored.take(&end(n), now).unwrap();
    }
    stored.take(&open(9_999), Timestamp(0)).unwrap();
    assert_eq!((stored.state.finished.size(), stored.state.open_flows()), (MAX_FINISHED_FLOWS, 1));
    assert_eq!(stored.rows.len(), MAX_FINISHED_FLOWS + 1);
    assert!(!stored.state.flows.contains_key(&flow(4)) && stored.state.flows.contains_key(&flow(5)));
}

#[test]
fn an_address_that_was_not_put_away_is_asked_for_again() {
    let mut stored = Stored::default();
    stored.take(&prepared(&Asked::Prepare { flow: 0, message: 0, agreement: 0 }, 0), Timestamp(0)).unwrap();
    let started = Signalled {
        flow: flow(0),
        message: Some(message(1)),
        signal: Signal::Started,
        reason: None,
        address: Some(OfferedAddress::NotStored),
        grant: Uuid::nil(),
    };
    let decided = DataPlane::decide(&stored.state, &Input::Command(Prepared::Signal(Box::new(started))), Timestamp(1));
    assert!(matches!(decided, Err(Rejection::Stale)));
}

fn usage_of(flow: &str, sender: u128, counter: u64) -> Prepared {
    let amounts = BTreeMap::from([(flow.parse().unwrap(), Amount { responses: 1, bytes: 10 })]);
    Prepared::RecordUsage { participant: "me".parse().unwrap(), batch: usage::Batch { sender: Uuid::from_u128(sender), counter, amounts } }
}

#[test]
fn a_batch_counts_once_whatever_came_between_and_whatever_flow_it_names() {
    let mut stored = Stored::default();
    stored.take(&prepared(&Asked::Prepare { flow: 0, message: 0, agreement: 0 }, 0), Timestamp(0)).unwrap();
    let mut facts = |flow, sender, counter| stored.take(&usage_of(flow, sender, counter), Timestamp(1)).unwrap().facts.len();
    // Two senders tell in turn; the answer to each first batch was lost.
    assert_eq!([facts("t-0", 1, 0), facts("t-0", 2, 0), facts("t-0", 1, 0), facts("t-0", 2, 0), facts("t-0", 1, 1)], [1, 1, 0, 0, 1]);
    // A flow that nothing is known of any more is billed, once.
    assert_eq!([facts("t-404", 1, 2), facts("t-404", 1, 2)], [1, 0]);
    assert_eq!(stored.state.usage[&flow(0)], Amount { responses: 3, bytes: 30 });
    // Marks are bounded: the sender that was silent longest goes.
    for sender in 0..usage::MAX_SENDERS {
        stored.take(&usage_of("t-0", 100 + sender as u128, 0), Timestamp(2)).unwrap();
    }
    assert_eq!(stored.state.marks.size(), usage::MAX_SENDERS);
    assert!(!stored.state.marks.contains_key(&Uuid::from_u128(1)) && stored.rows.len() == usage::MAX_SENDERS + 2);
}

#[test]
fn a_participant_that_is_gone_leaves_nothing_running() {
    let mut stored = Stored::default();
    stored.take(&prepared(&Asked::Put { name: 0, alias: Some(0), with_secret: true }, 0), Timestamp(0)).unwrap();
    for n in 0..=DISPOSED_AT_ONCE {
        let beginning =
            if n % 2 == 0 { Beginning::Prepare } else { Beginning::Start { source: "s-0".parse().unwrap(), grant: Uuid::max() } };
        let flow = format!("t-{n}").parse().unwrap();
        let opening = Opening { beginning, flow, message: message(1), terms: terms(0), tenant: Some("tenant".into()) };
        stored.take(&Prepared::Open(Box::new(opening)), Timestamp(1)).unwrap();
    }
    stored.take(&prepared(&Asked::Signal { flow: 0, message: None, signal: Signal::Started, address: true }, 7), Timestamp(2)).unwrap();
    assert_eq!(DataPlane::tenant(&stored.state).as_deref(), Some("tenant"));
    let named = stored.named();
    assert_eq!(named.len(), 2, "a source's secret and a received address");

    assert_eq!(stored.take(&Prepared::Dispose, Timestamp(3)).unwrap().reply, Reply::More);
    assert_eq!(stored.take(&Prepared::Dispose, Timestamp(3)).unwrap().reply, Reply::Done);
    assert!(!stored.take(&Prepared::Dispose, Timestamp(4)).unwrap().changes(), "a repeat changes nothing");
    assert_eq!((stored.state.open_flows(), stored.state.sources.size(), stored.state.secrets.size()), (0, 0, 0));
    assert_eq!(stored.forgotten, named);
    // What was on its way when it ended begins nothing; what went through is counted still.
    for late in [Asked::Put { name: 1, alias: None, with_secret: false }, Asked::Prepare { flow: 9, message: 1, agreement: 0 }] {
        let decided = DataPlane::decide(&stored.state, &Input::Command(prepared(&late, 9)), Timestamp(5));
        assert!(matches!(decided, Err(Rejection::Refused(Refusal::UnknownParticipant))), "{late:?}");
    }
    assert_eq!(stored.take(&usage_of("t-1", 1, 0), Timestamp(6)).unwrap().facts[0].data["agreementId"], "ag-0");
}
