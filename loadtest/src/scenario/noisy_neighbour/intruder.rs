//! Who attacks the neighbours. Whatever they do, they must be refused, and soon enough.

use super::{
    hostile::Hostile,
    trick::{TRICKS, Trick},
};
use crate::{
    drive::{Verdict, Worker},
    http::{Answer, Call, Connection},
    scenario::catalog::{Cast, Provider, REQUEST},
};
use anyhow::{Context, Result};
use http::Method;
use rand::{SeedableRng, rngs::StdRng};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// An intruder is refused, or put off. That the platform stumbles over it is neither.
fn judge(answer: &Answer) -> Verdict {
    match answer.is_shed() {
        true => Verdict::Shed,
        false if answer.status.is_client_error() => Verdict::Good,
        false => Verdict::Wrong(format!("an intruder is answered {}", answer.told())),
    }
}

async fn intrude(connection: &mut Connection, call: Call, judge: impl Fn(&Answer) -> Verdict) -> Verdict {
    match connection.send(call).await {
        Ok(answer) => judge(&answer),
        Err(error) => Verdict::Wrong(format!("{error:#}")),
    }
}

/// As [`judge`], and a refusal is for what is wrong.
fn judge_trick(trick: Trick, answer: &Answer) -> Verdict {
    match judge(answer) {
        Verdict::Good if answer.status.as_u16() != trick.refused_by() => Verdict::Wrong(format!("{trick:?} is answered {}", answer.told())),
        verdict => verdict,
    }
}

/// Counterparties whose DID documents or presentations are not what they must be, or do not come; every request from another one.
pub struct Guest {
    hostile: Arc<Hostile>,
    provider: Arc<Provider>,
    connection: Connection,
}

impl Guest {
    pub fn new(hostile: &Arc<Hostile>, provider: Arc<Provider>, public: &str) -> Result<Self> {
        Ok(Self { hostile: hostile.clone(), provider, connection: Connection::new(public, None)? })
    }

    fn call(&self) -> Result<Call> {
        let token = self.hostile.guest()?.token(&self.provider.did);
        Ok(Call::json(Method::POST, self.provider.catalog.as_str(), &token, REQUEST.as_bytes()))
    }
}

impl Worker for Guest {
    async fn operate(&mut self) -> Verdict {
        match self.call() {
            Ok(call) => intrude(&mut self.connection, call, judge).await,
            Err(error) => Verdict::Wrong(format!("{error:#}")),
        }
    }
}

/// How many requests of each kind were refused by what is in them.
#[derive(Default)]
pub struct Refused([AtomicU64; TRICKS.len()]);

impl Refused {
    pub fn counts(&self) -> impl Iterator<Item = (Trick, u64)> {
        TRICKS.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Requests that prove nothing, of one kind after the other.
pub struct Flood {
    cast: Arc<Cast>,
    provider: Arc<Provider>,
    connection: Connection,
    random: StdRng,
    next: usize,
    refused: Arc<Refused>,
}

impl Flood {
    pub fn new(cast: &Arc<Cast>, provider: Arc<Provider>, public: &str, n: usize, refused: &Arc<Refused>) -> Result<Self> {
        let (connection, random) = (Connection::new(public, None)?, StdRng::seed_from_u64(n as u64));
        Ok(Self { cast: cast.clone(), provider, connection, random, next: n, refused: refused.clone() })
    }

    async fn intrude(&mut self) -> Result<Verdict> {
        let kind = self.next % TRICKS.len();
        self.next += 1;
        let (trick, count) = TRICKS.get(kind).zip(self.refused.0.get(kind)).context("a trick")?;
        let call = trick.call(self.cast.party(&mut self.random)?, &self.provider);
        let verdict = intrude(&mut self.connection, call, |answer| judge_trick(*trick, answer)).await;
        if verdict == Verdict::Good {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(verdict)
    }
}

impl Worker for Flood {
    async fn operate(&mut self) -> Verdict {
        self.intrude().await.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode, header};

    #[test]
    fn a_refusal_is_no_failure() {
        let of = |status: u16, later: bool| {
            let headers: HeaderMap = later.then(|| (header::RETRY_AFTER, HeaderValue::from_static("1"))).into_iter().collect();
            judge(&Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new() })
        };
        assert!([400, 401, 413, 429].into_iter().all(|status| of(status, false) == Verdict::Good));
        assert!([429, 503].into_iter().all(|status| of(status, true) == Verdict::Shed));
        assert!([200, 302, 500, 502, 503].into_iter().all(|status| matches!(of(status, false), Verdict::Wrong(_))));
        let answer = |status: u16| Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: Bytes::new() };
        for (trick, status, good) in
            [(Trick::DeepBody, 400, true), (Trick::DeepBody, 401, false), (Trick::NoAlgorithm, 401, true), (Trick::NoAlgorithm, 404, false)]
        {
            assert_eq!(judge_trick(trick, &answer(status)) == Verdict::Good, good, "{trick:?} {status}");
        }
    }
}
