//! What activities read from the processing data.

use super::{ActivityError, Work};
use cellspace_schemas::{
    Did, ParticipantContextId, ProfileId,
    fabric::{CredentialSpec, Properties, VpaManifest, VpaType, keys},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Typed access to the processing data of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    data: &'a Properties,
}

impl<'a> Input<'a> {
    /// The data of this attempt.
    #[must_use]
    pub fn of(work: &Work<'a>) -> Self {
        Self { data: work.data }
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ActivityError> {
        let value = self.data.get(key).filter(|value| !value.is_null());
        let read = |value: &Value| serde_json::from_value(value.clone()).map_err(|e| ActivityError::Fatal(format!("{key}: {e}")));
        value.map(read).transpose()
    }

    /// The participant's DID.
    ///
    /// # Errors
    /// Fatal when there is none.
    pub fn did(&self) -> Result<Did, ActivityError> {
        self.read(keys::PARTICIPANT_ID)?.ok_or_else(|| ActivityError::Fatal(format!("{} is missing", keys::PARTICIPANT_ID)))
    }

    /// The participant context that an earlier activity made, in this orchestration or in the one that is undone.
    ///
    /// # Errors
    /// Fatal when it is no identifier.
    pub fn made_participant(&self) -> Result<Option<ParticipantContextId>, ActivityError> {
        if let Some(id) = self.read(keys::PARTICIPANT_CONTEXT_ID)? {
            return Ok(Some(id));
        }
        let state: Option<Properties> = self.read(keys::VPA_STATE)?;
        state.as_ref().map_or(Ok(None), |state| Input { data: state }.read(keys::PARTICIPANT_CONTEXT_ID))
    }

    /// The participant context, for activities that cannot do without.
    ///
    /// # Errors
    /// Fatal when no activity before has made it.
    pub fn participant(&self) -> Result<ParticipantContextId, ActivityError> {
        let missing = || ActivityError::Fatal(format!("{} is missing: let it depend on the token activity", keys::PARTICIPANT_CONTEXT_ID));
        self.made_participant()?.ok_or_else(missing)
    }

    /// Credentials to request.
    ///
    /// # Errors
    /// Fatal when the list is malformed.
    pub fn credentials(&self) -> Result<Vec<CredentialSpec>, ActivityError> {
        Ok(self.read(keys::VPA_CREDENTIALS)?.unwrap_or_default())
    }

    /// Names of the dataspace profiles in the cell.
    ///
    /// # Errors
    /// Fatal when the list is malformed.
    pub fn profiles(&self) -> Result<Vec<ProfileId>, ActivityError> {
        Ok(self.read(keys::PROFILES)?.unwrap_or_default())
    }

    /// What the client said about the agent of this kind.
    ///
    /// # Errors
    /// Fatal when the list of agents is malformed.
    pub fn vpa_properties(&self, vpa_type: VpaType) -> Result<Properties, ActivityError> {
        let vpas: Vec<VpaManifest> = self.read(keys::VPA_DATA)?.unwrap_or_default();
        Ok(vpas.into_iter().find(|vpa| vpa.vpa_type == vpa_type).map(|vpa| vpa.properties).unwrap_or_default())
    }

    /// Issuers of the credentials, each one once, in the order of the list.
    ///
    /// # Errors
    /// Fatal when the list is malformed.
    pub fn issuers(&self) -> Result<Vec<Did>, ActivityError> {
        let mut issuers: Vec<Did> = Vec::new();
        for spec in self.credentials()? {
            if !issuers.contains(&spec.issuer) {
                issuers.push(spec.issuer);
            }
        }
        Ok(issuers)
    }
}
