//! Every state and command of the machines, and what holds whatever is asked of them.

use super::{
    CredentialService, Event, Refusal, State,
    agent::{Effect, Outcome, Prepared},
    context::{self, Create, DidState},
    credential::{self, StoredCredential},
    holder_request::{self, Acknowledged, Delivered, RequestState},
    key::{self, KeyNames, KeySpec, KeyState, NewKey},
    offer::{self, MAX_FOLLOWED, MAX_ID_BYTES, MAX_OFFERS, Offer, OfferedObject},
    watch::{HeldStatus, Watch},
};
use crate::records::{self, Keeper};
use cellspace_cluster::{Agent, Decision, Input, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, Owner, ParticipantContextId, SecretText, Timestamp,
    dcp::{CredentialFormat, CredentialScope, Service, messages::OfferedCredential},
    identity::{KeyPairId, OfferRule, RequestedCredential, key_pair::KeyUsage},
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use cellspace_storage::{KeyAlgorithm, PublicKey};
use proptest::prelude::*;
use serde_json::{Map, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    slice::from_ref,
    sync::Arc,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn did() -> Did {
    Did::new("did:web:cells.example:acme").unwrap()
}

fn issuer(name: &str) -> Did {
    Did::new(format!("did:web:{name}.example")).unwrap()
}

fn new_key(name: &str, active: bool) -> NewKey {
    let (id, alias) = (KeyPairId::new(name).unwrap(), KeyAlias::new(name).unwrap());
    NewKey {
        names: KeyNames { id, key_id: format!("{}#{name}", did()), alias },
        public: PublicKey { algorithm: KeyAlgorithm::Ed25519, jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": name}) },
        active,
        usage: BTreeSet::new(),
        made: false,
    }
}

fn create(active: bool) -> Prepared {
    let create = Create {
        did: did(),
        active,
        services: vec![Service::new("s", "CredentialService", "https://cells.example/cs")],
        keys: Vec::new(),
        scopes: Vec::new(),
        properties: Map::new(),
        sts_account: false,
    };
    Prepared::Context(context::Prepared::Create {
        id: ParticipantContextId::new("acme").unwrap(),
        path: Owner::new("acme").unwrap(),
        create: Box::new(create),
        keys: vec![new_key("k1", true)],
    })
}

fn plain(command: context::Command) -> Prepared {
    Prepared::Context(context::Prepared::Plain(command))
}

type Decided = Result<Decision<CredentialService>, Rejection<Refusal>>;

/// Decides and folds; the audit's word for what happened, or the refusal.
fn step(state: &mut State, input: Input<CredentialService>) -> Result<&'static str, String> {
    let decided: Decided = CredentialService::decide(state, &input, NOW);
    match decided {
        Ok(decision) => {
            decision.events.iter().for_each(|event| CredentialService::apply(state, event));
            assert_eq!(decision.action.is_empty(), !decision.changes(), "every change has a name");
            Ok(decision.action)
        }
        Err(Rejection::Refused(refusal)) => Err(refusal.to_string()),
        Err(Rejection::Stale) => panic!("nothing here goes stale"),
    }
}

fn command(state: &mut State, prepared: Prepared) -> Result<&'static str, String> {
    step(state, Input::Command(prepared))
}

fn acme(active: bool) -> State {
    let mut state = State::default();
    command(&mut state, create(active)).unwrap();
    state
}

// === participant context and DID ===

#[test]
fn every_command_in_every_state_of_a_context() {
    use context::{
        Command::{Delete, Publish, SetActive, SetScopes},
        ServiceChange::{Add, Remove, Replace},
    };
    let service = |id: &str| Service::new(id, "DataService", "https://cells.example/x");
    let generated = acme(false);
    let published = acme(true);
    let mut unpublished = acme(true);
    command(&mut unpublished, plain(Publish(did(), false))).unwrap();
    let mut deactivated = acme(true);
    command(&mut deactivated, plain(SetActive(false))).unwrap();
    let mut leaving = acme(true);
    command(&mut leaving, plain(Delete)).unwrap();
    let mut gone = leaving.clone();
    step(&mut gone, released()).unwrap();
    let none = State::default();
    let states = [
        ("none", &none),
        ("generated", &generated),
        ("published", &published),
        ("unpublished", &unpublished),
        ("deactivated", &deactivated),
        ("leaving", &leaving),
        ("gone", &gone),
    ];
    let no = Err("the participant context does not exist");
    let exists = Err("the participant context exists already");
    let not_active = Err("the participant context is not active");
    let deleted = Err("the participant context was deleted, its id is not used again");
    #[rustfmt::skip]
    let table: Vec<(&str, fn() -> Prepared, [Result<&str, &str>; 7])> = vec![
        ("create", || create(true), [Ok("participant.created"), exists, exists, exists, exists, deleted, deleted]),
        ("activate", || plain(SetActive(true)), [no, Ok("participant.activated"), Ok(""), Ok(""), Ok("participant.activated"), no, no]),
        ("deactivate", || plain(SetActive(false)), [no, Ok(""), Ok("participant.deactivated"), Ok("participant.deactivated"), Ok(""), no, no]),
        ("publish", || plain(Publish(did(), true)), [no, not_active, Ok(""), Ok("did.published"), not_active, no, no]),
        ("unpublish", || plain(Publish(did(), false)), [no, Ok(""), Ok("did.unpublished"), Ok(""), Ok(""), no, no]),
        ("scopes", || plain(SetScopes(vec![])), [no, Ok("participant.scopes"), Ok("participant.scopes"), Ok("participant.scopes"), Ok("participant.scopes"), no, no]),
        ("offer rules", || rules(&[("issuer", &["*"])]), [no, Ok("participant.offer.rules"), Ok("participant.offer.rules"), Ok("participant.offer.rules"), Ok("participant.offer.rules"), no, no]),
        ("delete", || plain(Delete), [no, Ok("participant.deleted"), Ok("participant.deleted"), Ok("participant.deleted"), Ok("participant.deleted"), no, no]),
    ];
    for (name, prepared, expected) in table {
        for ((state_name, state), expected) in states.iter().zip(expected) {
            let outcome = command(&mut (*state).clone(), prepared());
            assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{name} when {state_name}");
        }
    }
    let change = |did: Did, change, publish| plain(context::Command::Service { did, change, publish });
    for (prepared, expected) in [
        (change(did(), Add(service("t")), false), Ok("did.service.added")),
        (change(did(), Add(service("s")), false), Err("the DID document has a service with this id already")),
        (change(did(), Replace(service("s")), false), Ok("did.service.replaced")),
        (change(did(), Replace(service("t")), false), Err("the DID document has no service with this id")),
        (change(did(), Remove("s".to_owned()), false), Ok("did.service.removed")),
        (change(did(), Remove("t".to_owned()), false), Err("the DID document has no service with this id")),
        (change(issuer("other"), Add(service("t")), false), Err("the DID does not belong to the participant context")),
        (plain(Publish(issuer("other"), true)), Err("the DID does not belong to the participant context")),
    ] {
        assert_eq!(command(&mut acme(true), prepared).as_deref().map_err(String::as_str), expected);
    }
    // Published with it, when that is asked for and the context is active.
    for (publish, shown) in [(false, false), (true, true)] {
        let mut state = unpublished.clone();
        command(&mut state, change(did(), Add(service("t")), publish)).unwrap();
        assert_eq!(
            state.published_document().is_some_and(|document| document.service.iter().any(|service| service.is("DataService"))),
            shown
        );
    }
    let mut state = deactivated.clone();
    assert_eq!(command(&mut state, change(did(), Add(service("t")), true)).as_deref().map_err(String::as_str), not_active);
    assert_eq!(state.context.as_ref().unwrap().services.len(), 1);
}

#[test]
fn documents_are_published_with_the_context() {
    assert!(acme(false).published_document().is_none());
    let mut state = acme(true);
    let document = state.published_document().unwrap();
    assert_eq!((document.id, document.verification_method.len()), (did(), 1));
    command(&mut state, plain(context::Command::SetActive(false))).unwrap();
    assert!(state.published_document().is_none() && state.active_context().is_none());
    assert_eq!(state.context.as_ref().unwrap().did_state, DidState::Unpublished);
}

#[test]
fn a_deleted_context_leaves_nothing_behind_but_its_clean_up() {
    let mut state = acme(true);
    command(&mut state, request("hp", &["a"])).unwrap();
    command(&mut state, delivered("hp", "issuer", Ok(vec![held("c1", "raw", Some("hp"))]))).unwrap();
    let decision = CredentialService::decide(&state, &Input::Command(plain(context::Command::Delete)), NOW).unwrap();
    let effects: Vec<_> = decision.effects.iter().map(|e| format!("{:?}", e.effect)).collect();
    assert_eq!(effects, ["DeleteKey(KeyAlias(k1))", "Delist", "ReleaseName(Owner(acme))", "DeleteSecrets"]);
    let lanes: Vec<_> = decision.effects.iter().map(|e| e.lane.as_str()).collect();
    assert!(lanes.iter().all(|lane| lane == lanes.first().unwrap()), "one lane keeps their order: {lanes:?}");
    decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    assert!(
        state.context.is_none()
            && state.keys.is_empty()
            && state.credentials.is_empty()
            && state.requests.is_empty()
            && state.offers.is_empty()
    );
    assert!(state.leaving && state.deleted);
    assert_eq!(step(&mut state, released()), Ok("participant.gone"));
    assert!(!state.leaving && state.deleted, "the id is used up");
}

fn release() -> Arc<Effect> {
    Arc::new(Effect::ReleaseName(Owner::new("acme").unwrap()))
}

fn released() -> Input<CredentialService> {
    Input::Delivered(release(), Outcome::Done)
}

#[test]
fn only_the_name_itself_says_whose_it_is() {
    let confirm = || Arc::new(Effect::ConfirmName(Owner::new("acme").unwrap(), did()));
    let mut state = acme(true);
    // Nobody could be asked: asked again, and resolved meanwhile.
    assert_eq!(step(&mut state, Input::Undeliverable(confirm(), "no answer".to_owned())), Ok("name.confirm.again"));
    assert!(state.published_document().is_some());
    assert_eq!(step(&mut state, Input::Delivered(confirm(), Outcome::Done)), Ok(""));
    assert_eq!(step(&mut state, Input::Delivered(confirm(), Outcome::NameTaken)), Ok("participant.deactivated"));
    assert!(state.published_document().is_none());
    command(&mut state, plain(context::Command::Delete)).unwrap();
    assert_eq!(step(&mut state, Input::Undeliverable(confirm(), "no answer".to_owned())), Ok(""));
    // A name that could not be given back is not free.
    assert_eq!(step(&mut state, Input::Undeliverable(release(), "no answer".to_owned())), Ok("name.release.again"));
    assert!(state.leaving);
    step(&mut state, released()).unwrap();
    assert_eq!(step(&mut state, Input::Undeliverable(release(), "no answer".to_owned())), Ok(""));
}

#[test]
fn the_tenant_is_a_property() {
    let with = |tenant: serde_json::Value| {
        let Prepared::Context(context::Prepared::Create { id, path, mut create, keys }) = create(true) else { panic!("not a create") };
        create.properties.insert("tenant".to_owned(), tenant);
        let mut state = State::default();
        command(&mut state, Prepared::Context(context::Prepared::Create { id, path, create, keys })).unwrap();
        CredentialService::tenant(&state)
    };
    assert_eq!(with(json!("t-1")), Some("t-1".to_owned()));
    assert_eq!((with(json!("a b")), with(json!(1)), CredentialService::tenant(&acme(true))), (None, None, None));
}

// === keys ===

fn key_command(command: key::Command, new: Option<NewKey>) -> Prepared {
    Prepared::Key(key::Prepared { command, new, signed_until: None })
}

fn spec() -> KeySpec {
    KeySpec::fresh()
}

#[test]
fn every_command_in_every_state_of_a_key() {
    fn id() -> KeyPairId {
        KeyPairId::new("k2").unwrap()
    }
    let add = |active| {
        move || key_command(key::Command::Add { spec: KeySpec { active, ..spec() }, make_default: false }, Some(new_key("k2", active)))
    };
    let activate = || key_command(key::Command::Activate(id()), None);
    let rotate = || key_command(key::Command::Rotate { id: id(), successor: spec(), duration: 7 }, Some(new_key("k3", true)));
    let revoke = || key_command(key::Command::Revoke { id: id(), successor: None }, None);
    let replace = || key_command(key::Command::Revoke { id: id(), successor: Some(spec()) }, Some(new_key("k3", true)));
    let state_in = |wanted: Option<KeyState>| {
        let mut state = acme(true);
        let steps: Vec<Prepared> = match wanted {
            None => vec![],
            Some(KeyState::Created) => vec![add(false)()],
            Some(KeyState::Activated) => vec![add(true)()],
            Some(KeyState::Rotated) => {
                vec![add(true)(), key_command(key::Command::Rotate { id: id(), successor: spec(), duration: 0 }, Some(new_key("k9", true)))]
            }
            Some(KeyState::Revoked) => vec![add(true)(), revoke()],
        };
        for prepared in steps {
            command(&mut state, prepared).unwrap();
        }
        state
    };
    let states = [None, Some(KeyState::Created), Some(KeyState::Activated), Some(KeyState::Rotated), Some(KeyState::Revoked)];
    let none = Err("the key pair does not exist".to_owned());
    let exists = Err("a key pair with this resourceId, keyId or privateKeyAlias exists already".to_owned());
    let cannot = |from: &str, wanted: &str| Err(format!("a key pair in state {from} cannot be {wanted}"));
    let to = |state: KeyState| Ok(state);
    use KeyState::{Activated, Created, Revoked, Rotated};
    type Row<'a> = (&'a str, Box<dyn Fn() -> Prepared>, [Result<KeyState, String>; 5]);
    let table: Vec<Row<'_>> = vec![
        ("add", Box::new(add(true)), [to(Activated), exists.clone(), exists.clone(), exists.clone(), exists.clone()]),
        ("add inactive", Box::new(add(false)), [to(Created), exists.clone(), exists.clone(), exists.clone(), exists]),
        (
            "activate",
            Box::new(activate),
            [none.clone(), to(Activated), to(Activated), cannot("ROTATED", "activated"), cannot("REVOKED", "activated")],
        ),
        (
            "rotate",
            Box::new(rotate),
            [none.clone(), cannot("CREATED", "rotated"), to(Rotated), cannot("ROTATED", "rotated"), cannot("REVOKED", "rotated")],
        ),
        ("revoke", Box::new(revoke), [none.clone(), to(Revoked), to(Revoked), to(Revoked), to(Revoked)]),
        ("replace", Box::new(replace), [none, to(Revoked), to(Revoked), to(Revoked), to(Revoked)]),
    ];
    for (name, prepared, expected) in table {
        for (from, expected) in states.iter().zip(expected) {
            let mut state = state_in(*from);
            let outcome = command(&mut state, prepared()).map(|_| state.keys.get(&id()).unwrap().state);
            assert_eq!(outcome, expected, "{name} when {from:?}");
        }
    }
}

#[test]
fn signing_and_publishing_follow_the_states() {
    let mut state = acme(true);
    let kid = |state: &State| state.signing_key(KeyUsage::Token).map(|key| key.kid);
    assert_eq!(kid(&state), Some(format!("{}#k1", did())));
    let rotate = key::Command::Rotate { id: KeyPairId::new("k1").unwrap(), successor: spec(), duration: 0 };
    command(&mut state, key_command(rotate, Some(new_key("k2", true)))).unwrap();
    assert_eq!(kid(&state), Some(format!("{}#k2", did())));
    assert_eq!(state.did_document().unwrap().verification_method.len(), 2);
    for id in ["k1", "k2"] {
        command(&mut state, key_command(key::Command::Revoke { id: KeyPairId::new(id).unwrap(), successor: None }, None)).unwrap();
    }
    assert_eq!(kid(&state), None);
    assert!(state.did_document().unwrap().verification_method.is_empty());
}

#[test]
fn each_usage_has_its_key_and_each_key_the_relationships_of_its_usages() {
    use KeyUsage::{Credentials, Presentation, Token};
    let used_for = |name: &str, usage: &[KeyUsage]| NewKey { usage: usage.iter().copied().collect(), ..new_key(name, true) };
    let add = |state: &mut State, new: NewKey, make_default: bool| {
        command(state, key_command(key::Command::Add { spec: spec(), make_default }, Some(new))).unwrap();
    };
    let id = |name: &str| KeyPairId::new(name).unwrap();
    let replace = |state: &mut State, old: &str, new: NewKey| {
        let rotate = key::Command::Rotate { id: id(old), successor: spec(), duration: 0 };
        command(state, key_command(rotate, Some(new))).unwrap();
    };
    let name = |url: &str| url.rsplit('#').next().unwrap().to_owned();
    // Which key signs credentials, presentations and tokens.
    let signing = |state: &State| KeyUsage::ALL.map(|usage| state.signing_key(usage).map_or(String::new(), |key| name(&key.kid)));
    // Which keys verify them.
    let related = |state: &State| {
        let document = serde_json::to_value(state.did_document().unwrap()).unwrap();
        ["assertionMethod", "authentication", "capabilityInvocation"]
            .map(|list| document[list].as_array().unwrap().iter().map(|url| name(url.as_str().unwrap())).collect::<Vec<_>>().join(" "))
    };
    // A key without a usage is for everything, and goes first while it is the default.
    let mut state = acme(true);
    add(&mut state, used_for("tokens", &[Token]), false);
    assert_eq!((signing(&state), related(&state)), (["k1", "k1", "k1"].map(str::to_owned), ["k1", "k1", "k1 tokens"].map(str::to_owned)));
    // The default one is preferred for what it is used for alone.
    add(&mut state, used_for("shows", &[Presentation, Token]), true);
    assert_eq!(signing(&state), ["k1", "shows", "shows"]);
    assert_eq!(related(&state), ["k1", "k1 shows", "k1 shows tokens"]);
    // What takes a key's place is used for the same, unless it says otherwise.
    replace(&mut state, "shows", used_for("shows2", &[]));
    assert_eq!(state.keys.get(&id("shows2")).unwrap().usage, BTreeSet::from([Presentation, Token]));
    replace(&mut state, "shows2", used_for("shows3", &[Presentation]));
    assert_eq!(signing(&state), ["k1", "shows3", "k1"]);
    // Rotated ones verify what they signed; none is chosen that has not the usage.
    assert_eq!(related(&state), ["k1", "k1 shows shows2 shows3", "k1 shows shows2 tokens"]);
    command(&mut state, key_command(key::Command::Revoke { id: id("k1"), successor: None }, None)).unwrap();
    assert_eq!(signing(&state), ["", "shows3", "tokens"]);
    add(&mut state, used_for("issues", &[Credentials]), false);
    assert_eq!(signing(&state), ["issues", "shows3", "tokens"]);
    // Credentials that its participant issued keep a key that signed none of them no longer.
    let rotate = key::Command::Rotate { id: id("tokens"), successor: spec(), duration: 1 };
    let prepared = key::Prepared { command: rotate, new: Some(new_key("tokens2", true)), signed_until: Some(Timestamp(NOW.0 + 9_000_000)) };
    command(&mut state, Prepared::Key(prepared)).unwrap();
    assert_eq!(state.keys.get(&id("tokens")).unwrap().signed_until, None);
}

#[test]
fn keys_of_an_earlier_version_keep_what_they_are_used_for() {
    let mut state = acme(true);
    command(&mut state, key_command(key::Command::Add { spec: spec(), make_default: false }, Some(new_key("k2", true)))).unwrap();
    let mut own = key::KeyPair::clone(state.keys.get(&KeyPairId::new("k2").unwrap()).unwrap());
    own.usage = BTreeSet::from([KeyUsage::Token]);
    let mut row = serde_json::to_value(&own).unwrap();
    assert_eq!(serde_json::from_value::<key::KeyPair>(row.clone()).unwrap(), own);
    // What was given then had no effect: it signed whatever there was to sign, and is in the document for all of it.
    row.as_object_mut().unwrap().remove("usages").unwrap();
    for given in [json!([]), json!(["signing"]), json!(["sign_token", "signing"])] {
        row["usage"] = given;
        let read: key::KeyPair = serde_json::from_value(row.clone()).unwrap();
        assert!(KeyUsage::ALL.into_iter().all(|usage| read.is_for(usage)), "{row}");
        key::apply(&mut state, &key::KeyEvent::Changed(Arc::new(read)));
        let document = state.did_document().unwrap();
        assert!(KeyUsage::ALL.into_iter().all(|usage| document.relates(usage.relationship(), &own.key_id)), "{row}");
    }
}

#[test]
fn what_a_command_refuses_is_known_before_a_key_is_made() {
    let state = acme(true);
    let id = |id: &str| KeyPairId::new(id).unwrap();
    let rotate = |key: &str| key::Command::Rotate { id: id(key), successor: spec(), duration: 0 };
    let before = |state: &State, command: &key::Command| {
        key::before_new(state, command, NOW).map(|after| after.is_some()).map_err(|e| e.to_string())
    };
    assert_eq!(before(&state, &rotate("nope")), Err("the key pair does not exist".to_owned()));
    assert_eq!(before(&state, &rotate("k1")), Ok(true));
    let mut revoked = state.clone();
    let revoke = || key::Command::Revoke { id: id("k1"), successor: Some(spec()) };
    assert_eq!(before(&state, &revoke()), Ok(true));
    command(&mut revoked, key_command(key::Command::Revoke { id: id("k1"), successor: None }, None)).unwrap();
    assert_eq!(before(&revoked, &revoke()), Ok(false), "it is so already");
    assert_eq!(before(&revoked, &rotate("k1")), Err("a key pair in state REVOKED cannot be rotated".to_owned()));
}

#[test]
fn a_rotated_key_leaves_the_document_when_nothing_counts_that_it_has_signed() {
    const SIGNED: u64 = 601_000;
    for (duration, signed_until, ends) in [
        (0, None, SIGNED),
        (0, Some(9_000_000), 9_000_000),
        (1_000, None, SIGNED),
        (SIGNED + 5, None, SIGNED + 5),
        (1_000, Some(10_000), SIGNED),
        (1_000, Some(9_000_000), 9_000_000),
        (9_000_001, Some(9_000_000), 9_000_001),
    ] {
        let mut state = acme(true);
        let command = key::Command::Rotate { id: KeyPairId::new("k1").unwrap(), successor: spec(), duration };
        let signed_until = signed_until.map(|at| Timestamp(NOW.0 + at));
        let prepared = Prepared::Key(key::Prepared { command, new: Some(new_key("k2", true)), signed_until });
        let decision = CredentialService::decide(&state, &Input::Command(prepared), NOW).unwrap();
        let deadlines: Vec<_> = decision.events.iter().filter_map(CredentialService::deadline).collect();
        let ends = NOW.0 + i64::try_from(ends).unwrap();
        assert_eq!(deadlines, [("key/k1".to_owned(), Some(Timestamp(ends))), ("key/k2".to_owned(), None)]);
        decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
        let mut due = |at: i64| {
            let decision = CredentialService::decide(&state, &Input::Due("key/k1".to_owned()), Timestamp(at)).unwrap();
            decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
            (decision.action, state.did_document().unwrap().verification_method.len())
        };
        assert_eq!((due(ends - 1), due(ends), due(ends + 1)), (("", 2), ("key.revoked", 1), ("", 1)));
    }
}

/// Its owner was told that it stays until it is revoked.
#[test]
fn a_key_that_an_earlier_build_has_rotated_without_a_duration_stays() {
    let mut state = acme(true);
    let command = key::Command::Rotate { id: KeyPairId::new("k1").unwrap(), successor: spec(), duration: 0 };
    let decision = CredentialService::decide(&state, &Input::Command(key_command(command, Some(new_key("k2", true)))), NOW).unwrap();
    decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    let rotated = state.keys.get(&KeyPairId::new("k1").unwrap()).unwrap();
    let mut row = serde_json::to_value(rotated.as_ref()).unwrap();
    assert!(rotated.ends_at().is_some());
    row.as_object_mut().unwrap().retain(|name, _| name != "ends" && name != "signedUntil" && name != "signed_until");
    let earlier: key::KeyPair = serde_json::from_value(row).unwrap();
    assert_eq!((earlier.state, earlier.ends_at()), (KeyState::Rotated, None));
}

#[test]
fn key_pairs_are_rotated_for_ever() {
    let mut state = acme(true);
    let mut now = NOW;
    for n in 1..300 {
        let (id, new) = (KeyPairId::new(format!("k{n}")).unwrap(), new_key(&format!("k{}", n + 1), true));
        let command = key::Command::Rotate { id, successor: spec(), duration: 0 };
        let rotated = CredentialService::decide(&state, &Input::Command(key_command(command, Some(new))), now).unwrap();
        rotated.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
        let due: Vec<_> = rotated.events.iter().filter_map(CredentialService::deadline).filter_map(|(key, at)| Some((key, at?))).collect();
        for (key, at) in due {
            now = at;
            let ended = CredentialService::decide(&state, &Input::Due(key), now).unwrap();
            ended.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
        }
    }
    assert_eq!(state.did_document().unwrap().verification_method.len(), 1);
    assert_eq!(state.keys.size(), 65, "the oldest revoked ones are forgotten");
}

#[test]
fn what_takes_the_place_of_a_rotated_key_is_active() {
    let mut state = acme(true);
    let rotate = |active| {
        let command = key::Command::Rotate { id: KeyPairId::new("k1").unwrap(), successor: KeySpec { active, ..spec() }, duration: 0 };
        (key::before_new(&acme(true), &command, NOW).is_ok(), key_command(command, Some(new_key("k2", active))))
    };
    let refused = Err("the key that takes the place of a rotated one must be active".to_owned());
    let (before, inactive) = rotate(false);
    assert_eq!((before, command(&mut state, inactive)), (false, refused), "no key is made for it");
    let (before, active) = rotate(true);
    assert_eq!((before, command(&mut state, active)), (true, Ok("key.rotated")));
    assert!(KeyUsage::ALL.into_iter().all(|usage| state.signing_key(usage).is_some()));
}

#[test]
fn key_pairs_are_replaced_for_ever() {
    let mut state = acme(true);
    for n in 1..300 {
        let (old, new) = (KeyPairId::new(format!("k{n}")).unwrap(), new_key(&format!("k{}", n + 1), true));
        command(&mut state, key_command(key::Command::Revoke { id: old, successor: Some(spec()) }, Some(new))).unwrap();
    }
    assert_eq!(state.keys.values().filter(|key| key.state == KeyState::Activated).count(), 1);
    assert_eq!(state.keys.size(), 65, "the oldest revoked ones are forgotten");
    let add = |n: i32| key_command(key::Command::Add { spec: spec(), make_default: false }, Some(new_key(&format!("live{n}"), true)));
    for n in 0..63 {
        command(&mut state, add(n)).unwrap();
    }
    assert_eq!(command(&mut state, add(63)), Err("the participant context has as many key pairs as it may have".to_owned()));
}

#[test]
fn private_keys_have_a_folder_of_their_own() {
    let alias =
        |text: &str| key::vault_alias(&KeyAlias::new(text).unwrap()).map(|alias| alias.as_str().to_owned()).map_err(|e| e.to_string());
    let chosen = |alias: &str| {
        let descriptor = serde_json::from_value(serde_json::json!({"keyId": "k", "privateKeyAlias": alias})).unwrap();
        KeySpec::read(&descriptor).map(|spec| KeyNames::new(&did(), &spec, uuid::Uuid::from_u128(7)).alias.to_string())
    };
    assert!(matches!((chosen("alias-1"), chosen("made-1")), (Ok(chosen), Err(Refusal::BadKey(_))) if chosen == "alias-1"));
    let made = KeyNames::new(&did(), &KeySpec::fresh(), uuid::Uuid::from_u128(7));
    assert_eq!(key::vault_alias(&made.alias).unwrap().as_str(), "keypair/made-00000000-0000-0000-0000-000000000007");
    assert_eq!(key::alias_of(key::vault_alias(&made.alias).unwrap()), made.alias);
    assert_eq!(alias("data-plane"), Ok("keypair/data-plane".to_owned()));
    assert_eq!(alias(&"x".repeat(250)), Err("privateKeyAlias is too long".to_owned()));
    assert_eq!(acme(true).signing_key(KeyUsage::Presentation).unwrap().path.alias.as_str(), "keypair/k1");
}

/// A key that was made is named while its note is there, by the commit that settles it; one that goes may not be made anew before it is gone.
#[test]
fn keys_are_made_and_go_under_notes() {
    let mut state = acme(true);
    let add = || {
        let spec = KeySpec { alias: Some(KeyAlias::new("k9").unwrap()), ..KeySpec::fresh() };
        key_command(key::Command::Add { spec, make_default: false }, Some(NewKey { made: true, ..new_key("k9", true) }))
    };
    let decide = |state: &State, input: Prepared| CredentialService::decide(state, &Input::Command(input), NOW);
    assert!(matches!(decide(&state, add()), Err(Rejection::Stale)), "nobody has noted it");
    let record = key::vault_alias(&KeyAlias::new("k9").unwrap()).unwrap();
    let begin = || Prepared::Record(records::Command::Begin(record.clone()));
    command(&mut state, begin()).unwrap();
    assert_eq!(state.notes.len(), 1);
    command(&mut state, add()).unwrap();
    assert!(state.notes.is_empty() && state.keys.contains_key(&KeyPairId::new("k9").unwrap()));
    // Whoever comes too late for the name takes nothing from who has it, whatever becomes of its own command or its node.
    assert!(matches!(decide(&state, begin()), Err(Rejection::Refused(Refusal::KeyExists))));
    assert!(CredentialService::names(&state, &record));
    CredentialService::apply(&mut state, &Event::Record(records::Event::Begun(record.clone(), NOW)));
    for input in [Input::Command(Prepared::Record(records::Command::Abandon(record.clone()))), Input::Due(format!("record/{record}"))] {
        let decision = CredentialService::decide(&state, &input, NOW).unwrap();
        assert!(decision.effects.is_empty(), "the only private key");
        let mut noted = state.clone();
        decision.events.iter().for_each(|event| CredentialService::apply(&mut noted, event));
        assert!(noted.notes.is_empty());
    }
    CredentialService::apply(&mut state, &Event::Record(records::Event::Settled(record.clone())));
    let revoked = decide(&state, key_command(key::Command::Revoke { id: KeyPairId::new("k9").unwrap(), successor: None }, None)).unwrap();
    revoked.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    assert!(!CredentialService::names(&state, &record), "a dead letter of it may be sent again");
    let effect = Arc::new(revoked.effects.into_iter().next().unwrap().effect);
    assert!(matches!(effect.as_ref(), Effect::DeleteKey(alias) if alias.as_str() == "k9"));
    assert!(matches!(decide(&state, begin()), Err(Rejection::Stale)), "it is on its way out");
    // The vault was down for long: it is asked again.
    let again = CredentialService::decide(&state, &Input::Undeliverable(effect.clone(), "down".to_owned()), NOW).unwrap();
    assert!(matches!(&again.effects[0].effect, Effect::DeleteKey(alias) if alias.as_str() == "k9"));
    let gone = CredentialService::decide(&state, &Input::Delivered(effect, Outcome::Done), NOW).unwrap();
    gone.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    assert!(state.notes.is_empty());
    command(&mut state, begin()).unwrap();
    // So is what is left of who is deleted.
    let secrets = |state: &State| {
        let input = Input::Undeliverable(Arc::new(Effect::DeleteSecrets), "down".to_owned());
        CredentialService::decide(state, &input, NOW).unwrap().effects.len()
    };
    assert_eq!(secrets(&state), 0);
    command(&mut state, Prepared::Context(context::Prepared::Plain(context::Command::Delete))).unwrap();
    assert_eq!((secrets(&state), state.notes.len()), (1, 1), "what was begun is not forgotten");
}

// === requests ===

fn request(holder_pid: &str, ids: &[&str]) -> Prepared {
    let asked = |id: &&str| RequestedCredential {
        format: CredentialFormat::Vc2Jose,
        credential_type: "Member".to_owned(),
        id: CredentialDefinitionId::new(id).unwrap(),
    };
    let pid = HolderPid::new(holder_pid).unwrap();
    let credentials = ids.iter().map(asked).collect();
    let request =
        holder_request::Request { holder_pid: Some(pid.clone()), issuer: issuer("issuer"), credentials, pre_authorized_code: None };
    Prepared::Request(request, pid)
}

fn held(id: &str, raw: &str, request: Option<&str>) -> Arc<StoredCredential> {
    Arc::new(StoredCredential {
        id: CredentialId::new(id).unwrap(),
        credential_id: None,
        format: CredentialFormat::Vc2Jose,
        types: vec!["VerifiableCredential".to_owned(), "Member".to_owned()],
        contexts: Vec::new(),
        issuer: issuer("issuer"),
        holder: did(),
        valid_from: None,
        valid_until: Some(Timestamp(NOW.0 + 1_000)),
        raw: raw.to_owned(),
        json: json!({}),
        request: request.map(|pid| HolderPid::new(pid).unwrap()),
        status: HeldStatus::Active,
        watch: Watch::default(),
    })
}

fn delivered(holder_pid: &str, from: &str, outcome: Result<Vec<Arc<StoredCredential>>, String>) -> Prepared {
    Prepared::Deliver(Delivered {
        issuer: issuer(from),
        issuer_pid: IssuerPid::new("ip").unwrap(),
        holder_pid: HolderPid::new(holder_pid).unwrap(),
        outcome,
    })
}

fn effect() -> Arc<Effect> {
    Arc::new(Effect::RequestCredentials { holder_pid: HolderPid::new("hp").unwrap(), issuer: issuer("issuer"), credentials: Vec::new() })
}

#[test]
fn every_input_in_every_state_of_a_request() {
    use RequestState::{Error, Issued, Requested, Requesting};
    let acknowledge = || Input::Delivered(effect(), Outcome::Acknowledged(Acknowledged { issuer_pid: IssuerPid::new("ip").ok() }));
    let give_up = || Input::Undeliverable(effect(), "no".to_owned());
    let issue = || Input::Command(delivered("hp", "issuer", Ok(vec![held("c1", "raw-1", Some("hp"))])));
    let reject = || Input::Command(delivered("hp", "issuer", Err("no".to_owned())));
    let foreign = || Input::Command(delivered("hp", "thief", Ok(vec![held("c9", "raw-9", Some("hp"))])));
    let again = || Input::Command(request("hp", &["a"]));
    let due = || Input::Due("request/hp".to_owned());
    let state_in = |wanted: Option<RequestState>| {
        let mut state = acme(true);
        if wanted.is_some() {
            command(&mut state, request("hp", &["a"])).unwrap();
        }
        match wanted {
            None | Some(Requesting) => {}
            Some(Requested) => drop(step(&mut state, acknowledge()).unwrap()),
            Some(Issued) => drop(step(&mut state, issue()).unwrap()),
            Some(Error) => drop(step(&mut state, give_up()).unwrap()),
        }
        state
    };
    let states = [None, Some(Requesting), Some(Requested), Some(Issued), Some(Error)];
    let unknown = Err("the credential request does not exist");
    let exists = Err("a credential request with this holderPid exists already");
    let to = |state: RequestState| Ok(Some(state));
    type Row<'a> = (&'a str, &'a dyn Fn() -> Input<CredentialService>, [Result<Option<RequestState>, &'a str>; 5]);
    let table: [Row<'_>; 7] = [
        ("request", &again, [to(Requesting), exists, exists, exists, exists]),
        ("acknowledged", &acknowledge, [Ok(None), to(Requested), to(Requested), to(Issued), to(Error)]),
        ("undeliverable", &give_up, [Ok(None), to(Error), to(Requested), to(Issued), to(Error)]),
        ("issued", &issue, [unknown, to(Issued), to(Issued), to(Issued), to(Issued)]),
        ("rejected", &reject, [unknown, to(Error), to(Error), to(Issued), to(Error)]),
        // Too early for all of them: what comes when the time has come is another test.
        ("due", &due, [Ok(None), to(Requesting), to(Requested), to(Issued), to(Error)]),
        ("issued by another", &foreign, [unknown, unknown, unknown, unknown, unknown]),
    ];
    for (name, input, expected) in table {
        for (from, expected) in states.iter().zip(expected) {
            let mut state = state_in(*from);
            let outcome = step(&mut state, input()).map(|_| state.requests.get(&HolderPid::new("hp").unwrap()).map(|r| r.state));
            assert_eq!(outcome.as_ref().map(|s| *s).map_err(String::as_str), expected, "{name} when {from:?}");
        }
    }
}

#[test]
fn a_code_of_the_issuer_is_kept_until_all_is_here_and_in_no_outbox_row() {
    let mut state = acme(true);
    let Prepared::Request(mut asking, pid) = request("hp", &["a", "b"]) else { panic!("not a request") };
    asking.credentials[1].credential_type = "Maker".to_owned();
    asking.pre_authorized_code = Some(SecretText::new("c0de"));
    let decision = CredentialService::decide(&state, &Input::Command(Prepared::Request(asking, pid.clone())), NOW).unwrap();
    assert_eq!(decision.effects.len(), 1);
    assert!(decision.effects.iter().all(|sent| !serde_json::to_string(&sent.effect).unwrap().contains("c0de")));
    decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    let code = |state: &State| {
        let row = serde_json::to_string(state.requests.get(&pid).unwrap().as_ref()).unwrap();
        let read: holder_request::HolderRequest = serde_json::from_str(&row).unwrap();
        read.pre_authorized_code.map(|code| code.expose().to_owned())
    };
    // Whatever sends it again has it.
    step(&mut state, Input::Undeliverable(effect(), "gave up".to_owned())).unwrap();
    assert_eq!(code(&state).as_deref(), Some("c0de"));
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c1", "urn:1", "Member", "one")]))).unwrap();
    assert_eq!(code(&state).as_deref(), Some("c0de"));
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c2", "urn:2", "Maker", "two")]))).unwrap();
    assert_eq!((state.requests.get(&pid).unwrap().state, code(&state)), (RequestState::Issued, None));
}

#[test]
fn deliveries_are_repeatable_and_replace_what_the_request_brought() {
    let mut state = acme(true);
    command(&mut state, request("hp", &["a"])).unwrap();
    let ids = |state: &State| state.credentials.keys().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    command(&mut state, delivered("hp", "issuer", Ok(vec![held("c1", "one", Some("hp"))]))).unwrap();
    // The repeat comes with fresh ids of our own, and changes nothing.
    assert_eq!(command(&mut state, delivered("hp", "issuer", Ok(vec![held("c2", "one", Some("hp"))]))), Ok(""));
    assert_eq!(ids(&state), ["c1"]);
    command(&mut state, delivered("hp", "issuer", Ok(vec![held("c5", "three", Some("hp"))]))).unwrap();
    assert_eq!(ids(&state), ["c5"]);
}

#[test]
fn a_credential_that_is_not_valid_yet_is_held_and_takes_no_valid_ones_place() {
    let from = |resource: &str, from: i64| {
        let (valid_from, valid_until) = (Some(Timestamp(NOW.0 + from)), Some(Timestamp(NOW.0 + 9_000_000)));
        Arc::new(StoredCredential { valid_from, valid_until, ..(*held(resource, resource, Some("hp"))).clone() })
    };
    let mut state = acme(true);
    command(&mut state, request("hp", &["a"])).unwrap();
    let deliver = |state: &mut State, came: Arc<StoredCredential>| command(state, delivered("hp", "issuer", Ok(vec![came])));
    let ids = |state: &State| state.credentials.keys().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(deliver(&mut state, from("later", 3_600_000)), Ok("credentials.issued"));
    let resource = |at: i64| {
        let held = state.credentials.values().next().unwrap();
        (held.resource(&ParticipantContextId::new("acme").unwrap(), Timestamp(at)).state, held.is_valid(Timestamp(at)))
    };
    let (begins, ends) = (NOW.0 + 3_600_000, NOW.0 + 9_000_000);
    let shown = [NOW.0, begins - 1, begins, ends - 1, ends].map(resource);
    assert_eq!(shown, [(900, false), (900, false), (500, true), (500, true), (800, false)]);
    // Another one that is to come, then one that is valid.
    for next in [from("latest", 3_700_000), from("valid", 0)] {
        deliver(&mut state, next.clone()).unwrap();
        assert_eq!(ids(&state), [next.id.as_str()]);
    }
    let refused = Err("a credential that is not valid yet must not take the place of one that is".to_owned());
    assert_eq!(deliver(&mut state, from("later", 3_600_000)), refused);
    let anew = StoredCredential { raw: "anew".to_owned(), credential_id: Some("urn:1".to_owned()), ..(*from("valid", 3_600_000)).clone() };
    assert_eq!(deliver(&mut state, Arc::new(anew)), refused);
    assert_eq!(ids(&state), ["valid"]);
    // Clocks differ a little.
    assert_eq!(deliver(&mut state, from("ahead", 1_000)), Ok("credentials.issued"));
}

/// A credential with these types, known to its issuer by `id`.
fn typed(resource: &str, id: &str, kind: &str, raw: &str) -> Arc<StoredCredential> {
    let types = vec!["VerifiableCredential".to_owned(), kind.to_owned()];
    Arc::new(StoredCredential { credential_id: Some(id.to_owned()), types, ..(*held(resource, raw, Some("hp"))).clone() })
}

#[test]
fn a_credential_that_is_signed_anew_keeps_its_place() {
    let mut state = acme(true);
    command(&mut state, request("hp", &["a"])).unwrap();
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c1", "urn:1", "Member", "one")]))).unwrap();
    assert_eq!(command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c2", "urn:1", "Member", "again")]))), Ok("credentials.issued"));
    let all: Vec<_> = state.credentials.values().map(|c| (c.id.as_str(), c.raw.as_str())).collect();
    assert_eq!(all, [("c1", "again")]);
}

#[test]
fn a_request_is_issued_when_all_that_was_asked_for_is_here() {
    let mut state = acme(true);
    let Prepared::Request(mut asking, pid) = request("hp", &["a", "b"]) else { panic!("not a request") };
    asking.credentials[1].credential_type = "Maker".to_owned();
    command(&mut state, Prepared::Request(asking, pid.clone())).unwrap();
    let now = |state: &State| (state.requests.get(&pid).unwrap().state, state.credentials.size());
    let other = command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c0", "urn:0", "Gold", "zero")])));
    assert_eq!(other, Err("a credential of the types VerifiableCredential, Gold was not asked for".to_owned()));
    assert_eq!(now(&state), (RequestState::Requesting, 0));
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c1", "urn:1", "Member", "one")]))).unwrap();
    assert_eq!(now(&state), (RequestState::Requested, 1));
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c2", "urn:2", "Maker", "two")]))).unwrap();
    assert_eq!(now(&state), (RequestState::Issued, 2));
    // Issued anew, one of them alone: the other stays.
    command(&mut state, delivered("hp", "issuer", Ok(vec![typed("c3", "urn:3", "Maker", "three")]))).unwrap();
    assert_eq!(now(&state), (RequestState::Issued, 2));
    assert_eq!(state.credentials.keys().map(CredentialId::as_str).collect::<Vec<_>>(), ["c1", "c3"]);
}

#[test]
fn a_delivery_brings_one_credential_for_each_entry_at_most() {
    let of = |resource: &str, kind: &str, format| {
        Arc::new(StoredCredential { format, ..(*typed(resource, &format!("urn:{resource}"), kind, resource)).clone() })
    };
    let (vc1, vc2) = (CredentialFormat::Vc1Jwt, CredentialFormat::Vc2Jose);
    let asking = |types: &[&str]| {
        let mut state = acme(true);
        let ids: Vec<String> = (0..types.len()).map(|n| format!("d{n}")).collect();
        let Prepared::Request(mut asking, pid) = request("hp", &ids.iter().map(String::as_str).collect::<Vec<_>>()) else { panic!() };
        for (entry, kind) in asking.credentials.iter_mut().zip(types) {
            entry.credential_type = (*kind).to_owned();
        }
        command(&mut state, Prepared::Request(asking, pid)).unwrap();
        state
    };
    let deliver = |state: &mut State, came: &[&Arc<StoredCredential>]| {
        command(state, delivered("hp", "issuer", Ok(came.iter().map(|c| (*c).clone()).collect())))
    };
    let ids = |state: &State| state.credentials.keys().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let too_many = Err("a delivery must hold no more credentials than were asked for".to_owned());

    let mut state = asking(&["Member", "Maker"]);
    let (a, b, maker) = (of("a", "Member", vc2), of("b", "Member", vc1), of("maker", "Maker", vc2));
    assert_eq!(deliver(&mut state, &[&a, &b]), too_many);
    assert_eq!(deliver(&mut state, &[&a, &maker, &b]), too_many);
    assert_eq!((ids(&state), state.requests.values().next().unwrap().state), (Vec::<String>::new(), RequestState::Requesting));
    deliver(&mut state, &[&a, &maker]).unwrap();
    // One after another, in whatever format, they take each other's place.
    for n in 0..6 {
        deliver(&mut state, &[&of(&format!("m{n}"), "Member", [vc1, vc2][n % 2])]).unwrap();
        assert_eq!(ids(&state), [format!("m{n}"), "maker".to_owned()]);
    }
    // Two entries of a type, in one delivery or in two; one that comes again stays where it is.
    for together in [true, false] {
        let mut state = asking(&["Member", "Member"]);
        let (a, b) = (of("a", "Member", vc2), of("b", "Member", vc2));
        if together {
            deliver(&mut state, &[&a, &b]).unwrap();
        } else {
            deliver(&mut state, &[&a]).unwrap();
            // It stands for one of them, whatever its type.
            assert_eq!(state.requests.values().next().unwrap().state, RequestState::Requested);
            deliver(&mut state, &[&b]).unwrap();
        }
        assert_eq!(state.requests.values().next().unwrap().state, RequestState::Issued);
        assert_eq!(ids(&state), ["a", "b"], "{together}");
        deliver(&mut state, &[&Arc::new(StoredCredential { raw: "anew".to_owned(), ..(*b).clone() })]).unwrap();
        assert_eq!(ids(&state), ["a", "b"], "{together}");
        assert_eq!(deliver(&mut state, &[&a, &b, &of("c", "Member", vc1)]), too_many);
    }
    // A credential of both types leaves the other one its entry, in whatever order.
    let mut both = (*of("both", "Member", vc2)).clone();
    both.types.push("Maker".to_owned());
    let both = Arc::new(both);
    for came in [[&both, &a], [&a, &both], [&both, &maker], [&maker, &both]] {
        let mut state = asking(&["Member", "Maker"]);
        deliver(&mut state, &came).unwrap();
        assert_eq!(state.credentials.size(), 2);
    }
    // What an earlier version took beyond the entries goes when something comes.
    let mut state = asking(&["Member"]);
    deliver(&mut state, &[&a]).unwrap();
    let mut more = holder_request::HolderRequest::clone(state.requests.values().next().unwrap());
    more.brought.push(b.id.clone());
    credential::apply(&mut state, &credential::CredentialEvent::Stored(b.clone()));
    holder_request::apply(&mut state, &holder_request::RequestEvent::Changed(Arc::new(more)));
    deliver(&mut state, &[&of("c", "Member", vc2)]).unwrap();
    assert_eq!(ids(&state), ["c"]);
}

/// A request that its issuer has acknowledged as often as it was sent, until that is over, and how long it waited each time.
fn asked_in_vain(issuer_pid: Option<&str>) -> (State, Timestamp, Vec<u64>) {
    let (mut state, mut now, mut waits) = (acme(true), NOW, Vec::new());
    turn(&mut state, Input::Command(request("hp", &["a"])), now);
    for resends in 0..=holder_request::MAX_RESENDS {
        let (_, _, due) = turn(&mut state, acknowledged(issuer_pid), now);
        let (key, at) = due.unwrap();
        waits.push(at.since(now).as_secs());
        assert_eq!(turn(&mut state, Input::Due(key.clone()), now).0, "", "too early");
        now = at;
        if resends < holder_request::MAX_RESENDS {
            let (action, sent, _) = turn(&mut state, Input::Due(key), now);
            assert_eq!((action, sent.len()), ("credentials.requesting.again", 1));
        }
    }
    (state, now, waits)
}

fn acknowledged(issuer_pid: Option<&str>) -> Input<CredentialService> {
    Input::Delivered(effect(), Outcome::Acknowledged(Acknowledged { issuer_pid: issuer_pid.map(|pid| IssuerPid::new(pid).unwrap()) }))
}

/// What a turn did, what it sends, and the deadline that it set.
fn turn(
    state: &mut State,
    input: Input<CredentialService>,
    now: Timestamp,
) -> (&'static str, Vec<Arc<Effect>>, Option<(String, Timestamp)>) {
    let decision = CredentialService::decide(state, &input, now).unwrap();
    decision.events.iter().for_each(|event| CredentialService::apply(state, event));
    let due = decision.events.iter().filter_map(CredentialService::deadline).find_map(|(key, at)| at.map(|at| (key, at)));
    (decision.action, decision.effects.into_iter().map(|outgoing| Arc::new(outgoing.effect)).collect(), due)
}

#[test]
fn a_request_that_brings_nothing_is_sent_again_and_ends() {
    let pid = HolderPid::new("hp").unwrap();
    // An issuer that gave it no name cannot be asked what has become of it.
    let (mut state, now, waits) = asked_in_vain(None);
    assert_eq!(waits, [60, 120, 240, 480, 960]);
    let (action, sent, _) = turn(&mut state, Input::Due("request/hp".to_owned()), now);
    assert_eq!((action, sent.len()), ("credentials.error", 0));
    let ended = state.requests.get(&pid).unwrap();
    assert_eq!((ended.state, ended.due_at()), (RequestState::Error, None));
    // What comes late is taken all the same.
    turn(&mut state, Input::Command(delivered("hp", "issuer", Ok(vec![held("c1", "one", Some("hp"))]))), now);
    assert_eq!(state.requests.get(&pid).unwrap().state, RequestState::Issued);
}

#[test]
fn a_request_waits_for_as_long_as_its_issuer_says_that_it_does() {
    use cellspace_schemas::issuer::metadata::RequestStatus::{Issued, Received, Rejected};
    let pid = HolderPid::new("hp").unwrap();
    let (mut state, mut now, _) = asked_in_vain(Some("ip"));
    let request = |state: &State| state.requests.get(&pid).unwrap().clone();
    let due = || Input::Due("request/hp".to_owned());
    let said = |effect: &Arc<Effect>, status| Input::Delivered(effect.clone(), Outcome::Request(status));
    let look = |state: &mut State, now: &mut Timestamp| {
        let (action, sent, again) = turn(state, due(), *now);
        assert_eq!(action, "credentials.requested.asked");
        assert!(matches!(sent[0].as_ref(), Effect::LookAtRequest { issuer_pid, .. } if issuer_pid.as_str() == "ip"));
        assert_eq!(turn(state, due(), *now).0, "", "once");
        *now = again.unwrap().1;
        sent[0].clone()
    };
    // For days; an issuer that cannot be reached is asked again.
    for n in 0..8 {
        let asked = look(&mut state, &mut now);
        let outcome = if n % 2 == 0 { said(&asked, Some(Received)) } else { Input::Undeliverable(asked, "no answer".to_owned()) };
        assert_eq!(turn(&mut state, outcome, NOW).0, "");
        assert_eq!(request(&state).state, RequestState::Requested);
    }
    assert!(now.since(NOW) > std::time::Duration::from_secs(48 * 3_600));
    let asked = look(&mut state, &mut now);
    for (status, expected) in [(Some(Rejected), RequestState::Error), (None, RequestState::Error), (Some(Issued), RequestState::Requesting)]
    {
        let mut state = state.clone();
        turn(&mut state, said(&asked, status), now);
        assert_eq!(request(&state).state, expected, "{status:?}");
        // Said once more, or of another process, it changes nothing.
        assert_eq!(turn(&mut state, said(&asked, Some(Rejected)), now).0, "");
        turn(&mut state, acknowledged(Some("ip-2")), now);
        assert_eq!(turn(&mut state, said(&asked, Some(Rejected)), now).0, "");
    }
    // Approved after all.
    let mut issued = state.clone();
    turn(&mut issued, Input::Command(delivered("hp", "issuer", Ok(vec![held("c1", "one", Some("hp"))]))), now);
    assert_eq!((request(&issued).state, request(&issued).due_at()), (RequestState::Issued, None));
    // Not without end.
    let mut looks = request(&state).looks;
    while request(&state).state == RequestState::Requested {
        let (_, sent, again) = turn(&mut state, due(), now);
        now = again.map_or(now, |(_, at)| at);
        looks += u32::try_from(sent.len()).unwrap();
    }
    assert_eq!((looks, request(&state).state), (holder_request::MAX_LOOKS, RequestState::Error));
}

#[test]
fn a_rejection_of_an_earlier_process_leaves_the_newer_one_alone() {
    let pid = HolderPid::new("hp").unwrap();
    let rejected = |issuer_pid: &str| {
        let Prepared::Deliver(rejection) = delivered("hp", "issuer", Err("no".to_owned())) else { panic!("no delivery") };
        Input::Command(Prepared::Deliver(Delivered { issuer_pid: IssuerPid::new(issuer_pid).unwrap(), ..rejection }))
    };
    let told = |state: &State| (state.requests.get(&pid).unwrap().state, state.requests.get(&pid).unwrap().error.is_some());
    let mut state = acme(true);
    turn(&mut state, Input::Command(request("hp", &["a"])), NOW);
    let (_, _, due) = turn(&mut state, acknowledged(Some("first")), NOW);
    let (key, at) = due.unwrap();
    turn(&mut state, Input::Due(key), at);
    // It had ended at its issuer, which has made another process of the repeat.
    let mut early = state.clone();
    turn(&mut state, acknowledged(Some("second")), at);
    turn(&mut state, rejected("first"), at);
    assert_eq!(told(&state), (RequestState::Requested, false));
    turn(&mut state, rejected("second"), at);
    assert_eq!(told(&state), (RequestState::Error, true));
    // The same before the acknowledgement.
    turn(&mut early, rejected("first"), at);
    assert_eq!(told(&early), (RequestState::Error, true));
    let mut last = early.clone();
    turn(&mut early, acknowledged(Some("second")), at);
    assert_eq!(told(&early), (RequestState::Requested, false));
    turn(&mut last, acknowledged(Some("first")), at);
    assert_eq!(told(&last), (RequestState::Error, true));
}

fn offer(from: &str, id: Option<&str>, ids: &[&str]) -> Offer {
    let object = |id: &&str| OfferedObject::read(OfferedCredential { id: (*id).to_owned(), ..OfferedCredential::default() }).unwrap();
    Offer::new(issuer(from), id.map(str::to_owned), ids.iter().map(object).collect(), NOW)
}

/// The offer with what its issuer says of it: `member-1` is one of the type `Member`, and so on.
fn offered(from: &str, id: Option<&str>, ids: &[&str]) -> Prepared {
    let object = |id: &&str| RequestedCredential {
        format: CredentialFormat::Vc2Jose,
        credential_type: id.split('-').next().unwrap().to_owned(),
        id: CredentialDefinitionId::new(id).unwrap(),
    };
    Prepared::Offer(offer::Prepared { offer: offer(from, id, ids), objects: ids.iter().map(object).collect() })
}

/// What the requests that follow offers ask for.
fn followed(state: &State) -> Vec<String> {
    let asked = |request: &holder_request::HolderRequest| {
        let ids: Vec<&str> = request.asked.iter().map(|asked| asked.id.as_str()).collect();
        format!("{} {}", request.issuer, ids.join(" "))
    };
    let mut all: Vec<String> = state.requests.values().filter(|request| request.offered).map(|request| asked(request)).collect();
    all.sort();
    all
}

fn rules(rules: &[(&str, &[&str])]) -> Prepared {
    let rule = |(from, types): &(&str, &[&str])| OfferRule { issuer: issuer(from), types: types.iter().map(|t| (*t).to_owned()).collect() };
    plain(context::Command::SetOfferRules(rules.iter().map(rule).collect()))
}

#[test]
fn an_offer_is_followed_where_a_rule_says_so_and_once() {
    let mut state = acme(true);
    // Without a rule it is kept, whatever is known of it.
    assert_eq!(command(&mut state, offered("issuer", None, &["Member-1"])), Ok("credential.offered"));
    assert!(!offer("issuer", None, &["Member-1"]).may_be_followed(&state));
    command(&mut state, rules(&[("issuer", &["Member", "Maker"]), ("all", &["*"])])).unwrap();
    assert!(offer("issuer", None, &["Member-1"]).may_be_followed(&state) && !offer("other", None, &["Member-1"]).may_be_followed(&state));
    assert_eq!(command(&mut state, offered("other", None, &["Member-1"])), Ok("credential.offered"));
    assert_eq!(command(&mut state, offered("issuer", None, &["Gold-1"])), Ok("credential.offered"));
    assert_eq!(followed(&state), Vec::<String>::new());
    // What the rule means of it, in one request that goes out with the turn.
    let decision =
        CredentialService::decide(&state, &Input::Command(offered("issuer", None, &["Member-1", "Gold-1", "Maker-2"])), NOW).unwrap();
    assert!(
        matches!(decision.effects.as_slice(), [sent] if matches!(&sent.effect, Effect::RequestCredentials { credentials, .. } if credentials.len() == 2))
    );
    decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    let once = ["did:web:issuer.example Member-1 Maker-2"];
    assert_eq!(followed(&state), once);
    // The same offer again, in whatever order.
    for ids in [["Member-1", "Gold-1", "Maker-2"], ["Maker-2", "Member-1", "Gold-1"]] {
        assert!(!offer("issuer", None, &ids).may_be_followed(&state));
        assert_eq!(command(&mut state, offered("issuer", None, &ids)), Ok("credential.offered"));
    }
    assert_eq!(followed(&state), once);
    // Another one: by its id, by what it offers, or of somebody else.
    for prepared in [
        offered("issuer", Some("urn:1"), &["Member-1", "Gold-1", "Maker-2"]),
        offered("issuer", Some("urn:1"), &["Member-1"]),
        offered("issuer", Some("urn:2"), &["Member-1"]),
        offered("issuer", None, &["Member-1"]),
        offered("all", None, &["Gold-1"]),
        offered("all", Some("urn:1"), &["Gold-1"]),
    ] {
        command(&mut state, prepared).unwrap();
    }
    let mut all = vec!["did:web:all.example Gold-1"; 2];
    all.extend(["did:web:issuer.example Member-1"; 2]);
    all.extend(["did:web:issuer.example Member-1 Maker-2"; 2]);
    assert_eq!(followed(&state), all);
    // Nothing follows for one that is switched off, or has no rule any more.
    command(&mut state, rules(&[])).unwrap();
    assert_eq!(command(&mut state, offered("all", Some("urn:3"), &["Gold-1"])), Ok("credential.offered"));
    command(&mut state, plain(context::Command::SetActive(false))).unwrap();
    assert!(command(&mut state, offered("all", Some("urn:4"), &["Gold-1"])).is_err());
    assert_eq!(followed(&state).len(), all.len());
}

#[test]
fn an_offer_for_another_reason_is_another_one() {
    let mut state = acme(true);
    command(&mut state, rules(&[("issuer", &["*"])])).unwrap();
    let with = |reason: Option<&str>, id: Option<&str>| {
        let Prepared::Offer(mut prepared) = offered("issuer", id, &["Member-1"]) else { panic!("no offer") };
        let said = OfferedCredential { id: "Member-1".to_owned(), offer_reason: reason.map(str::to_owned), ..OfferedCredential::default() };
        prepared.offer = Offer::new(issuer("issuer"), id.map(str::to_owned), vec![OfferedObject::read(said).unwrap()], NOW);
        Prepared::Offer(prepared)
    };
    let table = [
        (None, None, true),
        (None, None, false),
        (Some("reissue"), None, true),
        (Some("reissue"), None, false),
        (Some("proof-key-revocation"), None, true),
        // Its id says which offer it is.
        (None, Some("urn:1"), true),
        (Some("reissue"), Some("urn:1"), false),
    ];
    for (reason, id, follows) in table {
        let told = command(&mut state, with(reason, id)).unwrap();
        assert_eq!(told == "credential.offer.followed", follows, "{reason:?} {id:?}");
        let kept = state.offers.get(&issuer("issuer")).unwrap();
        let member = CredentialDefinitionId::new("Member-1").unwrap();
        assert_eq!(kept.object(&member).and_then(|object| object.offer_reason.as_deref()), reason);
        assert_eq!((kept.credentials.as_slice(), kept.objects.len()), ([member].as_slice(), usize::from(reason.is_some())));
        // Rows of before say nothing of objects.
        let mut row = serde_json::to_value(kept.as_ref()).unwrap();
        row.as_object_mut().unwrap().remove("objects");
        assert!(serde_json::from_value::<Offer>(row).unwrap().objects.is_empty());
    }
    for (length, good) in [(MAX_ID_BYTES, true), (MAX_ID_BYTES + 1, false)] {
        let long = || Some("x".repeat(length));
        let object = || OfferedCredential { id: "a".to_owned(), ..OfferedCredential::default() };
        for object in [
            OfferedCredential { credential_type: long(), ..object() },
            OfferedCredential { profile: long(), ..object() },
            OfferedCredential { offer_reason: long(), ..object() },
        ] {
            assert_eq!(OfferedObject::read(object).is_ok(), good, "{length}");
        }
    }
}

#[test]
fn an_offer_without_an_id_may_come_again_when_nothing_is_held_of_it() {
    let mut state = acme(true);
    command(&mut state, rules(&[("issuer", &["*"])])).unwrap();
    let fail = |state: &mut State, pid: &HolderPid| {
        let sent = Effect::RequestCredentials { holder_pid: pid.clone(), issuer: issuer("issuer"), credentials: Vec::new() };
        step(state, Input::Undeliverable(Arc::new(sent), "no".to_owned())).unwrap();
    };
    let again = |state: &mut State, id: Option<&str>| {
        let may = offer("issuer", id, &["Member-1"]).may_be_followed(state);
        let told = command(state, offered("issuer", id, &["Member-1"])).unwrap();
        assert_eq!(told == "credential.offer.followed", may);
        may
    };
    let mut all = BTreeSet::new();
    for n in 1..=5 {
        assert!(again(&mut state, None) && !again(&mut state, None), "{n}");
        // Under an id of its own, since the issuer would answer the earlier one by what became of it; what an attempt before came to goes.
        assert_eq!(state.requests.size(), 1);
        let pid = state.requests.keys().next().unwrap().clone();
        assert!(all.insert(pid.clone()));
        if n < 5 {
            fail(&mut state, &pid);
        } else {
            command(&mut state, delivered(pid.as_str(), "issuer", Ok(vec![held("c1", "raw", Some(pid.as_str()))]))).unwrap();
        }
    }
    // What is held of it counts, until it is gone.
    assert!(!again(&mut state, None));
    // So does what has renewed it.
    let mut renewal = holder_request::HolderRequest::clone(state.requests.values().next().unwrap());
    (renewal.holder_pid, renewal.offered) = (HolderPid::new("renewal").unwrap(), false);
    renewal.brought = vec![CredentialId::new("c2").unwrap()];
    holder_request::apply(&mut state, &holder_request::RequestEvent::Changed(Arc::new(renewal)));
    credential::apply(&mut state, &credential::CredentialEvent::Removed(CredentialId::new("c1").unwrap()));
    credential::apply(&mut state, &credential::CredentialEvent::Stored(held("c2", "raw", Some("renewal"))));
    assert!(!again(&mut state, None));
    command(&mut state, Prepared::Credential(credential::Prepared::Delete(CredentialId::new("c2").unwrap()))).unwrap();
    assert!(again(&mut state, None));
    // One with an id is followed once, whatever becomes of it.
    let before: BTreeSet<HolderPid> = state.requests.keys().cloned().collect();
    assert!(again(&mut state, Some("urn:1")));
    let pid = state.requests.keys().find(|pid| !before.contains(*pid)).unwrap().clone();
    fail(&mut state, &pid);
    assert!(!again(&mut state, Some("urn:1")));
}

#[test]
fn offers_without_end_are_followed_within_a_bound() {
    let mut state = acme(true);
    command(&mut state, rules(&[("issuer", &["*"]), ("other", &["*"])])).unwrap();
    let follow = |state: &mut State, from: &str, n: usize| command(state, offered(from, Some(&format!("urn:{n}")), &["Member-1"])).unwrap();
    for n in 0..2 * MAX_FOLLOWED {
        assert_eq!(follow(&mut state, "issuer", n), if n < MAX_FOLLOWED { "credential.offer.followed" } else { "credential.offered" });
    }
    assert_eq!((state.requests.size(), state.offers.size()), (MAX_FOLLOWED, 1));
    // One issuer's offers take no other's place; what brought nothing makes room, what brought something that is held does not.
    assert_eq!(follow(&mut state, "other", 0), "credential.offer.followed");
    let pids: Vec<HolderPid> = state.requests.values().filter(|r| r.issuer == issuer("issuer")).map(|r| r.holder_pid.clone()).collect();
    command(&mut state, delivered(pids[0].as_str(), "issuer", Ok(vec![held("c1", "raw", Some(pids[0].as_str()))]))).unwrap();
    assert_eq!(follow(&mut state, "issuer", 1_000), "credential.offered");
    command(&mut state, delivered(pids[1].as_str(), "issuer", Err("no".to_owned()))).unwrap();
    assert_eq!(follow(&mut state, "issuer", 1_001), "credential.offer.followed");
    assert_eq!((state.requests.contains_key(&pids[0]), state.requests.contains_key(&pids[1])), (true, false));
    command(&mut state, Prepared::Credential(credential::Prepared::Delete(CredentialId::new("c1").unwrap()))).unwrap();
    assert_eq!(follow(&mut state, "issuer", 1_002), "credential.offer.followed");
    assert_eq!((state.requests.contains_key(&pids[0]), state.requests.size()), (false, MAX_FOLLOWED + 1));
}

#[test]
fn the_newest_offers_are_kept() {
    let mut state = acme(true);
    for n in 0..=MAX_OFFERS {
        let offer = offer(&format!("i{n}"), None, &["a"]);
        let input = Input::Command(Prepared::Offer(offer::Prepared { offer, objects: Vec::new() }));
        let decision = CredentialService::decide(&state, &input, Timestamp(NOW.0 + i64::try_from(n).unwrap())).unwrap();
        decision.events.iter().for_each(|event| CredentialService::apply(&mut state, event));
    }
    assert_eq!(state.offers.size(), MAX_OFFERS);
    assert!(!state.offers.contains_key(&issuer("i0")) && state.offers.contains_key(&issuer("i1")));
}

#[test]
fn the_acknowledgement_may_come_after_the_credentials() {
    let mut state = acme(true);
    command(&mut state, request("hp", &["a"])).unwrap();
    step(&mut state, Input::Undeliverable(effect(), "gave up".to_owned())).unwrap();
    let late = Input::Delivered(effect(), Outcome::Acknowledged(Acknowledged { issuer_pid: IssuerPid::new("late").ok() }));
    assert_eq!(step(&mut state, late), Ok("credentials.requested"));
    let request = state.requests.get(&HolderPid::new("hp").unwrap()).unwrap();
    assert_eq!((request.state, request.issuer_pid.as_ref().map(IssuerPid::as_str)), (RequestState::Error, Some("late")));
}

// === presentations ===

#[test]
fn only_what_is_asked_granted_and_valid_is_presented() {
    let mut state = acme(true);
    for (id, valid) in [("c1", true), ("c2", false)] {
        let mut credential = (*held(id, id, None)).clone();
        credential.valid_until = Some(if valid { Timestamp(NOW.0 + 1) } else { NOW });
        credential.credential_id = Some(format!("urn:{id}"));
        let stored = credential::Prepared::Store { credential: Arc::new(credential), replace: false };
        command(&mut state, Prepared::Credential(stored)).unwrap();
    }
    let scope = |text: &str| CredentialScope::parse(&format!("org.eclipse.dspace.dcp.vc.{text}")).unwrap();
    let select = |asked: &[CredentialScope], granted: &[CredentialScope]| {
        super::presentations::select(&state, asked, granted, NOW).iter().map(|c| c.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    let (member, other) = (scope("type:Member"), scope("type:Other"));
    let table: [(&[CredentialScope], &[CredentialScope], &[&str]); 6] = [
        (from_ref(&member), from_ref(&member), &["c1"]),
        (&[member.clone(), other.clone()], from_ref(&member), &["c1"]),
        (from_ref(&member), from_ref(&other), &[]),
        (from_ref(&other), from_ref(&member), &[]),
        // A credential by its id is granted with its type.
        (&[scope("id:urn:c1")], from_ref(&member), &["c1"]),
        (&[scope("id:urn:c2")], from_ref(&member), &[]),
    ];
    for (asked, granted, expected) in table {
        assert_eq!(select(asked, granted), expected, "{asked:?} of {granted:?}");
    }
}

#[test]
fn a_presentation_is_bounded() {
    let mut state = acme(true);
    let mut store = |id: &str, kind: &str, format: CredentialFormat, from: i64| {
        let valid_from = Some(Timestamp(NOW.0 - from));
        let credential = StoredCredential { valid_from, format, ..(*typed(id, &format!("urn:{id}"), kind, id)).clone() };
        let stored = credential::Prepared::Store { credential: Arc::new(credential), replace: false };
        command(&mut state, Prepared::Credential(stored)).unwrap();
    };
    let (vc1, vc2) = (CredentialFormat::Vc1Jwt, CredentialFormat::Vc2Jose);
    store("old", "Member", vc2, 20);
    store("new", "Member", vc2, 10);
    store("older", "Member", vc1, 40);
    store("other", "Member", vc1, 30);
    for n in 0..40 {
        store(&format!("k{n}"), &format!("Kind{n}"), vc2, 100 + n);
    }
    let scope = |text: &str| CredentialScope::parse(&format!("org.eclipse.dspace.dcp.vc.{text}")).unwrap();
    let select = |asked: &[CredentialScope]| {
        super::presentations::select(&state, asked, asked, NOW).iter().map(|c| c.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    // Of one issuer, type and format the newest; the one that is asked for by its id as well.
    assert_eq!(select(&[scope("type:Member")]), ["new", "other"]);
    assert_eq!(select(&[scope("type:Member"), scope("id:urn:old")]), ["new", "old", "other"]);
    let all = select(&[scope("type:VerifiableCredential")]);
    assert_eq!((all.len(), all[0].as_str(), all[31].as_str()), (32, "new", "k30"));
}

// === whatever is asked ===

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
