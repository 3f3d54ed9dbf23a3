//! Slots go from one node to another while their agents are used.

use super::*;

/// A client that comes again when it is told to loses nothing while nodes join and leave, whichever node it asks.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_and_leave_under_load() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let platform = Platform::of(a, None).await;
    let ids: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for id in &ids {
        participant(&platform, id).await;
    }
    let (stop, stopped) = watch::channel(false);
    let writing = ids.iter().map(|id| {
        let (stopped, http, token) = (stopped.clone(), Client::new(), platform.token.clone());
        let url = platform.node.urls.admin(&assets(id));
        async move {
            let (mut made, mut longest, mut pace) = (0, Duration::ZERO, interval(THINKS));
            while !*stopped.borrow() {
                let began = Instant::now();
                loop {
                    let key = format!("{url}-{made}");
                    let sent = http.post(&url).bearer_auth(&token).header("idempotency-key", &key[key.len().saturating_sub(64)..]);
                    let answer = sent.json(&asset(&format!("a{made}"))).send().await.unwrap();
                    let again = answer.headers().contains_key("retry-after");
                    let (status, said) = read(answer).await;
                    if status == StatusCode::OK {
                        break;
                    }
                    assert!(status == StatusCode::SERVICE_UNAVAILABLE && again, "{status} {said}");
                    assert!(began.elapsed() < PATIENCE, "{said}");
                    tokio::task::yield_now().await;
                }
                longest = longest.max(began.elapsed());
                made += 1;
                pace.tick().await;
            }
            (made, longest)
        }
    });
    let changing = async {
        let b = place.another(&platform.node, &shared, place.seat("b", None), |_| ()).await;
        place.settled(&["a", "b"]).await;
        let c = place.another(&platform.node, &shared, place.seat("c", None), |_| ()).await;
        place.settled(&["a", "b", "c"]).await;
        assert!(ids.iter().any(|id| serves(&b, id)) && ids.iter().any(|id| serves(&c, id)), "each has its part");
        b.drain(DRAIN).await;
        place.settled(&["a", "c"]).await;
        stop.send_replace(true);
        c
    };
    let (made, c) = tokio::join!(futures::future::join_all(writing), changing);
    let everywhere = [&platform.node, &c].map(|node| node.admin_address().unwrap());
    for (id, (made, longest)) in ids.iter().zip(made) {
        assert!(longest < PATIENCE / 4, "{longest:?} for {id}");
        for node in everywhere {
            for n in 0..made {
                let url = format!("http://localhost:{}{}/a{n}", node.port(), assets(id));
                assert_eq!(platform.http.get(url).bearer_auth(&platform.token).send().await.unwrap().status(), StatusCode::OK, "{id} {n}");
            }
        }
    }
}

/// The node that goes on where another one served does not know which tokens that one saw: it takes none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_token_counts_once_wherever_its_receiver_is_served() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let (sender, receiver) = (served_by(&platform.node), served_by(&b));
    for id in [&sender, &receiver] {
        platform.participant(id).await;
    }
    let objects = json!([{"id": "m", "type": "CredentialObject"}]);
    let context = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";
    let offer = json!({"@context": [context], "type": "CredentialOfferMessage", "issuer": platform.did(&sender), "credentials": objects});
    let url = format!("{}/offers", platform.node.urls.credential_service(&id_of(&receiver)));
    let offered = async |token: &str| {
        let answer = platform.http.post(&url).bearer_auth(token).json(&offer).send().await.unwrap();
        let again = answer.headers().contains_key("retry-after");
        let (status, said) = read(answer).await;
        (status, again, said.to_string())
    };
    // The sender signs anew as long as it is told to.
    let taken = async || {
        let taken = async {
            loop {
                let token = platform.id_token(&sender, &receiver).await;
                let (status, again, said) = offered(&token).await;
                if !again {
                    assert_eq!(status, StatusCode::OK, "{said}");
                    return token;
                }
            }
        };
        timeout(PATIENCE, taken).await.unwrap()
    };
    // One more, which is not used yet: when its receiver has moved, it is known which of them was.
    let (used, kept) = (taken().await, platform.id_token(&sender, &receiver).await);
    b.drain(DRAIN).await;
    place.settled(&["a"]).await;
    let (status, again, said) = offered(&used).await;
    assert_eq!((status, again), (StatusCode::UNAUTHORIZED, false), "{said}");
    assert_eq!(offered(&kept).await.0, StatusCode::OK);
    assert_eq!(offered(&kept).await.0, StatusCode::UNAUTHORIZED);
}

/// A message whose receiver goes to another node in the middle of it is not done: its sender signs anew, and need not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_sign_anew_since_the_receiver_has_moved_need_not_wait() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let receiver = served_by(&b);
    platform.participant(&receiver).await;
    // Who sends it has a DID whose document is long in coming, and does not come in the end.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("did:web:localhost%3A{}", listener.local_addr().unwrap().port());
    let (asked, mut is_asked) = watch::channel(0);
    let (answers, answered) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut answered = answered.clone();
            asked.send_modify(|count| *count += 1);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = answered.wait_for(|answered| *answered).await;
                // Who asks by TLS is gone by now.
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            });
        }
    });
    let url = format!("{}/offers", platform.node.urls.credential_service(&id_of(&receiver)));
    let (http, own) = (platform.http.clone(), platform.did(&receiver));
    let (context, objects) = ("https://w3id.org/dspace-dcp/v1.0/dcp.jsonld", json!([{"id": "m", "type": "CredentialObject"}]));
    // Each of another sender: what failed is remembered for a moment.
    let offered = async |name: &str| {
        let sender = format!("{host}:{name}");
        let offer = json!({"@context": [context], "type": "CredentialOfferMessage", "issuer": sender, "credentials": objects});
        let (part, now) = (|part: Value| URL_SAFE_NO_PAD.encode(part.to_string()), SystemClock.now().seconds());
        let header = part(json!({"alg": "EdDSA", "typ": "JWT", "kid": format!("{sender}#key")}));
        let claims = json!({"iss": sender, "sub": sender, "aud": own, "jti": now.to_string(), "iat": now, "exp": now + 60});
        let token = format!("{header}.{}.{}", part(claims), URL_SAFE_NO_PAD.encode([0; 64]));
        let answer = http.post(&url).bearer_auth(token).json(&offer).send().await.unwrap();
        let again = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
        let (status, said) = read(answer).await;
        (status, again, said.to_string())
    };
    let expected = |after: &str| (StatusCode::SERVICE_UNAVAILABLE, Some(after.to_owned()));
    let (status, again, said) = offered("before").await;
    assert_eq!((status, again), expected("1"), "{said}");
    answers.send_replace(false);
    let before = *is_asked.borrow();
    let ((status, again, said), ()) = tokio::join!(offered("meanwhile"), async {
        timeout(PATIENCE, is_asked.wait_for(|count| *count > before)).await.unwrap().unwrap();
        let (drained, ()) = tokio::join!(timeout(PATIENCE, b.drain(DRAIN)), async {
            while !serves(&platform.node, &receiver) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answers.send_replace(true);
        });
        drained.unwrap();
    });
    assert_eq!((status, again), expected("0"), "{said}");
}

/// Who waits for a state at a node that ends goes on waiting where the agent goes, and in all no longer than it wanted to.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_goes_on_where_its_agent_goes() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let joins = Instant::now();
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    // To go takes about as long as to come, however slow the machine is.
    let brief = (joins.elapsed() * 3).clamp(Duration::from_secs(12), Duration::from_secs(40));
    let platform = Platform::of(a, None).await;
    let id = served_by(&b);
    participant(&platform, &id).await;
    let negotiations = format!("/api/mgmt/v5beta/participants/{id}/contractnegotiations");
    let begun = platform.must(Method::POST, &negotiations, Some(platform.negotiation())).await;
    let one = format!("{negotiations}/{}", begun["@id"].as_str().unwrap());
    let wait = async |time: Duration| {
        let path = format!("{one}/state?wait=FINALIZED&timeout={}ms", time.as_millis());
        read(platform.admin(Method::GET, &path).send().await.unwrap()).await
    };
    let (began, moved) = (Instant::now(), AtomicBool::new(false));
    let ending = async {
        b.drain(DRAIN).await;
        place.settled(&["a"]).await;
        moved.store(true, Ordering::SeqCst);
        // A second more than is left of the brief wait, which would last longer still had it begun anew where its agent went.
        let left = (brief + Duration::from_secs(1)).saturating_sub(began.elapsed());
        wait(left).await;
    };
    let briefly = async {
        tokio::select! {
            biased;
            (status, said) = wait(brief) => assert!(status == StatusCode::OK && said["state"] != "TERMINATED", "{status} {said}"),
            () = ending => panic!("a wait began anew"),
        }
        assert!(moved.load(Ordering::SeqCst), "the wait of {brief:?} was over before its agent had gone: that shows nothing");
        let reason = body("TerminateNegotiation", json!({"reason": "over"}));
        let ended = platform.admin(Method::POST, &format!("{one}/terminate")).json(&reason).send().await.unwrap();
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    };
    let ((status, said), ()) = timeout(PATIENCE, async { tokio::join!(wait(Duration::from_secs(60)), briefly) }).await.unwrap();
    assert_eq!((status, &said["state"]), (StatusCode::OK, &json!("TERMINATED")), "{said}");
}

/// Negotiations and transfers need no node that takes events of the fabric; who is to come in waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cell_without_its_fabric_goes_on_sharing_data() {
    // The clients of the story are made for one thread.
    LocalSet::new().run_until(without_fabric()).await;
}

async fn without_fabric() {
    let place = Place::new();
    let config = config(&place.path().join("a"));
    let shared = Shared::open(&config).await.unwrap();
    let with_fabric = |name: &str, fabric| Seat { roles: Roles { fabric, ..Roles::ALL }, ..place.seat(name, None) };
    let a = Node::start_in_cell(config, shared.clone(), with_fabric("a", false)).await.unwrap();
    let b = place.another(&a, &shared, with_fabric("b", true), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let mut prepared = Prepared::of(&platform).await;
    let sharers = prepared.sharers(&platform).await;

    let mut load = Load::start(&platform, &sharers);
    load.more(3).await;
    b.drain(DRAIN).await;
    place.settled(&["a"]).await;
    let profile = prepared.late(&platform, "late").await;
    load.more(20).await;
    assert!(!is_active(&platform, &profile, "1s").await, "somebody took events");
    load.end().await;

    let _c = place.another(&platform.node, &shared, with_fabric("c", true), |_| ()).await;
    catches_up(&platform, &profile).await;
}
