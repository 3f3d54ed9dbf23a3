//! How many are asked at once, and that the same is asked once.

#[cfg(test)]
mod tests;

use super::MAX_ANSWER_BYTES;
use crate::{
    issuer::{Holder, claims::Claims},
    trust::{
        PeerError,
        aged_cache::{AgedCache, Weigh},
    },
};
use cellspace_schemas::{
    ParticipantContextId, Timestamp,
    issuer::{AttestationId, HolderId},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use url::Url;

/// Questions of one issuer under way at once.
const MAX_AT_ONCE: usize = 64;
/// Of these about holders that nobody has registered: whoever wants to can be some of them.
const MAX_ABOUT_STRANGERS: usize = MAX_AT_ONCE / 4;
/// Requests of such holders that wait for an answer at once, also one that another has asked for: each takes a place of the issuer's inbox meanwhile.
const MAX_WAITING_STRANGERS: usize = MAX_AT_ONCE;
/// Answers that have room until who waits for them has them.
const KEPT: usize = 1_024;

/// What is asked: whose attestation of whom, and what the question says beside that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    issuer: ParticipantContextId,
    attestation: AttestationId,
    holder: HolderId,
    service: Url,
    /// When what the question says of a holder was written; `None` for one that nobody has registered, of which it says the same at all times.
    registered: Option<Timestamp>,
}

impl Question {
    pub(super) fn new(issuer: &ParticipantContextId, attestation: &AttestationId, holder: &Holder, service: &Url) -> Self {
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
    pub(super) async fn answer<F>(&self, question: &Question, now: Timestamp, ask: impl FnOnce() -> F) -> Result<Option<Claims>, String>
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
}
