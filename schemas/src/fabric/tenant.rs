//! Tenants.

use super::{Properties, TenantId, wire::null_as_default};
use serde::{Deserialize, Serialize};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Raised by every change.
    pub version: i64,
    /// Free properties, for example `name` and `location`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}

/// A tenant to make.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewTenant {
    /// Free properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}

/// A change of a tenant's properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantPropertiesDiff {
    /// Set or replaced.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
    /// Removed, before the others are set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub removed: Vec<String>,
}
