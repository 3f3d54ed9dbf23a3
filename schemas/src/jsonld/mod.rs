//! JSON-LD of others in the compact form that the types of this crate read.
//!
//! A message in the compact form is read as it is. One that spells its terms as IRIs, with prefixes or under a vocabulary of its sender's choice is
//! rewritten by [`compact`] first: with tables of the vocabularies that are known here, within bounds, and without asking anyone. What these
//! tables do not say is not guessed: a remote context that is not known, or one that gives a known term another meaning, is an error.
//!
//! It gives what the compaction algorithm (JSON-LD 1.1 API, 6) would give for the expanded document and the protocol's own context, but for this:
//! literals lose their datatype, names of ODRL that the context lacks stay `odrl:name`, and properties of unknown vocabularies are left out unless they
//! are asked for.

mod compact;
mod context;
mod dialect;
mod terms;
#[cfg(test)]
mod tests;

pub use compact::{Others, compact};
pub use context::{MAX_DEFINITIONS, MAX_IRI_BYTES};
pub use dialect::{DCP, DSP, Dialect};
pub use terms::{Shape, Term, Vocabulary};

use crate::json::MAX_DEPTH;

/// Bytes by which all names and ids of a document grow at most, when their prefixes are expanded.
pub const MAX_NAME_BYTES: usize = 1 << 20;
/// Longest text of the sender shown in an error, in characters.
const MAX_SHOWN: usize = 120;

/// Why a document is not rewritten. All of it is its sender's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonLdError {
    /// Not one object.
    #[error("a document is one object")]
    NotOneObject,
    /// `@context` is not of a form that is read.
    #[error("@context must be an object or an array of known contexts and objects")]
    Context,
    /// A context that would have to be fetched.
    #[error("unknown @context {0:?}")]
    UnknownContext(String),
    /// A definition in an inline context.
    #[error("@context: {0:?} {1}")]
    Definition(String, &'static str),
    /// Too many definitions.
    #[error("inline contexts have at most {MAX_DEFINITIONS} definitions")]
    TooManyDefinitions,
    /// A term or a prefix without a context that defines it.
    #[error("{0:?} is not defined by @context")]
    Undefined(String),
    /// A keyword that is not read here, or not where it is.
    #[error("{0:?} is not supported here")]
    Keyword(String),
    /// The value of a keyword or a term is not of its shape, or given twice.
    #[error("the value of {0} is malformed")]
    Malformed(&'static str),
    /// Prefixes expand to too much.
    #[error("names and ids expand by more than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// Too deep.
    #[error("a document is nested at most {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// As much of a sender's text as an error shows.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}
