//! The scope grammar: `prefix[:resource]:action`.

use std::fmt;

/// What a scope allows; each action includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Look.
    Read,
    /// Change.
    Write,
    /// Everything, for every participant.
    Admin,
}

/// Prefixes whose scopes are compared as plain text, without a hierarchy of actions (as the peers' fabric does).
const PLAIN: [&str; 2] = ["tenant-manager-api", "provision-manager-api"];

/// A parsed scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Which API.
    pub prefix: String,
    /// Which of its resources; `*` for all.
    pub resource: String,
    /// What.
    pub action: Action,
}

impl Scope {
    /// Reads two or three parts, none blank; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
        let (resource, action) = third.map_or(("*", second), |third| (second, third));
        let action = match action {
            "read" => Action::Read,
            "write" => Action::Write,
            "admin" => Action::Admin,
            _ => return None,
        };
        let blank = |part: &str| part.trim().is_empty();
        let ok = parts.next().is_none() && !blank(first) && !blank(resource);
        ok.then(|| Self { prefix: first.to_owned(), resource: resource.to_owned(), action })
    }

    /// Whether scopes of this prefix are plain text.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        PLAIN.contains(&self.prefix.as_str())
    }

    /// Whether holding `self` satisfies `required`.
    #[must_use]
    pub fn grants(&self, required: &Self) -> bool {
        if required.is_plain() {
            return self == required;
        }
        self.prefix == required.prefix && (self.resource == required.resource || self.resource == "*") && self.action >= required.action
    }

    /// Whether this is the `<prefix>:admin` that lifts the ownership check of an API.
    #[must_use]
    pub fn is_admin_of(&self, prefix: &str) -> bool {
        !self.is_plain() && self.prefix == prefix && self.resource == "*" && self.action == Action::Admin
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Read => "read",
            Action::Write => "write",
            Action::Admin => "admin",
        };
        if self.resource == "*" { write!(f, "{}:{action}", self.prefix) } else { write!(f, "{}:{}:{action}", self.prefix, self.resource) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        for (text, resource, action) in
            [("a:read", "*", Action::Read), ("a:b:write", "b", Action::Write), ("a:*:admin", "*", Action::Admin)]
        {
            let scope = Scope::parse(text).unwrap();
            assert_eq!((scope.prefix.as_str(), scope.resource.as_str(), scope.action), ("a", resource, action), "{text}");
        }
        for bad in ["", "a", "a:", ":read", "a::read", "a: :read", "a:b:c:read", "a:read:", "a:look", "a:b:look", "openid"] {
            assert_eq!(Scope::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn grants() {
        let table = [
            ("m:assets:read", "m:assets:read", true),
            ("m:assets:write", "m:assets:read", true),
            ("m:read", "m:assets:read", true),
            ("m:admin", "m:assets:write", true),
            ("m:admin", "m:admin", true),
            ("m:assets:read", "m:assets:write", false),
            ("m:assets:admin", "m:policies:read", false),
            ("m:assets:admin", "m:admin", false),
            ("m:assets:read", "m:read", false),
            ("m:write", "m:admin", false),
            ("i:admin", "m:assets:read", false),
            ("tenant-manager-api:read", "tenant-manager-api:read", true),
            ("tenant-manager-api:write", "tenant-manager-api:read", false),
            ("tenant-manager-api:admin", "tenant-manager-api:write", false),
            ("provision-manager-api:write", "provision-manager-api:write", true),
            ("provision-manager-api:write", "tenant-manager-api:write", false),
        ];
        for (granted, required, expected) in table {
            let (g, r) = (Scope::parse(granted).unwrap(), Scope::parse(required).unwrap());
            assert_eq!(g.grants(&r), expected, "{granted} for {required}");
        }
        assert!(!Scope::parse("tenant-manager-api:admin").unwrap().is_admin_of("tenant-manager-api"));
        assert!(!Scope::parse("m:assets:admin").unwrap().is_admin_of("m"));
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        #[test]
        fn text_round_trip(prefix in "[a-z-]{1,8}", resource in "[a-z]{1,8}|\\*", action in "read|write|admin") {
            let scope = Scope::parse(&format!("{prefix}:{resource}:{action}")).unwrap();
            prop_assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
    }
}
