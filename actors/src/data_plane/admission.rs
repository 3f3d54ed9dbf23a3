//! How many responses stream at once: per flow, per participant and on the node.

use cellspace_schemas::{ParticipantContextId, TransferId};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Responses at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one flow.
    pub flow: usize,
    /// Of one participant's flows together.
    pub participant: usize,
    /// Of the node.
    pub node: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flow: 32, participant: 128, node: 2_048 }
    }
}

/// Whose budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// That of the flow or its participant.
    Participant,
    /// The node's own.
    Node,
}

/// Counts the responses under way; holds entries only for those.
#[derive(Debug, Default)]
pub struct Admission {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    node: usize,
    participants: HashMap<ParticipantContextId, usize>,
    flows: HashMap<(ParticipantContextId, TransferId), usize>,
}

impl Admission {
    /// With other limits than the usual ones.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Takes a place for one response of the flow; it is given back when the permit is dropped.
    ///
    /// # Errors
    /// [`Full`] when no place is free.
    pub fn admit(self: &Arc<Self>, participant: &ParticipantContextId, flow: &TransferId) -> Result<Permit, Full> {
        let key = (participant.clone(), flow.clone());
        let mut counts = self.counts.lock();
        if counts.node >= self.limits.node {
            return Err(Full::Node);
        }
        let of_participant = counts.participants.get(participant).copied().unwrap_or(0);
        let of_flow = counts.flows.get(&key).copied().unwrap_or(0);
        if of_participant >= self.limits.participant || of_flow >= self.limits.flow {
            return Err(Full::Participant);
        }
        counts.node += 1;
        counts.participants.insert(participant.clone(), of_participant + 1);
        counts.flows.insert(key.clone(), of_flow + 1);
        Ok(Permit { admission: self.clone(), key })
    }
}

/// A place of one response.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    key: (ParticipantContextId, TransferId),
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.node = counts.node.saturating_sub(1);
        release(&mut counts.participants, &self.key.0);
        release(&mut counts.flows, &self.key);
    }
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(participant: &str, flow: &str) -> (ParticipantContextId, TransferId) {
        (ParticipantContextId::new(participant).unwrap(), TransferId::new(flow).unwrap())
    }

    #[test]
    fn each_budget_is_kept_and_given_back() {
        let admission = Arc::new(Admission::new(Limits { flow: 1, participant: 2, node: 3 }));
        let admit = |participant: &str, flow: &str| {
            let (participant, flow) = ids(participant, flow);
            admission.admit(&participant, &flow)
        };
        let first = admit("a", "1").unwrap();
        assert_eq!(admit("a", "1").err(), Some(Full::Participant), "the flow's budget");
        let second = admit("a", "2").unwrap();
        assert_eq!(admit("a", "3").err(), Some(Full::Participant), "the participant's budget");
        let third = admit("b", "1").unwrap();
        assert_eq!(admit("c", "1").err(), Some(Full::Node));
        drop(first);
        let again = admit("a", "1").unwrap();
        drop((second, third, again));
        let counts = admission.counts.lock();
        assert!(counts.node == 0 && counts.participants.is_empty() && counts.flows.is_empty(), "nothing is kept for idle flows");
    }
}
