//! Participant contexts, their configuration and their profiles (Management API).

use super::Reader;
use crate::{Did, ParticipantContextId, ProfileId, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, str::FromStr};

/// Entries of a configuration at most, public and private each.
pub const MAX_CONFIG_ENTRIES: usize = 256;
/// Profiles of one participant at most.
pub const MAX_PROFILES: usize = 64;
/// Largest body in its JSON form, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// State of a participant context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ParticipantContextState {
    /// Made, not yet in use.
    Created,
    /// In use.
    Activated,
    /// Switched off: on the public side as if it did not exist.
    Deactivated,
}

impl ParticipantContextState {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Activated => "ACTIVATED",
            Self::Deactivated => "DEACTIVATED",
        }
    }
}

impl FromStr for ParticipantContextState {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "CREATED" => Ok(Self::Created),
            "ACTIVATED" => Ok(Self::Activated),
            "DEACTIVATED" => Ok(Self::Deactivated),
            _ => Err("must be CREATED, ACTIVATED or DEACTIVATED"),
        }
    }
}

/// `ParticipantContext`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantContextBody {
    /// Its id; the platform makes one when the client has none.
    pub id: Option<ParticipantContextId>,
    /// Its DID.
    pub identity: Did,
    /// Its state; `CREATED` when the client does not say.
    pub state: ParticipantContextState,
    /// Free properties.
    pub properties: Map<String, Value>,
}

impl ParticipantContextBody {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["ParticipantContext"])?;
        bounded(&mut r, body);
        let (id, identity) = (r.parsed("@id"), r.required_parsed("identity"));
        let state = r.parsed("state").unwrap_or(ParticipantContextState::Created);
        let properties = r.object("properties");
        r.finish(|| Some(Self { id, identity: identity?, state, properties }))
    }
}

/// `ParticipantContextConfig`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantContextConfig {
    /// Readable entries.
    pub entries: BTreeMap<String, String>,
    /// Entries that are never shown.
    pub private_entries: BTreeMap<String, String>,
}

impl ParticipantContextConfig {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["ParticipantContextConfig"])?;
        bounded(&mut r, body);
        r.require("entries");
        let (entries, private_entries) = (texts(&mut r, "entries"), texts(&mut r, "privateEntries"));
        r.finish(|| Some(Self { entries, private_entries }))
    }

    /// The form of the API, without `@context` and without private entries.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"@type": "ParticipantContextConfig", "entries": self.entries})
    }
}

/// Entries with texts as values; other scalars are taken as their text.
fn texts(r: &mut Reader<'_>, key: &str) -> BTreeMap<String, String> {
    let object = r.object(key);
    if object.len() > MAX_CONFIG_ENTRIES {
        r.note_all(vec![Violation::new(r.path(key), format!("at most {MAX_CONFIG_ENTRIES} entries"))]);
        return BTreeMap::new();
    }
    let mut entries = BTreeMap::new();
    for (name, value) in object {
        match value {
            Value::String(text) => {
                entries.insert(name, text);
            }
            Value::Bool(_) | Value::Number(_) => {
                entries.insert(name, value.to_string());
            }
            // The value itself is not shown: it may be a secret.
            Value::Null | Value::Array(_) | Value::Object(_) => {
                r.note_all(vec![Violation::new(r.path(&format!("{key}.{name}")), "must be a string")]);
            }
        }
    }
    entries
}

/// `AssociateDataspaceProfile`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssociateDataspaceProfile {
    /// The profiles.
    pub profiles: Vec<ProfileId>,
}

impl AssociateDataspaceProfile {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["AssociateDataspaceProfile"])?;
        r.require("profiles");
        let mut profiles: Vec<ProfileId> = Vec::new();
        for text in r.texts("profiles", MAX_PROFILES) {
            match ProfileId::new(&text) {
                // The names are kept in one configuration entry, joined by commas.
                Ok(profile) if !text.contains(',') => profiles.push(profile),
                Ok(_) | Err(_) => r.note_all(vec![Violation::new(r.path("profiles"), format!("{text:?} is no profile name"))]),
            }
        }
        r.finish(|| Some(Self { profiles }))
    }
}

fn bounded(r: &mut Reader<'_>, body: &Value) {
    if body.to_string().len() > MAX_BYTES {
        r.note_all(vec![Violation::new("$", format!("at most {MAX_BYTES} bytes"))]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;

    #[test]
    fn participants() {
        let body = |more: Value| {
            let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ParticipantContext", "identity": "did:web:x"});
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            ParticipantContextBody::from_json(&body)
        };
        assert_eq!(body(json!({})).unwrap().state, ParticipantContextState::Created);
        assert_eq!(body(json!({"state": "ACTIVATED", "@id": "p"})).unwrap().state, ParticipantContextState::Activated);
        for bad in
            [json!({"state": "ON"}), json!({"identity": "x"}), json!({"identity": null}), json!({"@id": "a b"}), json!({"properties": 1})]
        {
            assert!(body(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn private_entries_are_neither_shown_nor_told() {
        let body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ParticipantContextConfig", "entries": {"a": "1", "b": 2}, "privateEntries": {"s": "secret"}});
        let config = ParticipantContextConfig::from_json(&body).unwrap();
        assert_eq!(config.entries.get("b").map(String::as_str), Some("2"));
        assert!(!config.to_json().to_string().contains("secret"));
        let body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ParticipantContextConfig", "entries": {}, "privateEntries": {"s": ["secret"]}});
        assert!(!format!("{:?}", ParticipantContextConfig::from_json(&body).expect_err("no string")).contains("secret"));
    }

    #[test]
    fn profiles() {
        let body = |profiles: Value| {
            AssociateDataspaceProfile::from_json(
                &json!({"@context": [MANAGEMENT_CONTEXT], "@type": "AssociateDataspaceProfile", "profiles": profiles}),
            )
        };
        assert_eq!(body(json!(["a", "b"])).unwrap().profiles.len(), 2);
        for bad in [json!(null), json!("a"), json!(["a,b"]), json!([1]), json!([""])] {
            assert!(body(bad.clone()).is_err(), "{bad}");
        }
    }
}
