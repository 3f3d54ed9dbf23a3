//! Why a credential does not count.

use crate::trust::PeerError;

/// Why a credential does not count. Names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[allow(missing_docs)]
    #[error("a credential must have the form of the VC Data Model 1.1 (JWT with a vc claim) or 2.0 (JOSE)")]
    Form,
    #[allow(missing_docs)]
    #[error("the key of a credential must be one of its issuer")]
    KeyOwner,
    #[allow(missing_docs)]
    #[error("issuer, id and subject of a credential must be the same in all places that name them")]
    Contradiction,
    #[allow(missing_docs)]
    #[error("the dates of a credential must be valid date-times")]
    Dates,
    #[allow(missing_docs)]
    #[error("the credential must be valid already")]
    NotYetValid,
    #[allow(missing_docs)]
    #[error("the credential must not be expired")]
    Expired,
    #[allow(missing_docs)]
    #[error("every subject of the credential must be its holder")]
    Holder,
    #[allow(missing_docs)]
    #[error("the issuer must be trusted for every type of the credential")]
    Untrusted,
    #[allow(missing_docs)]
    #[error("the status of a credential must be a BitstringStatusListEntry or StatusList2021Entry with purpose, index and list")]
    StatusForm,
    #[allow(missing_docs)]
    #[error(
        "the schemas of a credential must be a few of the types JsonSchema, JsonSchemaCredential and JsonSchemaValidator2018, each with its URL"
    )]
    SchemaForm,
}

impl From<CredentialError> for PeerError {
    fn from(rule: CredentialError) -> Self {
        Self::Refused(rule.to_string())
    }
}
