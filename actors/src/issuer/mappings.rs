//! Mappings: how attested claims become members of a credential.

use super::claims::{ClaimPath, Claims};
use cellspace_schemas::issuer::admin::MappingBody;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Member of a credential below which claims of the subject lie.
const SUBJECT: &str = "credentialSubject";
/// Members of a credential beside the subject that a mapping may write.
const TOP_LEVEL: [&str; 2] = ["name", "description"];

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    input: ClaimPath,
    output: ClaimPath,
    required: bool,
}

/// What mappings make of claims.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mapped {
    /// Members of the credential subject.
    pub subject: Claims,
    /// Name of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Mapping {
    /// A mapping from a definition's body.
    ///
    /// # Errors
    /// A malformed path, or an output that is no member of a credential.
    pub fn new(body: &MappingBody) -> Result<Self, String> {
        let input = body.input.parse().map_err(|e| format!("input of a mapping: {e}"))?;
        let output: ClaimPath = body.output.parse().map_err(|e| format!("output of a mapping: {e}"))?;
        let allowed = match output.segments() {
            [subject, _, ..] => subject == SUBJECT,
            [one] => TOP_LEVEL.contains(&one.as_str()),
            [] => false,
        };
        if !allowed {
            return Err(format!("output of a mapping must be {SUBJECT}.<member>, {}", TOP_LEVEL.join(" or ")));
        }
        Ok(Self { input, output, required: body.required })
    }

    /// Whether both write the same place.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        self.output.collides(&other.output)
    }

    /// As it is answered.
    #[must_use]
    pub fn body(&self) -> MappingBody {
        MappingBody { input: self.input.to_string(), output: self.output.to_string(), required: self.required }
    }
}

/// Maps the claims.
///
/// # Errors
/// The path of a required claim that is not there.
pub fn map<'a>(mappings: &'a [Mapping], claims: &Claims) -> Result<Mapped, &'a ClaimPath> {
    let mut credential = Claims::new();
    for mapping in mappings {
        match mapping.input.get(claims) {
            Some(value) => mapping.output.put(&mut credential, value.clone()),
            None if mapping.required => return Err(&mapping.input),
            None => {}
        }
    }
    let subject = match credential.remove(SUBJECT) {
        Some(Value::Object(subject)) => subject,
        Some(_) | None => Claims::new(),
    };
    let mut text = |name: &str| credential.remove(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    Ok(Mapped { subject, name: text("name"), description: text("description") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping(input: &str, output: &str, required: bool) -> Result<Mapping, String> {
        Mapping::new(&MappingBody { input: input.to_owned(), output: output.to_owned(), required })
    }

    #[test]
    fn claims_become_members() {
        let mappings = [
            mapping("membership.since", "credentialSubject.membership.startDate", true).unwrap(),
            mapping("membership", "credentialSubject.all", true).unwrap(),
            mapping("title", "name", false).unwrap(),
            mapping("missing", "credentialSubject.missing", false).unwrap(),
        ];
        let claims = json!({"membership": {"since": "2026"}, "title": "Member"}).as_object().unwrap().clone();
        let mapped = map(&mappings, &claims).unwrap();
        assert_eq!(Value::Object(mapped.subject), json!({"membership": {"startDate": "2026"}, "all": {"since": "2026"}}));
        assert_eq!((mapped.name.as_deref(), mapped.description), (Some("Member"), None));
        assert_eq!(map(&mappings, &Claims::new()).unwrap_err().to_string(), "membership.since");
    }

    #[test]
    fn outputs_are_members_of_a_credential() {
        for bad in ["", "credentialSubject", "issuer", "name.first", "validUntil", "vc.credentialSubject.x"] {
            assert!(mapping("a", bad, true).is_err(), "{bad}");
        }
        assert!(mapping("", "name", true).is_err());
    }
}
