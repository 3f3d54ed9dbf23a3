//! Management API v4: what v5 has below a participant context, without naming it. For installations that are there for one participant.

use super::prefixes::MANAGEMENT_V4;
use crate::http::{Api, Route};

/// Where v5 names the participant context.
pub(super) const PARTICIPANT: &str = "/participants/{participant}";
/// What v4 has.
const RESOURCES: [&str; 11] = [
    "assets",
    "policydefinitions",
    "contractdefinitions",
    "catalog",
    "catalogs",
    "targetnodes",
    "contractnegotiations",
    "contractagreements",
    "transferprocesses",
    "dataplanes",
    "secrets",
];

/// The routes, each the twin of one of v5; whoever serves them says whose they are.
#[must_use]
pub fn routes() -> Vec<Route> {
    let twin = |route: Route| {
        let path = route.path.strip_prefix(PARTICIPANT).filter(|_| route.api == Api::Management)?;
        let resource = path.split('/').nth(1)?;
        RESOURCES.contains(&resource).then_some(Route { path, prefixes: MANAGEMENT_V4, ..route })
    };
    super::all().into_iter().filter_map(twin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_its_twins() {
        let routes = routes();
        for resource in RESOURCES {
            let twins = |path: &str| path.split('/').nth(1) == Some(resource);
            let v4 = routes.iter().filter(|route| twins(route.path)).count();
            let of_v5 = super::super::all();
            let v5 = of_v5.iter().filter(|route| route.path.strip_prefix(PARTICIPANT).is_some_and(twins) && route.api == Api::Management);
            assert!(v4 > 0 && v4 == v5.count(), "{resource}");
        }
        assert!(routes.iter().all(|route| !route.path.contains("{participant}")));
        // What makes participants, and what is everybody's, stays with v5.
        for path in ["/config", "/profiles", "/participants", "/celexpressions"] {
            assert!(routes.iter().all(|route| route.path != path), "{path}");
        }
    }
}
