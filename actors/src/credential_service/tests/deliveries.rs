//! What deliveries bring, and what they replace.

use super::*;

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
