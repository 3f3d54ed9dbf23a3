//! From the path and query of a data request to the URL at the source. Pure, and narrow: what could be read in two ways is refused.

use super::source::Source;
use percent_encoding::percent_decode_str;
use url::Url;

/// Longest path below a base URL, in bytes.
pub const MAX_PATH_BYTES: usize = 2_048;
/// Longest query, in bytes.
pub const MAX_QUERY_BYTES: usize = 4_096;

/// Why a request reaches nothing at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Dot segments, encoded separators, empty segments, control characters, too long.
    #[error("the path must not have dot segments, empty segments or encoded separators, and at most {MAX_PATH_BYTES} bytes")]
    Path,
    /// Not below an opened prefix.
    #[error("the source does not open this path")]
    Closed,
    /// No query is passed on.
    #[error("the source takes no query")]
    Query,
}

/// The URL for `path` (empty, or with a leading slash) below the source's base URL.
///
/// # Errors
/// [`TargetError`] names the rule.
pub fn resolve(source: &Source, path: &str, query: Option<&str>) -> Result<Url, TargetError> {
    let query = query.filter(|q| !q.is_empty());
    let plain_query = |q: &str| q.len() <= MAX_QUERY_BYTES && q.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if query.is_some_and(|q| !source.allow_query || !plain_query(q)) {
        return Err(TargetError::Query);
    }
    let mut url = source.base_url.clone();
    if !matches!(path, "" | "/") {
        let decoded = decode(path)?;
        if !source.path_prefixes.iter().any(|prefix| is_below(&decoded, prefix)) {
            return Err(TargetError::Closed);
        }
        let base = source.base_url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        // The parser must have taken the path as it was: it is the last one to read it on this side.
        if !url.path().strip_prefix(base.as_str()).is_some_and(|rest| decode(rest).as_ref() == Ok(&decoded)) {
            return Err(TargetError::Path);
        }
    }
    url.set_query(query);
    Ok(url)
}

/// The path decoded once, when every reader takes it for the same segments.
fn decode(path: &str) -> Result<String, TargetError> {
    let inner = path.strip_prefix('/').ok_or(TargetError::Path)?;
    if path.len() > MAX_PATH_BYTES {
        return Err(TargetError::Path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut segments = inner.split('/').peekable();
    while let Some(raw) = segments.next() {
        let segment = percent_decode_str(raw).decode_utf8().map_err(|_| TargetError::Path)?;
        let is_last = segments.peek().is_none();
        if (segment.is_empty() && !is_last) || !is_plain(&segment) {
            return Err(TargetError::Path);
        }
        decoded.push('/');
        decoded.push_str(&segment);
    }
    Ok(decoded)
}

/// Whether a decoded segment means the same to a reader that decodes it once more, or that cuts path parameters off.
fn is_plain(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let lower = segment.to_ascii_lowercase();
    !matches!(name, "." | "..")
        && !segment.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
        && !["%2e", "%2f", "%5c", "%25", "%00"].iter().any(|encoded| lower.contains(encoded))
}

/// Whether the path is the prefix or lies below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::source::SourceMethod;
    use proptest::prelude::*;

    fn source(base: &str, prefixes: &[&str], allow_query: bool) -> Source {
        Source {
            base_url: base.parse().unwrap(),
            methods: SourceMethod::all(),
            path_prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
            allow_query,
            authorization: None,
        }
    }

    #[test]
    fn what_is_open_is_reached() {
        let open = source("https://s.example:8443/base/", &["/a", "/sets/"], true);
        for (path, query, expected) in [
            ("", None, "https://s.example:8443/base/"),
            ("/", Some(""), "https://s.example:8443/base/"),
            ("/a", None, "https://s.example:8443/base/a"),
            ("/a/", None, "https://s.example:8443/base/a/"),
            ("/a/b%20c", Some("x=1&y=%2F"), "https://s.example:8443/base/a/b%20c?x=1&y=%2F"),
            ("/%61/b", None, "https://s.example:8443/base/%61/b"),
            ("/sets/2026.json", None, "https://s.example:8443/base/sets/2026.json"),
            ("/a/..b/c..", None, "https://s.example:8443/base/a/..b/c.."),
        ] {
            assert_eq!(open.target(path, query).map(String::from), Ok(expected.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_is_not_open_is_closed() {
        let one = source("https://s.example/file.bin", &[], false);
        assert_eq!(one.target("", None).map(String::from), Ok("https://s.example/file.bin".to_owned()));
        assert_eq!(one.target("/a", None), Err(TargetError::Closed));
        assert_eq!(one.target("", Some("a=b")), Err(TargetError::Query));
        let some = source("https://s.example/base", &["/a", "/sets/"], true);
        for path in ["/b", "/ab", "/a.json", "/sets", "/A", "/base/a"] {
            assert_eq!(some.target(path, None), Err(TargetError::Closed), "{path}");
        }
        assert_eq!(some.target("", Some("a#b")), Err(TargetError::Query));
    }

    #[test]
    fn traversal_is_refused_in_every_spelling() {
        let open = source("https://s.example/base", &["/"], true);
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/..",
            "/%2e%2e/b",
            "/.%2E/b",
            "/%2e",
            "/%252e%252e/b",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/a%5cb",
            "/a\\..\\b",
            "/..;/b",
            "/.;x=1/b",
            "//evil.example/",
            "/a//b",
            "/%00",
            "/a%0d%0ab",
            "/%ff",
            "/a%252fb",
            "a",
            "/%25252e",
        ] {
            assert_eq!(open.target(path, None), Err(TargetError::Path), "{path}");
        }
        assert_eq!(open.target(&format!("/{}", "a".repeat(MAX_PATH_BYTES)), None), Err(TargetError::Path));
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// Whatever is asked for: the answer stays on the source's host, below its base path and an opened prefix.
        #[test]
        fn nothing_leaves_the_source(path in "(/[a-z.%0-9;\\\\:@?#]{0,6}){0,5}", query in proptest::option::of("[ -~]{0,12}")) {
            let source = source("https://s.example:8443/base", &["/a"], true);
            if let Ok(url) = source.target(&path, query.as_deref()) {
                prop_assert_eq!(url.origin(), source.base_url.origin());
                prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
                let decoded = percent_decode_str(url.path()).decode_utf8_lossy().into_owned();
                prop_assert!(decoded == "/base" || decoded == "/base/a" || decoded.starts_with("/base/a/"), "{}", url);
                prop_assert!(!url.path().split('/').any(|s| matches!(percent_decode_str(s).decode_utf8_lossy().as_ref(), "." | "..")));
            }
        }
    }
}
