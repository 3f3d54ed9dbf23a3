//! DSP 2025-1 at the base that names neither participant nor profile: what the default profile has below a participant. For installations that are there
//! for one participant.

use super::prefixes::DSP_CLASSIC;
use crate::http::{Api, Route};

/// Where the protocol names the participant context and its profile.
pub(super) const NAMED: &str = "/{participant}/{profile}";
/// Where it names neither: the version.
pub(super) const PATH: &str = "/2025-1";

/// The routes, each the twin of one that names whom it is about; whoever serves them says whom.
#[must_use]
pub fn routes() -> Vec<Route> {
    let twin = |route: Route| {
        let is_protocol = matches!(route.api, Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer);
        let path = route.path.strip_prefix(NAMED).filter(|_| is_protocol)?;
        Some(Route { path, prefixes: DSP_CLASSIC, ..route })
    };
    super::all().into_iter().filter_map(twin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_protocol_has_its_twin() {
        let all = super::super::all();
        let of_protocol = all.iter().filter(|route| matches!(route.api, Api::DspCatalog | Api::DspNegotiation | Api::DspTransfer));
        let named: Vec<_> = of_protocol.map(|route| (route.method.http(), route.path.to_owned())).collect();
        let twins: Vec<_> = routes().iter().map(|route| (route.method.http(), format!("{NAMED}{}", route.path))).collect();
        assert_eq!(twins, named);
        assert!(!twins.is_empty() && DSP_CLASSIC.iter().all(|prefix| prefix.ends_with(PATH)));
    }
}
