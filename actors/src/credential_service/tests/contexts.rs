//! The participant context and its DID.

use super::*;

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
