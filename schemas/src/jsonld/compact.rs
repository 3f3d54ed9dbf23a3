//! From any form to the compact one.

use super::{
    JsonLdError, MAX_NAME_BYTES,
    context::{Context, Meaning},
    dialect::Dialect,
    shown,
    terms::{Shape, Term, Vocabulary},
};
use crate::json::MAX_DEPTH;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What becomes of properties of vocabularies that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are not read: whoever asks reads none of them.
    LeftOut,
    /// They stay, under their IRIs.
    Kept,
}

/// Rewrites a document into the compact form of its protocol, without `@context`. `profile_contexts` are remote contexts that the dataspace profile
/// allows; they define no term that is read here.
///
/// # Errors
/// [`JsonLdError`] says what cannot be read.
pub fn compact(
    dialect: &'static Dialect,
    document: &Value,
    profile_contexts: &[String],
    others: Others,
) -> Result<Map<String, Value>, JsonLdError> {
    let object = match document {
        Value::Object(object) => object,
        // The expanded form of one object.
        Value::Array(items) => match items.as_slice() {
            [Value::Object(object)] => object,
            _ => return Err(JsonLdError::NotOneObject),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(JsonLdError::NotOneObject),
    };
    let context = Context::read(dialect, object.get("@context"), profile_contexts)?;
    Compaction { dialect, context: &context, others, room: MAX_NAME_BYTES }.node(object, 0)
}

struct Compaction<'a> {
    dialect: &'static Dialect,
    context: &'a Context,
    others: Others,
    /// Bytes by which names and ids may still grow.
    room: usize,
}

impl Compaction<'_> {
    /// An object with properties.
    fn node(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Map<String, Value>, JsonLdError> {
        if depth > MAX_DEPTH {
            return Err(JsonLdError::TooDeep);
        }
        let mut node = Map::new();
        let mut given: Vec<(&'static Term, Vec<Value>)> = Vec::new();
        let context = self.context;
        for (key, value) in object {
            match context.property(key)? {
                Meaning::Keyword("@context") if depth == 0 => {}
                Meaning::Keyword("@id") => {
                    let id = value.as_str().ok_or(JsonLdError::Malformed("@id"))?;
                    let id = self.spent(id, context.identifier(id))?;
                    alone(&mut node, self.dialect.id, Value::String(id))?;
                }
                Meaning::Keyword("@type") => {
                    let types = self.types(value)?;
                    alone(&mut node, self.dialect.kind, types)?;
                }
                // Says nothing about the object (JSON-LD 1.1, 9.4).
                Meaning::Keyword("@index") => {}
                Meaning::Keyword(other) => return Err(JsonLdError::Keyword(shown(other))),
                Meaning::Term(vocabulary, name) => match self.dialect.term(vocabulary, name) {
                    // The protocol's own context says that this is JSON.
                    Some(term) if term.shape == Shape::Json => of(term, &mut given).push(value.clone()),
                    Some(term) => self.values(value, term.shape, of(term, &mut given), depth)?,
                    None => {}
                },
                Meaning::Iri(iri) => match self.dialect.of_iri(&iri) {
                    Some((vocabulary, name)) => match self.dialect.term(vocabulary, name) {
                        Some(term) => self.values(value, term.shape, of(term, &mut given), depth)?,
                        // No term: it keeps its prefix, so that whoever reads the object sees that it is there.
                        None => self.other(key, self.dialect.short(vocabulary, name), value, &mut node, depth)?,
                    },
                    None if self.others == Others::Kept => self.other(key, iri.into_owned(), value, &mut node, depth)?,
                    None => {}
                },
                Meaning::Plain(name) => {
                    node.insert(name.to_owned(), value.clone());
                }
                Meaning::None => {}
            }
        }
        for (term, mut values) in given {
            if term.shape == Shape::Json && term.many {
                values = values.into_iter().flat_map(|value| if let Value::Array(items) = value { items } else { vec![value] }).collect();
            }
            if let Some(value) = one_or_many(values, term.many) {
                // Not there yet, unless two vocabularies have a term of this name.
                alone(&mut node, term.name, value)?;
            }
        }
        Ok(node)
    }

    /// A property that is no term.
    fn other(&mut self, key: &str, name: String, value: &Value, node: &mut Map<String, Value>, depth: usize) -> Result<(), JsonLdError> {
        let mut values = Vec::new();
        self.values(value, Shape::Any, &mut values, depth)?;
        // It may be there already, in another spelling.
        if let Some(Value::Array(earlier)) = node.get_mut(&name) {
            earlier.append(&mut values);
            return Ok(());
        }
        if let Some(earlier) = node.get_mut(&name) {
            values.insert(0, earlier.take());
        }
        if let Some(value) = one_or_many(values, false) {
            let name = self.spent(key, Cow::Owned(name))?;
            node.insert(name, value);
        }
        Ok(())
    }

    /// Adds the values of a property; sets within sets are one (JSON-LD 1.1, 4.3.2).
    fn values(&mut self, value: &Value, shape: Shape, into: &mut Vec<Value>, depth: usize) -> Result<(), JsonLdError> {
        if depth > MAX_DEPTH {
            return Err(JsonLdError::TooDeep);
        }
        match value {
            Value::Null => {}
            Value::Array(items) => {
                for item in items {
                    self.values(item, shape, into, depth + 1)?;
                }
            }
            Value::Object(object) => match (object.get("@value"), object.get("@list"), object.get("@set")) {
                (Some(literal), None, None) => into.extend(self.literal(object, literal, shape)?),
                (None, Some(items), None) | (None, None, Some(items)) => {
                    if let Some(other) = object.keys().find(|key| !matches!(key.as_str(), "@list" | "@set" | "@index")) {
                        return Err(JsonLdError::Keyword(shown(other)));
                    }
                    if shape == Shape::Any && object.contains_key("@list") {
                        let mut list = Vec::new();
                        self.values(items, shape, &mut list, depth + 1)?;
                        into.push(Value::Array(list));
                    } else {
                        self.values(items, shape, into, depth + 1)?;
                    }
                }
                (None, None, None) => {
                    let node = self.node(object, depth + 1)?;
                    into.push(self.reference(node, shape)?);
                }
                _ => return Err(JsonLdError::Malformed("@value")),
            },
            Value::String(text) => {
                let text = self.text(text, shape)?;
                into.push(Value::String(text));
            }
            Value::Bool(_) | Value::Number(_) => into.push(value.clone()),
        }
        Ok(())
    }

    /// A value object (JSON-LD 1.1, 9.5).
    fn literal(&mut self, object: &Map<String, Value>, literal: &Value, shape: Shape) -> Result<Option<Value>, JsonLdError> {
        for key in object.keys() {
            if !matches!(key.as_str(), "@value" | "@type" | "@language" | "@direction" | "@index") {
                return Err(JsonLdError::Keyword(shown(key)));
            }
        }
        if object.get("@type").and_then(Value::as_str) == Some("@json") {
            return Ok(Some(literal.clone()));
        }
        match literal {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(match object.get("@language") {
                Some(language) if shape == Shape::Any => json!({"@value": text, "@language": language}),
                // Where the compact form has a name, some write a literal.
                _ if shape == Shape::Name && text.contains(':') => Value::String(self.text(text, shape)?),
                _ => literal.clone(),
            })),
            Value::Bool(_) | Value::Number(_) => Ok(Some(literal.clone())),
            Value::Array(_) | Value::Object(_) => Err(JsonLdError::Malformed("@value")),
        }
    }

    /// An object that says no more than its id is the id, where the compact form has a text. With more it stays, so that nothing is overlooked.
    fn reference(&mut self, mut node: Map<String, Value>, shape: Shape) -> Result<Value, JsonLdError> {
        if node.len() == 1
            && let Some(Value::String(id)) = node.get_mut(self.dialect.id)
        {
            match shape {
                Shape::Id | Shape::Literal => return Ok(Value::String(std::mem::take(id))),
                // An id is no term, and not of the vocabulary.
                Shape::Name if id.contains(':') => return Ok(Value::String(self.text(id, shape)?)),
                Shape::Name => return Ok(Value::String(std::mem::take(id))),
                Shape::Node | Shape::Any | Shape::Json => {}
            }
        }
        Ok(Value::Object(node))
    }

    fn text(&mut self, text: &str, shape: Shape) -> Result<String, JsonLdError> {
        match shape {
            Shape::Id => self.spent(text, self.context.identifier(text)),
            Shape::Name => {
                let meaning = self.context.value(text);
                self.name(text, meaning)
            }
            Shape::Literal | Shape::Node | Shape::Any | Shape::Json => Ok(text.to_owned()),
        }
    }

    fn types(&mut self, value: &Value) -> Result<Value, JsonLdError> {
        let malformed = JsonLdError::Malformed("@type");
        let items = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let names = items.iter().map(|item| match item {
            Value::String(text) => self.context.class(text).and_then(|meaning| self.name(text, meaning)).map(Value::String),
            _ => Err(malformed.clone()),
        });
        one_or_many(names.collect::<Result<_, _>>()?, false).ok_or(malformed)
    }

    /// The name of a type or a value: its term where it has one, else its IRI. A text that stands for no IRI is what it is.
    fn name(&mut self, text: &str, meaning: Meaning<'_>) -> Result<String, JsonLdError> {
        let iri = match meaning {
            Meaning::Iri(iri) => iri,
            Meaning::Term(..) | Meaning::Plain(_) | Meaning::Keyword(_) | Meaning::None => Cow::Borrowed(text),
        };
        match self.dialect.of_iri(&iri) {
            Some(value @ (_, name)) if self.dialect.values.contains(&value) => Ok(name.to_owned()),
            Some((Vocabulary::Odrl, name)) => self.spent(text, Cow::Owned(format!("{}:{name}", Vocabulary::Odrl.prefix()))),
            _ => self.spent(text, iri),
        }
    }

    /// What a text of the sender stands for. As much as it is longer counts.
    fn spent(&mut self, text: &str, meant: Cow<'_, str>) -> Result<String, JsonLdError> {
        self.room = self.room.checked_sub(meant.len().saturating_sub(text.len())).ok_or(JsonLdError::TooLong)?;
        Ok(meant.into_owned())
    }
}

/// The values of the term so far.
fn of<'a>(term: &'static Term, given: &'a mut Vec<(&'static Term, Vec<Value>)>) -> &'a mut Vec<Value> {
    let at = given.iter().position(|(known, _)| *known == term).unwrap_or_else(|| {
        given.push((term, Vec::new()));
        given.len() - 1
    });
    &mut given[at].1
}

/// Adds what must be there once.
fn alone(node: &mut Map<String, Value>, key: &'static str, value: Value) -> Result<(), JsonLdError> {
    if node.insert(key.to_owned(), value).is_some() { Err(JsonLdError::Malformed(key)) } else { Ok(()) }
}

/// A property's value: none is none, one is itself unless it is always a list.
fn one_or_many(mut values: Vec<Value>, many: bool) -> Option<Value> {
    match values.len() {
        0 if !many => None,
        1 if !many => values.pop(),
        _ => Some(Value::Array(values)),
    }
}
