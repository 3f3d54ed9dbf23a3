//! When a node of a cell is ready, and how it starts and ends.

use super::*;

/// The rows of the membership as one node has them: it alone may lose them.
struct OwnWay(MemoryMembership, Arc<AtomicBool>);

impl OwnWay {
    fn unless_cut<'a, T: 'a>(&'a self, way: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        // Nobody answers, as long as anybody waits.
        if self.1.load(Ordering::SeqCst) { Box::pin(std::future::pending()) } else { way }
    }
}

impl Membership for OwnWay {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        self.unless_cut(self.0.view())
    }
    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        self.unless_cut(self.0.change_view(next))
    }
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.unless_cut(self.0.leases())
    }
    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        self.unless_cut(self.0.put_lease(before, next))
    }
}

/// Nodes that have all lost what they share stay, and ask clients to come again; one that has lost it alone goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_unless_the_others_go_on_without_it() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let cut = Arc::new(AtomicBool::new(false));
    let mut seat = place.seat("b", None);
    seat.membership = Arc::new(OwnWay(place.rows.clone(), cut.clone()));
    let b = place.another(&a, &shared, seat, |_| ()).await;
    place.settled(&["a", "b"]).await;
    let (platform, ops) = (Platform::of(a, None).await, b.ops_url());
    let nodes = [platform.node.ops_url(), ops];
    let ready = async |node: &str| {
        let answer = platform.http.get(format!("{node}/api/check/readiness")).send().await.unwrap();
        (answer.status() == StatusCode::OK, answer.text().await.unwrap())
    };
    let until = async |node: &str, wanted: bool| {
        let all = async {
            while ready(node).await.0 != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    };
    for node in &nodes {
        until(node, true).await;
    }
    let id = served_by(&b);
    participant(&platform, &id).await;

    place.rows.set_out(true);
    let answer = timeout(PATIENCE, async {
        loop {
            let answer = platform.admin(Method::GET, &format!("{}/none", assets(&id))).send().await.unwrap();
            if answer.status() != StatusCode::NOT_FOUND {
                return answer;
            }
        }
    });
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    // Several tries of both come to nothing.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        for node in &nodes {
            let (is_ready, said) = ready(node).await;
            assert!(is_ready, "{said}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    place.rows.set_out(false);
    let again = async {
        while platform.admin(Method::POST, &assets(&id)).json(&asset("again")).send().await.unwrap().status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();

    cut.store(true, Ordering::SeqCst);
    until(&nodes[1], false).await;
    assert!(ready(&nodes[0]).await.0);
}

/// Whoever looks at its readiness has time to see that it ends, also where there is nobody to hand anything over to.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_takes_requests_until_that_was_seen() {
    let place = Place::new();
    let (a, _shared) = place.first(|_| ()).await;
    let (admin, ready) = (a.admin_address().unwrap(), format!("{}/api/check/readiness", a.ops_url()));
    let began = Instant::now();
    let drained = tokio::spawn(a.drain(DRAIN));
    let http = Client::new();
    let seen = async {
        while http.get(&ready).send().await.unwrap().status() == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    assert!(TcpStream::connect(admin).await.is_ok(), "whoever has not seen it yet is still let in");
    timeout(PATIENCE, drained).await.unwrap().unwrap();
    assert!(began.elapsed() > DRAIN * 2 / 5, "{:?}", began.elapsed());
    assert!(TcpStream::connect(admin).await.is_err());
}

/// A node that is told to end before it is up may serve slots already: they are handed over, not left to the end of its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_broken_off_hands_over_what_it_serves() {
    let place = Place::new();
    // Nobody reaches the first node, so that another one waits for what it has to ask of it.
    let config_of = |node: &str| config(&place.path().join(node));
    let shared = Shared::open(&config_of("a")).await.unwrap();
    let a = Node::start_in_cell(config_of("a"), shared.clone(), place.seat("a", Some("127.0.0.1:1".to_owned()))).await.unwrap();
    let config = NodeConfig { public_url: Some(a.urls.public.clone()), admin_url: Some(a.urls.admin.clone()), ..config_of("b") };
    let ending = Ending { stop: CancellationToken::new(), limit: DRAIN };
    let started = tokio::spawn(Node::start_unless(config, shared.beside(), place.seat("b", None), ending.clone()));
    place.settled(&["a", "b"]).await;
    assert!(!started.is_finished());
    ending.stop.cancel();
    let ended = timeout(PATIENCE, started).await.unwrap().unwrap();
    assert!(matches!(ended, Err(StartError::Ended)), "{:?}", ended.map(|node| node.ops));
    place.settled(&["a"]).await;
    let of_b = place.rows.leases().await.unwrap().into_iter().find(|lease| lease.node.0 == "b").unwrap();
    assert!(!of_b.revoked, "it went by itself");
    let id = served_by(&a);
    participant(&Platform::of(a, None).await, &id).await;
}

/// A node that starts serves slots as soon as it has them, and their agents only when it has the settings: without these it would know of no profile, and tell
/// counterparties that nobody is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_denies_nobody() {
    let place = Place::new();
    let every = |config: &mut NodeConfig| config.every_profile = true;
    let (a, shared) = place.first(every).await;
    let platform = Platform::of(a, None).await;
    let ids: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for id in &ids {
        participant(&platform, id).await;
        platform.participant(id).await;
    }
    let cut = Arc::new(AtomicBool::new(false));
    let seat = Seat { membership: Arc::new(OwnWay(place.rows.clone(), cut.clone())), ..place.seat("c", None) };
    let before = place.another(&platform.node, &shared, seat, every).await;
    place.settled(&["a", "c"]).await;
    // It serves nothing any more; who starts in its place opens what it had.
    cut.store(true, Ordering::SeqCst);
    let (stop, stopped) = watch::channel(false);
    let asking = ids.iter().map(|id| {
        let (stopped, http) = (stopped.clone(), Client::new());
        let url = platform.node.urls.public(&format!("/api/dsp/{id}/{DEFAULT_PROFILE}/negotiations/request"));
        async move {
            let (mut unknown, mut refused) = (0, 0);
            while !*stopped.borrow() {
                match http.post(&url).send().await.unwrap().status() {
                    // Without a token.
                    StatusCode::UNAUTHORIZED => refused += 1,
                    StatusCode::SERVICE_UNAVAILABLE => {}
                    StatusCode::NOT_FOUND => unknown += 1,
                    other => panic!("{other}"),
                }
            }
            (unknown, refused)
        }
    });
    let changing = async {
        // All at once, with the settings.
        let c = place.another(&platform.node, &shared, place.seat("c", None), every).await;
        stop.send_replace(true);
        c
    };
    let (answers, c) = tokio::join!(futures::future::join_all(asking), changing);
    assert!(serves(&c, Owner::installation().as_str()) && ids.iter().any(|id| serves(&c, id)), "as before");
    assert!(answers.iter().all(|(unknown, refused)| *unknown == 0 && *refused > 0), "{answers:?}");
    for id in &ids {
        let url = platform.node.urls.public(&format!("/api/dsp/{id}/{DEFAULT_PROFILE}/negotiations/request"));
        assert_eq!(platform.http.post(url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{id}");
    }
    drop(before);
}

/// A node that would not read what the others write serves nothing, and says why it ends; so does one whose lease the others have taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_part_of_its_cell_says_why() {
    let place = Place::new();
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let of_b = place.rows.leases().await.unwrap().into_iter().find(|lease| lease.node.0 == "b").unwrap();
    // The row as it is when the others have found it dead.
    let taken = async {
        loop {
            let leases = place.rows.leases().await.unwrap();
            let now = leases.into_iter().find(|lease| lease.node == of_b.node).unwrap();
            if place.rows.put_lease(Some(now.clone()), Lease { revoked: true, ..now }).await == Swap::Applied {
                return;
            }
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    let reason = timeout(PATIENCE, b.life_over()).await.unwrap().to_string();
    assert!(reason.ends_with("the other nodes have taken this node's lease away"), "{reason}");
    place.settled(&["a"]).await;
    let later = async {
        loop {
            let view = place.rows.view().await.unwrap().unwrap();
            let next = View { version: view.version + 1, format: 99, ..view };
            if place.rows.change_view(next).await == Swap::Applied {
                return;
            }
        }
    };
    timeout(PATIENCE, later).await.unwrap();
    let reason = timeout(PATIENCE, a.life_over()).await.unwrap().to_string();
    assert!(reason.ends_with("the cell writes rows of level 99, this node reads up to 1"), "{reason}");
    let another = Node::start_in_cell(
        NodeConfig { public_url: Some(a.urls.public.clone()), admin_url: Some(a.urls.admin.clone()), ..config(&place.path().join("c")) },
        shared.beside(),
        place.seat("c", None),
    );
    let refused = timeout(PATIENCE, another).await.unwrap().map(|node| node.ops).unwrap_err().to_string();
    assert!(refused.ends_with("the cell writes rows of level 99, this node reads up to 1"), "{refused}");
    let platform = Platform::of(a, None).await;
    assert!(platform.token.is_empty(), "nothing is served on a guess");
}

/// A node that only passes requests on is ready as long as there is one that takes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_is_ready_while_it_reaches_a_member() {
    let place = Place::new();
    let (way, watched) = watch::channel(Way::Open);
    let (at, place_of_a) = watch::channel(None);
    let (endpoint, _missed) = between(place_of_a, watched).await;
    let mut seat = place.seat("a", Some(endpoint));
    seat.listen = place_of_its_own();
    at.send_replace(Some(seat.listen.to_string()));
    let config = config(&place.path().join("a"));
    let shared = Shared::open(&config).await.unwrap();
    let a = Node::start_in_cell(config, shared.clone(), seat).await.unwrap();
    let mut seat = place.seat("g", None);
    seat.roles = "gateway".parse().unwrap();
    let gateway = place.another(&a, &shared, seat, |_| ()).await;
    let http = Client::new();
    let until = async |wanted: bool| {
        let all = async {
            let ready = || http.get(format!("{}/api/check/readiness", gateway.ops_url())).send();
            while (ready().await.unwrap().status() == StatusCode::OK) != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, all).await.unwrap();
    };
    until(true).await;
    way.send_replace(Way::Cut);
    until(false).await;
    way.send_replace(Way::Open);
    until(true).await;
    // It has nothing to hand over, and is ended by a signal alone.
    let platform = Platform::of(a, None).await;
    let drain = format!("http://{}/api/runtime/nodes/g/drain", gateway.admin_address().unwrap());
    let answer = platform.http.post(drain).bearer_auth(&platform.token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

/// The rows as they are when node b runs the next build.
struct Upgraded(MemoryMembership);

impl Membership for Upgraded {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        self.0.view()
    }
    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        self.0.change_view(next)
    }
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async {
            let level = |lease: Lease| Lease { level: lease.level + u16::from(lease.node.0 == "b"), ..lease };
            Ok(self.0.leases().await?.into_iter().map(level).collect())
        })
    }
    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        self.0.put_lease(before, next)
    }
}

/// Whoever ends an upgrade hears which nodes hold it back.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_not_over_is_not_ended() {
    let place = Place::new();
    let config = config(&place.path().join("a"));
    let shared = Shared::open(&config).await.unwrap();
    let mut seat = place.seat("a", None);
    seat.membership = Arc::new(Upgraded(place.rows.clone()));
    let a = Node::start_in_cell(config, shared.clone(), seat).await.unwrap();
    let finalize = "/api/runtime/finalize";
    let platform = Platform::of(a, None).await;
    let all_alike = json!({"level": LEVEL, "raised": false, "heldBackBy": []});
    assert_eq!(platform.must(Method::POST, finalize, None).await, all_alike);
    let b = place.another(&platform.node, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let held_back = json!({"level": LEVEL, "raised": false, "heldBackBy": ["a"]});
    assert_eq!(platform.must(Method::POST, finalize, None).await, held_back);
    platform.node.drain(DRAIN).await;
    place.settled(&["b"]).await;
    let (format, version) = place.rows.view().await.unwrap().map(|view| (view.format, view.version)).unwrap();
    assert!(format == LEVEL && version > 3, "only members came and went");
    b.drain(DRAIN).await;
}
