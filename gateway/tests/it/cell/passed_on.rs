//! Requests that come in at another node than that of their agent.

use super::*;

/// What a node did not take it did not do; of what it may have taken nothing is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_while_it_answers_for_another_makes_nobody_lie() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let (way, watched) = watch::channel(Way::Open);
    let (at, place_of_b) = watch::channel(None);
    let (endpoint, mut missed) = between(place_of_b, watched).await;
    let mut seat = place.seat("b", Some(endpoint));
    seat.listen = place_of_its_own();
    at.send_replace(Some(seat.listen.to_string()));
    let b = place.another(&a, &shared, seat, |_| ()).await;
    place.settled(&["a", "b"]).await;
    let platform = Platform::of(a, None).await;
    let id = served_by(&b);
    participant(&platform, &id).await;
    platform.must(Method::POST, &assets(&id), Some(asset("first"))).await;
    assert!(serves(&b, &id) && !serves(&platform.node, &id));

    // It is done there, and nobody hears of it.
    way.send_replace(Way::Mute);
    let asked = platform.admin(Method::POST, &assets(&id)).json(&asset("second")).send();
    let mut asked = std::pin::pin!(asked);
    let is_there = async {
        let found = format!("http://localhost:{}{}/second", b.admin_address().unwrap().port(), assets(&id));
        while platform.http.get(&found).bearer_auth(&platform.token).send().await.unwrap().status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut asked => panic!("{answer:?}"),
        done = timeout(PATIENCE, is_there) => done.unwrap(),
    }
    way.send_replace(Way::Cut);
    let answer = asked.await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    let (status, said) = read(answer).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && said.to_string().contains("the outcome is unknown"), "{status} {said}");
    // Now it is not reached at all: nothing is done, and that is what is said.
    let third = platform.admin(Method::POST, &assets(&id)).json(&asset("third")).send();
    let first = || platform.admin(Method::GET, &format!("{}/first", assets(&id))).send();
    for answer in <[_; 2]>::from(tokio::join!(third, first())) {
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.headers()["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        let (_, said) = read(answer).await;
        assert!(!said.to_string().contains("unknown"), "{said}");
    }
    // For a while it is tried again.
    let before = *missed.borrow();
    let (answer, ()) = tokio::join!(first(), async {
        timeout(PATIENCE, missed.wait_for(|missed| *missed >= before + 5)).await.unwrap().unwrap();
        way.send_replace(Way::Open);
    });
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    let again = timeout(PATIENCE, async {
        loop {
            let answer = platform.admin(Method::POST, &assets(&id)).json(&asset("third")).send().await.unwrap();
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                return answer.status();
            }
        }
    });
    assert_eq!(again.await.unwrap(), StatusCode::OK, "it was not there");
    assert_eq!(platform.admin(Method::POST, &assets(&id)).json(&asset("second")).send().await.unwrap().status(), StatusCode::CONFLICT);
}

/// What is changed by way of one node is so at all of them when it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn settings_are_the_same_at_every_node_at_once() {
    let platform = Platform::in_cell(&["a", "b"], |_| ()).await;
    let at_b = |path: &str| format!("http://localhost:{}{path}", platform.beside[0].admin_address().unwrap().port());
    let id = served_by(&platform.beside[0]);
    participant(&platform, &id).await;
    for n in 0..5 {
        let protocol = json!({"version": "2025-1", "path": format!("/own-{n}"), "binding": "HTTPS", "namespace": "n"});
        let profile = body("DataspaceProfile", json!({"name": format!("own-{n}"), "protocol": protocol}));
        platform.must(Method::POST, "/api/mgmt/v5beta/dataspaceprofiles", Some(profile)).await;
        // The participant's node knows it.
        let profiles = body("AssociateDataspaceProfile", json!({"profiles": [format!("own-{n}")]}));
        let path = format!("/api/mgmt/v5beta/participants/{id}/profiles");
        let sent = platform.http.put(at_b(&path)).bearer_auth(&platform.token).json(&profiles).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT, "{n}");
    }
}

/// Ids that are drawn, and ids that only the body says: whichever node is asked, the one is asked whose they are.
#[tokio::test(flavor = "multi_thread")]
async fn participants_are_made_and_changed_by_way_of_any_node() {
    let platform = Platform::in_cell(&["a", "b", "c"], |_| ()).await;
    let context = |name: &str, more: Value| {
        let mut context = json!({"identity": platform.did(name), "state": "ACTIVATED", "properties": {}});
        context.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body("ParticipantContext", context)
    };
    let made = |name: String, key: Option<&'static str>| {
        let mut request = platform.admin(Method::POST, "/api/mgmt/v5beta/participants").json(&context(&name, json!({})));
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("{key}-{name}"));
        }
        async move {
            let (status, said) = read(request.send().await.unwrap()).await;
            assert_eq!(status, StatusCode::OK, "{said}");
            said["@id"].as_str().unwrap().to_owned()
        }
    };
    let mut names = std::collections::BTreeMap::new();
    for n in 0..6 {
        let name = |what: &str| format!("{what}-{n}");
        assert!(names.insert(made(name("free"), None).await, name("free")).is_none());
        let (first, again) = (made(name("keyed"), Some("key")).await, made(name("keyed"), Some("key")).await);
        assert_eq!(first, again, "a repeat");
        assert!(names.insert(first, name("keyed")).is_none());
    }
    // Each is changed by a path that names another one.
    for ((id, name), of_path) in names.iter().zip(names.keys().skip(1).chain(names.keys().next())) {
        let changed = context(name, json!({"@id": id, "properties": {"n": name}}));
        platform.must(Method::PUT, &format!("/api/mgmt/v5beta/participants/{of_path}"), Some(changed)).await;
    }
    for (id, name) in &names {
        let found = platform.must(Method::GET, &format!("/api/mgmt/v5beta/participants/{id}"), None).await;
        assert_eq!(found["properties"]["n"], json!(name), "{found}");
    }
}

/// Before another node is asked it is looked at who asks, and nobody says for a client what only nodes say to each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_passed_on_is_judged_like_any_other() {
    let platform = Platform::in_cell(&["a", "b"], |_| ()).await;
    let (here, there) = (served_by(&platform.node), served_by(&platform.beside[0]));
    for id in [&here, &there] {
        participant(&platform, id).await;
        platform.must(Method::POST, &assets(id), Some(asset("first"))).await;
        // A body that never comes is not waited for.
        let mut socket = TcpStream::connect(platform.node.admin_address().unwrap()).await.unwrap();
        for token in ["", "Authorization: Bearer none\r\n"] {
            let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: 100\r\n\r\n", assets(id));
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            timeout(PATIENCE, socket.read_exact(&mut status)).await.unwrap().unwrap();
            assert_eq!(&status, b"HTTP/1.1 401", "{id}");
            socket = TcpStream::connect(platform.node.admin_address().unwrap()).await.unwrap();
        }
        let how = json!({"listener": "ops", "owner": "installation", "view": 1_000_000, "hops": 9, "left": 0});
        let request = platform.admin(Method::GET, &format!("{}/first", assets(id))).header("cellspace-forwarded", how.to_string());
        let answer = request.header("cellspace-wire", "99").header("cellspace-elsewhere", "x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{id}");
        assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("cellspace-")), "{:?}", answer.headers());
    }
}
