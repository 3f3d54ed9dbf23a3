//! A caller at the edge: the claims of a verified token, brought to one shape.
//!
//! Seed-shaped tokens (claims `role` and `participant_context_id`, no scope of ours) are mapped here, so that nothing behind knows them.

use super::{Claims, Scope};
use crate::http::Role;
use cellspace_schemas::ParticipantContextId;

/// Scopes of a seed-shaped `admin`.
const SEED_ADMIN: [&str; 10] = [
    "management-api:admin",
    "identity-api:admin",
    "issuer-admin-api:admin",
    "siglet-api:admin",
    "siglet-mgmt-api:admin",
    "token-service-api:admin",
    "tenant-manager-api:read",
    "tenant-manager-api:write",
    "provision-manager-api:read",
    "provision-manager-api:write",
];
/// Scopes of a seed-shaped `provisioner`; the operations on its list need no others.
const SEED_PROVISIONER: [&str; 4] =
    ["tenant-manager-api:read", "tenant-manager-api:write", "provision-manager-api:read", "provision-manager-api:write"];
/// Scopes of a seed-shaped `participant`.
const SEED_PARTICIPANT: [&str; 5] =
    ["management-api:write", "identity-api:write", "issuer-admin-api:write", "siglet-api:write", "siglet-mgmt-api:write"];

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's subject, or its client; for audit rows.
    pub subject: String,
    /// The role that the token names; without one, the role depends on the API.
    pub role: Option<Role>,
    /// The participant context it names.
    pub participant: Option<ParticipantContextId>,
    /// Whether a provisioner acts for all participants; otherwise it is bound to `participant`.
    pub unbound: bool,
    /// Whether the platform itself calls: its own token service signed the token, and no client asked for it.
    pub by_platform: bool,
    /// What it was granted; what is no scope is left out.
    pub scopes: Vec<Scope>,
    /// Whether the token names no scopes at all, of whatever form.
    pub unscoped: bool,
}

/// Whose token it is: that decides how a provisioner is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The embedded token service. A provisioner is bound to its `sub`, unless the `sub` is the client itself.
    Embedded,
    /// A configured issuer. A provisioner is bound when the token names a participant context.
    Foreign,
}

impl Caller {
    /// Brings verified claims to one shape.
    #[must_use]
    pub fn new(claims: &Claims, origin: Origin) -> Self {
        let named = claims.participant_context_id.as_deref();
        let participant = named.or(claims.sub.as_deref()).and_then(|id| ParticipantContextId::new(id).ok());
        let role = claims.role.as_deref().map(|role| match role {
            "admin" => Role::Admin,
            "provisioner" => Role::Provisioner,
            // An unknown role gets what the least powerful one gets.
            _ => Role::Participant,
        });
        let unbound = named.is_none()
            && match origin {
                Origin::Embedded => claims.client_id.is_some() && claims.client_id == claims.sub,
                Origin::Foreign => true,
            };
        let mut scopes: Vec<Scope> = claims.scope.0.iter().filter_map(|scope| Scope::parse(scope)).collect();
        if scopes.is_empty() && origin == Origin::Foreign {
            let seed: &[&str] = match role {
                Some(Role::Admin) => &SEED_ADMIN,
                Some(Role::Provisioner) => &SEED_PROVISIONER,
                Some(Role::Participant) => &SEED_PARTICIPANT,
                None => &[],
            };
            scopes.extend(seed.iter().filter_map(|scope| Scope::parse(scope)));
        }
        let subject = claims.sub.clone().or_else(|| claims.client_id.clone()).unwrap_or_else(|| "unknown".to_owned());
        let by_platform = origin == Origin::Embedded && claims.client_id.is_none();
        Self { subject, role, participant, unbound, by_platform, scopes, unscoped: claims.scope.0.is_empty() }
    }

    /// The role for an API: the named one, or `admin` where it holds `<prefix>:admin`, else `participant`.
    #[must_use]
    pub fn role_for(&self, prefix: &str) -> Role {
        self.role.unwrap_or_else(|| if self.scopes.iter().any(|scope| scope.is_admin_of(prefix)) { Role::Admin } else { Role::Participant })
    }

    /// Whether it holds the scope.
    #[must_use]
    pub fn holds(&self, required: &Scope) -> bool {
        self.scopes.iter().any(|granted| granted.grants(required))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn caller(mut claims: Value, origin: Origin) -> Caller {
        claims["iss"] = "i".into();
        claims["exp"] = 1.into();
        Caller::new(&serde_json::from_value(claims).unwrap(), origin)
    }

    #[test]
    fn provisioners_are_bound() {
        for (claims, origin, participant, unbound) in [
            (json!({"role": "provisioner", "sub": "c", "client_id": "c"}), Origin::Embedded, "c", true),
            (json!({"role": "provisioner", "sub": "p", "client_id": "c"}), Origin::Embedded, "p", false),
            (json!({"role": "provisioner", "sub": "p"}), Origin::Embedded, "p", false),
            // Exchanged for a participant context that bears the client's own name.
            (json!({"role": "provisioner", "sub": "c", "client_id": "c", "participant_context_id": "c"}), Origin::Embedded, "c", false),
            (json!({"role": "provisioner", "sub": "u"}), Origin::Foreign, "u", true),
            (json!({"role": "provisioner", "sub": "u", "participant_context_id": "p"}), Origin::Foreign, "p", false),
        ] {
            let caller = caller(claims.clone(), origin);
            assert_eq!((caller.participant.unwrap().as_str(), caller.unbound), (participant, unbound), "{claims} {origin:?}");
        }
    }

    #[test]
    fn seed_shaped_tokens_are_mapped() {
        let scope = |text| Scope::parse(text).unwrap();
        let admin = caller(json!({"role": "admin", "scope": "openid profile"}), Origin::Foreign);
        assert!(admin.holds(&scope("management-api:assets:write")) && admin.holds(&scope("tenant-manager-api:read")));
        let participant = caller(json!({"role": "participant", "participant_context_id": "p", "sub": "u"}), Origin::Foreign);
        assert!(participant.holds(&scope("management-api:assets:write")) && !participant.holds(&scope("management-api:admin")));
        assert!(!participant.holds(&scope("tenant-manager-api:read")));
        assert_eq!(participant.participant.unwrap().as_str(), "p");
        // Scopes of ours are taken as they are; and the embedded token service always names them.
        let narrow = caller(json!({"role": "admin", "scope": "management-api:read"}), Origin::Foreign);
        assert!(!narrow.holds(&scope("management-api:write")));
        assert!(caller(json!({"role": "admin"}), Origin::Embedded).scopes.is_empty());
    }

    #[test]
    fn roles_without_a_claim_depend_on_the_api() {
        let caller =
            caller(json!({"sub": "p", "scope": "management-api:admin identity-api:write issuer-admin-api:holders:admin"}), Origin::Foreign);
        assert_eq!(caller.role_for("management-api"), Role::Admin);
        assert_eq!(caller.role_for("identity-api"), Role::Participant);
        assert_eq!(caller.role_for("issuer-admin-api"), Role::Participant);
        let odd = self::caller(json!({"role": "owner", "scope": "management-api:admin"}), Origin::Foreign);
        assert_eq!(odd.role_for("management-api"), Role::Participant);
    }
}
