//! Scopes of the presentation protocol: which credentials are granted or asked for (DCP 1.0, 5.4.1.2).

use std::fmt;

const TYPE_ALIAS: &str = "org.eclipse.dspace.dcp.vc.type";
const ID_ALIAS: &str = "org.eclipse.dspace.dcp.vc.id";
const ACTIONS: [&str; 3] = ["read", "all", "*"];
const MAX_BYTES: usize = 512;

/// A scope, parsed. The third part (`:read`, `:all`, `:*`) that some peers send or demand is accepted; every scope here reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialScope {
    /// Credentials of a type; `context` when the discriminator is `context#Type`.
    Type {
        /// The type's name.
        name: String,
        /// JSON-LD context that must define it.
        context: Option<String>,
    },
    /// The credential with this id.
    Id(String),
}

/// Why a text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is {TYPE_ALIAS}:<type> or {ID_ALIAS}:<id>, optionally followed by :read")]
pub struct ScopeError;

impl CredentialScope {
    /// Reads a scope of two or three parts.
    ///
    /// # Errors
    /// [`ScopeError`] for another alias, an empty discriminator or an unknown action.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.len() > MAX_BYTES || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ScopeError);
        }
        let (alias, rest) = text.split_once(':').ok_or(ScopeError)?;
        let known_action = rest.rsplit_once(':').filter(|(_, action)| ACTIONS.contains(action));
        let discriminator = known_action.map_or(rest, |(discriminator, _)| discriminator);
        match alias {
            _ if discriminator.is_empty() => Err(ScopeError),
            // Ids may hold colons (`urn:uuid:..`), types only inside the context IRI before the `#`.
            ID_ALIAS => Ok(Self::Id(discriminator.to_owned())),
            TYPE_ALIAS => {
                let (context, name) = match discriminator.rsplit_once('#') {
                    Some((context, name)) => (Some(context), name),
                    None => (None, discriminator),
                };
                if name.is_empty() || name.contains(':') || context == Some("") {
                    return Err(ScopeError);
                }
                Ok(Self::Type { name: name.to_owned(), context: context.map(str::to_owned) })
            }
            _ => Err(ScopeError),
        }
    }

    /// Whether a credential with this id, these types and these contexts is meant.
    #[must_use]
    pub fn matches(&self, id: Option<&str>, types: &[String], contexts: &[String]) -> bool {
        match self {
            Self::Id(wanted) => id == Some(wanted),
            Self::Type { name, context } => types.contains(name) && context.as_ref().is_none_or(|c| contexts.contains(c)),
        }
    }
}

impl fmt::Display for CredentialScope {
    /// With the third part, which every known peer accepts and some demand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { name, context: None } => write!(f, "{TYPE_ALIAS}:{name}:read"),
            Self::Type { name, context: Some(context) } => write!(f, "{TYPE_ALIAS}:{context}#{name}:read"),
            Self::Id(id) => write!(f, "{ID_ALIAS}:{id}:read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_type(name: &str) -> CredentialScope {
        CredentialScope::Type { name: name.to_owned(), context: None }
    }

    #[test]
    fn scopes_are_read() {
        let table = [
            ("org.eclipse.dspace.dcp.vc.type:Member", of_type("Member")),
            ("org.eclipse.dspace.dcp.vc.type:Member:read", of_type("Member")),
            ("org.eclipse.dspace.dcp.vc.type:Member:*", of_type("Member")),
            ("org.eclipse.dspace.dcp.vc.type:Member:all", of_type("Member")),
            (
                "org.eclipse.dspace.dcp.vc.type:https://example.com/v1#Member:read",
                CredentialScope::Type { name: "Member".to_owned(), context: Some("https://example.com/v1".to_owned()) },
            ),
            ("org.eclipse.dspace.dcp.vc.id:urn:uuid:8247b87d", CredentialScope::Id("urn:uuid:8247b87d".to_owned())),
            ("org.eclipse.dspace.dcp.vc.id:8247b87d:read", CredentialScope::Id("8247b87d".to_owned())),
        ];
        for (text, scope) in table {
            assert_eq!(CredentialScope::parse(text), Ok(scope.clone()), "{text}");
            assert_eq!(CredentialScope::parse(&scope.to_string()), Ok(scope), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = format!("org.eclipse.dspace.dcp.vc.type:{}", "x".repeat(MAX_BYTES));
        for text in [
            "",
            "Member",
            "org.eclipse.dspace.dcp.vc.type",
            "org.eclipse.dspace.dcp.vc.type:",
            "org.eclipse.dspace.dcp.vc.type::read",
            "org.eclipse.dspace.dcp.vc.type:Member:write",
            "org.eclipse.dspace.dcp.vc.type:#Member",
            "org.eclipse.dspace.dcp.vc.type:https://example.com/v1#",
            "org.eclipse.dspace.dcp.vc.id:",
            "org.eclipse.dspace.dcp.vc.name:x",
            "org.eclipse.dspace.dcp.vc.type:a b",
            long.as_str(),
        ] {
            assert_eq!(CredentialScope::parse(text), Err(ScopeError), "{text}");
        }
    }

    #[test]
    fn scopes_match_credentials() {
        let types = ["VerifiableCredential".to_owned(), "Member".to_owned()];
        let contexts = ["https://example.com/v1".to_owned()];
        let matches = |scope: &str| CredentialScope::parse(scope).unwrap().matches(Some("vc-1"), &types, &contexts);
        assert!(matches("org.eclipse.dspace.dcp.vc.type:Member"));
        assert!(matches("org.eclipse.dspace.dcp.vc.type:https://example.com/v1#Member"));
        assert!(!matches("org.eclipse.dspace.dcp.vc.type:https://example.com/v2#Member"));
        assert!(!matches("org.eclipse.dspace.dcp.vc.type:member"));
        assert!(matches("org.eclipse.dspace.dcp.vc.id:vc-1"));
        assert!(!matches("org.eclipse.dspace.dcp.vc.id:vc-2"));
    }
}
