//! Base URL of a counterparty's protocol endpoints (`callbackAddress`, `counterPartyAddress`, a DID document's endpoint).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use url::Url;

/// Longest address in its normal form, in bytes.
pub const MAX_URL_BYTES: usize = 2 << 10;

/// Why a text is not a base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Too long.
    #[error("an address has at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// No absolute URL of a scheme we speak.
    #[error("an address must be an absolute http or https URL with a host")]
    Syntax,
    /// User, password, query or fragment.
    #[error("an address must not have a user, password, query or fragment")]
    NotABase,
}

/// An absolute `http` or `https` URL without user, password, query or fragment; a trailing slash makes no difference to what is below it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL with these path segments below it; each is percent-encoded, so that none can leave its place.
    #[must_use]
    pub fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Only a URL that cannot be a base has no segments, and none of those has a host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments.iter().filter(|s| !matches!(**s, "." | "..")));
        }
        url
    }

    /// Whether `self` is `other` or below it, on the same origin.
    #[must_use]
    pub fn is_within(&self, other: &Url) -> bool {
        let base = other.path().trim_end_matches('/');
        let path = self.0.path();
        self.0.origin() == other.origin() && path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;
    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(BaseUrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| BaseUrlError::Syntax)?;
        // The normal form is what is kept and read again: percent encoding may have made it longer than the text.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(BaseUrlError::TooLong);
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(BaseUrlError::Syntax);
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::NotABase);
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;
    fn try_from(text: String) -> Result<Self, BaseUrlError> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> String {
        url.0.into()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_makes_no_difference() {
        for base in ["https://x.example/dsp", "https://x.example/dsp/"] {
            let base: BaseUrl = base.parse().unwrap();
            assert_eq!(base.below(&["negotiations", "request"]).as_str(), "https://x.example/dsp/negotiations/request");
        }
        let root: BaseUrl = "http://localhost:8080".parse().unwrap();
        assert_eq!(root.below(&["transfers", "a/b?c#d", "start"]).as_str(), "http://localhost:8080/transfers/a%2Fb%3Fc%23d/start");
        assert_eq!(root.below(&["transfers", "..", "start"]).as_str(), "http://localhost:8080/transfers/start");
    }

    #[test]
    fn only_plain_bases() {
        for bad in ["", "x", "/dsp", "ftp://x.example", "mailto:a@b", "https://u:p@x.example", "https://x.example?a", "https://x.example#a"]
        {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
        for long in ["a".repeat(MAX_URL_BYTES), "\u{e9}".repeat(700)] {
            assert_eq!(format!("https://x.example/{long}").parse::<BaseUrl>(), Err(BaseUrlError::TooLong));
        }
    }

    #[test]
    fn within() {
        let own = Url::parse("http://localhost:9000/base/").unwrap();
        let is = |t: &str| t.parse::<BaseUrl>().unwrap().is_within(&own);
        assert!(is("http://localhost:9000/base") && is("http://localhost:9000/base/x"));
        assert!(!is("http://localhost:9000/basement") && !is("http://localhost:9001/base/x") && !is("https://localhost:9000/base/x"));
        let root = Url::parse("http://localhost:9000").unwrap();
        assert!("http://localhost:9000/x".parse::<BaseUrl>().unwrap().is_within(&root));
    }
}
