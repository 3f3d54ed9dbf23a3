//! Addresses of data: the one that a provider hands out, and the token of the one that a consumer received.

use super::{DataPlane, Flow, Role};
use crate::Services;
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    ParticipantContextId, TransferId,
    dps::{DataAddress, DataFlowState},
};
use cellspace_storage::VaultPath;
use secrecy::ExposeSecret;
use serde::Serialize;

/// Type of our endpoints (HTTP transfer profile, "Endpoint Type and DataAddress").
pub const ENDPOINT_TYPE: &str = "https://w3id.org/dspace-sig/profile/http-pull";

/// Why there is no address or token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No flow under this id received one.
    #[error("data flow {0} has no access token here")]
    NotFound(TransferId),
    /// Not now.
    #[error("data flow {flow} is {}, not STARTED", .state.name())]
    NotStarted {
        /// The flow.
        flow: TransferId,
        /// Its state.
        state: DataFlowState,
    },
    /// The vault or the agent is out of reach.
    #[error("{0}")]
    Unavailable(String),
}

/// The address that a provider's flow is reached under, with a fresh copy of its access token; `None` when no data may flow.
///
/// # Errors
/// [`AddressError::Unavailable`]
pub async fn offered(services: &Services, participant: &ParticipantContextId, flow: &Flow) -> Result<Option<DataAddress>, AddressError> {
    let Some(grant) = flow.grant.filter(|grant| flow.serves(grant.id)) else { return Ok(None) };
    let key = services.workers.signing_key(&*services.vault).await.map_err(unavailable)?;
    let token = key.issue(&*services.vault, &services.urls, participant, flow, grant).await.map_err(unavailable)?;
    let endpoint = services.urls.data(participant, flow.id.as_str());
    let address = DataAddress { endpoint_type: ENDPOINT_TYPE.to_owned(), endpoint: Some(endpoint), endpoint_properties: Vec::new() };
    Ok(Some(address.with("authorization", token).with("authType", "bearer")))
}

/// Where a consumer's application finds the data, and with what token.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedToken {
    /// The access token.
    pub token: String,
    /// How it is presented, for example `bearer`.
    pub auth_type: String,
    /// The provider's endpoint.
    pub endpoint: String,
    /// Its type.
    pub endpoint_type: String,
}

/// The token of a consumer's running flow.
///
/// # Errors
/// [`AddressError`]
pub async fn received(services: &Services, participant: &ParticipantContextId, flow: &TransferId) -> Result<ReceivedToken, AddressError> {
    let missing = || AddressError::NotFound(flow.clone());
    let agent = Address::of::<DataPlane>(participant);
    let found = services.cluster.read::<DataPlane, _>(&agent, |state| state.flows.get(flow).cloned()).await;
    let found = match found {
        Ok(found) => found.filter(|found| found.role == Role::Consumer).ok_or_else(missing)?,
        Err(AskError::NotRegistered) => return Err(missing()),
        Err(error) => return Err(unavailable(error)),
    };
    if found.state != DataFlowState::Started {
        return Err(AddressError::NotStarted { flow: flow.clone(), state: found.state });
    }
    let record = found.received.as_ref().map(|r| r.record.clone()).ok_or_else(missing)?;
    let path = VaultPath { owner: participant.into(), alias: record };
    let secret = services.vault.secret(&path).await.map_err(unavailable)?;
    let address: DataAddress = serde_json::from_str(secret.expose_secret()).map_err(unavailable)?;
    let property = |name: &str| address.property(name).map(str::to_owned);
    Ok(ReceivedToken {
        token: property("authorization").ok_or_else(missing)?,
        auth_type: property("authType").unwrap_or_else(|| "bearer".to_owned()),
        endpoint: address.endpoint.clone().ok_or_else(missing)?,
        endpoint_type: address.endpoint_type,
    })
}

/// The public keys of all access tokens that this installation hands out, as entries of a JWK Set.
///
/// # Errors
/// [`AddressError::Unavailable`]
pub async fn keys(services: &Services) -> Result<Vec<serde_json::Value>, AddressError> {
    let key = services.workers.signing_key(&*services.vault).await.map_err(unavailable)?;
    Ok(vec![key.jwk()])
}

fn unavailable(error: impl std::fmt::Display) -> AddressError {
    AddressError::Unavailable(error.to_string())
}
