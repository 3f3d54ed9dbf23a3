//! Sources of the data plane: `PUT|GET|DELETE /participants/{participant}/sources/{name}`.

use crate::{KeyAlias, SecretText, SourceName};
use serde::{Deserialize, Serialize};
use url::Url;

/// Method that a source allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SourceMethod {
    /// Reads the data.
    Get,
    /// Reads what would come with the data.
    Head,
}

impl SourceMethod {
    /// Both.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::Get, Self::Head]
    }
}

/// How the data plane proves itself to the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceAuthorization {
    /// Under which alias the secret is kept; several sources may name one alias.
    pub vault_alias: KeyAlias,
    /// Request header that carries the secret.
    #[serde(default = "SourceAuthorization::usual_header")]
    pub header: String,
    /// The header's whole value (for example `Bearer ...`), when it is to be stored or replaced. Never part of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
}

impl SourceAuthorization {
    fn usual_header() -> String {
        "Authorization".to_owned()
    }
}

/// A source of data as an operator writes and reads it. What is not opened here is closed: without prefixes only the base URL itself is
/// read, without `allowQuery` no query is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceDocument {
    /// Its name, in answers; in a request it must be that of the path when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SourceName>,
    /// Where it is: `http` or `https`, without credentials, query or fragment.
    pub base_url: Url,
    /// What may be done with it.
    #[serde(default = "SourceMethod::all")]
    pub methods: Vec<SourceMethod>,
    /// Paths below the base URL that may be read, each with a leading slash; `/` opens everything below.
    #[serde(default)]
    pub path_prefixes: Vec<String>,
    /// Whether a query is passed on.
    #[serde(default)]
    pub allow_query: bool,
    /// How to prove oneself to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<SourceAuthorization>,
}
