//! The route table as a search tree: built once, checked once, read by every request.
//!
//! A tree per listener has a node per path segment. A literal segment wins over `{name}`, which wins over `{*name}`; a branch without the
//! wanted method is left again, so that `POST /a/b` does not hide `GET /a/{x}`.

use super::{Access, Api, Listener, Route, Verb};
use crate::auth::scope::Scope;
use http::Method;
use percent_encoding::percent_decode_str;
use std::{collections::HashMap, sync::Arc};

/// Why a table cannot be served: a mistake in the program, found at start and by a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two routes answer the same requests.
    #[error("{0} is in the route table twice")]
    Duplicate(String),
    /// A template that can never match.
    #[error("{0} is not a route template")]
    Template(String),
    /// A required scope that no token can hold.
    #[error("{route} requires {scope:?}, which is not a scope")]
    Scope {
        /// The route.
        route: String,
        /// What it requires.
        scope: &'static str,
    },
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// No route has this path.
    NotFound,
    /// Routes with this path have other methods; the value for `Allow`.
    Method(String),
    /// The path is not valid: percent encoding that is no UTF-8, or a dot segment.
    Malformed,
}

/// A route with the values of its path.
#[derive(Debug, Clone)]
pub struct Match {
    /// The route.
    pub route: Route,
    /// What it asks of a token; `None` on open routes.
    pub scope: Option<Scope>,
    /// Whether it is about a participant context that its path does not name.
    pub unnamed: bool,
    /// Values of `{name}` segments, percent-decoded; of `{*name}` as received, since decoding it would blur its segments.
    pub params: Params,
}

/// Values of a route's `{name}` and `{*name}` segments; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Params(Arc<[(&'static str, String)]>);

impl Params {
    /// The value of a segment, the first of its name; `None` when the route has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names with their values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// All routes of all listeners.
pub struct Router {
    entries: Vec<Entry>,
    public: Node,
    admin: Node,
    ops: Node,
}

struct Entry {
    route: Route,
    scope: Option<Scope>,
    /// What its path does not say.
    fixed: Fixed,
}

/// Values of parameters that paths do not have.
type Fixed = Arc<[(&'static str, String)]>;

#[derive(Default)]
struct Node {
    literals: HashMap<&'static str, Node>,
    param: Option<Box<Node>>,
    here: Ends,
    rest: Ends,
    apis: Apis,
}

/// The APIs served at and below a node: which error body a path gets that no route has.
#[derive(Default, Clone, Copy)]
enum Apis {
    #[default]
    None,
    One(Api),
    Many,
}

/// A route per method, with the names of its parameters in path order.
#[derive(Default)]
struct Ends(Vec<(Verb, usize, Vec<&'static str>)>);

impl Ends {
    fn of(&self, verb: Verb) -> Option<(usize, &[&'static str])> {
        self.0.iter().find(|end| end.0.http() == verb.http()).map(|end| (end.1, end.2.as_slice()))
    }
}

impl Router {
    /// Builds the tree.
    ///
    /// # Errors
    /// [`TableError`] names the first wrong route.
    pub fn new(routes: Vec<Route>) -> Result<Self, TableError> {
        let mut router =
            Self { entries: Vec::with_capacity(routes.len()), public: Node::default(), admin: Node::default(), ops: Node::default() };
        for route in routes {
            router.add(route, Fixed::default())?;
        }
        Ok(router)
    }

    /// With routes whose paths do not name what they are about, the participant context before all: to handlers and authorisation it is as if they named
    /// these.
    ///
    /// # Errors
    /// [`TableError`] names the first wrong route.
    pub fn naming(mut self, routes: Vec<Route>, fixed: &[(&'static str, &str)]) -> Result<Self, TableError> {
        let fixed: Fixed = fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        for route in routes {
            self.add(route, fixed.clone())?;
        }
        Ok(self)
    }

    fn add(&mut self, route: Route, fixed: Fixed) -> Result<(), TableError> {
        let scope = match route.access {
            Access::Open => None,
            Access::Scope(scope, _) => Some(Scope::parse(scope).ok_or_else(|| TableError::Scope { route: route.path.to_owned(), scope })?),
        };
        let index = self.entries.len();
        self.entries.push(Entry { route, scope, fixed });
        for prefix in route.prefixes {
            let root = match route.listener {
                Listener::Public => &mut self.public,
                Listener::Admin => &mut self.admin,
                Listener::Ops => &mut self.ops,
            };
            insert(root, prefix, route, index)?;
        }
        Ok(())
    }

    fn root(&self, listener: Listener) -> &Node {
        match listener {
            Listener::Public => &self.public,
            Listener::Admin => &self.admin,
            Listener::Ops => &self.ops,
        }
    }

    /// All routes, in the order of the table.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.entries.iter().map(|entry| &entry.route)
    }

    /// Finds the route of a request. `HEAD` is served by the route of `GET`.
    ///
    /// # Errors
    /// [`Miss`] says why there is none.
    pub fn find(&self, listener: Listener, method: &Method, path: &str) -> Result<Match, Miss> {
        let relative = path.strip_prefix('/').ok_or(Miss::Malformed)?;
        if relative.split('/').any(is_dot_segment) {
            return Err(Miss::Malformed);
        }
        let mut search = Search { verb: verb(method), values: Vec::new(), rest: None, allowed: Vec::new() };
        let found = search.node(self.root(listener), Some(relative));
        let Some((index, names)) = found else {
            return Err(search.miss());
        };
        let entry = self.entries.get(index).ok_or(Miss::NotFound)?;
        let mut params = Vec::with_capacity(names.len() + entry.fixed.len());
        // First of all: nothing in the path names another one.
        params.extend(entry.fixed.iter().cloned());
        let mut names = names.iter();
        for (value, name) in search.values.iter().zip(names.by_ref()) {
            let value = percent_decode_str(value).decode_utf8().map_err(|_| Miss::Malformed)?;
            params.push((*name, value.into_owned()));
        }
        if let (Some(rest), Some(name)) = (search.rest, names.next()) {
            params.push((*name, rest.to_owned()));
        }
        Ok(Match { route: entry.route, scope: entry.scope.clone(), unnamed: !entry.fixed.is_empty(), params: Params(params.into()) })
    }

    /// Whose error body a path gets that has no route: that of the only API below its longest known part.
    #[must_use]
    pub fn api_near(&self, listener: Listener, path: &str) -> Api {
        let mut node = self.root(listener);
        for segment in path.split('/').skip(1) {
            match node.literals.get(segment).or(node.param.as_deref()) {
                Some(next) => node = next,
                None => break,
            }
        }
        match node.apis {
            Apis::One(api) => api,
            Apis::None | Apis::Many => Api::Native,
        }
    }
}

/// `.` and `..`, in any spelling: no template has them, and what lies behind a route must not be led out of its place.
fn is_dot_segment(segment: &str) -> bool {
    [&b"."[..], b".."].into_iter().any(|dots| percent_decode_str(segment).eq(dots.iter().copied()))
}

fn verb(method: &Method) -> Option<Verb> {
    match *method {
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::POST => Some(Verb::Post),
        Method::PUT => Some(Verb::Put),
        Method::PATCH => Some(Verb::Patch),
        Method::DELETE => Some(Verb::Delete),
        _ => None,
    }
}

fn insert(root: &mut Node, prefix: &'static str, route: Route, index: usize) -> Result<(), TableError> {
    let shown = || format!("{} {prefix}{} ({:?})", route.method.http(), route.path, route.listener);
    let bad = || TableError::Template(shown());
    if !(prefix.is_empty() || prefix.starts_with('/')) || !route.path.starts_with('/') || prefix.ends_with('/') {
        return Err(bad());
    }
    let mut node = root;
    node.apis.add(route.api);
    let mut names = Vec::new();
    let mut rest = false;
    for segment in prefix.split('/').skip(1).chain(route.path.split('/').skip(1)) {
        if rest {
            return Err(bad());
        }
        if let Some(name) = segment.strip_prefix("{*").and_then(|s| s.strip_suffix('}')) {
            names.push(name);
            rest = true;
            continue;
        }
        node = if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            names.push(name);
            node.param.get_or_insert_default()
        } else {
            if segment.contains(['{', '}']) {
                return Err(bad());
            }
            node.literals.entry(segment).or_default()
        };
        node.apis.add(route.api);
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != names.len() || names.iter().any(|name| name.is_empty()) {
        return Err(bad());
    }
    let ends = if rest { &mut node.rest } else { &mut node.here };
    if ends.of(route.method).is_some() {
        return Err(TableError::Duplicate(shown()));
    }
    ends.0.push((route.method, index, names));
    Ok(())
}

impl Apis {
    fn add(&mut self, api: Api) {
        *self = match *self {
            Self::None => Self::One(api),
            Self::One(known) if known == api => Self::One(known),
            Self::One(_) | Self::Many => Self::Many,
        };
    }
}

/// One walk through the tree.
struct Search<'p> {
    verb: Option<Verb>,
    values: Vec<&'p str>,
    rest: Option<&'p str>,
    allowed: Vec<Verb>,
}

impl<'p> Search<'p> {
    /// `path` is what is left of the path without its leading slash; `None` after the last segment.
    fn node<'n>(&mut self, node: &'n Node, path: Option<&'p str>) -> Option<(usize, &'n [&'static str])> {
        // One slash at the end is no segment: `/participants/` is `/participants`.
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            let here = self.end(&node.here);
            return here.or_else(|| {
                let rest = self.end(&node.rest)?;
                self.rest = Some("");
                Some(rest)
            });
        };
        let (segment, left) = path.split_once('/').map_or((path, None), |(segment, left)| (segment, Some(left)));
        if let Some(next) = node.literals.get(segment)
            && let Some(found) = self.node(next, left)
        {
            return Some(found);
        }
        if let Some(next) = node.param.as_deref().filter(|_| !segment.is_empty()) {
            self.values.push(segment);
            if let Some(found) = self.node(next, left) {
                return Some(found);
            }
            self.values.pop();
        }
        let found = self.end(&node.rest)?;
        self.rest = Some(path);
        Some(found)
    }

    fn end<'n>(&mut self, ends: &'n Ends) -> Option<(usize, &'n [&'static str])> {
        let found = self.verb.and_then(|verb| ends.of(verb));
        if found.is_none() {
            self.allowed.extend(ends.0.iter().map(|end| end.0));
        }
        found
    }

    fn miss(&self) -> Miss {
        let mut methods: Vec<String> = self.allowed.iter().map(|verb| verb.http().to_string()).collect();
        if self.allowed.iter().any(|verb| verb.http() == Method::GET) {
            methods.push(Method::HEAD.to_string());
        }
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() { Miss::NotFound } else { Miss::Method(methods.join(", ")) }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("routes", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        App,
        http::{ApiError, Provisioner, Reply, Request},
    };
    use futures::{FutureExt, future::BoxFuture};

    fn handler(_: App, _: Request) -> BoxFuture<'static, Result<Reply, ApiError>> {
        async { Ok(Reply::no_content()) }.boxed()
    }

    const fn route(method: Verb, prefixes: &'static [&'static str], path: &'static str, api: Api) -> Route {
        Route { listener: Listener::Admin, api, method, path, prefixes, access: Access::Open, handler }
    }

    fn router() -> Router {
        Router::new(vec![
            route(Verb::Get, &["/api/m", ""], "/participants/{participant}/assets/{id}", Api::Management),
            route(Verb::Post, &["/api/m", ""], "/participants/{participant}/assets/request", Api::Management),
            route(Verb::Post, &["/api/m"], "/participants", Api::Management),
            route(Verb::Get, &["/api/d"], "/{participant}/{flow}/{*path}", Api::Native),
            route(Verb::Get, &["/api/d"], "/{participant}/{flow}", Api::Native),
            route(Verb::Get, &[""], "/{*anything}", Api::Dcp),
        ])
        .unwrap()
    }

    type Found = (&'static str, Vec<(&'static str, String)>);

    fn find(method: Method, path: &str) -> Result<Found, Miss> {
        let found = router().find(Listener::Admin, &method, path)?;
        let mut params: Vec<_> = found.params.iter().map(|(name, value)| (name, value.to_owned())).collect();
        params.sort();
        Ok((found.route.path, params))
    }

    #[test]
    fn finds_routes_and_values() {
        let text = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(n, v)| (*n, (*v).to_owned())).collect::<Vec<_>>();
        let asset = "/participants/{participant}/assets/{id}";
        for path in ["/api/m/participants/p/assets/a%20b", "/participants/%70/assets/a b", "/participants/p/assets/a%20b/"] {
            assert_eq!(find(Method::GET, path), Ok((asset, text(&[("id", "a b"), ("participant", "p")]))), "{path}");
        }
        assert_eq!(find(Method::HEAD, "/participants/p/assets/x").map(|f| f.0), Ok(asset));
        // A literal of another method does not hide the parameter, nor the other way round.
        assert_eq!(find(Method::GET, "/participants/p/assets/request").map(|f| f.0), Ok(asset));
        assert_eq!(find(Method::POST, "/participants/p/assets/request").map(|f| f.0), Ok("/participants/{participant}/assets/request"));
        assert_eq!(
            find(Method::GET, "/api/d/p/f/x/%2F/y/"),
            Ok(("/{participant}/{flow}/{*path}", text(&[("flow", "f"), ("participant", "p"), ("path", "x/%2F/y/")])))
        );
        assert_eq!(find(Method::GET, "/api/d/p/f").map(|f| f.0), Ok("/{participant}/{flow}"));
        assert_eq!(find(Method::GET, "/other/thing"), Ok(("/{*anything}", text(&[("anything", "other/thing")]))));
        assert_eq!(find(Method::GET, "/").map(|f| f.0), Ok("/{*anything}"));
    }

    #[test]
    fn misses() {
        assert_eq!(find(Method::DELETE, "/participants/p/assets/x"), Err(Miss::Method("GET, HEAD".to_owned())));
        assert_eq!(find(Method::GET, "/api/d/%ff/f"), Err(Miss::Malformed));
        for dots in ["/api/d/p/f/../x", "/api/d/p/f/%2e%2E/x", "/api/d/p/./x"] {
            assert_eq!(find(Method::GET, dots), Err(Miss::Malformed), "{dots}");
        }
        let other = router().find(Listener::Public, &Method::GET, "/participants").map(|_| ());
        assert_eq!(other, Err(Miss::NotFound));
        assert_eq!(find(Method::PUT, "/api/m/participants"), Err(Miss::Method("GET, HEAD, POST".to_owned())));
    }

    #[test]
    fn names_the_api_of_unknown_paths() {
        let router = router();
        for (path, api) in [
            ("/api/m/participants/p/nothing", Api::Management),
            ("/api/m/zzz", Api::Management),
            ("/api/d/p/f", Api::Native),
            ("/zzz", Api::Native),
            ("/api/zzz", Api::Native),
        ] {
            assert_eq!(router.api_near(Listener::Admin, path), api, "{path}");
        }
    }

    #[test]
    fn refuses_wrong_tables() {
        let get = |path| route(Verb::Get, &[""], path, Api::Native);
        let err = |routes| Router::new(routes).err();
        assert!(matches!(err(vec![get("/a/{x}"), get("/a/{y}")]), Some(TableError::Duplicate(_))));
        for path in ["a", "/{x}/{x}", "/{*x}/y", "/a{x}", "/{}"] {
            assert!(matches!(err(vec![get(path)]), Some(TableError::Template(_))), "{path}");
        }
        let scoped = Route { access: Access::Scope("nonsense", Provisioner::Denied), ..get("/a") };
        assert!(matches!(err(vec![scoped]), Some(TableError::Scope { .. })));
    }

    #[test]
    fn the_table_of_the_platform_is_right() {
        Router::new(crate::routes::all()).unwrap();
    }
}
