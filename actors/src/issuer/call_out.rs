//! Attestations of services: asked about the holder while a request is prepared, before anything is decided.
//!
//! `POST url` with who asks and about whom, and a token that the issuer signed. 200 with an object: its members are claims. Another 2xx or 4xx, or a service
//! that may not be called: nothing is attested. Everything else: not known, and the holder may ask again.
//!
//! Nothing that was said is kept: every request asks anew. Requests that come while the same question is being asked wait for its answer.

use super::{Attestation, Definition, Holder, IssuerState, admin, agent::Refusal, approval::Approval, claims::Claims};
use crate::{
    Services,
    outbound::{OutboundError, OutboundRequest},
    trust::{
        PeerError, SigningKey,
        aged_cache::{AgedCache, Weigh},
        signing_key,
    },
};
use cellspace_cluster::PrepareError;
use cellspace_schemas::{
    Did, ParticipantContextId, Timestamp,
    identity::key_pair::KeyUsage,
    issuer::{AttestationId, CredentialDefinitionId, HolderId},
    json,
};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::json as value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use url::Url;
use uuid::Uuid;

/// Services asked for one request at most.
pub const MAX_CALLS: usize = 8;
/// Longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;
/// Questions of one issuer under way at once.
const MAX_AT_ONCE: usize = 64;
/// Answers that have room until who waits for them has them.
const KEPT: usize = 1_024;
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

/// What is asked: whose attestation of whom, and what the question says beside that.
type Question = (ParticipantContextId, AttestationId, HolderId, Url, Timestamp);

/// An answer: claims, or that nothing is attested.
#[derive(Debug, Clone)]
struct Said(Option<Arc<Claims>>);

impl Weigh for Said {
    fn weight(&self) -> u64 {
        MAX_ANSWER_BYTES as u64
    }
}

/// Questions under way: one at a time about the same, and a bounded number of one issuer's.
pub struct CallOuts {
    asked: AgedCache<Question, Said>,
    under_way: Mutex<HashMap<ParticipantContextId, usize>>,
}

/// Room for one question of an issuer.
struct Room<'a>(&'a CallOuts, &'a ParticipantContextId);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        if let Some(count) = under_way.get_mut(self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(self.1);
            }
        }
    }
}

impl Default for CallOuts {
    fn default() -> Self {
        Self { asked: AgedCache::new(KEPT, (KEPT * MAX_ANSWER_BYTES) as u64, Duration::ZERO), under_way: Mutex::default() }
    }
}

impl CallOuts {
    fn room<'a>(&'a self, issuer: &'a ParticipantContextId) -> Option<Room<'a>> {
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(issuer.clone()).or_default();
        if *count >= MAX_AT_ONCE {
            return None;
        }
        *count += 1;
        Some(Room(self, issuer))
    }

    /// The answer to a question, which is asked unless it is being asked already.
    async fn answer<F>(&self, question: &Question, now: Timestamp, ask: impl FnOnce() -> F) -> Result<Option<Claims>, String>
    where
        F: Future<Output = Result<Option<Claims>, String>>,
    {
        let asking = |_| async move {
            let _room = self.room(&question.0).ok_or_else(|| PeerError::Unreachable("too many attestations are asked for".to_owned()))?;
            let claims = ask().await.map_err(PeerError::Unreachable)?;
            // Over as soon as it is there.
            Ok((Said(claims.map(Arc::new)), now))
        };
        let said = self.asked.get(question, now, asking).await;
        self.asked.forget_older(question, Duration::ZERO, now);
        match said {
            Ok(Said(claims)) => Ok(claims.map(Arc::unwrap_or_clone)),
            Err(PeerError::Unreachable(reason) | PeerError::Refused(reason)) => Err(reason),
            Err(error @ PeerError::TooEarly) => Err(error.to_string()),
        }
    }

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
            let question = (issuer.clone(), id.clone(), holder.id.clone(), url.clone(), holder.updated_at);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn question(issuer: &str, holder: usize) -> Question {
        let url = "https://office.example/".parse().unwrap();
        (issuer.parse().unwrap(), "office".parse().unwrap(), holder.to_string().parse().unwrap(), url, Timestamp(0))
    }

    #[tokio::test]
    async fn the_same_is_asked_once_at_a_time_and_anew_afterwards() {
        let (outs, asked, open) = (CallOuts::default(), AtomicUsize::new(0), Notify::new());
        let ask = |question: Question| {
            let (outs, asked, open) = (&outs, &asked, &open);
            async move {
                let asking = || async {
                    asked.fetch_add(1, Ordering::SeqCst);
                    open.notified().await;
                    if question.2.as_str() == "2" { Err("down".to_owned()) } else { Ok(Some(Claims::new())) }
                };
                outs.answer(&question, Timestamp(5), asking).await
            }
        };
        for (holder, good) in [(1, true), (2, false)] {
            asked.store(0, Ordering::SeqCst);
            let together = futures::future::join_all((0..10).map(|_| ask(question("issuer", holder))));
            let opened = async {
                while asked.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
                open.notify_one();
            };
            let (answers, ()) = futures::future::join(together, opened).await;
            assert!(answers.iter().all(|answer| answer.is_ok() == good));
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{holder}");
            open.notify_one();
            assert_eq!(ask(question("issuer", holder)).await.is_ok(), good);
            assert_eq!(asked.load(Ordering::SeqCst), 2, "nothing is kept");
        }
        assert!(outs.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn an_issuer_asks_a_bounded_number_of_questions_at_once() {
        let (outs, open) = (CallOuts::default(), Notify::new());
        let ask = |question: Question| {
            let (outs, open) = (&outs, &open);
            async move {
                let asking = || async {
                    open.notified().await;
                    Ok(None)
                };
                outs.answer(&question, Timestamp(5), asking).await
            }
        };
        let many = futures::future::join_all((0..MAX_AT_ONCE).map(|holder| ask(question("issuer", holder))));
        let meanwhile = async {
            while outs.under_way.lock().values().sum::<usize>() < MAX_AT_ONCE {
                tokio::task::yield_now().await;
            }
            assert!(ask(question("issuer", MAX_AT_ONCE)).await.is_err());
            assert!(outs.answer(&question("other", 0), Timestamp(5), || async { Ok(None) }).await.is_ok());
            open.notify_waiters();
        };
        let (answers, ()) = futures::future::join(many, meanwhile).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(outs.under_way.lock().is_empty());
    }
}
