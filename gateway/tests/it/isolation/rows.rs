//! The rows of `routes.txt`, each with its route.

use cellspace::{
    http::{Access, Api, Listener, Provisioner, Route, Verb},
    routes,
};
use serde_json::Value;

/// What a route asks of its caller beside a role, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Nothing,
    Scope(&'static str),
    /// A counterparty's ID token.
    Peer,
    /// The access token of a running transfer.
    Flow,
    /// Credentials in a form.
    Form,
}

/// Something that a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    pub kind: &'static str,
    /// The path's parameter; `None` for what the body names.
    pub parameter: Option<&'static str>,
}

impl Object {
    /// The kind of what the call makes.
    pub fn made(&self) -> Option<&'static str> {
        self.kind.strip_prefix("new-")
    }
}

#[derive(Debug, Clone)]
pub struct Row {
    pub route: Route,
    /// It is about a participant context that its path does not name.
    pub unnamed: bool,
    pub listed: bool,
    pub asks: Asks,
    pub good: u16,
    pub objects: Vec<Object>,
    pub query: &'static str,
    pub body: Option<Value>,
}

impl Row {
    pub fn name(&self) -> String {
        format!("{} {}{}", self.route.method.http(), self.route.prefixes[0], self.route.path)
    }

    /// Whether the route is about things of one participant context, which its path names, or the installation.
    pub fn is_of_a_participant(&self) -> bool {
        self.unnamed || self.route.path.split('/').any(|segment| segment == "{participant}")
    }

    /// Whether the body names it.
    pub fn makes_a_participant(&self) -> bool {
        self.objects.iter().any(|object| object.kind == "participant")
    }

    pub fn reads(&self) -> bool {
        self.route.method == Verb::Get || matches!(self.asks, Asks::Scope(scope) if scope.ends_with(":read"))
    }
}

/// Parameters that are no objects: whose things, and in which profile of DSP.
fn is_object(route: &Route, parameter: &str) -> bool {
    !(matches!(parameter, "participant" | "issuer") || route.listener == Listener::Public && parameter == "profile")
}

fn parameters(route: &Route) -> Vec<&'static str> {
    let names = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| name.trim_start_matches('*')).collect()
}

/// What the line must begin with.
fn head(route: &Route) -> String {
    let (who, scope) = match route.access {
        Access::Open => ("open", None),
        Access::Scope(scope, Provisioner::Listed) => ("provisioner", Some(scope)),
        Access::Scope(scope, Provisioner::Denied) => ("-", Some(scope)),
    };
    let scope = scope.map(|scope| format!("{scope} ")).unwrap_or_default();
    format!("{:?} {} {}{} {who} {scope}", route.listener, route.method.http(), route.prefixes[0], route.path)
}

fn row(route: Route, line: &'static str) -> Result<Row, String> {
    let mut columns = line.splitn(8, ' ');
    let mut column = |name: &str| columns.next().ok_or_else(|| format!("no {name}"));
    let [_, _, _, _, token, good, kinds] = ["listener", "method", "path", "who", "token", "good", "objects"].map(&mut column);
    let asks = match token? {
        "-" => Asks::Nothing,
        "peer" => Asks::Peer,
        "flow" => Asks::Flow,
        "form" => Asks::Form,
        scope if scope.contains(':') => Asks::Scope(scope),
        other => return Err(format!("{other} is no token")),
    };
    let good = good?.parse().map_err(|_| "good is no status")?;
    let rest = columns.next().unwrap_or_default();
    let (query, body) = if rest.starts_with('?') { rest.split_once(' ').unwrap_or((rest, "")) } else { ("", rest) };
    let body: Option<Value> = match body {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|e| format!("body: {e}"))?),
    };
    let mut named = parameters(&route).into_iter().filter(|name| is_object(&route, name));
    let kinds = kinds?;
    let kinds = kinds.split(',').filter(|kind| *kind != "-");
    let objects: Vec<Object> = kinds.map(|kind| Object { kind, parameter: named.next() }).collect();
    if let Some(parameter) = named.next() {
        return Err(format!("no object for {{{parameter}}}"));
    }
    let text = body.as_ref().map(Value::to_string).unwrap_or_default();
    if let Some(object) = objects.iter().find(|object| object.parameter.is_none() && !text.contains(&format!("{{{}}}", object.kind))) {
        return Err(format!("neither path nor body names a {}", object.kind));
    }
    if asks == Asks::Form && route.api != Api::OAuth {
        return Err("a form is for the token services".to_owned());
    }
    let listed = matches!(route.access, Access::Scope(_, Provisioner::Listed));
    Ok(Row { route, unnamed: false, listed, asks, good, objects, query, body })
}

/// All rows in the order of the file, or what is wrong with it.
pub fn rows() -> Result<Vec<Row>, Vec<String>> {
    let mut routes: Vec<(String, Route)> = routes::all().into_iter().map(|route| (head(&route), route)).collect();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for line in include_str!("../routes.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(at) = routes.iter().position(|(head, _)| line.starts_with(head)) else {
            wrong.push(format!("no route has this line, or it has two: {line}"));
            continue;
        };
        let (_, route) = routes.swap_remove(at);
        match row(route, line) {
            Ok(row) => rows.push(row),
            Err(why) => wrong.push(format!("{why}: {line}")),
        }
    }
    wrong.extend(routes.into_iter().map(|(head, _)| format!("not in routes.txt: {head}")));
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}
