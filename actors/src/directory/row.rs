//! Rows of the directory.

use cellspace_schemas::{
    Timestamp,
    fabric::{ParticipantProfileId, TenantId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A tenant; the id is a `TenantId`.
    Tenant,
    /// A participant profile; the id is a `ParticipantProfileId`.
    ParticipantProfile,
    /// A DID and the participant profile that holds it; the id is the DID.
    Identifier,
    /// An orchestration; the id is an `OrchestrationId`.
    Orchestration,
    /// A participant context of the Identity API; the id is a `ParticipantContextId`.
    ParticipantContext,
    /// A participant context of the Management API; the id is a `ParticipantContextId`.
    ManagedParticipant,
}

impl Kind {
    /// Name of its table.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::ParticipantProfile => "participant-profile",
            Self::Identifier => "identifier",
            Self::Orchestration => "orchestration",
            Self::ParticipantContext => "participant-context",
            Self::ManagedParticipant => "managed-participant",
        }
    }
}

/// Whose object a row is about, where its id alone does not say; only the holder may change or remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The tenant.
    pub tenant: TenantId,
    /// The participant profile, for identifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ParticipantProfileId>,
}

/// Identity of a row and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRow {
    /// What it is about.
    pub kind: Kind,
    /// Its id.
    pub id: Arc<str>,
    /// Whose it is.
    pub holder: Option<Holder>,
    /// Things that must not go away while the row is there, for example `cell:<id>`.
    pub references: Vec<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Identity and references.
    #[serde(flatten)]
    pub key: NewRow,
    /// When it was first reserved or put; lists are in this order.
    pub created: Timestamp,
    /// Version of the object that the row shows; 0 while reserved.
    pub version: i64,
    /// The object as the API shows it; `None` while the row is reserved.
    pub body: Option<Arc<Value>>,
    /// When a reserved row is checked.
    pub check_at: Option<Timestamp>,
}

impl Row {
    /// Whether `holder` may change it.
    #[must_use]
    pub fn held_by(&self, holder: Option<&Holder>) -> bool {
        self.key.holder.as_ref() == holder
    }
}
