//! Whose documents are read, and with which tables: DSP and DCP give some names different meanings.

use super::terms::{DCP_TERMS, DCP_VALUES, DSP_TERMS, DSP_VALUES, Term, Vocabulary};
use crate::{
    dcp::{DCP_CONTEXT, messages::SUBMISSION_CONTEXT},
    dsp::message::{CONTEXT, EDC_CONTEXT, ODRL_PROFILE_CONTEXT},
};
use Vocabulary::{Cred, Dcat, Dcp, Dct, Dspace, Edc, Odrl, Xsd};

/// What the documents of a protocol are read with.
#[derive(Debug)]
pub struct Dialect {
    /// The vocabularies that it knows.
    pub vocabularies: &'static [Vocabulary],
    /// Every property that is read.
    pub terms: &'static [Term],
    /// Every name that stands as a value.
    pub values: &'static [(Vocabulary, &'static str)],
    /// What the compact form calls `@id`.
    pub id: &'static str,
    /// What the compact form calls `@type`.
    pub kind: &'static str,
    /// The contexts that it knows, the protocol's own first.
    pub(super) contexts: &'static [Remote],
}

/// A context that is known by its URL.
#[derive(Debug)]
pub(super) struct Remote {
    pub url: &'static str,
    /// Vocabularies whose terms it defines.
    pub terms: &'static [Vocabulary],
    /// Vocabularies whose usual prefix it defines.
    pub prefixes: &'static [Vocabulary],
}

/// The Dataspace Protocol 2025-1.
pub static DSP: Dialect = Dialect {
    vocabularies: &[Dspace, Odrl, Dcat, Dct, Xsd, Edc, Dcp],
    terms: &DSP_TERMS,
    values: &DSP_VALUES,
    id: "@id",
    kind: "@type",
    contexts: &[
        // Lets queries of the connectors through as they are.
        Remote { url: CONTEXT, terms: &[Dspace, Dcat, Dct, Odrl, Edc], prefixes: &[Dspace, Odrl, Dcat, Dct, Xsd] },
        Remote { url: ODRL_PROFILE_CONTEXT, terms: &[Odrl], prefixes: &[Odrl] },
        Remote { url: EDC_CONTEXT, terms: &[Edc], prefixes: &[Dcat, Dct, Edc] },
    ],
};

/// The Decentralized Claims Protocol 1.0.
pub static DCP: Dialect = Dialect {
    vocabularies: &[Dcp, Cred, Xsd],
    terms: &DCP_TERMS,
    values: &DCP_VALUES,
    id: "id",
    kind: "type",
    contexts: &[
        Remote { url: DCP_CONTEXT, terms: &[Dcp, Cred], prefixes: &[Dcp, Cred, Xsd] },
        // Of presentation submissions, which are not read.
        Remote { url: SUBMISSION_CONTEXT, terms: &[], prefixes: &[] },
    ],
};

impl Dialect {
    /// The vocabulary with this usual prefix.
    #[must_use]
    pub fn of_prefix(&self, prefix: &str) -> Option<Vocabulary> {
        self.vocabularies.iter().copied().find(|vocabulary| vocabulary.prefix() == prefix)
    }

    /// The vocabulary of an IRI, and its name there.
    #[must_use]
    pub fn of_iri<'a>(&self, iri: &'a str) -> Option<(Vocabulary, &'a str)> {
        self.vocabularies.iter().find_map(|vocabulary| iri.strip_prefix(vocabulary.namespace()).map(|name| (*vocabulary, name)))
    }

    /// The property with this name in the vocabulary.
    pub(super) fn term(&self, vocabulary: Vocabulary, name: &str) -> Option<&'static Term> {
        self.terms.iter().find(|term| term.vocabulary == vocabulary && term.name == name)
    }

    /// Every property with this name.
    pub(super) fn named<'a>(&self, name: &'a str) -> impl Iterator<Item = &'static Term> + use<'a> {
        self.terms.iter().filter(move |term| term.name == name)
    }

    /// The vocabularies in which the name stands for a property or a value.
    pub(super) fn vocabularies_of<'a>(&self, name: &'a str) -> impl Iterator<Item = Vocabulary> + use<'a> {
        let values = self.values.iter().filter(move |(_, value)| *value == name).map(|(vocabulary, _)| *vocabulary);
        self.named(name).map(|term| term.vocabulary).chain(values)
    }

    /// An IRI with the prefix that the protocol's own context has for it, if it has one.
    pub(super) fn short(&self, vocabulary: Vocabulary, name: &str) -> String {
        let prefixed = self.contexts.first().is_some_and(|own| own.prefixes.contains(&vocabulary));
        if prefixed { format!("{}:{name}", vocabulary.prefix()) } else { format!("{}{name}", vocabulary.namespace()) }
    }

    /// Whether the name is spelled with a prefix or as an IRI, and names a property or a value that is known.
    #[must_use]
    pub fn is_spelled_out(&self, name: &str) -> bool {
        let Some((prefix, rest)) = name.split_once(':') else { return false };
        let meant = self.of_iri(name).or_else(|| self.of_prefix(prefix).map(|vocabulary| (vocabulary, rest)));
        meant.is_some_and(|(vocabulary, name)| self.vocabularies_of(name).any(|of| of == vocabulary))
    }
}
