//! Prefixes under which the APIs are served. The first of each list is the canonical one; the others are the spellings of peers and of an
//! edge gateway in front, so that existing clients find the same routes.

/// Management API, what is not below one participant.
pub const MANAGEMENT: &[&str] = &["/api/mgmt/v5beta", "/api/management/v5beta"];
/// Management API, `/participants/{participant}/<resource>`: also served bare.
pub const MANAGEMENT_PARTICIPANT: &[&str] = &["/api/mgmt/v5beta", "/api/management/v5beta", ""];
/// Management API v4, of one participant that paths do not name.
pub const MANAGEMENT_V4: &[&str] = &["/api/mgmt/v4", "/api/management/v4"];
/// Identity API (`/participants...`, `/keypairs`, `/dids`, `/credentials`).
pub const IDENTITY: &[&str] = &["/api/identity/v1beta", "/api/identity/v1alpha", "/api/identity"];
/// Issuer admin API (`/participants/{participant}/<resource>`).
pub const ISSUER_ADMIN: &[&str] = &["/api/admin/v1beta", "/api/admin/v1alpha", "/api/issuer/admin"];
/// Tenant manager.
pub const TENANT_MANAGER: &[&str] = &["/api/v1alpha1", "/api/tm"];
/// Provision manager.
pub const PROVISION_MANAGER: &[&str] = &["/api/v1alpha1", "/api/pm"];
/// Token service (`/token`, `/.well-known/jwks.json`).
pub const TOKEN_SERVICE: &[&str] = &["", "/api/auth"];
/// Management of the token service (`/mappings`, `/scopes`, `/clients`).
pub const TOKEN_SERVICE_ADMIN: &[&str] = &["/api/v1", "/api/auth/api/v1"];
/// Secure token service of the credential service (`/token`).
pub const STS: &[&str] = &["/api/sts"];
/// Access tokens of running transfers (`/tokens/{participant}/{transfer}`).
pub const TOKENS: &[&str] = &["", "/api/siglet"];
/// Sources of the data plane (`/participants/{participant}/sources/{name}`).
pub const SOURCES: &[&str] = &[""];
/// Data plane signaling towards the platform's data plane (`/{participant}/dataflows...`).
pub const DATAFLOWS: &[&str] = &["/api/v1"];
/// Data plane signaling towards the control plane (`/{participant}/transfers/{transfer}/dataflow/...`).
pub const SIGNALING: &[&str] = &["/api/signaling"];
/// DSP (`/{participant}/{profile}/...`, `/{participant}/.well-known/dspace-version`).
pub const DSP: &[&str] = &["/api/dsp"];
/// The same of the default profile of one participant, neither of which paths name.
pub const DSP_CLASSIC: &[&str] = &["/api/dsp/2025-1"];
/// DCP credential service (`/participants/{participant}/...`).
pub const CREDENTIALS: &[&str] = &["/api/credentials/v1"];
/// DCP issuance (`/participants/{participant}/...`).
pub const ISSUANCE: &[&str] = &["/api/issuance/v1beta"];
/// Status lists (`/{issuer}/{list}`).
pub const STATUS_LISTS: &[&str] = &["/statuslist"];
/// Data of running flows (`/{participant}/{flow}`, `/{participant}/{flow}/{*path}`).
pub const DATA: &[&str] = &["/api/data"];
/// The runtime as operators see it (`/parked`, `/agents/{kind}/{owner}`).
pub const RUNTIME: &[&str] = &["/api/runtime"];
/// No prefix: the path is the whole path.
pub const ROOT: &[&str] = &[""];
