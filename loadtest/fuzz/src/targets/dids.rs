//! DIDs, where their documents are, and what the documents say.

use super::{document, json};
use cellspace_actors::{
    outbound::targets,
    trust::{
        did::{Location, authority, locate},
        jwk::VerifyingKey,
        jws::KeyId,
        keys::DocumentKeys,
    },
};
use cellspace_schemas::{
    Did,
    dcp::{DidDocument, Relationship},
    dsp::BaseUrl,
    ids::MAX_ID_BYTES,
};
use std::net::IpAddr;
use url::{Host, Url};

/// DID documents and keys.
pub fn documents(data: &[u8]) {
    if let Some(key) = json(data) {
        VerifyingKey::from_jwk(&key).inspect(|key| assert!(key.algorithms().iter().all(|by| !key.verifies(*by, data, "AAAA"))));
    }
    let Some(document) = document::<DidDocument>(data) else { return };
    let keys = DocumentKeys::of(document);
    let document = &keys.document;
    let urls = document.verification_method.iter().map(|method| document.absolute(&method.id));
    let urls: Vec<Option<String>> = urls.map(Some).chain([None]).collect();
    for relationship in [Relationship::Authentication, Relationship::AssertionMethod, Relationship::CapabilityInvocation] {
        for url in urls.iter().map(Option::as_deref) {
            let strict = keys.select(url, relationship, false);
            if let Ok(selected) = &strict {
                assert!(document.relates(relationship, &selected.url) && url.is_none_or(|url| url == selected.url));
                assert_eq!(keys.select(url, relationship, true).as_ref(), Ok(selected));
            }
        }
    }
    let _ = keys.service("CredentialService");
}

/// DIDs as texts, URLs of counterparties, and which of them may be called.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(did) = Did::new(text) {
        assert!(did.as_str() == text && text.len() <= MAX_ID_BYTES);
        located(&did);
    }
    if let Ok(kid) = KeyId::parse(text) {
        assert!(kid.url == text && text.starts_with(kid.did));
    }
    VerifyingKey::from_multikey(text).inspect(|key| assert!(key.algorithms().iter().all(|by| !key.verifies(*by, text.as_bytes(), text))));
    if let Ok(base) = text.parse::<BaseUrl>() {
        super::kept(&base);
        assert!(base.url().username().is_empty() && base.url().password().is_none());
        // Whatever a counterparty calls its process, it is below the counterparty's address.
        let below = base.below(&[text, "..", "a/../b", "%2e%2e"]);
        assert!(below.as_str().parse::<BaseUrl>().is_ok_and(|below| below.is_within(base.url())) || below.as_str().len() > 2_048);
    }
    if let Ok(url) = Url::parse(text) {
        called(&url);
    }
}

fn located(did: &Did) {
    let host = authority(did);
    for plain_http in [false, true] {
        match locate(did, plain_http) {
            Some(Location::Web(urls)) => {
                assert_eq!(urls.len(), if plain_http { 2 } else { 1 });
                for url in urls {
                    assert!(url.scheme() == "https" || plain_http && url.scheme() == "http");
                    assert!(url.has_host() && url.username().is_empty() && url.password().is_none(), "{url}");
                    assert!(url.query().is_none() && url.fragment().is_none() && url.path().ends_with("/did.json"), "{url}");
                    assert!(host.is_some(), "a document without a host: {url}");
                }
            }
            Some(Location::Contained(document)) => assert_eq!(document.id, *did),
            None => {}
        }
    }
}

/// What may be called is of the public internet, unless all may be.
fn called(url: &Url) {
    if !targets::is_allowed(url, false) {
        return;
    }
    assert!(targets::is_allowed(url, true) && url.scheme() == "https" && url.username().is_empty() && url.password().is_none());
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain(name)) => {
            assert!(name.parse::<IpAddr>().is_err() && name.trim_end_matches('.') != "localhost", "{name}");
            return;
        }
        None => panic!("{url} has no host"),
    };
    let v4 = match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    };
    assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{url}");
    assert!(v4.is_none_or(|v4| !v4.is_private() && !v4.is_loopback() && !v4.is_link_local() && !v4.is_broadcast()), "{url}");
}
