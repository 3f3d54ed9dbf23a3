//! What an installation that is there for one participant serves without naming it: twins of routes that name one, with the same rules.

use super::{
    Findings,
    call::Target,
    changes, documents,
    oracle::{Standing, Verdict, Who, verdict},
    refusals,
    rows::Row,
    world::{Side, World, all},
};
use cellspace::http::{Api, Route};

/// The participant context that need not be named.
pub const ONLY: &str = "only";

/// What is served beside the table, each with the row of the route that it is the twin of.
fn twins<'r>(served: impl Iterator<Item = &'r Route>, rows: &[Row]) -> Vec<Row> {
    let same = |a: &Route, b: &Route| (a.listener, a.method, a.prefixes, a.path) == (b.listener, b.method, b.prefixes, b.path);
    let more = served.filter(|route| !rows.iter().any(|row| same(&row.route, route)));
    let twin = |route: &Route| {
        let place = if route.api == Api::Management { "/participants/{participant}" } else { "/{participant}/{profile}" };
        let named = format!("{place}{}", route.path);
        let of = rows.iter().find(|row| (row.route.api, row.route.method, row.route.path) == (route.api, route.method, named.as_str()));
        let of = of.unwrap_or_else(|| panic!("{} {} is served and has no row", route.method.http(), route.path));
        Row { route: *route, unnamed: true, ..of.clone() }
    };
    // Those of the protocol are open: who may ask there is shown by tokens of messages.
    more.map(twin).filter(|row| row.route.api == Api::Management).collect()
}

/// Whoever may not call for the one that is not named hears 401 or 403, who may does not; and nothing of others is reached.
pub async fn unnamed(world: &mut World, rows: &[Row]) -> Vec<String> {
    let twins = twins(world.stage.node().app.routes.routes(), rows);
    world.participant(ONLY, ONLY).await;
    let but_for_management: Vec<String> = all("write").into_iter().filter(|scope| !scope.starts_with("management-api")).collect();
    for (name, scopes) in [
        ("only", all("write")),
        ("only, as admin", all("admin")),
        ("only, reading", all("read")),
        ("only, but for management", but_for_management),
        ("only, management alone", vec!["management-api:write".to_owned()]),
    ] {
        let caller = world.client(name, "participant", Who::Participant(ONLY.to_owned(), Standing::Active), scopes).await;
        world.callers.push(caller);
    }
    let before = documents(world, rows, Side::Foreign).await;
    let mut wrong = refusals(world, &twins).await.report("refused without a name", 2_500);
    wrong.extend(admitted(world, &twins).await.report("admitted without a name", 160));
    wrong.extend(changes("reached without a name", &before, &documents(world, rows, Side::Foreign).await));
    wrong
}

/// Whoever may call is not refused, and finds nothing of another participant's.
async fn admitted(world: &World, twins: &[Row]) -> Findings {
    let mut findings = Findings::default();
    let finds = |row: &&Row| row.objects.iter().any(|object| object.parameter.is_some());
    // Before it has made something under the same id.
    for row in twins.iter().filter(finds).chain(twins.iter().filter(|row| !finds(row))) {
        for caller in ["only", "only, management alone", "provisioner", "admin"].map(|name| world.caller(name)) {
            if verdict(row, caller, Some(ONLY)) == Verdict::Admitted {
                let answer = world.send(row, Target::new(ONLY, Side::Foreign), caller.token.as_deref()).await;
                let expected = if finds(&row) { answer.status == 404 } else { !matches!(answer.status, 401 | 403) };
                findings.check(expected, || format!("{:?}: {}: {} {}", caller.name, row.name(), answer.status, answer.text));
            }
        }
    }
    findings
}
