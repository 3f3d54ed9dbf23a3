//! Where a credential is in the claims of its JWT, and what both say.

use super::error::CredentialError;
use crate::trust::said::Said;
use cellspace_schemas::{Timestamp, dcp::CredentialFormat};
use serde_json::{Map, Value};

/// The registered claims that a credential's JWT may have, which are no part of a credential of the VC Data Model 2.0; `aud` says nothing here.
pub(super) struct Registered<'a> {
    pub(super) iss: Option<&'a str>,
    pub(super) sub: Option<&'a str>,
    pub(super) jti: Option<&'a str>,
    pub(super) iat: Option<Timestamp>,
    pub(super) nbf: Option<Timestamp>,
    pub(super) exp: Option<Timestamp>,
}

/// Their names.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "jti", "iat", "nbf", "exp"];

impl<'a> Registered<'a> {
    pub(super) fn of(claims: &'a Said<'_>) -> Result<Self, CredentialError> {
        let text = |name| claims.text_of(name);
        let date = |name| match claims.get(name) {
            None | Some(Said::Null) => Ok(None),
            Some(date) => date.numeric_date().map(Some).ok_or(CredentialError::Dates),
        };
        Ok(Self { iss: text("iss"), sub: text("sub"), jti: text("jti"), iat: date("iat")?, nbf: date("nbf")?, exp: date("exp")? })
    }
}

/// Where the credential is in the claims.
pub(in crate::trust) fn body<'s, 'a>(claims: &'s Said<'a>, format: CredentialFormat) -> Option<&'s Said<'a>> {
    match format {
        CredentialFormat::Vc1Jwt => claims.get("vc"),
        CredentialFormat::Vc2Jose => Some(claims),
    }
}

/// The credential in the claims, as they have it.
pub(super) fn signed_form(claims: &Said<'_>, format: CredentialFormat) -> Map<String, Value> {
    let Some(Value::Object(mut vc)) = body(claims, format).map(Said::to_value) else { return Map::new() };
    if format == CredentialFormat::Vc2Jose {
        vc.retain(|name, _| !REGISTERED.contains(&name.as_str()));
    }
    vc
}

/// Begin and end of its validity.
pub(super) const fn names_of_dates(format: CredentialFormat) -> [&'static str; 2] {
    match format {
        CredentialFormat::Vc1Jwt => ["issuanceDate", "expirationDate"],
        CredentialFormat::Vc2Jose => ["validFrom", "validUntil"],
    }
}

/// The value that two places name; they must not differ.
pub(super) fn agree<'a>(one: Option<&'a str>, other: Option<&'a str>) -> Result<Option<&'a str>, CredentialError> {
    match (one, other) {
        (Some(a), Some(b)) if a != b => Err(CredentialError::Contradiction),
        (a, b) => Ok(a.or(b)),
    }
}

pub(super) fn latest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.max(b)
}

pub(super) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

pub(super) fn date(said: Option<&Said<'_>>) -> Result<Option<Timestamp>, CredentialError> {
    match said {
        None | Some(Said::Null) => Ok(None),
        Some(date) => date.text().and_then(Timestamp::parse_rfc3339).map(Some).ok_or(CredentialError::Dates),
    }
}

/// One object, or a list of nothing but objects.
pub(super) fn objects<'s, 'a>(said: &'s Said<'a>) -> Option<&'s [Said<'a>]> {
    Some(said.items()).filter(|items| items.iter().all(Said::is_object))
}
