//! Schemas of credentials: fetched, compiled, cached, and what an issuer signed held against them at every use (VC JSON Schema, 3; for credentials of
//! the VC Data Model 1.1 also its predecessor, whose `JsonSchemaValidator2018` describes the subject alone).
//!
//! A schema may be a credential itself (VC JSON Schema, 3.2): then its issuer is that of the credential, and what it says of its own schema is not followed,
//! so that no chain of schemas has an effect.

use super::{
    PeerError, Trust,
    aged_cache::{FAILURE_AGE, Weigh},
    credential::{Credential, VerifiedCredential},
    fetch::get,
    jws::MAX_CREDENTIAL_BYTES,
    said::Said,
    schema_steps::Document,
    since::Since,
};
use boon::{Compiler, SchemaIndex, Schemas, UrlLoader};
use bytes::Bytes;
use cellspace_schemas::{Did, Timestamp, json};
use http::StatusCode;
use serde_json::Value;
use std::{error::Error, fmt::Display, sync::Arc, time::Duration};
use url::Url;

/// Longest schema, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Most schemas of a credential.
const MAX_SCHEMAS: usize = 8;
/// How long a schema is relied on: what has been published under a URL is meant to stay (VC JSON Schema, 3). A credential that holds one is judged at
/// every use all the same.
const AGE: Duration = Duration::from_secs(600);

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// The whole credential (`JsonSchema`).
    Credential,
    /// Each of its subjects (`JsonSchemaValidator2018`).
    Subjects,
}

/// A `credentialSchema` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaEntry {
    /// What it describes.
    pub described: Described,
    /// Where the schema is.
    pub source: SchemaSource,
}

/// Where a schema is, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SchemaSource {
    /// The schema itself.
    Bare(Url),
    /// A credential that holds it (`JsonSchemaCredential`).
    Signed(Url),
}

impl SchemaEntry {
    fn read(entry: &Said<'_>) -> Option<Self> {
        let url = Url::parse(entry.text_of("id")?).ok()?;
        let (described, source) = match entry.text_of("type")? {
            "JsonSchema" => (Described::Credential, SchemaSource::Bare(url)),
            "JsonSchemaCredential" => (Described::Credential, SchemaSource::Signed(url)),
            "JsonSchemaValidator2018" => (Described::Subjects, SchemaSource::Bare(url)),
            _ => return None,
        };
        Some(Self { described, source })
    }

    /// The entries of a credential; `None` when there are too many, or one is of no supported form: it must not pass for none.
    #[must_use]
    pub fn read_all(given: Option<&Said<'_>>) -> Option<Vec<Self>> {
        match given {
            None | Some(Said::Null) => Some(Vec::new()),
            Some(given) if given.items().len() > MAX_SCHEMAS => None,
            Some(given) => given.items().iter().map(Self::read).collect(),
        }
    }

    /// Whether the credential is as the schema says.
    #[must_use]
    pub fn holds(&self, schema: &Schema, credential: &Credential) -> bool {
        match (self.described, &credential.as_signed) {
            (Described::Credential, Some(signed)) => schema.describes(signed),
            (Described::Subjects, Some(signed)) => match signed.get("credentialSubject") {
                Some(Value::Array(subjects)) => subjects.iter().all(|subject| schema.describes(subject)),
                Some(subject) => schema.describes(subject),
                None => false,
            },
            (_, None) => false,
        }
    }
}

/// Why a schema refuses a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[allow(missing_docs)]
    #[error(
        "a credential's schema must be a JSON schema of at most {MAX_BYTES} bytes that refers to itself alone, with few and short patterns"
    )]
    Form,
    #[allow(missing_docs)]
    #[error("a schema credential must be a JsonSchemaCredential of the credential's own issuer, with a jsonSchema")]
    Credential,
    #[allow(missing_docs)]
    #[error("the credential must be as its schema says")]
    Violated,
}

impl From<SchemaError> for PeerError {
    fn from(rule: SchemaError) -> Self {
        Self::Refused(rule.to_string())
    }
}

/// Which credential it is that a rule refuses.
fn of_schema(error: PeerError) -> PeerError {
    match error {
        PeerError::Refused(rule) => PeerError::Refused(format!("schema: {rule}")),
        unknown @ (PeerError::Unreachable(_) | PeerError::TooEarly) => unknown,
    }
}

/// A compiled schema.
pub struct Schema {
    compiled: Schemas,
    root: SchemaIndex,
    document: Document,
    bytes: usize,
    /// The credential that it was in, if it was in one.
    signed: Option<Arc<VerifiedCredential>>,
}

impl Weigh for Arc<Schema> {
    fn weight(&self) -> u64 {
        // What is compiled of a word is a record of several hundred bytes, of a pattern some thousands.
        let compiled = u64::try_from(self.bytes * 32 + self.document.patterns() * (16 << 10)).unwrap_or(u64::MAX);
        compiled.saturating_add(self.signed.as_ref().map_or(0, |signed| signed.weight()))
    }
}

/// Nothing but the schema itself is read, neither from the net nor from files.
struct Alone;

impl UrlLoader for Alone {
    fn load(&self, _: &str) -> Result<Value, Box<dyn Error>> {
        Err("a schema may refer to itself alone".into())
    }
}

impl Schema {
    /// Reads the schema at `url`, of any draft from 4 to 2020-12.
    ///
    /// # Errors
    /// [`SchemaError::Form`].
    pub fn compile(url: &Url, text: &[u8]) -> Result<Self, SchemaError> {
        if text.len() > MAX_BYTES {
            return Err(SchemaError::Form);
        }
        let read: Value = json::from_slice(text).map_err(|_| SchemaError::Form)?;
        let document = Document::new(url, read.clone()).ok_or(SchemaError::Form)?;
        let (mut compiler, mut compiled) = (Compiler::new(), Schemas::new());
        compiler.use_loader(Box::new(Alone));
        let mut base = url.clone();
        base.set_fragment(None);
        compiler.add_resource(base.as_str(), read).map_err(|_| SchemaError::Form)?;
        let root = compiler.compile(url.as_str(), &mut compiled).map_err(|_| SchemaError::Form)?;
        Ok(Self { compiled, root, document, bytes: text.len(), signed: None })
    }

    /// Whether a value is as the schema says. One that refers to itself without end, or takes too much to find out, describes nothing.
    #[must_use]
    pub fn describes(&self, value: &Value) -> bool {
        self.document.allows(value) && self.compiled.validate(value, self.root).is_ok()
    }
}

impl Trust {
    /// Holds a credential against its schemas.
    ///
    /// # Errors
    /// [`PeerError::Refused`] when it breaks one, or one is none; [`PeerError::Unreachable`] when one cannot be had.
    pub(super) async fn check_schemas(&self, credential: &Credential, since: Since) -> Result<(), PeerError> {
        let checks = credential.schemas.iter().map(|entry| async {
            let schema = self.schema(&entry.source, &credential.issuer, since).await?;
            if entry.holds(&schema, credential) { Ok(()) } else { Err(PeerError::from(SchemaError::Violated)) }
        });
        futures::future::try_join_all(checks).await.map(drop)
    }

    /// The schema for what this issuer signed. One that counts no longer may have been signed anew: it is looked for once more, not too often.
    async fn schema(&self, source: &SchemaSource, issuer: &Did, since: Since) -> Result<Arc<Schema>, PeerError> {
        let held = || self.schemas.get(source, since.at(), |_| self.load_schema(source, since));
        let mut schema = held().await?;
        let mut counts = self.counts(&schema, issuer, since).await;
        if matches!(counts, Err(PeerError::Refused(_))) && self.schemas.forget_older(source, FAILURE_AGE, since.at()) {
            schema = held().await?;
            counts = self.counts(&schema, issuer, since).await;
        }
        counts.map(|()| schema)
    }

    /// Whether a schema counts now for what the issuer signed, which is trusted: in a credential, when that is of the same issuer and counts itself.
    async fn counts(&self, schema: &Schema, issuer: &Did, since: Since) -> Result<(), PeerError> {
        match &schema.signed {
            None => Ok(()),
            Some(signed) if signed.credential.issuer != *issuer => Err(SchemaError::Credential.into()),
            Some(signed) => self.stands(signed, since).await.map_err(of_schema),
        }
    }

    /// A schema, with the end of its use.
    async fn load_schema(&self, source: &SchemaSource, since: Since) -> Result<(Arc<Schema>, Timestamp), PeerError> {
        let schema = match source {
            SchemaSource::Bare(url) => {
                let text = self.fetch_schema(url, "application/schema+json, application/json;q=0.9, */*;q=0.1", MAX_BYTES).await?;
                Schema::compile(url, &text)?
            }
            SchemaSource::Signed(url) => {
                let text = self.fetch_schema(url, "application/vc+jwt, application/jwt;q=0.9, */*;q=0.1", MAX_CREDENTIAL_BYTES).await?;
                let text = std::str::from_utf8(&text).map_err(|_| SchemaError::Credential)?.trim();
                let is_schema = |credential: &Credential| -> Result<(), PeerError> {
                    let named = credential.types.iter().any(|kind| kind == "JsonSchemaCredential");
                    if named { Ok(()) } else { Err(SchemaError::Credential.into()) }
                };
                let signed = self.verify_credential(text, since.now(), is_schema).await.map_err(of_schema)?;
                let json = signed.json();
                let held = json.pointer("/credentialSubject/0/jsonSchema").ok_or(SchemaError::Credential)?;
                let compiled = Schema::compile(url, held.to_string().as_bytes())?;
                Schema { signed: Some(signed), ..compiled }
            }
        };
        Ok((Arc::new(schema), since.at().plus(AGE)))
    }

    async fn fetch_schema(&self, url: &Url, accept: &'static str, limit: usize) -> Result<Bytes, PeerError> {
        let unreachable = |cause: &dyn Display| PeerError::unreachable(format!("the schema {url} cannot be fetched"), cause);
        // One byte more than allowed, to tell what is too long from what ended.
        let response = self.fetch.fetch(get(url.clone(), accept), None, limit + 1).await.map_err(|e| unreachable(&e))?;
        match response.status {
            StatusCode::OK => Ok(response.body),
            status => Err(unreachable(&status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compile(url: &str, schema: &Value) -> Result<Schema, SchemaError> {
        Schema::compile(&Url::parse(url).unwrap(), schema.to_string().as_bytes())
    }

    #[test]
    fn every_draft_describes() {
        let drafts = [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        ];
        for draft in drafts {
            let schema = json!({"$schema": draft, "type": "object", "properties": {"since": {"type": "string", "pattern": "^[0-9]+$"}},
                "required": ["since"]});
            let schema = compile("https://issuer.example/schema", &schema).unwrap();
            assert!(schema.describes(&json!({"since": "2026", "more": 1})), "{draft}");
            for other in [json!({"since": 2026}), json!({"since": "then"}), json!({}), json!("since")] {
                assert!(!schema.describes(&other), "{draft}: {other}");
            }
        }
    }

    #[test]
    fn a_schema_refers_to_itself_alone() {
        let url = "https://issuer.example/schema";
        let parts = json!({"definitions": {"text": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/text"}}});
        let schema = compile(url, &parts).unwrap();
        assert!(schema.describes(&json!({"a": "x"})) && !schema.describes(&json!({"a": 1})));
        let part = compile(&format!("{url}#/definitions/text"), &parts).unwrap();
        assert!(part.describes(&json!("x")) && !part.describes(&json!(1)));
        for elsewhere in ["https://other.example/schema", "other", "file:///etc/hostname"] {
            assert_eq!(compile(url, &json!({"properties": {"a": {"$ref": elsewhere}}})).err(), Some(SchemaError::Form), "{elsewhere}");
        }
    }

    #[test]
    fn what_has_no_end_describes_nothing() {
        let cycles = [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        ];
        for cycle in cycles {
            assert!(compile("https://issuer.example/schema", &cycle).is_ok_and(|schema| !schema.describes(&json!({}))), "{cycle}");
        }
        // Down a value it has one.
        let tree = compile("https://issuer.example/schema", &json!({"type": "object", "additionalProperties": {"$ref": "#"}})).unwrap();
        assert!(tree.describes(&json!({"a": {"b": {}}})) && !tree.describes(&json!({"a": {"b": 1}})));
    }

    #[test]
    fn what_takes_too_much_describes_nothing() {
        let describes = |links: usize, times: usize| {
            let link = |n: usize| (n.to_string(), json!({"allOf": vec![json!({"$ref": format!("#/$defs/{}", n + 1)}); times]}));
            let mut links: serde_json::Map<String, Value> = (0..links).map(link).collect();
            links.insert(links.len().to_string(), json!(true));
            compile("https://issuer.example/schema#/$defs/0", &json!({ "$defs": links })).unwrap().describes(&json!({}))
        };
        assert!(describes(10, 2) && describes(40, 1));
        assert!(!describes(22, 2), "each link twice in the one before");
        assert!(!describes(80, 1), "a stack of them");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let url = Url::parse("https://issuer.example/schema").unwrap();
        let long = format!("{{\"title\": \"{}\"}}", "x".repeat(MAX_BYTES));
        let deep = format!("{}{}", "{\"not\":".repeat(10_000), "}".repeat(10_000));
        for text in ["", "schema", "[]", "{\"type\": \"texts\"}", "{\"pattern\": \"(\"}", long.as_str(), deep.as_str()] {
            assert_eq!(Schema::compile(&url, text.as_bytes()).err(), Some(SchemaError::Form), "{:.40}", text);
        }
    }
}
