//! Verifiable presentations as JWTs (DCP 1.0, "Presentation Validation"): with a `vp` claim around credentials of the VC Data Model 1.1, or as a
//! presentation of the VC Data Model 2.0 with enveloped credentials.

use super::{
    PeerError, Trust,
    claims::{NumericDate, OneOrMany},
    jws::{Jws, JwsError, MAX_CREDENTIAL_BYTES},
    keys::SelectedKey,
    replay::SKEW,
    said::{Said, Text},
};
use cellspace_schemas::{
    Did, Timestamp,
    dcp::{CredentialFormat, Relationship},
};
use serde::Deserialize;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// Most presentations in one answer.
pub const MAX_PRESENTATIONS: usize = 16;
/// Most credentials in one presentation.
pub const MAX_CREDENTIALS: usize = 64;

/// Claims of a presentation JWT.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PresentationClaims<'a> {
    iss: Option<Did>,
    #[serde(borrow)]
    holder: Option<Said<'a>>,
    aud: Option<OneOrMany>,
    iat: Option<NumericDate>,
    nbf: Option<NumericDate>,
    exp: Option<NumericDate>,
    vp: Option<Said<'a>>,
    #[serde(rename = "type")]
    types: Option<Said<'a>>,
    id: Option<Text<'a>>,
    #[serde(rename = "verifiableCredential")]
    credentials: Option<Said<'a>>,
}

/// What a presentation JWT holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Credentials, all of this format.
    Credentials(CredentialFormat, Vec<String>),
    /// Another presentation JWT.
    Enveloped(String),
}

/// A verified presentation: its credentials are not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The format that all of them must have (DCP 1.0, "Homogeneity requirement").
    pub format: CredentialFormat,
    /// Credential JWTs.
    pub credentials: Vec<String>,
    /// Until when it counts.
    pub valid_until: Option<Timestamp>,
    /// With which keys its holder has signed it.
    pub signers: Vec<Arc<SelectedKey>>,
}

/// The rules for presentations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PresentationError {
    #[allow(missing_docs)]
    #[error(
        "a presentation must be a JWT with a vp claim, or a JWT of the VC Data Model 2.0, with at most {MAX_CREDENTIALS} credentials as JWTs"
    )]
    Form,
    #[allow(missing_docs)]
    #[error("a presentation must be signed by its holder, the sender of the message")]
    Holder,
    #[allow(missing_docs)]
    #[error("aud of a presentation must be the DID of the verifier, and only that")]
    Audience,
    #[allow(missing_docs)]
    #[error("a presentation must be valid now")]
    Dates,
}

impl From<PresentationError> for PeerError {
    fn from(rule: PresentationError) -> Self {
        Self::Refused(rule.to_string())
    }
}

impl PresentationClaims<'_> {
    /// Checks everything that needs no key, and takes the content out.
    ///
    /// # Errors
    /// [`PresentationError`] names the rule.
    pub fn check(&self, holder: &Did, verifier: &Did, now: Timestamp) -> Result<Content, PresentationError> {
        let named = |said: &Said<'_>| said.text().or_else(|| said.text_of("id")) == Some(holder.as_str());
        if self.iss.as_ref().is_some_and(|iss| iss != holder) || self.holder.as_ref().is_some_and(|h| !named(h)) {
            return Err(PresentationError::Holder);
        }
        // The older form demands an audience; the newer one knows none, but one that is there binds.
        if self.aud.as_ref().map_or(self.vp.is_some(), |aud| !aud.is_only(verifier.as_str())) {
            return Err(PresentationError::Audience);
        }
        let begins = self.nbf.max(self.iat).map(|date| date.0);
        if begins.is_some_and(|begins| begins > now.plus(SKEW)) || self.exp.is_some_and(|exp| exp.0.plus(SKEW) <= now) {
            return Err(PresentationError::Dates);
        }
        self.content().ok_or(PresentationError::Form)
    }

    fn content(&self) -> Option<Content> {
        let has_type = |wanted| self.types.as_ref().is_some_and(|types| types.names(wanted));
        let (format, all) = if let Some(vp) = &self.vp {
            let presentations = vp.items().iter().map(|presentation| jwts(presentation.get("verifiableCredential")));
            (CredentialFormat::Vc1Jwt, presentations.collect::<Option<Vec<_>>>()?.concat())
        } else if has_type("EnvelopedVerifiablePresentation") {
            return data_url(&self.id.as_ref()?.0, &VP_MEDIA).map(|jwt| Content::Enveloped(jwt.to_owned()));
        } else if has_type("VerifiablePresentation") {
            (CredentialFormat::Vc2Jose, jwts(self.credentials.as_ref())?)
        } else {
            return None;
        };
        (all.len() <= MAX_CREDENTIALS).then(|| Content::Credentials(format, all.into_iter().map(str::to_owned).collect()))
    }
}

const VP_MEDIA: [&str; 2] = ["application/vp+jwt", "application/vp-ld+jwt"];
const VC_MEDIA: [&str; 2] = ["application/vc+jwt", "application/vc-ld+jwt"];

fn data_url<'a>(url: &'a str, media: &[&str]) -> Option<&'a str> {
    let (found, data) = url.strip_prefix("data:")?.split_once(',')?;
    media.contains(&found).then_some(data)
}

/// The JWTs of `verifiableCredential`: texts, or enveloped credentials (VC Data Model 2.0, 4.13), one or a list. `None` when one is neither.
fn jwts<'s>(credentials: Option<&'s Said<'_>>) -> Option<Vec<&'s str>> {
    let jwt = |said: &'s Said<'_>| match said {
        Said::Text(jwt) => Some(jwt.as_ref()),
        said if said.get("type")?.names("EnvelopedVerifiableCredential") => data_url(said.text_of("id")?, &VC_MEDIA),
        _ => None,
    };
    credentials.map(Said::items).unwrap_or_default().iter().map(jwt).collect()
}

/// The JWT of an entry of a presentation response: a text, or an enveloped presentation.
fn jwt_of(entry: &Value) -> Result<Cow<'_, str>, PresentationError> {
    if let Value::String(jwt) = entry {
        return Ok(jwt.into());
    }
    let said = Said::deserialize(entry).map_err(|_| PresentationError::Form)?;
    let enveloped = said.get("type").is_some_and(|types| types.names("EnvelopedVerifiablePresentation"));
    let jwt = said.text_of("id").filter(|_| enveloped).and_then(|id| data_url(id, &VP_MEDIA));
    jwt.map(|jwt| jwt.to_owned().into()).ok_or(PresentationError::Form)
}

impl Trust {
    /// Verifies a presentation of `holder` for `verifier`: signature of the holder with the `authentication` relationship, audience, dates. An
    /// enveloped presentation is opened once. Whether a presentation was seen before does not matter: it comes in answer to a query of our own,
    /// and the message that caused it has its own guard against replay.
    ///
    /// # Errors
    /// [`PeerError`] names the rule.
    pub async fn verify_presentation(
        &self,
        entry: &Value,
        holder: &Did,
        verifier: &Did,
        now: Timestamp,
    ) -> Result<Presentation, PeerError> {
        let (mut valid_until, signer, mut content) = self.open_presentation(&jwt_of(entry)?, holder, verifier, now).await?;
        let mut signers = vec![signer];
        if let Content::Enveloped(jwt) = content {
            let (inner, signer, enveloped) = self.open_presentation(&jwt, holder, verifier, now).await?;
            valid_until = [valid_until, inner].into_iter().flatten().min();
            signers.push(signer);
            content = enveloped;
        }
        let Content::Credentials(format, credentials) = content else { return Err(PresentationError::Form.into()) };
        Ok(Presentation { format, credentials, valid_until, signers })
    }

    async fn open_presentation(
        &self,
        jwt: &str,
        holder: &Did,
        verifier: &Did,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Arc<SelectedKey>, Content), PeerError> {
        let signed = |rule: JwsError| rule.of("presentation");
        let jws = Jws::parse(jwt, MAX_CREDENTIAL_BYTES).map_err(signed)?;
        let kid = jws.key_id().map_err(signed)?;
        if kid.is_some_and(|kid| kid.did != holder.as_str()) {
            return Err(PresentationError::Holder.into());
        }
        let signer = self.resolver.key(holder, kid.map(|kid| kid.url), Relationship::Authentication, now).await?;
        let claims: PresentationClaims<'_> = jws.verify(&signer.key).map_err(signed)?;
        let content = claims.check(holder, verifier, now)?;
        Ok((claims.exp.map(|exp| exp.0), signer, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_790_000_000;

    fn check(claims: Value) -> Result<Content, PresentationError> {
        let claims = claims.to_string();
        let claims: PresentationClaims<'_> = serde_json::from_str(&claims).unwrap();
        claims.check(&Did::new("did:web:holder").unwrap(), &Did::new("did:web:verifier").unwrap(), Timestamp::from_seconds(NOW))
    }

    fn old(change: Value) -> Value {
        let mut claims = json!({"iss": "did:web:holder", "aud": "did:web:verifier", "iat": NOW, "exp": NOW + 60,
            "vp": {"type": "VerifiablePresentation", "verifiableCredential": ["a.b.c"]}});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }

    #[test]
    fn the_forms_of_presentations() {
        let enveloped = |jwt: &str| json!({"type": "EnvelopedVerifiableCredential", "id": format!("data:application/vc+jwt,{jwt}")});
        let one = |format| Ok(Content::Credentials(format, vec!["a.b.c".to_owned()]));
        let table = [
            (old(json!({})), one(CredentialFormat::Vc1Jwt)),
            (old(json!({"vp": [{"verifiableCredential": "a.b.c"}]})), one(CredentialFormat::Vc1Jwt)),
            (old(json!({"vp": {"verifiableCredential": []}})), Ok(Content::Credentials(CredentialFormat::Vc1Jwt, vec![]))),
            (json!({"type": "VerifiablePresentation", "verifiableCredential": [enveloped("a.b.c")]}), one(CredentialFormat::Vc2Jose)),
            (json!({"type": ["VerifiablePresentation"], "verifiableCredential": "a.b.c"}), one(CredentialFormat::Vc2Jose)),
            (
                json!({"type": "EnvelopedVerifiablePresentation", "id": "data:application/vp+jwt,x.y.z"}),
                Ok(Content::Enveloped("x.y.z".to_owned())),
            ),
        ];
        for (claims, expected) in table {
            assert_eq!(check(claims.clone()), expected, "{claims}");
        }
        for bad in [
            json!({}),
            json!({"type": "Something", "verifiableCredential": ["a.b.c"]}),
            old(json!({"vp": {"verifiableCredential": [{"type": "VerifiableCredential"}]}})),
            old(json!({"vp": {"verifiableCredential": 1}})),
            old(json!({"vp": {"verifiableCredential": ["a.b.c", null]}})),
            json!({"type": "VerifiablePresentation", "verifiableCredential": {"type": "EnvelopedVerifiableCredential", "id": "a.b.c"}}),
            json!({"type": "VerifiablePresentation", "verifiableCredential": ["a.b.c", {"id": "data:application/vc+jwt,a.b.c"}]}),
            old(json!({"vp": {"verifiableCredential": vec!["a.b.c"; MAX_CREDENTIALS + 1]}})),
            json!({"type": "EnvelopedVerifiablePresentation", "id": "https://example.com"}),
        ] {
            assert_eq!(check(bad.clone()), Err(PresentationError::Form), "{bad}");
        }
        for unreadable in [json!(1), json!([1]), json!([["a.b.c"]]), json!([{"id": 1}])] {
            let claims = json!({"type": "VerifiablePresentation", "verifiableCredential": unreadable});
            assert_eq!(check(claims), Err(PresentationError::Form), "{unreadable}");
        }
    }

    #[test]
    fn every_rule_for_claims() {
        use PresentationError::{Audience, Dates, Holder};
        let table = [
            (old(json!({"iss": "did:web:other"})), Holder),
            (old(json!({"holder": "did:web:other"})), Holder),
            (old(json!({"holder": {"id": "did:web:other"}})), Holder),
            (old(json!({"aud": "did:web:other"})), Audience),
            (old(json!({"aud": ["did:web:verifier", "did:web:other"]})), Audience),
            (old(json!({"aud": null})), Audience),
            (json!({"type": "VerifiablePresentation", "aud": "did:web:other"}), Audience),
            (old(json!({"iat": NOW + 2})), Dates),
            (old(json!({"nbf": NOW + 2})), Dates),
            (old(json!({"exp": NOW - 1})), Dates),
        ];
        for (claims, error) in table {
            assert_eq!(check(claims.clone()), Err(error), "{claims}");
        }
        assert!(check(old(json!({"exp": NOW, "iat": NOW + 1, "holder": {"id": "did:web:holder"}}))).is_ok());
    }
}
