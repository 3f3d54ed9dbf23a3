//! What becomes of requests for credentials.

use super::*;
use crate::issuer::{
    Purpose, StatusListId,
    admin::Command as Admin,
    admission::is_judged,
    status_list::StatusCommand,
    testing::{World, did, guarded, holder, open},
};
use proptest::prelude::*;
use std::{collections::HashSet, time::Duration};

const BOTH: [&str; 2] = ["membership", "manufacturer"];

fn process<'a>(world: &'a World, pid: &IssuerPid) -> &'a Process {
    world.state.processes.get(pid).unwrap()
}

#[test]
fn a_request_is_approved_and_delivered_in_two_turns() {
    let mut world = World::seeded();
    world.log.clear();
    let pid = world.request("acme", "h-1", &BOTH).unwrap();
    assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Approved, 1));
    let credentials: Vec<_> = world.state.credentials.values().cloned().collect();
    assert_eq!(credentials.len(), 2);
    for credential in &credentials {
        assert_eq!((&credential.holder_did, &credential.issuer), (&did("acme"), &did("issuer")));
        assert_eq!(credential.subject.get("since"), Some(&json!("2026")));
        assert_eq!(credential.valid_until.since(credential.valid_from).as_secs(), 3_600);
    }
    world.sent(Ok(())).unwrap();
    assert_eq!(process(&world, &pid).state, State::Delivered);
    let usage = "org.cellspace.usage.credential-issued";
    assert_eq!(world.log, ["issuance.approved", "issuance.delivered", usage, usage]);
}

#[test]
fn what_is_refused_stores_nothing() {
    let mut world = World::seeded();
    world.admin(holder("unsigned", &json!({"signed": "no", "since": "2026"}))).unwrap();
    world.admin(holder("unknown-date", &json!({"signed": true}))).unwrap();
    let before = world.rows.len();
    assert_eq!(world.request("stranger", "h", &BOTH), Err(Refusal::UnknownHolder));
    assert!(matches!(world.request("acme", "h", &["membership", "gold"]), Err(Refusal::Invalid(_))));
    let Err(Refusal::NotEntitled(rule)) = world.request("unsigned", "h", &["membership"]) else { panic!("entitled") };
    assert_eq!(rule, "credential object membership requires that signed eq true");
    let Err(Refusal::NotEntitled(claim)) = world.request("unknown-date", "h", &["membership"]) else { panic!("entitled") };
    assert_eq!(claim, "credential object membership requires the claim since");
    assert_eq!((world.rows.len(), world.outbox.len()), (before, 0));
}

#[test]
fn requests_name_some_credentials_each_once() {
    let request = |ids: &[&str]| Request {
        bearer: SecretText::new("secret"),
        holder_pid: HolderPid::new("h").unwrap(),
        credentials: ids.iter().map(|id| CredentialDefinitionId::new(id).unwrap()).collect(),
    };
    assert!(request(&BOTH).check().is_ok());
    assert!(request(&[]).check().is_err());
    assert!(request(&["a", "b", "a"]).check().is_err());
    let many: Vec<String> = (0..=MAX_REQUESTED).map(|n| n.to_string()).collect();
    assert!(request(&many.iter().map(String::as_str).collect::<Vec<_>>()).check().is_err());
    assert!(!format!("{:?}", request(&BOTH)).contains("secret"));
}

#[test]
fn services_attest_or_nothing_is_issued() {
    let mut world = World::seeded();
    let service =
        json!({"id": "registration-office", "attestationType": "http", "configuration": {"url": "https://office.example/attest"}});
    world.admin(Admin::CreateAttestation(serde_json::from_value(service).unwrap())).unwrap();
    let schema = json!({"properties": {"since": {"const": "2026"}}}).to_string();
    let body = json!({"id": "office", "credentialType": "OfficeCredential", "format": "vc20-bssl/jwt", "validity": "3600", "jsonSchema": schema,
        "attestations": ["registration", "registration-office"],
        "rules": [{"type": "expression", "configuration": {"claim": "registered", "operator": "eq", "value": true}}],
        "mappings": [{"input": "since", "output": "credentialSubject.since", "required": "true"}]});
    world.admin(Admin::CreateDefinition(serde_json::from_value(body).unwrap())).unwrap();
    let said = |claims: Option<serde_json::Value>| {
        Attested::from([("registration-office".parse().unwrap(), claims.map(|claims| claims.as_object().unwrap().clone()))])
    };
    for (claims, required) in [
        (None, "the attestation registration-office"),
        (Some(json!({})), "registered"),
        (Some(json!({"registered": true, "since": "1999"})), "jsonSchema"),
    ] {
        match world.request_with("acme", "h-1", &["office"], said(claims)) {
            Err(Refusal::NotEntitled(told)) => assert!(told.contains(required), "{told}"),
            other => panic!("{other:?}"),
        }
    }
    let pid = world.request_with("acme", "h-1", &["office"], said(Some(json!({"registered": true})))).unwrap();
    assert_eq!(process(&world, &pid).claims.get("registered"), Some(&json!(true)));
    // A repeat of what stands needs nobody.
    let judged = |world: &World, pid: &str| {
        let (holder, asked) = (world.state.holder_by_did(&did("acme")).unwrap(), ["office".parse().unwrap()]);
        is_judged(&world.state, holder, &HolderPid::new(pid).unwrap(), &asked, Timestamp(0))
    };
    assert!(!judged(&world, "h-1") && judged(&world, "h-2"));
    assert_eq!(world.request("acme", "h-1", &["office"]), Ok(pid));
    // Who was not asked yet is asked before anything is decided.
    let request = Prepared { attested: Attested::new(), ..prepared("h-3", &["office"]) };
    assert!(matches!(decide(&world.state, &request, Timestamp(0)), Err(Rejection::Stale)));
    // After a failure all is attested anew.
    world.sent(Err("gone")).unwrap();
    assert!(judged(&world, "h-1"));
}

fn prepared(pid: &str, credentials: &[&str]) -> Prepared {
    let fresh = |n: usize| Fresh { credential: CredentialId::new(format!("fresh-{n}")).unwrap(), index: 7, list_bits: ListBits::default() };
    Prepared {
        holder: did("acme"),
        issuer: did("issuer"),
        token: None,
        holder_pid: HolderPid::new(pid).unwrap(),
        credentials: credentials.iter().map(|id| CredentialDefinitionId::new(id).unwrap()).collect(),
        process: IssuerPid::new("fresh").unwrap(),
        fresh: (0..credentials.len()).map(fresh).collect(),
        attested: Attested::new(),
    }
}

#[test]
fn a_repeat_is_answered_again() {
    let mut world = World::seeded();
    let pid = world.request("acme", "h-1", &BOTH).unwrap();
    // On its way: nothing changes.
    assert_eq!(world.request("acme", "h-1", &BOTH), Ok(pid.clone()));
    assert_eq!((world.outbox.len(), world.state.credentials.size()), (1, 2));
    world.sent(Ok(())).unwrap();
    // Delivered: the same credentials are sent once more, whatever number of times is asked meanwhile.
    for _ in 0..3 {
        assert_eq!(world.request("acme", "h-1", &BOTH), Ok(pid.clone()));
    }
    assert_eq!((world.outbox.len(), world.state.credentials.size(), process(&world, &pid).state), (1, 2, State::Delivered));
    // Not taken this time: the holder has them all the same.
    world.sent(Err("gone")).unwrap();
    assert_eq!((process(&world, &pid).state, process(&world, &pid).error.as_deref()), (State::Delivered, None));
    assert!(matches!(world.request("acme", "h-1", &["membership"]), Err(Refusal::Conflict(_))));
    assert_eq!(world.log.iter().filter(|kind| kind.contains("usage")).count(), 2, "billed once");
}

#[test]
fn a_failed_request_is_judged_anew() {
    let mut world = World::seeded();
    let first = world.request("acme", "h-1", &BOTH).unwrap();
    world.sent(Err("the holder's credential service answered 410")).unwrap();
    assert_eq!(process(&world, &first).state, State::Errored);
    assert_eq!(process(&world, &first).error.as_deref(), Some("the holder's credential service answered 410"));
    let second = world.request("acme", "h-1", &["membership"]).unwrap();
    assert_ne!(first, second);
    assert_eq!(world.request("acme", "h-1", &["membership"]), Ok(second));
}

#[test]
fn removing_a_holder_gives_up_what_is_on_its_way() {
    let mut world = World::seeded();
    let pid = world.request("acme", "h-1", &BOTH).unwrap();
    world.admin(Admin::DeleteHolder("acme".parse().unwrap())).unwrap();
    assert_eq!(process(&world, &pid).state, State::Errored);
    assert_eq!(world.request("acme", "h-1", &BOTH), Err(Refusal::UnknownHolder));
    world.sent(Err("the issuance was given up")).unwrap();
    assert_eq!(process(&world, &pid).error.as_deref(), Some("the holder was removed"));
    // Registered again without the claim: nothing of the old approval counts.
    world.admin(holder("acme", &json!({}))).unwrap();
    assert!(matches!(world.request("acme", "h-1", &BOTH), Err(Refusal::NotEntitled(_))));
}

#[derive(Debug, Clone)]
enum Act {
    Request(usize, usize, usize),
    Sent(bool),
    Status(usize, usize),
    Delete(usize),
    Register(usize),
    Decide(usize, bool),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_usize..2, 0_usize..3, 0_usize..4).prop_map(|(h, p, c)| Act::Request(h, p, c)),
        3 => any::<bool>().prop_map(Act::Sent),
        2 => (0_usize..8, 0_usize..3).prop_map(|(c, s)| Act::Status(c, s)),
        1 => (0_usize..2).prop_map(Act::Delete),
        1 => (0_usize..2).prop_map(Act::Register),
        2 => (0_usize..4, any::<bool>()).prop_map(|(n, yes)| Act::Decide(n, yes)),
        1 => (0_u64..80).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..cellspace_schemas::testkit::proptest_config() })]
    /// Whatever happens: no two credentials share a place, no request has two deliveries under way, a credential once delivered stays as it was,
    /// and the state loaded from the rows is the state in memory.
    #[test]
    fn histories_keep_the_promises(acts in acts()) {
        let mut world = World::seeded();
        world.admin(guarded("guarded", Some("https://onboarding.example/"))).unwrap();
        world.admin(open("open", true)).unwrap();
        let all = ["membership", "manufacturer", "guarded"];
        let holders = ["acme", "other"];
        let mut claims = std::collections::HashMap::new();
        for act in acts {
            let _ = match act {
                // Who is not registered may ask for this one.
                Act::Request(h, p, 3) => world.request(holders[h], &format!("h-{p}"), &["open"]).map(drop),
                Act::Request(h, p, c) => world.request(holders[h], &format!("h-{p}"), &all[..=c]).map(drop),
                Act::Sent(_) if world.outbox.is_empty() => Ok(()),
                Act::Sent(ok) => world.sent(if ok { Ok(()) } else { Err("no") }).map(drop),
                Act::Status(n, s) => match world.state.credentials.keys().nth(n).cloned() {
                    Some(credential) => {
                        let command = StatusCommand::ALL[s];
                        world.admin(Admin::ChangeStatus { credential, command, reason: None }).map(drop)
                    }
                    None => Ok(()),
                },
                Act::Delete(h) => world.admin(Admin::DeleteHolder(holders[h].parse().unwrap())).map(drop),
                Act::Decide(n, yes) => match world.state.processes.keys().nth(n).cloned() {
                    Some(pid) if yes => world.approve(&pid).map(drop),
                    Some(pid) => world.reject(&pid, None).map(drop),
                    None => Ok(()),
                },
                Act::Pass(seconds) => { world.pass(Duration::from_secs(seconds)); Ok(()) }
                Act::Register(h) => world.admin(holder(holders[h], &json!({"signed": true, "since": "2026"}))).map(drop),
            };
            let mut places = HashSet::new();
            for credential in world.state.credentials.values() {
                prop_assert!(places.insert((credential.format, credential.slot)));
                let now = credential.jwt_claims(&crate::issuer::credential::tests::issuer(), &crate::issuer::credential::tests::urls());
                prop_assert_eq!(claims.entry(credential.id.clone()).or_insert_with(|| now.clone()), &now);
            }
            for process in world.state.processes.values() {
                let deliveries = world.outbox.iter().filter(|e| matches!(e.as_ref(), Effect::Deliver { process: p, .. } if *p == process.id));
                prop_assert_eq!(deliveries.count(), usize::from(process.delivering));
                let waits = matches!(process.answer, Some(approval::Answer::Open(_)));
                prop_assert_eq!(waits, process.state == State::Submitted);
                prop_assert_eq!(waits, world.deadlines.contains_key(&format!("approval/{}", process.id)));
            }
            let reloaded = world.reloaded();
            for format in cellspace_schemas::dcp::CredentialFormat::ALL {
                for purpose in Purpose::ALL {
                    let id = StatusListId { format, purpose, number: 1 };
                    prop_assert_eq!(world.state.lists.content(id, ListBits::default()), reloaded.lists.content(id, ListBits::default()));
                }
            }
            for holder in holders {
                prop_assert_eq!(world.state.holder_by_did(&did(holder)), reloaded.holder_by_did(&did(holder)));
                for id in [holder.parse().unwrap(), did(holder).as_str().parse().unwrap()] {
                    let under_way = |state: &IssuerState| state.under_way(&id).cloned().collect::<Vec<_>>();
                    prop_assert_eq!(under_way(&world.state), under_way(&reloaded));
                    let all = |state: &IssuerState| state.of_stranger(&id).cloned().collect::<Vec<_>>();
                    prop_assert_eq!(all(&world.state), all(&reloaded));
                }
                for pid in 0..3 {
                    let pid = HolderPid::new(format!("h-{pid}")).unwrap();
                    prop_assert_eq!(world.state.process_of(&did(holder), &pid), reloaded.process_of(&did(holder), &pid));
                }
            }
        }
    }
}
