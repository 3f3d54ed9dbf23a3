//! A source of data, and which requests it allows. Pure.

use super::target::{self, TargetError};
use cellspace_schemas::{
    KeyAlias,
    source::{SourceAuthorization, SourceDocument, SourceMethod},
};
use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use url::Url;

/// Path prefixes of one source at most.
pub const MAX_PREFIXES: usize = 64;
/// Longest prefix, in bytes.
pub const MAX_PREFIX_BYTES: usize = 512;
/// Longest base URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// Longest secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 8 << 10;

/// Headers that are the transport's or the client's and cannot carry a source's secret.
const RESERVED_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "traceparent",
    "upgrade",
];

/// Why a document is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Scheme, credentials, query, fragment or length.
    #[error("baseUrl must be an http or https URL without credentials, query and fragment, of at most {MAX_URL_BYTES} bytes")]
    BaseUrl,
    /// Nothing allowed.
    #[error("methods must name GET, HEAD or both")]
    Methods,
    /// Number, length or form of the prefixes.
    #[error(
        "pathPrefixes are at most {MAX_PREFIXES} plain paths of at most {MAX_PREFIX_BYTES} bytes, each with a leading slash and without dot segments, % or empty segments"
    )]
    Prefixes,
    /// A header that cannot carry the secret.
    #[error("authorization.header must be a header name that is not one of the transport")]
    Header,
    /// Not a header value.
    #[error("authorization.secret must be 1 to {MAX_SECRET_BYTES} visible characters, the whole value of the header")]
    Secret,
}

/// How to prove oneself to a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The secret's alias.
    pub alias: KeyAlias,
    /// The header that carries it, in lower case.
    pub header: String,
}

/// A source of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it is.
    pub base_url: Url,
    /// What may be done with it, without repeats.
    pub methods: Vec<SourceMethod>,
    /// What may be read below the base URL.
    pub path_prefixes: Vec<String>,
    /// Whether a query is passed on.
    pub allow_query: bool,
    /// How to prove oneself.
    pub authorization: Option<Authorization>,
}

impl Source {
    /// Checks a document; a secret in it is left where it is.
    ///
    /// # Errors
    /// [`SourceError`] names the rule.
    pub fn of(document: &SourceDocument) -> Result<Self, SourceError> {
        let url = &document.base_url;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain || url.as_str().len() > MAX_URL_BYTES {
            return Err(SourceError::BaseUrl);
        }
        let methods: Vec<_> = SourceMethod::all().into_iter().filter(|m| document.methods.contains(m)).collect();
        if methods.is_empty() {
            return Err(SourceError::Methods);
        }
        if document.path_prefixes.len() > MAX_PREFIXES || !document.path_prefixes.iter().all(|p| is_prefix(p)) {
            return Err(SourceError::Prefixes);
        }
        let authorization = document.authorization.as_ref().map(authorization).transpose()?;
        Ok(Self {
            base_url: url.clone(),
            methods,
            path_prefixes: document.path_prefixes.clone(),
            allow_query: document.allow_query,
            authorization,
        })
    }

    /// Whether the method may be used.
    #[must_use]
    pub fn allows(&self, method: &Method) -> bool {
        self.methods.iter().any(|m| match m {
            SourceMethod::Get => method == Method::GET,
            SourceMethod::Head => method == Method::HEAD,
        })
    }

    /// The URL behind a request: `path` is what follows the flow in the request's path as received, with its leading slash, or empty.
    ///
    /// # Errors
    /// [`TargetError`] when the source does not open it.
    pub fn target(&self, path: &str, query: Option<&str>) -> Result<Url, TargetError> {
        target::resolve(self, path, query)
    }

    /// As it is shown; secrets are never part of it.
    #[must_use]
    pub fn document(&self, name: cellspace_schemas::SourceName) -> SourceDocument {
        let shown = |a: &Authorization| SourceAuthorization { vault_alias: a.alias.clone(), header: a.header.clone(), secret: None };
        SourceDocument {
            name: Some(name),
            base_url: self.base_url.clone(),
            methods: self.methods.clone(),
            path_prefixes: self.path_prefixes.clone(),
            allow_query: self.allow_query,
            authorization: self.authorization.as_ref().map(shown),
        }
    }
}

fn is_prefix(prefix: &str) -> bool {
    let Some(rest) = prefix.strip_prefix('/') else { return false };
    let body = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#' | b'\\' | b';');
    prefix.len() <= MAX_PREFIX_BYTES
        && prefix.bytes().all(plain)
        && (rest.is_empty() || body.split('/').all(|segment| !matches!(segment, "" | "." | "..")))
}

fn authorization(document: &SourceAuthorization) -> Result<Authorization, SourceError> {
    let header = HeaderName::from_bytes(document.header.as_bytes()).map_err(|_| SourceError::Header)?;
    if RESERVED_HEADERS.contains(&header.as_str()) {
        return Err(SourceError::Header);
    }
    let value_ok = |secret: &str| {
        (1..=MAX_SECRET_BYTES).contains(&secret.len()) && secret.trim() == secret && secret.bytes().all(|b| (b' '..=b'~').contains(&b))
    };
    if document.secret.as_ref().is_some_and(|secret| !value_ok(secret.expose())) {
        return Err(SourceError::Secret);
    }
    Ok(Authorization { alias: document.vault_alias.clone(), header: header.as_str().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Source, SourceError> {
        Source::of(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_document_is_closed_by_default_and_shows_no_secret() {
        let source =
            read(json!({"baseUrl": "https://store.example/set.json", "authorization": {"vaultAlias": "store", "secret": "Bearer s3cret"}}))
                .unwrap();
        assert!(source.allows(&Method::GET) && source.allows(&Method::HEAD) && !source.allows(&Method::POST));
        assert!(source.path_prefixes.is_empty() && !source.allow_query);
        let shown = serde_json::to_value(source.document("s".parse().unwrap())).unwrap();
        let expected = json!({"name": "s", "baseUrl": "https://store.example/set.json", "methods": ["GET", "HEAD"], "pathPrefixes": [],
            "allowQuery": false, "authorization": {"vaultAlias": "store", "header": "authorization"}});
        assert_eq!(shown, expected);
    }

    #[test]
    fn bad_documents_are_refused() {
        use SourceError::*;
        let base = "https://store.example/a";
        for (document, error) in [
            (json!({"baseUrl": "ftp://store.example/a"}), BaseUrl),
            (json!({"baseUrl": "https://user@store.example/a"}), BaseUrl),
            (json!({"baseUrl": "https://:pw@store.example/a"}), BaseUrl),
            (json!({"baseUrl": "https://store.example/a?b"}), BaseUrl),
            (json!({"baseUrl": "https://store.example/a#b"}), BaseUrl),
            (json!({"baseUrl": "data:text/plain,x"}), BaseUrl),
            (json!({"baseUrl": base, "methods": []}), Methods),
            (json!({"baseUrl": base, "pathPrefixes": ["a"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": ["/a/../b"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": ["/a//b"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": ["//"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": ["/%2e"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": ["/a?b"]}), Prefixes),
            (json!({"baseUrl": base, "pathPrefixes": vec!["/a"; MAX_PREFIXES + 1]}), Prefixes),
            (json!({"baseUrl": base, "authorization": {"vaultAlias": "a", "header": "Host"}}), Header),
            (json!({"baseUrl": base, "authorization": {"vaultAlias": "a", "header": "a b"}}), Header),
            (json!({"baseUrl": base, "authorization": {"vaultAlias": "a", "secret": ""}}), Secret),
            (json!({"baseUrl": base, "authorization": {"vaultAlias": "a", "secret": "a\r\nHost: b"}}), Secret),
        ] {
            assert_eq!(read(document.clone()).err(), Some(error), "{document}");
        }
        for unread in
            [json!({}), json!({"baseUrl": "/a"}), json!({"baseUrl": base, "methods": ["POST"]}), json!({"baseUrl": base, "extra": 1})]
        {
            assert!(serde_json::from_value::<SourceDocument>(unread.clone()).is_err(), "{unread}");
        }
    }
}
