//! Attestations of services: asked about the holder while a request is prepared, before anything is decided.
//!
//! `POST url` with who asks and about whom, and a token that the issuer signed. 200 with an object: its members are claims. Another 2xx or 4xx, or a service
//! that may not be called: nothing is attested. Everything else: not known, and the holder may ask again.
//!
//! Nothing that was said is kept: every request asks anew. Requests that come while the same question is being asked wait for its answer.

mod room;

pub use room::CallOuts;

use super::{Attestation, Definition, Holder, IssuerState, admin, agent::Refusal, approval::Approval, claims::Claims};
use crate::{
    Services,
    outbound::{OutboundError, OutboundRequest},
    trust::{SigningKey, signing_key},
};
use cellspace_cluster::PrepareError;
use cellspace_schemas::{
    Did, ParticipantContextId,
    identity::key_pair::KeyUsage,
    issuer::{AttestationId, CredentialDefinitionId},
    json,
};
use http::{Method, StatusCode};
use room::Question;
use serde_json::json as value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use url::Url;
use uuid::Uuid;

/// Services asked for one request at most.
pub const MAX_CALLS: usize = 8;
/// Longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Lifetime of the token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);
/// Type of the token: no receiver of ID tokens takes it for one.
const TOKEN_TYPE: &str = "attestation+jwt";

/// What services said: claims, or that they attest nothing.
pub type Attested = BTreeMap<AttestationId, Option<Claims>>;

/// The services' attestations that these definitions need.
pub fn needed<'a>(state: &'a IssuerState, definitions: &'a [CredentialDefinitionId]) -> impl Iterator<Item = (Arc<Attestation>, Url)> + 'a {
    let definitions = definitions.iter().filter_map(|id| state.definitions.get(id));
    let ids = definitions.flat_map(|definition: &Arc<Definition>| definition.attestations.iter());
    ids.filter_map(|id| state.attestations.get(id)).filter_map(|attestation| Some((attestation.clone(), attestation.url()?)))
}

/// Whether all services that the definitions need have said something.
#[must_use]
pub fn is_complete(state: &IssuerState, definitions: &[CredentialDefinitionId], said: &Attested) -> bool {
    needed(state, definitions).all(|(attestation, _)| said.contains_key(&attestation.id))
}

/// Whether the service that an operator names may be called; what else is wrong with what it names is found when it is decided on.
///
/// # Errors
/// [`Refusal::Invalid`] names the target.
pub fn check_targets(services: &Services, command: &admin::Command) -> Result<(), Refusal> {
    let url = match command {
        admin::Command::CreateAttestation(body) => {
            Attestation::new(body.clone(), services.cluster.now()).ok().and_then(|attestation| attestation.url())
        }
        admin::Command::CreateDefinition(body) | admin::Command::UpdateDefinition(body) => {
            body.approval.as_ref().and_then(|approval| Approval::new(approval).ok()?.hook)
        }
        _ => None,
    };
    url.map_or(Ok(()), |url| services.http.check_target(&url)).map_err(|error| Refusal::Invalid(error.to_string()))
}

impl CallOuts {
    /// Asks all services that the definitions need, at once.
    ///
    /// # Errors
    /// [`Refusal::NotEntitled`] when there are too many; unavailable when one does not answer, or the issuer asks too much at once.
    pub async fn ask(
        &self,
        services: &Services,
        issuer: &ParticipantContextId,
        state: &IssuerState,
        holder: &Holder,
        definitions: &[CredentialDefinitionId],
    ) -> Result<Attested, PrepareError<Refusal>> {
        let needed: BTreeMap<AttestationId, Url> =
            needed(state, definitions).map(|(attestation, url)| (attestation.id.clone(), url)).collect();
        if needed.is_empty() {
            return Ok(Attested::new());
        }
        if needed.len() > MAX_CALLS {
            return Err(Refusal::NotEntitled(format!("a request has at most {MAX_CALLS} attestations of services")).into());
        }
        let key = signing_key(services, issuer, KeyUsage::Token).await.map_err(|e| PrepareError::Unavailable(e.to_string()))?;
        let (key, now) = (&key, services.cluster.now());
        let asking = needed.into_iter().map(|(id, url)| async move {
            let question = Question::new(issuer, &id, holder, &url);
            let claims = self.answer(&question, now, || ask_one(services, key, holder, &id, url)).await;
            // Which service it is, is nobody's business but the operator's.
            let claims = claims.map_err(|reason| {
                tracing::warn!(category = "dcp", action = "attestation.unavailable", issuer = %key.did, attestation = %id, %reason);
                PrepareError::Unavailable(format!("the attestation {id} cannot be had"))
            });
            Ok::<_, PrepareError<Refusal>>((id, claims?))
        });
        Ok(futures::future::try_join_all(asking).await?.into_iter().collect())
    }
}

async fn ask_one(services: &Services, key: &SigningKey, holder: &Holder, id: &AttestationId, url: Url) -> Result<Option<Claims>, String> {
    let body = value!({"issuer": key.did, "attestation": id, "holder": {"id": holder.id, "did": holder.did, "name": holder.name, "properties": holder.properties}});
    let token = token(services, key, &key.did, &url).await?;
    let request = OutboundRequest {
        method: Method::POST,
        url,
        bearer: Some(token),
        body: Some(body.to_string().into()),
        accept: Some("application/json"),
        trace: None,
    };
    let answer = match services.http.send_unless(request, None, MAX_ANSWER_BYTES).await {
        Ok(answer) => answer,
        // It will not be called later either.
        Err(OutboundError::Forbidden(target)) => {
            tracing::warn!(category = "dcp", action = "attestation.forbidden", issuer = %key.did, attestation = %id, target);
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    match answer.status {
        StatusCode::OK => json::from_slice::<Claims>(&answer.body).map(Some).map_err(|_| "its answer is no object".to_owned()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(format!("status {}", answer.status)),
        status if status.is_success() || status.is_client_error() => Ok(None),
        status => Err(format!("status {status}")),
    }
}

/// Who asks, for this service alone.
async fn token(services: &Services, key: &SigningKey, issuer: &Did, url: &Url) -> Result<String, String> {
    let now = services.cluster.now();
    let claims = value!({"iss": issuer, "sub": issuer, "aud": url, "jti": Uuid::new_v4(), "iat": now.seconds(), "exp": now.plus(TOKEN_LIFETIME).seconds()});
    key.sign(services.vault.as_ref(), TOKEN_TYPE, &claims).await.map_err(|e| e.to_string())
}
