//! From a DID to where its document lies (did:web) or what it says (did:key). Pure.

use super::jwk::VerifyingKey;
use cellspace_schemas::{
    Did,
    dcp::{DidDocument, VerificationMethod},
};
use url::Url;

/// Where a document may be found.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// To be fetched from the first of these that answers.
    Web(Vec<Url>),
    /// It is contained in the DID itself.
    Contained(Box<DidDocument>),
}

/// Finds the document of a DID; `None` when its method is not supported or its id malformed.
///
/// did:web means https. Where `plain_http` is allowed (development and closed networks), hosts with an explicit port are asked by http first.
#[must_use]
pub fn locate(did: &Did, plain_http: bool) -> Option<Location> {
    match did.method() {
        "web" => web(did, plain_http).map(Location::Web),
        "key" => key(did).map(|document| Location::Contained(Box::new(document))),
        _ => None,
    }
}

/// The host (and port) that serves a did:web document; `None` for other methods.
#[must_use]
pub fn authority(did: &Did) -> Option<String> {
    let host = did.as_str().strip_prefix("did:web:")?.split(':').next()?;
    Some(host.replace("%3A", ":").replace("%3a", ":"))
}

fn web(did: &Did, plain_http: bool) -> Option<Vec<Url>> {
    let id = did.as_str().strip_prefix("did:web:")?;
    let host = authority(did)?;
    let path: Vec<&str> = id.split(':').skip(1).collect();
    let segment_ok = |s: &&str| !matches!(*s, "" | "." | "..") && !s.to_ascii_lowercase().contains("%2f");
    if host.is_empty() || host.contains('%') || !path.iter().all(segment_ok) {
        return None;
    }
    let path = if path.is_empty() { ".well-known".to_owned() } else { path.join("/") };
    let url = |scheme: &str| Url::parse(&format!("{scheme}://{host}/{path}/did.json")).ok().filter(|url| url.host().is_some());
    let https = url("https")?;
    if !plain_http {
        return Some(vec![https]);
    }
    let http = url("http")?;
    Some(if host.contains(':') { vec![http, https] } else { vec![https, http] })
}

fn key(did: &Did) -> Option<DidDocument> {
    let multikey = did.as_str().strip_prefix("did:key:")?;
    VerifyingKey::from_multikey(multikey)?;
    let method = VerificationMethod {
        id: format!("{did}#{multikey}"),
        method_type: "Multikey".to_owned(),
        controller: Some(did.to_string()),
        public_key_jwk: None,
        public_key_multibase: Some(multikey.to_owned()),
    };
    Some(DidDocument::new(did.clone(), vec![method], Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(did: &str, plain_http: bool) -> Option<Vec<String>> {
        match locate(&Did::new(did).unwrap(), plain_http)? {
            Location::Web(urls) => Some(urls.into_iter().map(Into::into).collect()),
            Location::Contained(_) => None,
        }
    }

    #[test]
    fn did_web_is_located() {
        let table: [(&str, bool, &[&str]); 5] = [
            ("did:web:example.com", false, &["https://example.com/.well-known/did.json"]),
            ("did:web:example.com:a:b", false, &["https://example.com/a/b/did.json"]),
            ("did:web:example.com%3A8443:a", false, &["https://example.com:8443/a/did.json"]),
            ("did:web:localhost%3A8443:a", true, &["http://localhost:8443/a/did.json", "https://localhost:8443/a/did.json"]),
            ("did:web:example.com", true, &["https://example.com/.well-known/did.json", "http://example.com/.well-known/did.json"]),
        ];
        for (did, plain_http, expected) in table {
            assert_eq!(urls(did, plain_http).unwrap(), expected, "{did}");
        }
        for bad in [
            "did:web:%40x",
            "did:web:a%2Fb",
            "did:web:a:",
            "did:web:a::b",
            "did:web:a:..:b",
            "did:web:a:%2f",
            "did:web:a%3Ax",
            "did:ion:abc",
        ] {
            assert_eq!(urls(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn the_host_of_a_did() {
        let host = |did: &str| authority(&Did::new(did).unwrap());
        assert_eq!(host("did:web:example.com").as_deref(), Some("example.com"));
        assert_eq!(host("did:web:localhost%3A8443:a:b").as_deref(), Some("localhost:8443"));
        assert_eq!(host("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"), None);
    }

    #[test]
    fn did_key_contains_its_document() {
        let did = Did::new("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK").unwrap();
        let Some(Location::Contained(document)) = locate(&did, false) else { panic!("no document") };
        assert_eq!(document.id, did);
        let method = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK#z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        assert!(document.method(method).is_some());
        assert_eq!(locate(&Did::new("did:key:z6Mkbroken").unwrap(), false), None);
    }
}
