//! Asking a counterparty which versions and profiles of DSP it speaks: what it has in common with a participant.

use super::consumer::{RequestError, participant, refused};
use crate::{Services, outbound::OutboundRequest, trust::PeerError};
use cellspace_schemas::{
    Did, ParticipantContextId, TraceContext,
    dsp::{
        BaseUrl,
        versions::{ProtocolVersion, VersionResponse},
    },
    json,
    management::{DataspaceProfile, DiscoveryRequest, DiscoveryResponse},
};
use http::Method;
use std::collections::BTreeSet;
use url::Url;

/// Types of the services in a DID document that name the version endpoint (DSP 2025-1, "Discovery of Service Endpoints").
const NAMING_VERSIONS: [&str; 2] = ["DataService", "CatalogService"];
/// Type of the service in DID documents that names where messages are taken, by which connectors were found before there were the others.
const PROTOCOL_ENDPOINT: &str = "ProtocolEndpoint";
/// Where versions are told, below a base.
const WELL_KNOWN: [&str; 2] = [".well-known", "dspace-version"];
/// Longest version document, in bytes.
const MAX_READ: usize = 64 << 10;

/// Asks the counterparty for its versions (`GET .../.well-known/dspace-version`, without a token) and finds those that the participant has a profile for.
///
/// # Errors
/// [`RequestError`]
pub async fn discover(
    services: &Services,
    id: &ParticipantContextId,
    request: &DiscoveryRequest,
    trace: Option<TraceContext>,
) -> Result<Vec<DiscoveryResponse>, RequestError> {
    let participant = participant(services, id).await?;
    let places = match (&request.counter_party_address, &request.counter_party_id) {
        (Some(address), _) => vec![address.url().clone()],
        (None, Some(did)) => places(services, did).await?,
        (None, None) => return Err(RequestError::Invalid("counterPartyId or counterPartyAddress is required".to_owned())),
    };
    let mut found = Err(RequestError::BadGateway("the counterparty names no version endpoint".to_owned()));
    for place in places {
        found = versions(services, &place, trace.clone()).await;
        if found.is_ok() {
            break;
        }
    }
    let Versions { endpoint, base, told } = found?;
    let settings = services.settings.load();
    let profiles: BTreeSet<_> = participant.profiles(&settings).into_iter().collect();
    let own = profiles.iter().filter_map(|name| settings.profiles.get(name));
    Ok(own.flat_map(|profile| in_common(profile, &told.protocol_versions, &endpoint, &base)).collect())
}

/// Where the DID document says that versions are told, or where that must be: with a service that takes messages, there or one level above.
async fn places(services: &Services, did: &Did) -> Result<Vec<Url>, RequestError> {
    let now = services.cluster.now();
    let mut none = None;
    for kind in NAMING_VERSIONS.into_iter().chain([PROTOCOL_ENDPOINT]) {
        match services.trust.resolver.service(did, kind, now).await {
            Ok(url) if kind == PROTOCOL_ENDPOINT => return Ok(vec![above(&url), url]),
            Ok(url) => return Ok(vec![url]),
            Err(error @ PeerError::TooEarly) => return Err(RequestError::Unavailable(error.to_string())),
            // The first one says what is to be there.
            Err(error @ (PeerError::Refused(_) | PeerError::Unreachable(_))) => {
                none.get_or_insert_with(|| RequestError::BadGateway(error.to_string()));
            }
        }
    }
    Err(none.unwrap_or_else(|| RequestError::BadGateway(format!("{did} names no version endpoint"))))
}

/// The URL without the last segment of its path.
fn above(url: &Url) -> Url {
    let mut above = url.clone();
    if let Ok(mut path) = above.path_segments_mut() {
        path.pop_if_empty().pop();
    }
    above
}

/// What a version endpoint tells.
struct Versions {
    endpoint: Url,
    base: BaseUrl,
    told: VersionResponse,
}

async fn versions(services: &Services, named: &Url, trace: Option<TraceContext>) -> Result<Versions, RequestError> {
    let no_base = || RequestError::BadGateway(format!("{named} is no address of a version endpoint"));
    let base = base(named.as_str()).ok_or_else(no_base)?;
    let endpoint = base.below(&WELL_KNOWN);
    let request =
        OutboundRequest { method: Method::GET, url: endpoint.clone(), bearer: None, body: None, accept: Some("application/json"), trace };
    let answer = services.http.send_unless(request, None, MAX_READ).await.map_err(|error| RequestError::BadGateway(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(refused(answer.status, &answer.headers, ""));
    }
    let told = json::from_slice::<VersionResponse>(&answer.body);
    let told = told.map_err(|_| RequestError::BadGateway("the counterparty did not answer with its versions".to_owned()))?;
    Ok(Versions { endpoint, base, told })
}

/// What the version endpoint and the paths of versions lie below, when this names it or the endpoint itself.
fn base(named: &str) -> Option<BaseUrl> {
    let named = named.trim_end_matches('/');
    named.strip_suffix(&format!("/{}", WELL_KNOWN.join("/"))).unwrap_or(named).parse().ok()
}

/// What the counterparty serves that this profile speaks: the same version and binding, and the same profile where it names one.
pub fn in_common<'a>(
    profile: &'a DataspaceProfile,
    told: &'a [ProtocolVersion],
    endpoint: &'a Url,
    base: &'a BaseUrl,
) -> impl Iterator<Item = DiscoveryResponse> + 'a {
    let speaks = move |version: &&ProtocolVersion| {
        version.version == profile.version
            && version.binding.eq_ignore_ascii_case(&profile.binding)
            && version.profile.as_ref().is_none_or(|name| name == profile.name.as_str())
    };
    told.iter().filter(speaks).filter_map(move |version| {
        let address = format!("{}/{}", base.as_str().trim_end_matches('/'), version.path.trim_start_matches('/'));
        // What no message could be sent to is none.
        address.parse::<BaseUrl>().ok()?;
        Some(DiscoveryResponse {
            profile: profile.name.clone(),
            version: version.version.clone(),
            binding: version.binding.clone(),
            path: version.path.clone(),
            data_service_endpoint: endpoint.to_string(),
            counter_party_address: address.trim_end_matches('/').to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_endpoint_or_what_it_lies_below() {
        let of = |text: &str| {
            let base = base(text).unwrap();
            (base.below(&WELL_KNOWN).to_string(), base.to_string())
        };
        for text in
            ["https://x.example/api/dsp/p", "https://x.example/api/dsp/p/", "https://x.example/api/dsp/p/.well-known/dspace-version"]
        {
            let expected = ("https://x.example/api/dsp/p/.well-known/dspace-version".to_owned(), "https://x.example/api/dsp/p".to_owned());
            assert_eq!(of(text), expected, "{text}");
        }
        let root = ("https://x.example/.well-known/dspace-version".to_owned(), "https://x.example/".to_owned());
        assert_eq!((of("https://x.example"), of("https://x.example/.well-known/dspace-version")), (root.clone(), root));
    }

    #[test]
    fn one_level_above() {
        for (url, expected) in [
            ("https://x.example/dsp/p/net", "https://x.example/dsp/p"),
            ("https://x.example/dsp/p/net/", "https://x.example/dsp/p"),
            ("https://x.example/", "https://x.example/"),
        ] {
            assert_eq!(above(&url.parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn versions_in_common() {
        let profile =
            DataspaceProfile::from_json(&json!({"@context": ["https://w3id.org/edc/connector/management/v2"], "@type": "DataspaceProfile",
            "name": "net", "protocol": {"version": "2025-1", "path": "/net", "binding": "HTTPS", "namespace": "n"}}))
            .unwrap();
        let version = |version: &str, path: &str, binding: &str, profile: Option<&str>| ProtocolVersion {
            version: version.into(),
            path: path.into(),
            binding: binding.into(),
            profile: profile.map(str::to_owned),
        };
        let told = [
            version("2024-1", "/old", "HTTPS", None),
            version("2025-1", "/other", "HTTPS", Some("other")),
            version("2025-1", "/mail", "SMTP", None),
            version("2025-1", "/query?a=b", "HTTPS", None),
            version("2025-1", &"a".repeat(5_000), "HTTPS", None),
            version("2025-1", "/2025-1", "https", None),
            version("2025-1", "/net", "HTTPS", Some("net")),
        ];
        let base = base("https://x.example/dsp").unwrap();
        let endpoint = base.below(&WELL_KNOWN);
        let found: Vec<String> = in_common(&profile, &told, &endpoint, &base).map(|found| found.counter_party_address).collect();
        assert_eq!(found, ["https://x.example/dsp/2025-1", "https://x.example/dsp/net"]);
    }
}
