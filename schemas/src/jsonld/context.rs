//! What a document's `@context` defines.

use super::{
    JsonLdError,
    dialect::{Dialect, Remote},
    shown,
    terms::Vocabulary,
};
use crate::dsp::message::MAX_CONTEXTS;
use serde_json::{Map, Value};
use std::{borrow::Cow, collections::HashMap};

/// Definitions of all inline contexts of a document at most.
pub const MAX_DEFINITIONS: usize = 128;
/// Longest IRI of a definition, in bytes.
pub const MAX_IRI_BYTES: usize = 256;

/// What an inline context says of a term.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Definition {
    /// The IRI, and whether the term may stand as a prefix.
    Iri(String, bool),
    /// Another word for `@id` or `@type`.
    Keyword(&'static str),
}

/// A name's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A keyword.
    Keyword(&'a str),
    /// A term of a remote context that is active.
    Term(Vocabulary, &'a str),
    /// An IRI.
    Iri(Cow<'a, str>),
    /// Under the protocol's own context: no term of it.
    Plain(&'a str),
    /// Nothing.
    None,
}

/// The active context (JSON-LD 1.1, 3.1): terms of known remote contexts, and what inline ones add.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) dialect: &'static Dialect,
    remote: Vec<&'static Remote>,
    /// Whether the protocol's own context is among them.
    protocol: bool,
    vocabulary: Option<Vocabulary>,
    own: HashMap<String, Definition>,
}

impl Context {
    /// Reads `@context`; without one, only IRIs have a meaning.
    pub(super) fn read(dialect: &'static Dialect, value: Option<&Value>, profile_contexts: &[String]) -> Result<Self, JsonLdError> {
        let mut context = Self { dialect, remote: Vec::new(), protocol: false, vocabulary: None, own: HashMap::new() };
        let entries = match value {
            None => &[][..],
            Some(Value::Array(entries)) if entries.len() <= MAX_CONTEXTS => entries,
            Some(single @ Value::Object(_)) => std::slice::from_ref(single),
            Some(_) => return Err(JsonLdError::Context),
        };
        for entry in entries {
            match entry {
                Value::String(name) => match dialect.contexts.iter().position(|remote| remote.url == name) {
                    Some(n) => {
                        context.protocol |= n == 0;
                        context.remote.extend(dialect.contexts.get(n));
                    }
                    None if profile_contexts.contains(name) => {}
                    None => return Err(JsonLdError::UnknownContext(shown(name))),
                },
                Value::Object(definitions) => context.add(definitions)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(JsonLdError::Context),
            }
        }
        Ok(context)
    }

    fn add(&mut self, definitions: &Map<String, Value>) -> Result<(), JsonLdError> {
        if self.own.len() + definitions.len() > MAX_DEFINITIONS {
            return Err(JsonLdError::TooManyDefinitions);
        }
        if let Some(vocabulary) = definitions.get("@vocab") {
            let known = vocabulary.as_str().and_then(|iri| self.dialect.of_iri(iri)).filter(|(_, name)| name.is_empty());
            let (known, _) = known.ok_or_else(|| JsonLdError::Definition("@vocab".to_owned(), "must be a known namespace"))?;
            self.vocabulary = Some(known);
        }
        let mut read = Vec::new();
        for (name, value) in definitions {
            let wrong = |why| JsonLdError::Definition(shown(name), why);
            match name.as_str() {
                "@vocab" => {}
                "@version" if value.as_f64() == Some(1.1) => {}
                "@protected" if value.is_boolean() => {}
                keyword if keyword.starts_with('@') => return Err(wrong("is not supported")),
                // JSON-LD 1.1 API, 4.2.2, 14.2.3: what looks like an IRI means itself.
                term if term.is_empty() || term.contains([':', '/']) => return Err(wrong("is no term")),
                _ => {
                    let definition = self.definition(name, value, definitions).map_err(wrong)?;
                    self.unambiguous(name, &definition).map_err(wrong)?;
                    read.push((name.clone(), definition));
                }
            }
        }
        self.own.extend(read);
        Ok(())
    }

    /// A term's definition: a text, or an object without anything that would change how values are read.
    fn definition(&self, name: &str, value: &Value, siblings: &Map<String, Value>) -> Result<Definition, &'static str> {
        let mut prefix = None;
        let text = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(parts) => {
                for (key, part) in parts {
                    match (key.as_str(), part) {
                        ("@id", Value::String(_)) | ("@protected", Value::Bool(_)) => {}
                        ("@type", Value::String(kind)) if matches!(kind.as_str(), "@id" | "@vocab" | "@none") => {}
                        ("@type", Value::String(kind)) if kind.starts_with("xsd:") || kind.starts_with(Vocabulary::Xsd.namespace()) => {}
                        ("@container", Value::String(kind)) if kind == "@set" => {}
                        ("@prefix", Value::Bool(may)) => prefix = Some(*may),
                        _ => return Err("has a definition that is not supported"),
                    }
                }
                Some(parts.get("@id").and_then(Value::as_str).unwrap_or(name))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        let iri = match text.ok_or("must be defined as an IRI")? {
            "@id" => return Ok(Definition::Keyword("@id")),
            "@type" => return Ok(Definition::Keyword("@type")),
            keyword if keyword.starts_with('@') => return Err("has a definition that is not supported"),
            long if long.len() > MAX_IRI_BYTES => return Err("is defined as an IRI that is too long"),
            text => self.iri_of_definition(text, siblings).ok_or("must be defined as an IRI")?,
        };
        if iri.len() > MAX_IRI_BYTES {
            return Err("is defined as an IRI that is too long");
        }
        // JSON-LD 1.1 API, 4.2.2, 14.2.5: a short definition that ends so is a prefix.
        let delimited = value.is_string() && iri.ends_with([':', '/', '?', '#', '[', ']', '@']);
        Ok(Definition::Iri(iri, prefix.unwrap_or(delimited)))
    }

    /// A definition's IRI: absolute, under a prefix that the same context or an earlier one defines, or under the vocabulary.
    fn iri_of_definition(&self, text: &str, siblings: &Map<String, Value>) -> Option<String> {
        let Some((prefix, rest)) = text.split_once(':') else {
            return self.vocabulary.filter(|_| !text.is_empty()).map(|vocabulary| format!("{}{text}", vocabulary.namespace()));
        };
        if rest.starts_with("//") {
            return Some(text.to_owned());
        }
        let sibling = siblings.get(prefix).and_then(|value| value.as_str().or_else(|| value.get("@id")?.as_str()));
        match sibling {
            Some(namespace) if namespace.contains("://") => Some(format!("{namespace}{rest}")),
            Some(_) => None,
            None => match self.namespace(prefix) {
                Some(namespace) => Some(format!("{namespace}{rest}")),
                // `urn:x` and the like; the usual prefixes mean nothing by themselves.
                None => self.dialect.of_prefix(prefix).is_none().then(|| text.to_owned()),
            },
        }
    }

    /// What the prefix stands for.
    fn namespace(&self, prefix: &str) -> Option<&str> {
        match self.own.get(prefix) {
            Some(Definition::Iri(iri, true)) => Some(iri),
            Some(_) => None,
            None => self.dialect.of_prefix(prefix).filter(|known| self.defines_prefix(*known)).map(Vocabulary::namespace),
        }
    }

    fn defines_prefix(&self, vocabulary: Vocabulary) -> bool {
        self.remote.iter().any(|remote| remote.prefixes.contains(&vocabulary))
    }

    /// Whether remote contexts define the terms of the vocabulary.
    fn defines_terms(&self, vocabulary: Vocabulary) -> bool {
        self.remote.iter().any(|remote| remote.terms.contains(&vocabulary))
    }

    /// The meaning of a property's name.
    ///
    /// # Errors
    /// When the name or its prefix looks like one that is known, and nothing defines it.
    pub(super) fn property<'a>(&'a self, name: &'a str) -> Result<Meaning<'a>, JsonLdError> {
        let known = self.dialect.named(name).find(|term| self.defines_terms(term.vocabulary));
        match self.meaning(name, known.map(|term| term.vocabulary)) {
            Meaning::None => self.undefined(name, self.dialect.vocabularies_of(name).next().is_some()),
            known => Ok(known),
        }
    }

    /// The meaning of a type; errors as for properties.
    pub(super) fn class<'a>(&'a self, name: &'a str) -> Result<Meaning<'a>, JsonLdError> {
        match self.value(name) {
            Meaning::None => self.undefined(name, self.dialect.values.iter().any(|(_, value)| *value == name)),
            known => Ok(known),
        }
    }

    /// The meaning of a text that names a value.
    pub(super) fn value<'a>(&'a self, name: &'a str) -> Meaning<'a> {
        let known = self.dialect.values.iter().find(|(vocabulary, value)| *value == name && self.defines_terms(*vocabulary));
        self.meaning(name, known.map(|(vocabulary, _)| *vocabulary))
    }

    /// Nothing; an error when the name, or its prefix, is known but not in this document.
    fn undefined<'a>(&self, name: &str, known: bool) -> Result<Meaning<'a>, JsonLdError> {
        let prefix = name.split_once(':').and_then(|(prefix, _)| self.dialect.of_prefix(prefix));
        if known || prefix.is_some() { Err(JsonLdError::Undefined(shown(name))) } else { Ok(Meaning::None) }
    }

    fn meaning<'a>(&'a self, name: &'a str, remote: Option<Vocabulary>) -> Meaning<'a> {
        if let Some(definition) = self.own.get(name) {
            return match definition {
                Definition::Keyword(keyword) => Meaning::Keyword(keyword),
                Definition::Iri(iri, _) => Meaning::Iri(Cow::Borrowed(iri)),
            };
        }
        if name.starts_with('@') {
            return Meaning::Keyword(name);
        }
        if self.protocol && name == self.dialect.id {
            return Meaning::Keyword("@id");
        }
        if self.protocol && name == self.dialect.kind {
            return Meaning::Keyword("@type");
        }
        if let Some(vocabulary) = remote {
            return Meaning::Term(vocabulary, name);
        }
        // JSON-LD 1.1 API, 5.2
        match (name.split_once(':'), self.vocabulary) {
            (Some((_, rest)), _) if rest.starts_with("//") => Meaning::Iri(Cow::Borrowed(name)),
            (Some((prefix, rest)), _) => match self.namespace(prefix) {
                Some(namespace) => Meaning::Iri(Cow::Owned(format!("{namespace}{rest}"))),
                None if self.dialect.of_prefix(prefix).is_none() => Meaning::Iri(Cow::Borrowed(name)),
                None if self.protocol => Meaning::Plain(name),
                None => Meaning::None,
            },
            (None, Some(vocabulary)) => Meaning::Iri(Cow::Owned(format!("{}{name}", vocabulary.namespace()))),
            (None, None) if self.protocol => Meaning::Plain(name),
            (None, None) => Meaning::None,
        }
    }

    /// An identifier without a prefix that the document itself defines; other texts are identifiers as they are.
    pub(super) fn identifier<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let own = text.split_once(':').filter(|(_, rest)| !rest.starts_with("//")).and_then(|(prefix, rest)| match self.own.get(prefix) {
            Some(Definition::Iri(iri, true)) => Some(format!("{iri}{rest}")),
            _ => None,
        });
        own.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// A name that is known here means what it means here, whoever defines it.
    fn unambiguous(&self, name: &str, definition: &Definition) -> Result<(), &'static str> {
        let (meant, keyword) = match definition {
            Definition::Iri(iri, _) => (self.dialect.of_iri(iri), None),
            Definition::Keyword(keyword) => (None, Some(*keyword)),
        };
        let as_prefix = self.dialect.of_prefix(name).is_none_or(|known| meant == Some((known, "")));
        let mut known = self.dialect.vocabularies_of(name).peekable();
        let as_term = known.peek().is_none() || known.any(|vocabulary| meant == Some((vocabulary, name)));
        let as_alias =
            [("@id", self.dialect.id), ("@type", self.dialect.kind)].iter().all(|(is, called)| *called != name || keyword == Some(*is));
        if as_prefix && as_term && as_alias { Ok(()) } else { Err("is known here and must not be defined as something else") }
    }
}
