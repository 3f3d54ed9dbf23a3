//! What was sent and answered, held against the documentation: so that no handler takes or answers something else than it says.

use super::{call::Answer, rows::Row};
use boon::{Compiler, Schemas};
use cellspace::routes::openapi::{
    bodies::{Content, bodies},
    documents::Document,
    schema::shown,
};
use serde_json::Value;

/// What differs, in words.
pub fn differences(row: &Row, sent: Option<&Value>, answer: &Answer) -> Vec<String> {
    let Some(bodies) = bodies(&row.route) else { return vec!["it is not in the table of bodies".to_owned()] };
    let mut wrong: Vec<String> = taken(bodies.takes, sent).err().into_iter().collect();
    if (200..300).contains(&answer.status) {
        wrong.extend(answered(bodies.answers, answer));
    }
    wrong
}

fn taken(takes: Content, sent: Option<&Value>) -> Result<(), String> {
    let reads = |document: Document, value: &Value| match document.reads {
        Some(reads) if !reads(value) => Err(format!("{value} is no {}", document.name)),
        _ => Ok(()),
    };
    match (takes, sent) {
        (Content::Nothing | Content::Maybe(_), None) => Ok(()),
        (Content::One(document) | Content::Maybe(document) | Content::Form(document), Some(value)) => reads(document, value),
        (takes, sent) => Err(format!("{takes:?} was sent as {sent:?}")),
    }
}

fn answered(answers: Content, answer: &Answer) -> Option<String> {
    let json = || serde_json::from_str::<Value>(&answer.text).map_err(|e| format!("{e}: {}", answer.text));
    let found = match answers {
        Content::Nothing if answer.text.is_empty() => Ok(()),
        Content::Nothing => Err(format!("it answers {}", answer.text)),
        Content::Other(_) => Ok(()),
        Content::One(document) | Content::Maybe(document) | Content::Form(document) => json().and_then(|value| fits(document, &value)),
        Content::List(document) => json().and_then(|value| match value.as_array() {
            Some(items) => items.iter().try_for_each(|item| fits(document, item)),
            None => Err(format!("no list: {value}")),
        }),
    };
    found.err()
}

/// Whether the value is as the document's schema says, and has no member that it does not tell.
fn fits(document: Document, value: &Value) -> Result<(), String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("mem:///document", document.schema()).unwrap();
    let index = compiler.compile("mem:///document", &mut schemas).unwrap();
    schemas.validate(value, index).map_err(|error| format!("{}: {error}: {value}", document.name))?;
    let told = members(document);
    // Properties of assets have whatever names they have, as IRIs.
    let is_free = |name: &str| document.name == "Dataset" && name.starts_with("https://");
    match value.as_object().into_iter().flatten().find(|(name, _)| !told.contains(name) && !is_free(name)) {
        None => Ok(()),
        Some((name, _)) => Err(format!("{} has {name}, which is not told", document.name)),
    }
}

fn members(document: Document) -> Vec<String> {
    shown(document.example).as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}
