//! Over real sockets: who is believed, what is taken, and that nothing else is.

use super::{
    identity::Identity,
    wire::{self, MAX_MESSAGE, SHOW},
    *,
};
use crate::{
    Cluster, Options,
    cell::{BootClock, Cell, CellOptions, Peer, PeerError, PeerLink, Told},
    clock::{Clock, SystemClock},
    membership::{Answer, Terms},
    remote::{AgentAnswer, AgentCall, What},
    ring::NodeName,
    testing::Idle,
};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{CellName, Deal, EmbeddedOptions, EmbeddedStore, Incarnation, Member, Membership, View, testkit::MemoryMembership};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::client::TlsStream;

const CELL: &str = "cell-1";

fn member(node: &str, incarnation: u64) -> Member {
    Member { node: NodeName(node.into()), incarnation: Incarnation(incarnation) }
}

fn view(version: u64, names: &[&str]) -> View {
    let members: Vec<Member> = names.iter().map(|name| member(name, 1)).collect();
    View { version, format: 1, deal: Deal { from: members.clone(), to: members, mark: 0 }, past: Vec::new(), dead: Vec::new() }
}

/// Authorities and what they give out, in a directory.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// An authority, written down under this name.
    fn authority(&self, name: &str) -> Authority {
        let made = Authority::make(CELL, SystemClock.now()).unwrap();
        fs::write(self.path(name), &made.certificate).unwrap();
        Authority::open(CELL, &made.certificate, &made.key).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Writes a node's certificate, and says where it and the authority that it believes are.
    fn issue(&self, by: &Authority, believes: &str, cell: &str, node: &str) -> (PeerName, CertificateFiles) {
        let name = PeerName::new(cell, &NodeName(node.into())).unwrap();
        let issued = by.issue(&name, SystemClock.now()).unwrap();
        let (certificate, key) = (self.path(&format!("{cell}-{node}.pem")), self.path(&format!("{cell}-{node}-key.pem")));
        fs::write(&certificate, issued.certificate).unwrap();
        fs::write(&key, issued.key).unwrap();
        (name, CertificateFiles { authority: self.path(believes), certificate, key })
    }

    fn identity(&self, by: &Authority, believes: &str, cell: &str, node: &str) -> Arc<Identity> {
        let (name, files) = self.issue(by, believes, cell, node);
        Identity::load(name, files).unwrap()
    }
}

/// A node that listens.
struct Listening {
    cell: Arc<Cell>,
    peer: Peer,
    server: LinkServer,
    _store: tempfile::TempDir,
}

/// Says what it got.
struct Echo;

impl Requests for Echo {
    fn forwarded(&self, how: Forwarded, request: Request<Incoming>) -> BoxFuture<'static, Response<LinkBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut answer = Response::builder()
                .status(418)
                .header("x-method", head.method.as_str())
                .header("x-path", head.uri.path_and_query().unwrap().as_str());
            answer = answer.header("x-how", format!("{} {} {}", how.listener, how.owner, how.hops));
            if let Some(token) = head.headers.get("authorization") {
                answer = answer.header("x-token", token);
            }
            // As a source might say it, whose headers are passed on.
            answer = answer.header("cellspace-elsewhere", "not here").header("cellspace-other", "x");
            let own = head.headers.keys().filter(|name| name.as_str().starts_with("cellspace-")).count();
            answer = answer.header("x-own", own);
            let mut answer = answer.body(UnsyncBoxBody::new(body.map_err(Into::into))).unwrap();
            if how.hops > 2 {
                Forwarded::not_here(&mut answer, "too far");
            }
            answer
        })
    }

    fn is_of_all(&self, news: &str) -> bool {
        news == "settings"
    }

    fn announced(&self, news: String) -> BoxFuture<'static, ()> {
        Box::pin(async move { assert_eq!(news, "settings") })
    }
}

async fn listening(identity: Arc<Identity>, version: u16) -> Listening {
    listening_for(identity, version, Duration::from_secs(300)).await
}

async fn listening_for(identity: Arc<Identity>, version: u16, age: Duration) -> Listening {
    let (rows, node) = (MemoryMembership::default(), identity.me().node().clone());
    rows.change_view(view(1, &[&node.0])).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = socket.local_addr().unwrap().to_string();
    let cell = Cell::new(CellOptions {
        node: node.clone(),
        level: 1,
        endpoint: endpoint.clone(),
        terms: Terms::default(),
        membership: Arc::new(rows),
        peers: Link::new(identity.clone()),
        uptime: Arc::new(BootClock),
        clock: Arc::new(SystemClock),
    });
    tokio::spawn(cell.clone().run());
    let mut changes = cell.changes();
    while cell.view().is_none() {
        changes.changed().await;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let agents = Cluster::in_cell(store.clone(), store, Arc::new(SystemClock), Options::default(), cell.clone());
    agents.register(Arc::new(Idle));
    let answers = Answers { cell: cell.clone(), agents, requests: Arc::new(Echo) };
    let server = LinkServer::speaking(socket, identity, answers, version, age).unwrap();
    let (node, incarnation) = (node, Incarnation(1));
    Listening { cell, peer: Peer { member: Member { node, incarnation }, endpoint, cell: None }, server, _store: dir }
}

/// Why it was not answered.
fn refused<T: std::fmt::Debug>(answer: Result<T, PeerError>, because: &[&str]) {
    let reason = answer.unwrap_err().to_string();
    assert!(because.iter().any(|because| reason.contains(because)), "{reason}");
}

async fn ask(link: &Link, to: &Peer) -> Result<Vec<Told>, PeerError> {
    link.ask(to, &[0, 1], 1).await
}

#[tokio::test]
async fn another_cell_of_the_installation_has_no_say_in_this_ones_slots() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let among = |cell: &str, node: &str, other: &str| {
        let (name, files) = all.issue(&ours, "ours", cell, node);
        Identity::among(name, files, [other.to_owned()].into()).unwrap()
    };
    let a = listening(among(CELL, "a", "cell-2"), WIRE_VERSION).await;
    let peer = Peer { cell: Some(CellName(CELL.to_owned())), ..a.peer.clone() };
    let link = Link::new(among("cell-2", "b", CELL));
    refused(ask(&link, &peer).await, &["of another cell, which has slots of its own"]);
    refused(link.show(&peer, &View { version: 9, ..view(9, &["b"]) }).await, &["of another cell, which has slots of its own"]);
    refused(link.announce(&peer, "drain").await, &["of another cell, which has other news"]);
    refused(link.parked(&peer).await, &["of another cell, which has slots of its own"]);
    assert_eq!(a.cell.view().unwrap().version, 1, "nothing of it was taken");
    link.announce(&peer, "settings").await.unwrap();
    let how = Forwarded { listener: "public".into(), owner: Owner::new("p/1").unwrap(), view: 1, hops: 1, left: 1_000, waited: 0 };
    let request = Request::get("https://a/x").body(wire::body(bytes::Bytes::new())).unwrap();
    assert_eq!(link.forward(&peer, &how, request).await.unwrap().status(), 418);
    a.server.drain(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn only_nodes_of_the_cell_are_heard_and_asked() {
    let all = Certificates::new();
    let (ours, theirs) = (all.authority("ours"), all.authority("theirs"));
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let asks = |identity: Arc<Identity>, to: Peer| async move { ask(&Link::new(identity), &to).await };
    let b = all.identity(&ours, "ours", CELL, "b");
    assert_eq!(asks(b.clone(), a.peer.clone()).await.unwrap().len(), 2);
    // An authority that a does not believe, whose holder believes a's; and one that does not believe a's.
    refused(asks(all.identity(&theirs, "ours", CELL, "c"), a.peer.clone()).await, &["UnknownCA", "UnknownIssuer", "DecryptError"]);
    refused(asks(all.identity(&ours, "theirs", CELL, "c"), a.peer.clone()).await, &["UnknownIssuer", "BadSignature"]);
    // The same authority, but another cell: it does not take a for one of its own, and a does not take it.
    let stranger = all.identity(&ours, "ours", "cell-2", "b");
    refused(asks(stranger.clone(), a.peer.clone()).await, &["not valid for name"]);
    let shown = View { version: 9, ..view(9, &["b"]) };
    let said = raw(&stranger, &a.peer, wire::write(&shown, MAX_MESSAGE).unwrap().to_vec(), Some(WIRE_VERSION)).await;
    assert_eq!(said, (StatusCode::FORBIDDEN, "this is a node of cell cell-1, the certificate is that of node b of cell cell-2".into()));
    assert_eq!(a.cell.view().unwrap().version, 1, "nothing of it was taken");
    // Another node at the place where b is thought to be.
    let elsewhere = Peer { member: member("b", 1), ..a.peer.clone() };
    refused(asks(b.clone(), elsewhere).await, &["not valid for name"]);
    // Another life of the node.
    let later = Peer { member: member("a", 2), ..a.peer.clone() };
    refused(asks(b, later).await, &["another life"]);
    // Certificates of another node are no certificates of this one.
    let (_, files) = all.issue(&ours, "ours", CELL, "d");
    let wrong = Identity::load(PeerName::new(CELL, &NodeName("e".into())).unwrap(), files).unwrap_err().to_string();
    assert!(wrong.contains("not that of node e of cell cell-1") && wrong.contains("d.cell-1.cellspace.internal"), "{wrong}");
}

/// A connection on which nothing was said yet, to whoever answers for a node of the cell.
async fn connected(as_who: &Arc<Identity>, to: &Peer) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(&to.endpoint).await.unwrap();
    let name = PeerName::new(CELL, &to.member.node).unwrap().dns();
    let tls = tokio_rustls::TlsConnector::from(as_who.tls().await.client.clone());
    tls.connect(name.try_into().unwrap(), stream).await.unwrap()
}

/// A request as this node would never send it.
async fn raw(as_who: &Arc<Identity>, to: &Peer, body: Vec<u8>, version: Option<u16>) -> (StatusCode, String) {
    let tls = connected(as_who, to).await;
    let http = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    let (mut open, connection) = http.handshake(hyper_util::rt::TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("https://a{SHOW}")).body(wire::body(body)).unwrap();
    if let Some(version) = version {
        wire::mark(request.headers_mut(), version);
    }
    let answer = open.send_request(request).await.unwrap();
    assert_eq!(wire::check(answer.headers(), WIRE_VERSION), Ok(()), "every answer says what is spoken");
    let status = answer.status();
    (status, String::from_utf8(wire::collect(answer.into_body(), MAX_MESSAGE).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn other_versions_and_what_is_too_large_or_no_message_are_refused() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let b = all.identity(&ours, "ours", CELL, "b");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let shown = wire::write(&view(2, &["a", "b"]), MAX_MESSAGE).unwrap().to_vec();
    let newer = raw(&b, &a.peer, shown.clone(), Some(WIRE_VERSION + 1)).await;
    assert_eq!(newer, (StatusCode::UPGRADE_REQUIRED, "the peer speaks the newer version 3 of the link, this node speaks 2".into()));
    let older = raw(&b, &a.peer, shown.clone(), Some(0)).await;
    assert_eq!(older, (StatusCode::UPGRADE_REQUIRED, "the peer speaks the older version 0 of the link, this node speaks 2".into()));
    assert_eq!(raw(&b, &a.peer, shown.clone(), None).await.0, StatusCode::UPGRADE_REQUIRED);
    let newer = listening(all.identity(&ours, "ours", CELL, "n"), WIRE_VERSION + 1).await;
    refused(ask(&Link::new(b.clone()), &newer.peer).await, &["the newer version 3"]);
    refused(ask(&Link::speaking(b.clone(), 0, wire::AGE), &a.peer).await, &["the newer version 2"]);

    let mut large = shown.clone();
    large.resize(MAX_MESSAGE + 1, b' ');
    assert_eq!(raw(&b, &a.peer, large, Some(WIRE_VERSION)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let mut fits = shown.clone();
    fits.resize(MAX_MESSAGE, b' ');
    for no_message in [&b"{"[..], b"{}", b"[[[[", &[0xff; 64]] {
        assert_eq!(raw(&b, &a.peer, no_message.to_vec(), Some(WIRE_VERSION)).await.0, StatusCode::BAD_REQUEST);
    }
    assert_eq!(a.cell.view().unwrap().version, 1, "nothing of all this was taken");
    assert_eq!(raw(&b, &a.peer, fits, Some(WIRE_VERSION)).await.0, StatusCode::OK);
    assert_eq!(a.cell.view().unwrap().version, 2);
    let many: Vec<u16> = (0..=cellspace_storage::slot::SLOTS).collect();
    refused(Link::new(b).ask(&a.peer, &many, 1).await, &["4097 slots"]);
}

/// Said twice, out of order, or long after.
#[tokio::test]
async fn repeated_and_late_messages_change_nothing() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let link = Link::new(all.identity(&ours, "ours", CELL, "b"));
    let both = View { past: vec![view(1, &["a"]).deal], ..view(2, &["a", "b"]) };
    let left = View { past: vec![view(1, &["a"]).deal, both.deal.clone()], ..view(3, &["b"]) };
    for shown in [&both, &both, &left, &left, &both, &view(1, &["a"])] {
        link.show(&a.peer, shown).await.unwrap();
    }
    assert_eq!(a.cell.view().unwrap(), left);
    let every: Vec<u16> = (0..cellspace_storage::slot::SLOTS).collect();
    // Whoever asks under a view that a has not seen is told to ask again; under those that it has seen it says what is so now, each time.
    assert!(link.ask(&a.peer, &every, 4).await.unwrap().iter().all(|told| told.answer == Answer::Behind));
    let first = link.ask(&a.peer, &every, 3).await.unwrap();
    assert!(first.iter().all(|told| matches!(told.answer, Answer::NotYet | Answer::Released)), "it owns nothing any more");
    a.cell.ended(&every);
    for version in [3, 2, 3] {
        let again = link.ask(&a.peer, &every, version).await.unwrap();
        assert!(again.iter().all(|told| told.answer == Answer::Released), "under {version}");
    }
}

#[tokio::test]
async fn changed_certificates_are_used_and_broken_ones_are_not() {
    let all = Certificates::new();
    let (before, after) = (all.authority("before"), all.authority("after"));
    let (name, mut files) = all.issue(&before, "before", CELL, "a");
    // Its own, so that the others' files stay as they are.
    fs::copy(all.path("before"), all.path("of-a")).unwrap();
    files.authority = all.path("of-a");
    let a = listening(Identity::load(name, files.clone()).unwrap(), WIRE_VERSION).await;
    let (old, new) = (all.identity(&before, "before", CELL, "b"), all.identity(&after, "after", CELL, "c"));
    let connected = Link::new(old.clone());
    ask(&connected, &a.peer).await.unwrap();
    let (chunks, body) = as_it_comes();
    let request = Request::put("https://x/").body(body).unwrap();
    let how = Forwarded { listener: "public".into(), owner: slot_owner("p1"), view: 1, hops: 1, left: 10_000, waited: 0 };
    let mut under_way = connected.forward(&a.peer, &how, request).await.unwrap().into_body();
    assert!(ask(&Link::new(new.clone()), &a.peer).await.is_err());
    // Half of them were replaced so far.
    let issued = after.issue(&PeerName::new(CELL, &NodeName("a".into())).unwrap(), SystemClock.now()).unwrap();
    replace(&files.certificate, &issued.certificate);
    ask(&Link::new(old.clone()), &a.peer).await.unwrap();
    replace(&files.key, &issued.key);
    replace(&files.authority, &fs::read_to_string(all.path("after")).unwrap());
    ask(&Link::new(new), &a.peer).await.unwrap();
    assert!(ask(&Link::new(old), &a.peer).await.is_err(), "who was believed before is not any more");
    // On connections that were there neither, but what was under way goes on to its end.
    assert!(ask(&connected, &a.peer).await.is_err());
    let request = Request::put("https://x/").body(wire::body("")).unwrap();
    assert!(connected.forward(&a.peer, &how, request).await.is_err());
    chunks.send(vec![1; 5]).await.unwrap();
    assert_eq!(under_way.frame().await.unwrap().unwrap().into_data().unwrap(), vec![1; 5]);
    drop(chunks);
    assert!(under_way.collect().await.unwrap().to_bytes().is_empty());
    // Nor does who calls go on with whom it does not believe any more.
    let (name, mut files) = all.issue(&after, "after", CELL, "d");
    fs::copy(all.path("after"), all.path("of-d")).unwrap();
    files.authority = all.path("of-d");
    let d = Identity::load(name, files.clone()).unwrap();
    let connected = Link::new(d.clone());
    ask(&connected, &a.peer).await.unwrap();
    replace(&files.authority, &fs::read_to_string(all.path("before")).unwrap());
    assert!(ask(&Link::new(d), &a.peer).await.is_err());
    assert!(ask(&connected, &a.peer).await.is_err());
}

/// Nobody is believed for longer than its certificate, and a connection that is replaced for that loses nothing.
#[tokio::test]
async fn a_peer_whose_certificate_ends_is_not_served_any_more() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening_for(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION, Duration::from_millis(50)).await;
    let (name, files) = all.issue(&ours, "ours", CELL, "b");
    // As given out so long ago that it ends in a moment.
    let ago = Duration::from_secs(397 * 86_400 - 4);
    let issued = ours.issue(&name, Timestamp(SystemClock.now().0 - i64::try_from(ago.as_millis()).unwrap())).unwrap();
    fs::write(&files.certificate, issued.certificate).unwrap();
    fs::write(&files.key, issued.key).unwrap();
    let link = Link::new(Identity::load(name, files).unwrap());
    let mut asked = 0;
    let ends = async {
        loop {
            match ask(&link, &a.peer).await {
                Ok(_) => asked += 1,
                Err(error) => return error.to_string(),
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(20), ends).await.unwrap();
    assert!(asked > 0 && reason.contains("CertificateExpired"), "{asked}: {reason}");
}

/// Whoever shows no certificate takes nobody's place, and a peer takes no other's.
#[tokio::test]
async fn strangers_and_other_peers_keep_nobody_out() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let (b, c) = (all.identity(&ours, "ours", CELL, "b"), all.identity(&ours, "ours", CELL, "c"));
    let mut silent = Vec::new();
    for _ in 0..places::STRANGERS * 4 {
        silent.push(tokio::net::TcpStream::connect(&a.peer.endpoint).await.unwrap());
    }
    ask(&Link::new(c.clone()), &a.peer).await.unwrap();
    let mut first = [0; 1];
    assert!(matches!(silent[0].read(&mut first).await, Ok(0) | Err(_)), "the first one had to go");
    // One peer with many connections.
    let own: Vec<_> = (0..places::OF_ONE).map(|_| Link::new(b.clone())).collect();
    for link in &own {
        ask(link, &a.peer).await.unwrap();
    }
    assert!(ask(&Link::new(b.clone()), &a.peer).await.is_err());
    ask(&Link::new(c), &a.peer).await.unwrap();
    for link in &own {
        ask(link, &a.peer).await.unwrap();
    }
}

/// A body with what is sent, chunk by chunk.
fn as_it_comes() -> (tokio::sync::mpsc::Sender<Vec<u8>>, LinkBody) {
    let (chunks, sent) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let frames = futures::stream::unfold(sent, |mut sent| async move {
        let chunk = sent.recv().await?;
        Some((Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from(chunk))), sent))
    });
    (chunks, UnsyncBoxBody::new(http_body_util::StreamBody::new(frames)))
}

/// As who renews certificates does: whole, under another name first. Of another age than before, whatever the clock of the disk can tell apart.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    let file = fs::File::options().write(true).open(&new).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(u64::from(std::process::id() % 100) + 1)).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Nobody listens, or nobody speaks: told within the bounds.
#[tokio::test]
async fn who_does_not_answer_holds_nobody_up() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let link = Link::new(all.identity(&ours, "ours", CELL, "b"));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = |endpoint: String| Peer { member: member("a", 1), endpoint, cell: None };
    let began = std::time::Instant::now();
    refused(ask(&link, &peer(silent.local_addr().unwrap().to_string())).await, &["in time"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    let closed = silent.local_addr().unwrap().to_string();
    drop(silent);
    refused(ask(&link, &peer(closed)).await, &["not taken", "refused"]);
}

fn slot_owner(text: &str) -> Owner {
    Owner::new(text).unwrap()
}

#[tokio::test]
async fn requests_are_passed_on_as_they_came_and_streamed_both_ways() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let link = Link::new(all.identity(&ours, "ours", CELL, "b"));
    let how = |hops| Forwarded { listener: "public".into(), owner: slot_owner("p1"), view: 1, hops, left: 10_000, waited: 0 };
    // Each chunk is sent when the one before has come back.
    let (chunks, body) = as_it_comes();
    let request = Request::put("https://x/api/dsp/p1/%2F?a=b&c").header("authorization", "Bearer t");
    // What only nodes say to each other is said by them alone.
    let request =
        request.header("cellspace-forwarded", "{}").header("cellspace-wire", "7").header("cellspace-other", "x").body(body).unwrap();
    let answer = link.forward(&a.peer, &how(1), request).await.unwrap();
    assert_eq!(answer.status(), 418);
    let said = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        [said("x-method"), said("x-path"), said("x-token"), said("x-how")],
        ["PUT", "/api/dsp/p1/%2F?a=b&c", "Bearer t", "public p1 1"]
    );
    assert_eq!(said("x-own"), "0", "none of them is handed on");
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("cellspace-")), "{:?}", answer.headers());
    let mut back = answer.into_body();
    for chunk in [vec![1; 10], vec![2; 300_000], vec![3; 1]] {
        chunks.send(chunk.clone()).await.unwrap();
        let mut got = Vec::new();
        while got.len() < chunk.len() {
            got.extend(back.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(got, chunk);
    }
    drop(chunks);
    assert!(back.collect().await.unwrap().to_bytes().is_empty());
    let request = || Request::get("https://x/").body(wire::body("")).unwrap();
    let too_far = link.forward(&a.peer, &how(3), request()).await;
    assert_eq!(too_far.unwrap_err(), PeerError::NotDone("too far".into()));
    // A head that says nothing of that kind, as only somebody else could send it.
    let strange = Request::get("https://x/").header("cellspace-forwarded", "{}").body(wire::body("")).unwrap();
    let strange = link.send_as_it_is(&a.peer, strange).await.unwrap();
    assert_eq!(strange.status(), StatusCode::BAD_REQUEST);
    // What is under way is answered, nothing new is taken.
    a.server.drain(Duration::from_secs(5)).await;
    let late = link.forward(&a.peer, &how(1), request()).await;
    assert!(matches!(late, Err(PeerError::NotDone(_))), "{late:?}");
}

/// Thousands whose answers nobody takes leave room for the others.
#[tokio::test]
async fn who_does_not_take_its_answer_holds_up_nobody_else() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let link = Link::new(all.identity(&ours, "ours", CELL, "b"));
    let how = Forwarded { listener: "public".into(), owner: slot_owner("p1"), view: 1, hops: 1, left: 10_000, waited: 0 };
    let mut untaken = Vec::new();
    for _ in 0..200 {
        let request = Request::put("https://x/").body(wire::body(vec![7; 128 << 10])).unwrap();
        untaken.push(link.forward(&a.peer, &how, request).await.unwrap());
    }
    let request = Request::put("https://x/").body(wire::body("quick")).unwrap();
    let quick = tokio::time::timeout(Duration::from_secs(10), link.forward(&a.peer, &how, request)).await.unwrap().unwrap();
    assert_eq!(quick.into_body().collect().await.unwrap().to_bytes(), "quick");
    assert_eq!(ask(&link, &a.peer).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_an_agent_is_not_asked_from_other_nodes_is_refused() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let link = Link::new(all.identity(&ours, "ours", CELL, "b"));
    let asked = |kind: &str, what: What| {
        let call = AgentCall { owner: slot_owner("p1"), kind: kind.into(), name: String::new(), view: 1, hops: 1, left: 1_000, what };
        let (link, peer) = (link.clone(), a.peer.clone());
        async move { link.call(&peer, &call).await.unwrap() }
    };
    link.announce(&a.peer, "settings").await.unwrap();
    let raw = || serde_json::value::to_raw_value(&()).unwrap();
    let command = || What::Command { command: raw(), trace: None, idempotency: None, actor: "x".into() };
    let said = |answer: AgentAnswer| match answer {
        AgentAnswer::Unavailable(reason, _) | AgentAnswer::Elsewhere(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert!(said(asked("idle", command()).await).contains("idle is not asked for commands"));
    assert!(said(asked("idle", What::Query { name: "q".into(), query: raw() }).await).contains("idle is not asked for q"));
    assert!(said(asked("other", command()).await).contains("no agents of kind other"));
}

/// Of what is sent on a connection that the peer ends it may not be known whether it was taken: who calls leaves it before.
#[tokio::test]
async fn who_calls_leaves_a_connection_before_it_is_ended() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let by_way = Peer { endpoint: between.local_addr().unwrap().to_string(), ..a.peer.clone() };
    let passes = async {
        let mut ways = Vec::new();
        while ways.len() < 3 {
            let (mut near, endpoint) = (between.accept().await.unwrap().0, a.peer.endpoint.clone());
            ways.push(tokio::spawn(async move {
                let mut far = TcpStream::connect(endpoint).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            }));
        }
        // Those that are left end, too.
        for way in ways.drain(..2) {
            let _ = way.await.unwrap();
        }
        drop(between);
    };
    let link = Link::speaking(all.identity(&ours, "ours", CELL, "b"), WIRE_VERSION, Duration::from_millis(50));
    let asks = async {
        loop {
            match ask(&link, &by_way).await {
                Ok(answers) => assert_eq!(answers.len(), 2),
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        error = asks => panic!("{error}"),
        passed = tokio::time::timeout(Duration::from_secs(20), passes) => passed.unwrap(),
    }
}

#[tokio::test]
async fn a_peer_with_too_many_connections_is_told() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION).await;
    let b = all.identity(&ours, "ours", CELL, "b");
    let links: Vec<_> = (0..places::OF_ONE).map(|_| Link::new(b.clone())).collect();
    for link in &links {
        ask(link, &a.peer).await.unwrap();
    }
    let one_more = Link::new(b.clone());
    assert_eq!(ask(&one_more, &a.peer).await.unwrap_err(), PeerError::NotDone("node b has too many connections".into()));
    let how = Forwarded { listener: "public".into(), owner: slot_owner("p1"), view: 1, hops: 1, left: 10_000, waited: 0 };
    let refused = Link::new(b).forward(&a.peer, &how, Request::get("https://x/").body(wire::body("")).unwrap()).await;
    assert_eq!(refused.unwrap_err(), PeerError::NotDone("node b has too many connections".into()));
}

/// Neither before its first word nor when it does not answer that it goes.
#[tokio::test]
async fn who_does_not_leave_a_connection_that_ends_is_left() {
    let all = Certificates::new();
    let ours = all.authority("ours");
    let a = listening_for(all.identity(&ours, "ours", CELL, "a"), WIRE_VERSION, Duration::from_millis(50)).await;
    let b = all.identity(&ours, "ours", CELL, "b");
    // The beginning of HTTP/2, with settings that say nothing.
    let begins = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for said in [&b""[..], &begins[..]] {
        let mut silent = connected(&b, &a.peer).await;
        silent.write_all(said).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{} bytes were said", said.len());
    }
    tokio::time::timeout(Duration::from_secs(60), a.server.drain(Duration::from_secs(120))).await.unwrap();
}
