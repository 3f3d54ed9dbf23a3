//! Posts to callback addresses: signed by the participant, with the secret that its client has put into the vault.

use super::{Effect, Outcome, envelope::envelope};
use crate::{
    Services,
    control_plane::{ControlPlane, ControlPlaneState},
    signed_post,
    trust::{self, SigningKey, TokenError},
};
use cellspace_cluster::{Delivery, DeliveryError};
use cellspace_schemas::{ParticipantContextId, identity::key_pair::KeyUsage, management::CallbackAddress};
use cellspace_storage::{VaultError, VaultPath};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

/// What the signed text is, in the header of its signature: so that it is taken for nothing else that the participant signs.
const TYPE: &str = "process-event+json";

/// Posts the event once.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let (state, callback) = (&delivery.snapshot, &effect.callback);
    let participant = state.known().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let id = delivery.message_id.to_string();
    let body = serde_json::to_vec(&envelope(&id, effect.at, effect.event, &effect.payload));
    let body = body.map_err(|e| DeliveryError::Refused(format!("the event cannot be written: {e}")))?;
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = secret(services, state, &participant.id, callback).await? {
        headers.insert(name, value);
    }
    let key = signing_key(services, state, &participant.id).await?;
    let post = signed_post::Post { url: callback.uri.clone(), headers, body, typ: TYPE };
    let outcome = signed_post::send(services, &key, post, delivery.trace.clone()).await.map(|()| Outcome);
    let reason = outcome.as_ref().err().map(ToString::to_string);
    tracing::info!(category = "app", vpa = %delivery.address, action = "callback", process = %effect.process, event = effect.event.name(),
        host = callback.host(), reason, "sent");
    outcome
}

/// The client's header with the secret as it is now. Nothing is sent without it: as long as there is no such secret, it is waited for.
async fn secret(
    services: &Services,
    state: &ControlPlaneState,
    participant: &ParticipantContextId,
    callback: &CallbackAddress,
) -> Result<Option<(HeaderName, HeaderValue)>, DeliveryError> {
    let refused = |what: &str| DeliveryError::Refused(format!("{what} of the callback address cannot stand in a request"));
    let Some((name, id)) = callback.auth().map_err(refused)? else { return Ok(None) };
    let known = state.secrets.get(&id).ok_or_else(|| {
        let missing = format!("the participant has no secret {id}");
        // One that was deleted gets no more of them.
        if state.participant.is_none() { DeliveryError::Refused(missing) } else { DeliveryError::Retry(missing) }
    })?;
    let path = VaultPath { owner: participant.into(), alias: known.record.clone() };
    let secret = services.vault.secret(&path).await.map_err(|e| match e {
        VaultError::WrongType(_) => DeliveryError::Refused(e.to_string()),
        VaultError::NotFound(_) | VaultError::WrongMasterKey(_) | VaultError::Crypto(_) | VaultError::Store(_) => {
            DeliveryError::Retry(e.to_string())
        }
    })?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("authKey"))?;
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| refused("the secret"))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

async fn signing_key(
    services: &Services,
    state: &ControlPlaneState,
    participant: &ParticipantContextId,
) -> Result<SigningKey, DeliveryError> {
    trust::signing_key(services, participant, KeyUsage::Token).await.map_err(|e| match e {
        // One that was deleted does not come back; one that is switched off for a while goes on afterwards.
        TokenError::NoParticipant(_) if state.participant.is_none() => DeliveryError::Refused(e.to_string()),
        TokenError::NoParticipant(_) | TokenError::NoKey(..) | TokenError::Unavailable(_) => DeliveryError::Retry(e.to_string()),
    })
}
