//! Offers of issuers, and the rules by which they are followed.

use super::*;

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
