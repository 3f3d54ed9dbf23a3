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
/// Of these about holders that nobody has registered: whoever wants to can be some of them.
const MAX_ABOUT_STRANGERS: usize = MAX_AT_ONCE / 4;
/// Requests of such holders that wait for an answer at once, also one that another has asked for: each takes a place of the issuer's inbox meanwhile.
const MAX_WAITING_STRANGERS: usize = MAX_AT_ONCE;
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    issuer: ParticipantContextId,
    attestation: AttestationId,
    holder: HolderId,
    service: Url,
    /// When what the question says of a holder was written; `None` for one that nobody has registered, of which it says the same at all times.
    registered: Option<Timestamp>,
}

impl Question {
    fn new(issuer: &ParticipantContextId, attestation: &AttestationId, holder: &Holder, service: &Url) -> Self {
        let registered = (!holder.anonymous).then_some(holder.updated_at);
        let (issuer, attestation) = (issuer.clone(), attestation.clone());
        Self { issuer, attestation, holder: holder.id.clone(), service: service.clone(), registered }
    }
}

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
    under_way: Mutex<HashMap<ParticipantContextId, Count>>,
}

/// Questions of one issuer under way.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: usize,
    about_strangers: usize,
    /// Requests of strangers that wait for the answers.
    waiting_strangers: usize,
}

impl Count {
    const fn is_none(&self) -> bool {
        self.all == 0 && self.waiting_strangers == 0
    }
}

/// A stranger's request that waits for an answer.
struct Wait<'a>(&'a CallOuts, &'a ParticipantContextId);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.change(self.1, |count| count.waiting_strangers = count.waiting_strangers.saturating_sub(1));
    }
}

/// Room for one question of an issuer.
struct Room<'a>(&'a CallOuts, &'a Question);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let Self(outs, question) = self;
        outs.change(&question.issuer, |count| {
            count.all = count.all.saturating_sub(1);
            count.about_strangers = count.about_strangers.saturating_sub(usize::from(question.registered.is_none()));
        });
    }
}

impl Default for CallOuts {
    fn default() -> Self {
        Self { asked: AgedCache::new(KEPT, (KEPT * MAX_ANSWER_BYTES) as u64, Duration::ZERO), under_way: Mutex::default() }
    }
}

impl CallOuts {
    fn change(&self, issuer: &ParticipantContextId, change: impl FnOnce(&mut Count)) {
        let mut under_way = self.under_way.lock();
        let Some(count) = under_way.get_mut(issuer) else { return };
        change(count);
        if count.is_none() {
            under_way.remove(issuer);
        }
    }

    /// Room for a stranger's request that waits.
    fn wait<'a>(&'a self, issuer: &'a ParticipantContextId) -> Option<Wait<'a>> {
        let mut under_way = self.under_way.lock();
        let count = under_way.get(issuer).copied().unwrap_or_default();
        if count.waiting_strangers >= MAX_WAITING_STRANGERS {
            return None;
        }
        under_way.insert(issuer.clone(), Count { waiting_strangers: count.waiting_strangers + 1, ..count });
        Some(Wait(self, issuer))
    }

    fn room<'a>(&'a self, question: &'a Question) -> Option<Room<'a>> {
        let mut under_way = self.under_way.lock();
        let stranger = question.registered.is_none();
        let count = under_way.get(&question.issuer).copied().unwrap_or_default();
        if count.all >= MAX_AT_ONCE || stranger && count.about_strangers >= MAX_ABOUT_STRANGERS {
            return None;
        }
        let more = Count { all: count.all + 1, about_strangers: count.about_strangers + usize::from(stranger), ..count };
        under_way.insert(question.issuer.clone(), more);
        Some(Room(self, question))
    }

    /// The answer to a question, which is asked unless it is being asked already.
    async fn answer<F>(&self, question: &Question, now: Timestamp, ask: impl FnOnce() -> F) -> Result<Option<Claims>, String>
    where
        F: Future<Output = Result<Option<Claims>, String>>,
    {
        let too_many = || "too many attestations are asked for".to_owned();
        let _waits = if question.registered.is_none() { Some(self.wait(&question.issuer).ok_or_else(too_many)?) } else { None };
        let asking = |_| async move {
            let _room = self.room(question).ok_or_else(|| PeerError::Unreachable(too_many()))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn question(issuer: &str, holder: usize) -> Question {
        about(issuer, &holder.to_string(), false, Timestamp(0))
    }

    fn about(issuer: &str, holder: &str, anonymous: bool, updated_at: Timestamp) -> Question {
        let url = "https://office.example/".parse().unwrap();
        let stranger = Holder::anonymous(&Did::new("did:web:stranger").unwrap(), updated_at).unwrap();
        let holder = Holder { id: holder.parse().unwrap(), anonymous, ..stranger };
        Question::new(&issuer.parse().unwrap(), &"office".parse().unwrap(), &holder, &url)
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
                    if question.holder.as_str() == "2" { Err("down".to_owned()) } else { Ok(Some(Claims::new())) }
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
            while outs.under_way.lock().values().map(|count| count.all).sum::<usize>() < MAX_AT_ONCE {
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

    /// Whenever a stranger comes, and whatever of it is not kept yet, the question is the same; a registered one may have changed.
    #[test]
    fn what_is_asked_about_a_stranger_does_not_change() {
        let at = |anonymous, now| about("issuer", "h", anonymous, Timestamp(now));
        assert!(at(true, 1) == at(true, 2) && at(false, 1) != at(false, 2) && at(true, 1) != at(false, 1));
    }

    #[tokio::test]
    async fn few_strangers_wait_for_one_answer() {
        let (outs, open, now) = (CallOuts::default(), Notify::new(), Timestamp(5));
        let one = about("issuer", "stranger", true, now);
        let ask = || async {
            let asking = || async {
                open.notified().await;
                Ok(None)
            };
            outs.answer(&one, now, asking).await
        };
        let many = futures::future::join_all((0..MAX_WAITING_STRANGERS).map(|_| ask()));
        let meanwhile = async {
            while outs.under_way.lock().values().map(|count| count.waiting_strangers).sum::<usize>() < MAX_WAITING_STRANGERS {
                tokio::task::yield_now().await;
            }
            assert!(ask().await.is_err());
            assert!(outs.answer(&question("issuer", 0), now, || async { Ok(None) }).await.is_ok(), "one that is registered");
            open.notify_one();
        };
        let (answers, ()) = futures::future::join(many, meanwhile).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(outs.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn strangers_leave_places_to_those_who_are_registered() {
        let (outs, now) = (CallOuts::default(), Timestamp(5));
        let strangers: Vec<_> = (0..MAX_AT_ONCE).map(|n| about("issuer", &format!("stranger-{n}"), true, now)).collect();
        let held: Vec<_> = strangers.iter().filter_map(|stranger| outs.room(stranger)).collect();
        assert_eq!(held.len(), 16);
        let known: Vec<_> = (0..MAX_AT_ONCE).map(|n| question("issuer", n)).collect();
        let registered = known.iter().filter_map(|holder| outs.room(holder)).count();
        assert_eq!(registered, known.len(), "each gives its place back at once");
        let all: Vec<_> = known.iter().filter_map(|holder| outs.room(holder)).collect();
        assert_eq!(all.len(), MAX_AT_ONCE - held.len());
        drop(held);
        assert!(outs.room(&strangers[0]).is_some(), "their places are free again");
        drop(all);
        assert!(outs.under_way.lock().is_empty());
    }
}
