//! A participant whose negotiations stay open.

use crate::{
    http::{Call, Connection},
    scenario::{
        catalog::must,
        play::{exchange, text},
        strangers::{Manner, Strangers, around},
    },
    subject::Subject,
};
use anyhow::{Result, anyhow, ensure};
use cellspace_client::{Client, sharing::PROFILE, tenants::Participant};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Hosts that do not answer.
const SILENT: usize = 4;
/// Negotiations begun at once.
const AT_ONCE: usize = 16;
/// Counterparties of each manner.
const EACH: usize = 50;
/// In which state a negotiation stays, by its counterparty's manner.
const STAYS: [(Manner, &str); 3] = [(Manner::Takes, "REQUESTED"), (Manner::Busy, "REQUESTING"), (Manner::Silent, "REQUESTING")];

/// The participant, and whom it negotiates with.
pub struct Holdup {
    participant: Arc<Participant>,
    admin: String,
    strangers: Vec<Arc<Strangers>>,
    expected: BTreeMap<&'static str, usize>,
}

/// Which manner the negotiation of this number meets, and at which of its hosts: a third each.
fn meets(number: usize) -> (Manner, &'static str, usize) {
    let (manner, state) = STAYS.get(number % STAYS.len()).copied().unwrap_or((Manner::Takes, ""));
    (manner, state, if manner == Manner::Silent { number / STAYS.len() % SILENT } else { 0 })
}

impl Holdup {
    /// Begins so many negotiations.
    ///
    /// # Errors
    /// When one of them cannot be begun.
    pub async fn open(subject: &Subject, participant: Arc<Participant>, open: usize) -> Result<Self> {
        let (takes, busy) = (Strangers::open(Manner::Takes).await?, Strangers::open(Manner::Busy).await?);
        let silent = stream::iter(0..SILENT).then(|_| Strangers::open(Manner::Silent)).try_collect::<Vec<_>>().await?;
        let mut expected = BTreeMap::new();
        let mut calls = Vec::with_capacity(open);
        for number in 0..open {
            let (manner, state, host) = meets(number);
            let strangers = match manner {
                Manner::Takes | Manner::Refuses => &takes,
                Manner::Busy => &busy,
                Manner::Silent => around(&silent, host)?,
            };
            let body = strangers.request(number / STAYS.len() % EACH, "data", PROFILE).to_string();
            calls.push(Call::json(Method::POST, participant.path("contractnegotiations"), &participant.caller.token, body));
            *expected.entry(state).or_default() += 1;
        }
        let share = calls.len().div_ceil(AT_ONCE).max(1);
        let begun = calls.chunks(share).map(|calls| async move {
            let mut connection = Connection::new(&subject.admin, None)?;
            for call in calls {
                must(&mut connection, call.clone()).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(begun).await?;
        Ok(Self { participant, admin: subject.admin.clone(), strangers: [takes, busy].into_iter().chain(silent).collect(), expected })
    }

    /// Messages that its counterparties have received.
    pub fn asked(&self) -> u64 {
        self.strangers.iter().map(|strangers| strangers.asked()).sum()
    }

    /// What is not as it must be: all are open, in the states that their counterparties leave them in.
    ///
    /// # Errors
    /// When the platform does not tell.
    pub async fn wrong(&self) -> Result<Vec<String>> {
        let mut connection = Connection::new(&self.admin, None)?;
        let path = self.participant.path("contractnegotiations/request");
        let query = Client::typed("QuerySpec", json!({ "limit": 10_000 })).to_string();
        let told = exchange(&mut connection, Call::json(Method::POST, path, &self.participant.caller.token, query)).await;
        let found: Value = told.map_err(|verdict| anyhow!("{verdict:?}"))?;
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for negotiation in found.as_array().map(Vec::as_slice).unwrap_or_default() {
            let state = text(negotiation, "state").map_err(|verdict| anyhow!("{verdict:?}"))?;
            *states.entry(state).or_default() += 1;
        }
        ensure!(!states.is_empty(), "the participant has no negotiations: {found}");
        Ok(if states == self.expected { Vec::new() } else { vec![format!("negotiations are {states:?}, expected {:?}", self.expected)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manner_and_every_silent_host_gets_its_share() {
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        for number in 0..1_000 {
            let (manner, state, host) = meets(number);
            assert!(STAYS.contains(&(manner, state)));
            *met.entry(format!("{manner:?} {host}")).or_default() += 1;
        }
        let silent: Vec<usize> = met.iter().filter(|(name, _)| name.starts_with("Silent")).map(|(_, n)| *n).collect();
        assert_eq!((silent.len(), silent.iter().sum::<usize>()), (SILENT, 333));
        assert!(silent.iter().all(|n| (83..=84).contains(n)) && met["Takes 0"] == 334 && met["Busy 0"] == 333, "{met:?}");
    }
}
