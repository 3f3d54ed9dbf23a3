//! Isolation: every route of the table, for every kind of caller, with its own things, another participant's and nobody's.
//!
//! What must be answered follows from the route's row in `routes.txt` and from the rules of [`oracle`], which share no code with the platform.

mod call;
mod documented;
mod oracle;
pub mod rows;
mod things;
mod unnamed;
mod world;

use crate::{stage::Stage, support::Platform};
use call::{Answer, Target};
use cellspace::{
    Node,
    http::{Api, Listener, Verb},
};
use futures::{StreamExt, stream};
use oracle::{Caller, Verdict, Who, verdict};
use reqwest::Method;
use rows::{Asks, Object, Row};
use std::collections::{BTreeMap, BTreeSet};
use world::{NOBODY, Side, World};

/// Requests at once.
const AT_ONCE: usize = 8;

/// What was looked at, and what was not as it must be.
#[derive(Debug, Default)]
struct Findings {
    cases: usize,
    wrong: Vec<String>,
}

impl Findings {
    fn check(&mut self, holds: bool, why: impl FnOnce() -> String) {
        self.cases += 1;
        if !holds {
            self.wrong.push(why());
        }
    }

    /// What is wrong, in words; too few cases are.
    fn report(self, what: &str, at_least: usize) -> Vec<String> {
        println!("{what}: {} cases, {} wrong", self.cases, self.wrong.len());
        let few = (self.cases < at_least).then(|| format!("only {} cases", self.cases));
        few.into_iter().chain(self.wrong).map(|why| format!("{what}: {why}")).collect()
    }
}

/// The participant context whose things a call is about, if it is about one's.
fn owner<'w>(world: &'w World, row: &Row, side: Side) -> Option<&'w str> {
    if row.unnamed {
        return Some(unnamed::ONLY);
    }
    (row.is_of_a_participant() || row.makes_a_participant()).then(|| world.context_of(side))
}

fn sides(row: &Row) -> &'static [Side] {
    let several = !row.unnamed && (row.is_of_a_participant() || row.makes_a_participant());
    if several { &[Side::Own, Side::Foreign, Side::Nobodys] } else { &[Side::Own] }
}

fn scoped(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| matches!(row.asks, Asks::Scope(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_for_every_caller() {
    let rows = rows::rows().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    let mut world = World::open().await;
    let (own, foreign) = (documents(&world, &rows, Side::Own).await, documents(&world, &rows, Side::Foreign).await);
    // Where callers are let in that may not, nothing is left of what the rest asks for.
    settle(refusals(&world, &rows).await.report("refused", 15_000));
    let mut wrong = objects(&world, &rows).await.report("objects of others", 600);
    wrong.extend(absent_participants(&world, &rows).await.report("participants that are not there", 120));
    wrong.extend(in_public(&world, &rows).await.report("in public", 350));
    wrong.extend(changes("what was refused changed", &own, &documents(&world, &rows, Side::Own).await));
    settle(wrong);
    settle(unnamed::unnamed(&mut world, &rows).await);
    let mut wrong = allowed(&world, &rows).await.report("allowed", 650);
    wrong.extend(changes("another participant's", &foreign, &documents(&world, &rows, Side::Foreign).await));
    settle(wrong);
    world.stage.close().await;
}

/// In a cell of three nodes, of which each serves some of the owners: by way of any of them every route answers as it does on one node.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_by_way_of_any_node() {
    let mut rows = rows::rows().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    // An installation that is there for one participant has no cell.
    rows.retain(|row| row.route.path != "/.well-known/dspace-version");
    let mut world = World::on(Stage::on(Platform::in_cell(&["a", "b", "c"], World::fresh).await).await).await;
    let entries: Vec<_> = std::iter::once(&world.stage.base.node).chain(&world.stage.base.beside).map(entry).collect();
    let mut seen = Vec::new();
    for entry in &entries {
        world.entry = Some(entry.clone());
        seen.push(documents(&world, &rows, Side::Own).await);
    }
    let mut wrong = changes("by way of another node", &seen[0], &seen[1]);
    wrong.extend(changes("by way of another node", &seen[0], &seen[2]));
    settle(wrong);
    world.entry = entries.last().cloned();
    let mut wrong = objects(&world, &rows).await.report("objects of others", 600);
    wrong.extend(absent_participants(&world, &rows).await.report("participants that are not there", 120));
    wrong.extend(in_public(&world, &rows).await.report("in public", 350));
    wrong.extend(allowed(&world, &rows).await.report("allowed", 650));
    settle(wrong);
}

fn entry(node: &Node) -> [String; 2] {
    [node.public_address(), node.admin_address()].map(|address| format!("http://localhost:{}", address.unwrap().port()))
}

fn settle(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// All that a participant can read of its own.
async fn documents(world: &World, rows: &[Row], side: Side) -> BTreeMap<String, String> {
    let name = if side == Side::Own { "own" } else { "foreign" };
    let mut seen = BTreeMap::new();
    // Catalogs are what others offer.
    for row in scoped(rows).filter(|row| row.is_of_a_participant() && row.reads() && !row.route.path.contains("/catalog")) {
        let own = world.caller(name);
        let caller = if verdict(row, own, owner(world, row, side)) == Verdict::Admitted { own } else { world.caller("admin") };
        let answer = world.send(row, Target::new(world.context_of(side), side), caller.token.as_deref()).await;
        assert_eq!(answer.status, 200, "{name}: {}: {}", row.name(), answer.text);
        seen.insert(row.name(), answer.text);
    }
    assert!(seen.len() > 30, "{:?}", seen.keys());
    seen
}

fn changes(what: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let changed = before.iter().filter(|(name, text)| after.get(*name) != Some(text));
    changed.map(|(name, text)| format!("{what}: {name}: {text} became {:?}", after.get(name))).collect()
}

/// Whoever may not call hears 401 or 403; at a foreign path the same as at one that is nobody's.
async fn refusals(world: &World, rows: &[Row]) -> Findings {
    struct Case<'w> {
        row: &'w Row,
        method: Method,
        prefix: usize,
        caller: &'w Caller,
        side: Side,
        status: u16,
    }
    let mut cases = Vec::new();
    for row in scoped(rows) {
        for caller in &world.callers {
            // The other spellings of a path lead to the same row.
            let some = ["without a token", "foreign", "own, reading", "off"].contains(&caller.name);
            let methods =
                if some && row.route.method == Verb::Get { vec![Method::GET, Method::HEAD] } else { vec![row.route.method.http()] };
            for side in sides(row) {
                let Verdict::Refused(status) = verdict(row, caller, owner(world, row, *side)) else { continue };
                for prefix in 0..if some { row.route.prefixes.len() } else { 1 } {
                    let case = |method: &Method| Case { row, method: method.clone(), prefix, caller, side: *side, status };
                    cases.extend(methods.iter().map(case));
                }
            }
        }
    }
    let answers = stream::iter(cases).map(|case| async move {
        let target = Target { prefix: case.prefix, ..Target::new(world.context_of(case.side), case.side) };
        let answer = world.send_as(case.method.clone(), case.row, target, case.caller.token.as_deref()).await;
        (case, answer)
    });
    let answers: Vec<(Case<'_>, Answer)> = answers.buffer_unordered(AT_ONCE).collect().await;
    let mut findings = Findings::default();
    let mut at_others: BTreeMap<(String, &str, String, usize), String> = BTreeMap::new();
    for (case, answer) in &answers {
        let name = format!("{:?}: {} [{}] ({:?})", case.caller.name, case.row.name(), case.prefix, case.side);
        findings.check(answer.status == case.status, || format!("{name}: {} instead of {}: {}", answer.status, case.status, answer.text));
        if case.caller.own() != Some(world.context_of(case.side)) && answer.status == case.status {
            let key = (case.row.name(), case.caller.name, case.method.to_string(), case.prefix);
            let other = at_others.entry(key).or_insert_with(|| answer.text.clone());
            findings.check(*other == answer.text, || format!("{name}: {} at one path, {other} at another", answer.text));
        }
    }
    findings
}

/// Who may call with things of its own is answered alike for another participant's things and for nobody's.
async fn objects(world: &World, rows: &[Row]) -> Findings {
    let mut findings = Findings::default();
    for row in rows.iter().filter(|row| matches!(row.asks, Asks::Scope(_) | Asks::Form)) {
        let own = world.context_of(Side::Own);
        let admitted =
            |caller: &&str| row.asks == Asks::Form || verdict(row, world.caller(caller), owner(world, row, Side::Own)) == Verdict::Admitted;
        for caller in ["own", "agent of own", "provisioner", "admin"].into_iter().filter(admitted) {
            for object in row.objects.iter().filter(|object| object.kind != "participant" && object.made().is_none()) {
                let mut first: Option<Answer> = None;
                for side in world.others(object.kind) {
                    let target = Target::new(own, Side::Own).but(object.kind, side);
                    let answer = world.send(row, target, world.caller(caller).token.as_deref().filter(|_| row.asks != Asks::Form)).await;
                    let name = format!("{caller:?}: {}: {} ({side:?})", row.name(), object.kind);
                    let expected = match (row.asks, object.parameter) {
                        (Asks::Form, _) => answer.status == 401,
                        (_, Some(_)) => answer.status == 404,
                        (_, None) => matches!(answer.status, 400 | 404 | 409),
                    };
                    findings.check(expected, || format!("{name}: {} {}", answer.status, answer.text));
                    let answer = answer.without(&[world.id(object.kind, side)]);
                    let first = first.get_or_insert_with(|| answer.clone());
                    findings.check(*first == answer, || format!("{name}: {answer:?} differs from {first:?}"));
                }
            }
        }
    }
    findings
}

/// Who may call for all participants finds nothing where there is none, and makes nothing there.
async fn absent_participants(world: &World, rows: &[Row]) -> Findings {
    let mut findings = Findings::default();
    for row in scoped(rows).filter(|row| row.is_of_a_participant()) {
        for caller in ["admin", "provisioner"].map(|name| world.caller(name)) {
            if verdict(row, caller, Some(NOBODY)) == Verdict::Admitted {
                let answer = world.send(row, Target::new(NOBODY, Side::Nobodys), caller.token.as_deref()).await;
                findings.check(answer.status == 404, || format!("{:?}: {}: {} {}", caller.name, row.name(), answer.status, answer.text));
            }
        }
    }
    findings
}

/// Counterparties: what is not there, not here, switched off or another's is answered with the same bytes but for the ids.
async fn in_public(world: &World, rows: &[Row]) -> Findings {
    let mut findings = Findings::default();
    for row in rows.iter().filter(|row| row.route.listener == Listener::Public && row.route.path.contains('{')) {
        let cast = world.cast(row.route.prefixes[0], row.route.path);
        let good = Target::new(cast.receiver, Side::Own);
        let peer = row.asks == Asks::Peer;
        for token in [None, Some("rubbish"), world.caller("admin").token.as_deref()].into_iter().filter(|_| peer || row.asks == Asks::Flow)
        {
            let answer = world.send(row, good, token).await;
            findings.check(answer.status == 401, || format!("{} with token {token:?}: {} {}", row.name(), answer.status, answer.text));
        }
        let receiver = cast.receiver_did.to_owned();
        let mut targets: Vec<(String, Target<'_>, String)> = Vec::new();
        if row.route.path.contains("{participant}") || row.route.path.contains("{issuer}") {
            // Credential services are switched by the Identity API alone.
            let off = if row.route.api == Api::Dcp { &world.off[..2] } else { &world.off[..] };
            for context in std::iter::once(NOBODY).chain(off.iter().copied()) {
                targets.push((context.to_owned(), Target { context, ..good }, world.stage.base.did(context).to_string()));
            }
        }
        if row.route.path.contains("{profile}") {
            targets.push(("no profile".to_owned(), Target { profile: "no-profile", ..good }, receiver.clone()));
        }
        for object in &row.objects {
            for side in world.others(object.kind) {
                targets.push((format!("{} ({side:?})", object.kind), good.but(object.kind, side), receiver.clone()));
            }
        }
        let mut first: Option<Answer> = None;
        for (what, target, audience) in targets {
            let token = match row.asks {
                Asks::Peer => Some(world.peer_token(row.route.prefixes[0], row.route.path, &audience).await),
                Asks::Flow => Some(world.id("data-flow.token", Side::Own).to_owned()),
                _ => None,
            };
            let answer = world.send(row, target, token.as_deref()).await;
            // A token of a transfer says itself what it opens: it is refused elsewhere.
            let expected = if row.asks == Asks::Flow { matches!(answer.status, 401 | 403) } else { answer.status == 404 };
            findings.check(expected, || format!("{}: {what}: {} {}", row.name(), answer.status, answer.text));
            let ids: Vec<&str> = row.objects.iter().map(|object| world.id(object.kind, target.side_of(object.kind))).collect();
            let answer = answer.without(&ids);
            if row.asks == Asks::Flow {
                continue;
            }
            let first = first.get_or_insert_with(|| answer.clone());
            findings.check(*first == answer, || format!("{}: {what}: {answer:?} differs from {first:?}", row.name()));
        }
    }
    findings
}

/// Whoever may call is not refused; the least powerful one is answered as the row says.
async fn allowed(world: &World, rows: &[Row]) -> Findings {
    let (mut findings, mut copied, mut copies) = (Findings::default(), BTreeSet::new(), 0);
    for row in rows {
        let admin = row.route.listener == Listener::Admin;
        let cast = world.cast(row.route.prefixes[0], row.route.path);
        let target = Target::new(if admin { world.context_of(Side::Own) } else { cast.receiver }, Side::Own);
        let good = match row.asks {
            Asks::Scope(_) => None,
            Asks::Nothing | Asks::Form => Some(None),
            Asks::Peer => Some(Some(world.peer_token(row.route.prefixes[0], row.route.path, cast.receiver_did).await)),
            Asks::Flow => Some(Some(world.id("data-flow.token", Side::Own).to_owned())),
        };
        let documented = |findings: &mut Findings, answer: &Answer| {
            for difference in documented::differences(row, world.body(row, &target).as_ref(), answer) {
                findings.check(false, || format!("{}: {difference}", row.name()));
            }
        };
        if let Some(token) = good {
            let answer = world.send(row, target, token.as_deref()).await;
            documented(&mut findings, &answer);
            findings
                .check(answer.status == row.good, || format!("{}: {} instead of {}: {}", row.name(), answer.status, row.good, answer.text));
            continue;
        }
        let may = |caller: &&Caller| verdict(row, caller, owner(world, row, Side::Own)) == Verdict::Admitted;
        let mut callers: Vec<&Caller> = world.callers.iter().filter(may).collect();
        let order = ["own", "own, as admin", "agent of own", "provisioner", "admin"];
        callers.sort_by_key(|caller| order.iter().position(|name| *name == caller.name).unwrap_or(order.len()));
        for (n, caller) in callers.into_iter().enumerate() {
            let answer = world.send(row, target, caller.token.as_deref()).await;
            let ended = row.route.method == Verb::Delete && row.route.path == "/participants/{participant}";
            let (holds, expected) = match caller.who {
                _ if n == 0 => (answer.status == row.good, row.good.to_string()),
                // A token ends with its participant.
                Who::Participant(..) if ended => (answer.status == 401, "401".to_owned()),
                _ => (!matches!(answer.status, 401 | 403 | 500..), "no refusal".to_owned()),
            };
            findings
                .check(holds, || format!("{:?}: {}: {} instead of {expected}: {}", caller.name, row.name(), answer.status, answer.text));
            if n > 0 {
                continue;
            }
            documented(&mut findings, &answer);
            world.settled(row).await;
            // An id is one's own: under the same one as another participant's, everything goes as before.
            copied.extend(row.objects.iter().filter_map(Object::made));
            let same = row.objects.iter().find(|object| object.made().is_some() || copied.contains(object.kind));
            if let Some(object) = same.filter(|object| object.made().is_some() || matches!(row.route.method, Verb::Get | Verb::Delete)) {
                let answer = world.send(row, target.but(object.kind, Side::Foreign), caller.token.as_deref()).await;
                let name = format!("{}: with another participant's {}", row.name(), object.kind);
                findings.check(answer.status == row.good, || format!("{name}: {} instead of {}: {}", answer.status, row.good, answer.text));
                copies += 1;
            }
        }
    }
    findings.check(copies > 20, || format!("only {copies} calls with ids that another participant has, too"));
    findings
}

impl World {
    /// Waits until a transfer is where a call sends it: the next one begins there.
    async fn settled(&self, row: &Row) {
        let state = match row.route.path.rsplit_once('/') {
            Some((rest, "suspend")) if rest.ends_with("{transfer}") => "SUSPENDED",
            Some((rest, "resume")) if rest.ends_with("{transfer}") => "STARTED",
            _ => return,
        };
        let path = format!("transferprocesses/{}/state?wait={state}&timeout=20s", self.id("spare-transfer", Side::Own));
        let found = self.stage.manage(&self.stage.consumer, Method::GET, &path, None).await;
        assert_eq!(found.body["state"], state, "{}", found.body);
    }
}
