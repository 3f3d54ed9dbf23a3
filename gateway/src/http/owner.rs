//! Whose a request is, as its route and path say: where there are several nodes, the one that serves that owner's slot answers it.

use super::{Api, Listener, Match, Verb};
use crate::routes::prefixes::{STS, TOKEN_SERVICE_ADMIN};
use cellspace_schemas::Owner;

/// Parameters of paths that name an owner of agents.
const OWNERS: [&str; 5] = ["participant", "issuer", "tenant", "orchestration", "owner"];
/// What makes or changes a participant context, whose id stands in the body, whatever the path says, or is yet to be made.
const BY_BODY: [(Verb, &str); 2] = [(Verb::Post, "/participants"), (Verb::Put, "/participants/{participant}")];

/// The owner; `None` for what every node answers: what is the same everywhere, what is about the node itself, and what only its body says more of
/// ([`super::Request::is_of`]).
#[must_use]
pub fn owner(found: &Match) -> Option<Owner> {
    let route = &found.route;
    if BY_BODY.contains(&(route.method, route.path)) {
        return None;
    }
    if let Some(text) = OWNERS.into_iter().find_map(|name| found.params.get(name)) {
        // What can be no owner's id names nothing, wherever it is looked for.
        return Owner::new(text).ok();
    }
    let everywhere = match (route.listener, route.api) {
        (Listener::Public | Listener::Ops, _) => true,
        // Clients, and what is granted to them.
        (Listener::Admin, _) if route.prefixes == TOKEN_SERVICE_ADMIN => false,
        (Listener::Admin, Api::Native) => true,
        (Listener::Admin, Api::OAuth) => route.method.is_safe() || route.prefixes == STS,
        (Listener::Admin, _) => false,
    };
    (!everywhere).then(Owner::installation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::Router, routes};
    use http::Method;

    #[test]
    fn a_request_is_its_participants_the_installations_or_everybodys() {
        let router = Router::new(routes::all()).unwrap();
        let of =
            |listener, method: Method, path: &str| owner(&router.find(listener, &method, path).unwrap()).map(|owner| owner.to_string());
        let (public, admin) = (Listener::Public, Listener::Admin);
        for (listener, method, path, whose) in [
            (public, Method::POST, "/api/dsp/p1/http-dsp-profile-2025-1/catalog/request", Some("p1")),
            (public, Method::GET, "/api/data/p1/f1/deeper", Some("p1")),
            (public, Method::GET, "/statuslist/p1/l1", Some("p1")),
            (public, Method::GET, "/p1/did.json", None),
            (public, Method::GET, "/keys", None),
            (admin, Method::GET, "/api/mgmt/v5beta/participants/a%2Fb/assets/x", Some("a/b")),
            (admin, Method::DELETE, "/api/mgmt/v5beta/participants/p1", Some("p1")),
            (admin, Method::PUT, "/api/mgmt/v5beta/participants/p1", None),
            (admin, Method::PUT, "/api/mgmt/v5beta/participants/p1/config", Some("p1")),
            (admin, Method::GET, "/api/mgmt/v5beta/participants", Some("installation")),
            (admin, Method::POST, "/api/mgmt/v5beta/participants", None),
            (admin, Method::POST, "/api/identity/v1beta/participants", None),
            (admin, Method::POST, "/api/mgmt/v5beta/celexpressions", Some("installation")),
            (admin, Method::GET, "/api/tm/tenants/t1/participant-profiles/x", Some("t1")),
            (admin, Method::POST, "/api/tm/tenants", Some("installation")),
            (admin, Method::GET, "/api/pm/orchestrations/o1", Some("o1")),
            (admin, Method::GET, "/api/runtime/agents/control-plane/p1", Some("p1")),
            (admin, Method::GET, "/api/runtime/parked", None),
            (admin, Method::GET, "/api/openapi", None),
            (admin, Method::POST, "/token", Some("installation")),
            (admin, Method::POST, "/api/v1/clients", Some("installation")),
            (admin, Method::GET, "/api/v1/mappings", Some("installation")),
            (admin, Method::GET, "/.well-known/jwks.json", None),
            (admin, Method::POST, "/api/sts/token", None),
            (Listener::Ops, Method::GET, "/api/check/readiness", None),
        ] {
            assert_eq!(of(listener, method.clone(), path).as_deref(), whose, "{method} {path}");
        }
    }

    /// Nothing in a path of the table that is meant to name an owner goes by another name; `moved` is moved by any node.
    #[test]
    fn what_paths_name_first_is_an_owner_or_nobodys() {
        let others: std::collections::BTreeSet<&str> = routes::all()
            .iter()
            .filter(|route| !OWNERS.iter().any(|name| route.path.contains(&format!("{{{name}}}"))))
            .filter_map(|route| route.path.split(['{', '}']).nth(1))
            .collect();
        let nobodys = ["a", "api", "cell", "client", "dataspace", "id", "moved", "name", "node", "scope", "template", "type"];
        assert_eq!(others.into_iter().filter(|name| !nobodys.contains(name)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
