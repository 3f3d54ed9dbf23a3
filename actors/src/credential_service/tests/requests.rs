//! Requests for credentials: every input in every state, and how long they are sent again.

use super::*;

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
