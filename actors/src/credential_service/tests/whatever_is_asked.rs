//! What holds whatever is asked.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Create(bool),
    SetActive(bool),
    Publish(bool),
    Delete,
    Released,
    AddKey(u8, bool, bool),
    ActivateKey(u8),
    RotateKey(u8, u8),
    RevokeKey(u8),
    Request(u8),
    Acknowledge,
    Issue(u8, u8),
    Reject,
    Forget(u8),
    Offer(u8),
    OfferRules(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = 0..4_u8;
    prop_oneof![
        any::<bool>().prop_map(Step::Create),
        any::<bool>().prop_map(Step::SetActive),
        any::<bool>().prop_map(Step::Publish),
        Just(Step::Delete),
        Just(Step::Released),
        (key.clone(), any::<bool>(), any::<bool>()).prop_map(|(k, active, default)| Step::AddKey(k, active, default)),
        key.clone().prop_map(Step::ActivateKey),
        (key.clone(), key.clone()).prop_map(|(old, new)| Step::RotateKey(old, new)),
        key.clone().prop_map(Step::RevokeKey),
        (0..2_u8).prop_map(Step::Request),
        Just(Step::Acknowledge),
        (key.clone(), key.clone()).prop_map(|(id, raw)| Step::Issue(id, raw)),
        Just(Step::Reject),
        key.clone().prop_map(Step::Forget),
        key.clone().prop_map(Step::Offer),
        key.prop_map(Step::OfferRules),
    ]
}

fn input(step: &Step) -> Input<CredentialService> {
    let id = |k: &u8| KeyPairId::new(format!("k{k}")).unwrap();
    let new = |k: &u8, active| Some(new_key(&format!("k{k}"), active));
    match step {
        Step::Create(active) => Input::Command(create(*active)),
        Step::SetActive(active) => Input::Command(plain(context::Command::SetActive(*active))),
        Step::Publish(wanted) => Input::Command(plain(context::Command::Publish(did(), *wanted))),
        Step::Delete => Input::Command(plain(context::Command::Delete)),
        Step::Released => released(),
        Step::AddKey(k, active, default) => {
            Input::Command(key_command(key::Command::Add { spec: spec(), make_default: *default }, new(k, *active)))
        }
        Step::ActivateKey(k) => Input::Command(key_command(key::Command::Activate(id(k)), None)),
        Step::RotateKey(old, k) => {
            Input::Command(key_command(key::Command::Rotate { id: id(old), successor: spec(), duration: 0 }, new(k, true)))
        }
        Step::RevokeKey(k) => Input::Command(key_command(key::Command::Revoke { id: id(k), successor: None }, None)),
        Step::Request(n) => Input::Command(request(if *n == 0 { "hp" } else { "hq" }, &["a"])),
        Step::Acknowledge => Input::Delivered(effect(), Outcome::Acknowledged(Acknowledged { issuer_pid: None })),
        Step::Issue(id, raw) => {
            Input::Command(delivered("hp", "issuer", Ok(vec![held(&format!("c{id}"), &format!("raw-{raw}"), Some("hp"))])))
        }
        Step::Reject => Input::Command(delivered("hp", "issuer", Err("no".to_owned()))),
        Step::Offer(n) => Input::Command(offered(&format!("i{n}"), None, &["Member-1"])),
        Step::OfferRules(n) => Input::Command(rules(&[(&format!("i{n}"), &["*"])])),
        Step::Forget(id) => {
            Input::Command(Prepared::Credential(credential::Prepared::Delete(CredentialId::new(format!("c{id}")).unwrap())))
        }
    }
}

/// What a state holds, however its trees are balanced.
fn content(state: &State) -> String {
    let (keys, credentials): (Vec<_>, Vec<_>) = (state.keys.iter().collect(), state.credentials.iter().collect());
    let requests: Vec<_> = state.requests.iter().collect();
    let offers: Vec<_> = state.offers.iter().collect();
    format!("{:?} {} {} {keys:?} {credentials:?} {requests:?} {offers:?}", state.context, state.deleted, state.leaving)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..cellspace_schemas::testkit::proptest_config() })]

    /// Whatever is asked: the rows alone rebuild the state, at most one key is the default, documents and signatures only with a context.
    #[test]
    fn rows_rebuild_the_state(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut state = State::default();
        let mut rows: BTreeMap<Vec<u8>, Event> = BTreeMap::new();
        for one in &steps {
            let Ok(decision) = CredentialService::decide(&state, &input(one), NOW) else { continue };
            for event in decision.events {
                CredentialService::apply(&mut state, &event);
                match CredentialService::row(&event) {
                    RowOf::Put(key) => drop(rows.insert(key.as_bytes().to_vec(), event)),
                    RowOf::Delete(key) => drop(rows.remove(key.as_bytes())),
                }
            }
            let mut rebuilt = State::default();
            for event in rows.values() {
                let stored: Event = serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap();
                CredentialService::apply(&mut rebuilt, &stored);
            }
            prop_assert_eq!(content(&rebuilt), content(&state));
            prop_assert!(state.keys.values().filter(|key| key.default_pair).count() <= 1);
            prop_assert!(!(state.deleted && state.context.is_some()) && (state.deleted || !state.leaving));
            if state.context.is_none() {
                prop_assert!(state.keys.is_empty() && state.credentials.is_empty() && state.requests.is_empty());
                prop_assert!(KeyUsage::ALL.into_iter().all(|usage| state.signing_key(usage).is_none()) && state.published_document().is_none());
            }
            let published = state.published_document().is_some();
            prop_assert_eq!(published, state.context.as_ref().is_some_and(|c| c.active && c.did_state == DidState::Published));
        }
    }
}
