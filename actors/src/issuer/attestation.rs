//! Attestations: where the claims of a credential come from. Pure; who is asked over HTTP is asked by `call_out`.

use super::{Holder, call_out::Attested, claims::Claims};
use cellspace_schemas::{
    ParticipantContextId, Timestamp,
    issuer::{
        AttestationId,
        admin::{AttestationBody, AttestationView},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

/// Longest URL of a service, in bytes.
pub(super) const MAX_URL_BYTES: usize = 1024;
/// Longest configuration, in bytes of JSON.
const MAX_CONFIGURATION_BYTES: usize = 16 << 10;

/// The URL of a service that an operator names: http or https, without a user, of bounded length.
pub(super) fn service_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URL_BYTES)?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    plain.then_some(url)
}

/// A source of claims (Issuer admin API `attestationType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The holder's registration: its properties, and `id` (its DID) and `name` where the properties have none. Nothing of one that nobody has registered.
    Holder,
    /// A service that is asked about the holder, at the configuration's `url`.
    Http,
}

impl Source {
    const ALL: [Self; 2] = [Self::Holder, Self::Http];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Http => "http",
        }
    }
}

/// An attestation definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attestation {
    /// Its id.
    pub id: AttestationId,
    /// Its source.
    pub source: Source,
    /// Settings of the source.
    pub configuration: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Attestation {
    /// An attestation definition from an operator's body.
    ///
    /// # Errors
    /// An unknown source, or a configuration that is too long.
    pub fn new(body: AttestationBody, now: Timestamp) -> Result<Self, String> {
        let AttestationBody { id, attestation_type, configuration } = body;
        let source = Source::ALL.into_iter().find(|source| source.name() == attestation_type);
        let known = || Source::ALL.map(Source::name).join(", ");
        let source = source.ok_or_else(|| format!("unknown attestationType, use one of: {}", known()))?;
        if serde_json::to_vec(&configuration).map_or(usize::MAX, |json| json.len()) > MAX_CONFIGURATION_BYTES {
            return Err(format!("configuration has at most {MAX_CONFIGURATION_BYTES} bytes"));
        }
        let attestation = Self { id, source, configuration, created_at: now };
        if source == Source::Http && attestation.url().is_none() {
            return Err(format!(
                "configuration must have the url of a service, http or https, without a user, of at most {MAX_URL_BYTES} bytes"
            ));
        }
        Ok(attestation)
    }

    /// The service that is asked, if one is.
    #[must_use]
    pub fn url(&self) -> Option<Url> {
        service_url(self.configuration.get("url").filter(|_| self.source == Source::Http)?.as_str()?)
    }

    /// What it attests of the holder, with what services have said; `None` when nothing.
    #[must_use]
    pub fn attest(&self, holder: &Holder, said: &Attested) -> Option<Claims> {
        match self.source {
            Source::Holder if holder.anonymous => None,
            Source::Holder => {
                let mut claims = holder.properties.clone();
                claims.entry("id").or_insert_with(|| Value::String(holder.did.to_string()));
                claims.entry("name").or_insert_with(|| Value::String(holder.name.clone()));
                Some(claims)
            }
            Source::Http => said.get(&self.id).cloned().flatten(),
        }
    }

    /// As it is answered.
    #[must_use]
    pub fn view(&self, issuer: &ParticipantContextId) -> AttestationView {
        let body = AttestationBody {
            id: self.id.clone(),
            attestation_type: self.source.name().to_owned(),
            configuration: self.configuration.clone(),
        };
        AttestationView { body, participant_context_id: issuer.clone(), created_at: self.created_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_sources_are_refused() {
        let body = |kind: &str| AttestationBody {
            id: AttestationId::new("a").unwrap(),
            attestation_type: kind.to_owned(),
            configuration: Map::new(),
        };
        assert!(Attestation::new(body("holder"), Timestamp(0)).is_ok());
        let http = |configuration: Value| {
            let configuration = configuration.as_object().unwrap().clone();
            Attestation::new(AttestationBody { configuration, ..body("http") }, Timestamp(0))
        };
        assert_eq!(http(json!({"url": "https://x.example/a"})).unwrap().url().unwrap().as_str(), "https://x.example/a");
        let long = format!("https://x.example/{}", "x".repeat(MAX_URL_BYTES));
        for bad in [
            json!({}),
            json!({"url": 1}),
            json!({"url": "x"}),
            json!({"url": "ftp://x"}),
            json!({"url": "https://u:p@x"}),
            json!({"url": long}),
        ] {
            assert!(http(bad.clone()).unwrap_err().contains("url"), "{bad}");
        }
        for bad in ["", "Holder", "database", "membership"] {
            let refused = Attestation::new(body(bad), Timestamp(0)).unwrap_err();
            assert!(refused.contains("holder"), "{refused}");
        }
    }

    #[test]
    fn properties_come_before_the_registration() {
        let holder = Holder {
            id: cellspace_schemas::issuer::HolderId::new("h").unwrap(),
            did: cellspace_schemas::Did::new("did:web:acme").unwrap(),
            name: "Acme".to_owned(),
            anonymous: false,
            properties: json!({"since": "2026", "name": "Acme Inc"}).as_object().unwrap().clone(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let source = Attestation {
            id: AttestationId::new("a").unwrap(),
            source: Source::Holder,
            configuration: Map::new(),
            created_at: Timestamp(0),
        };
        let said = Attested::new();
        assert_eq!(
            Value::Object(source.attest(&holder, &said).unwrap()),
            json!({"since": "2026", "name": "Acme Inc", "id": "did:web:acme"})
        );
        let stranger = Holder { anonymous: true, ..holder.clone() };
        assert_eq!(source.attest(&stranger, &said), None);
        let service = Attestation { source: Source::Http, ..source };
        assert_eq!(service.attest(&holder, &said), None);
        let of = |claims: Option<Claims>| service.attest(&holder, &Attested::from([(service.id.clone(), claims)]));
        assert_eq!((of(None), of(Some(Claims::new()))), (None, Some(Claims::new())));
        assert_eq!(service.attest(&stranger, &Attested::from([(service.id.clone(), Some(Claims::new()))])), Some(Claims::new()));
    }
}
