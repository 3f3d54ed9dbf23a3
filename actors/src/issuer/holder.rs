//! Holders: whom the issuer knows.

use super::claims::Claims;
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    issuer::{
        HolderId,
        admin::{HolderBody, HolderView},
    },
};
use serde::{Deserialize, Serialize};

/// Longest properties, in bytes of JSON.
pub const MAX_PROPERTIES_BYTES: usize = 32 << 10;
/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// A registered holder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id.
    pub id: HolderId,
    /// Its DID: what requests are known by.
    pub did: Did,
    /// For people.
    pub name: String,
    /// Whether it was made by a request, instead of by an operator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// What the attestation source `holder` attests.
    pub properties: Claims,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Holder {
    /// A holder from an operator's body.
    ///
    /// # Errors
    /// What is too long.
    pub fn new(body: HolderBody, created_at: Timestamp, now: Timestamp) -> Result<Self, String> {
        let HolderBody { holder_id, did, name, properties } = body;
        if name.len() > MAX_NAME_BYTES {
            return Err(format!("name has at most {MAX_NAME_BYTES} bytes"));
        }
        if serde_json::to_vec(&properties).map_or(usize::MAX, |json| json.len()) > MAX_PROPERTIES_BYTES {
            return Err(format!("properties have at most {MAX_PROPERTIES_BYTES} bytes"));
        }
        Ok(Self { id: holder_id, did, name, anonymous: false, properties, created_at, updated_at: now })
    }

    /// Who asks without being registered: of it nothing is known but its DID, which is its id and name. `None` when that can be no id.
    #[must_use]
    pub fn anonymous(did: &Did, now: Timestamp) -> Option<Self> {
        let (id, name) = (HolderId::new(did.as_str()).ok()?, did.to_string());
        Some(Self { id, did: did.clone(), name, anonymous: true, properties: Claims::new(), created_at: now, updated_at: now })
    }

    /// As it is answered.
    #[must_use]
    pub fn view(&self, issuer: &ParticipantContextId) -> HolderView {
        HolderView {
            id: self.id.clone(),
            holder_id: self.id.clone(),
            did: self.did.clone(),
            holder_name: self.name.clone(),
            anonymous: self.anonymous,
            properties: self.properties.clone(),
            participant_context_id: issuer.clone(),
            created_at: self.created_at,
            last_modified_at: self.updated_at,
        }
    }
}
