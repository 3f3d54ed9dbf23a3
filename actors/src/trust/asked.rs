//! The credentials that a message's sender is asked for, as scopes.

use super::{PeerError, VerifyRequest};
use bytes::Bytes;
use cellspace_schemas::dcp::{CredentialScope, PresentationQueryMessage, ScopeError, messages};
use quick_cache::{Equivalent, Weighter, sync::Cache};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// Sets of scopes that are remembered, about, and their bytes. Messages name what their policies name, so that their senders choose among the scopes of an
/// installation.
const KNOWN: usize = 1_024;
const KNOWN_BYTES: u64 = 8 << 20;

/// What a message needs. Equal to another that asks for the same in all.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) required: BTreeSet<CredentialScope>,
    pub(super) all: BTreeSet<CredentialScope>,
    /// Presentation queries in the order in which a holder gets them: one that grants less than everything is asked for what its message names, then for
    /// what it must grant alone.
    pub(super) queries: Vec<Bytes>,
    /// Of all.
    hash: u64,
}

impl Asked {
    fn read(request: &VerifyRequest<'_>) -> Result<Self, PeerError> {
        let parse = |texts: &[String]| texts.iter().map(|text| CredentialScope::parse(text)).collect::<Result<BTreeSet<_>, _>>();
        let ours = |e: ScopeError| PeerError::ours(&e);
        let required = parse(request.required).map_err(ours)?;
        let with = |more: &[String]| -> Result<BTreeSet<_>, PeerError> {
            Ok(required.iter().cloned().chain(parse(more).map_err(ours)?).collect())
        };
        let (named, all) = (with(request.named)?, with(request.optional)?);
        let mut questions = vec![&all];
        questions.extend([&named, &required].into_iter().filter(|less| !less.is_empty()));
        questions.dedup();
        let queries = questions.into_iter().map(query).collect::<Result<_, _>>().map_err(|error| PeerError::ours(&error))?;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&all);
        Ok(Self { required, all, queries, hash })
    }
}

fn query(scopes: &BTreeSet<CredentialScope>) -> serde_json::Result<Bytes> {
    let query = PresentationQueryMessage {
        context: messages::context(),
        message_type: messages::types::PresentationQueryMessage,
        scope: Some(scopes.iter().map(ToString::to_string).collect()),
        presentation_definition: None,
    };
    serde_json::to_vec(&query).map(Bytes::from)
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.all == other.all
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// Required, optional and named scopes as texts.
type Texts = [Vec<String>; 3];

/// [`Texts`] of a request.
#[derive(Hash)]
struct TextsOf<'a>([&'a [String]; 3]);

impl Equivalent<Texts> for TextsOf<'_> {
    fn equivalent(&self, key: &Texts) -> bool {
        self.0.iter().zip(key).all(|(ours, theirs)| *ours == theirs.as_slice())
    }
}

/// Texts are kept as they are, and in up to two sets and three queries.
#[derive(Clone)]
struct ByTexts;

impl Weighter<Texts, Arc<Asked>> for ByTexts {
    fn weight(&self, key: &Texts, _: &Arc<Asked>) -> u64 {
        let texts = key.iter().flatten().map(|text| text.len() + 64).sum::<usize>();
        256 + 6 * u64::try_from(texts).unwrap_or(u64::MAX / 8)
    }
}

/// What was asked for before: mostly the same few things over and over.
pub(super) struct KnownScopes(Cache<Texts, Arc<Asked>, ByTexts>);

impl Default for KnownScopes {
    fn default() -> Self {
        Self(Cache::with_weighter(KNOWN, KNOWN_BYTES, ByTexts))
    }
}

impl KnownScopes {
    /// What a request asks for.
    pub(super) fn of(&self, request: &VerifyRequest<'_>) -> Result<Arc<Asked>, PeerError> {
        let texts = [request.required, request.optional, request.named];
        if let Some(known) = self.0.get(&TextsOf(texts)) {
            return Ok(known);
        }
        let asked = Arc::new(Asked::read(request)?);
        self.0.insert(texts.map(<[String]>::to_vec), asked.clone());
        Ok(asked)
    }
}
