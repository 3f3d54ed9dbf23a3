//! Key pairs: every command in every state, rotation, and what signs.

use super::*;

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
