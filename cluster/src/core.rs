//! The pure half of a turn: absorbs inputs into the state and gathers what one commit must write.

use crate::{
    Address, Agent, Call, Decision, Input, OutboxId, Rejection, RowOf,
    codec::{self, CodecError},
    deadlines::Deadlines,
    idempotency::{IDEMPOTENCY, Replies, StoredReply},
    outbox::{self, DEAD, DeadLetter, OUTBOX, Outbox, OutboxRow, Pending},
};
use bytes::Bytes;
use cellspace_schemas::{
    Timestamp, TraceContext,
    cloud_event::{CloudEvent, EventPosition},
};
use cellspace_storage::{AuditRow, Batch, Epoch, Publication, Row, RowChange, RowKey, Seq, Topic, Wake};
use serde::Serialize;
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

/// State of one activation between turns.
pub(crate) struct Core<A: Agent> {
    pub(crate) address: Address,
    pub(crate) epoch: Epoch,
    pub(crate) seq: Seq,
    pub(crate) registered: bool,
    pub(crate) state: A::State,
    pub(crate) outbox: Outbox<A>,
    pub(crate) deadlines: Deadlines,
    /// Rows to delete with the next commit; alone they are worth a commit only after a while.
    pub(crate) riders: Vec<RowKey>,
    /// Bytes of rows loaded and written by this activation: an upper estimate of its memory.
    pub(crate) bytes: usize,
}

/// One line of the audit row.
#[derive(Debug, Serialize)]
pub(crate) struct AuditEntry {
    pub(crate) action: &'static str,
    pub(crate) actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceContext>,
}

/// What the turn under way will write.
#[derive(Default)]
pub(crate) struct Plan {
    rows: Vec<RowChange>,
    /// Where each row stands in `rows`, so that a row changed twice is written once.
    places: HashMap<RowKey, usize>,
    facts: Vec<Publication>,
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) replies: Vec<StoredReply>,
    pub(crate) bytes: usize,
    n: u32,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.facts.is_empty()
    }

    fn write(&mut self, change: RowChange) {
        let key = match &change {
            RowChange::Put(key, value) => {
                self.bytes += key.as_bytes().len() + value.len();
                key.clone()
            }
            RowChange::Delete(key) => key.clone(),
        };
        match self.places.get(&key).and_then(|place| self.rows.get_mut(*place)) {
            Some(earlier) => *earlier = change,
            None => {
                self.places.insert(key, self.rows.len());
                self.rows.push(change);
            }
        }
    }
}

/// Who and what an accepted decision comes from.
pub(crate) struct Origin<'a> {
    pub(crate) actor: &'a str,
    pub(crate) command: Option<String>,
    pub(crate) trace: Option<&'a TraceContext>,
}

impl<A: Agent> Core<A> {
    pub(crate) fn new(address: Address, epoch: Epoch, seq: Seq, registered: bool) -> Self {
        Self {
            address,
            epoch,
            seq,
            registered,
            state: A::State::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            riders: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes in one stored row. Rows come in key order, so outbox rows come in order of their ids.
    pub(crate) fn load(&mut self, row: &Row, replies: &mut Replies) -> Result<(), CodecError> {
        self.bytes += row.key.as_bytes().len() + row.value.len();
        match row.key.table() {
            OUTBOX => {
                let opened = codec::open::<OutboxRow<A::Effect>>(&row.value)?;
                let id =
                    outbox::parse_row_id(row.key.id()).ok_or_else(|| CodecError::Unreadable(format!("outbox key {}", row.key.id())))?;
                let OutboxRow { lane, effect } = opened.body;
                self.outbox.add(id, Pending { lane, effect: Arc::new(effect), trace: opened.trace });
            }
            IDEMPOTENCY => replies.insert(codec::open::<StoredReply>(&row.value)?.body),
            DEAD => {}
            _ => {
                let opened = codec::open::<A::Event>(&row.value)?;
                self.fold(&opened.body, opened.trace);
            }
        }
        Ok(())
    }

    fn fold(&mut self, event: &A::Event, trace: Option<TraceContext>) {
        A::apply(&mut self.state, event);
        if let Some((key, due)) = A::deadline(event) {
            self.deadlines.set(key, due, trace);
        }
    }

    /// Decides one input on the state with everything that this turn decided before.
    pub(crate) fn decide(&self, input: &Input<A>, now: Timestamp) -> Result<Decision<A>, Rejection<A::Refusal>> {
        A::decide(&self.state, input, now)
    }

    /// Takes a decision into state and plan.
    pub(crate) fn accept(
        &mut self,
        decision: Decision<A>,
        origin: Origin<'_>,
        now: Timestamp,
        plan: &mut Plan,
    ) -> Result<A::Reply, CodecError> {
        let trace = origin.trace;
        if decision.changes() {
            plan.audit.push(AuditEntry {
                action: decision.action,
                actor: origin.actor.to_owned(),
                command: origin.command,
                trace: trace.cloned(),
            });
        }
        for event in &decision.events {
            self.fold(event, trace.cloned());
            let tenant = A::tenant(&self.state);
            plan.write(match A::row(event) {
                RowOf::Put(key) => RowChange::Put(key, codec::seal(event, tenant.as_deref(), trace)?),
                RowOf::Delete(key) => RowChange::Delete(key),
            });
        }
        let tenant = A::tenant(&self.state);
        for outgoing in decision.effects {
            let id = OutboxId { seq: self.seq.next(), n: plan.n };
            plan.n += 1;
            let row = OutboxRow { lane: outgoing.lane, effect: outgoing.effect };
            plan.write(RowChange::Put(outbox::row_key(OUTBOX, id), codec::seal(&row, tenant.as_deref(), trace)?));
            self.outbox.add(id, Pending { lane: row.lane, effect: Arc::new(row.effect), trace: trace.cloned() });
        }
        for fact in decision.facts {
            let position = EventPosition { seq: self.seq.next().0, n: plan.n };
            plan.n += 1;
            let mut event = CloudEvent::new(self.address.to_string(), position, fact.kind, now, fact.data).subject(fact.key.clone());
            event.traceparent = trace.cloned();
            event.tenant.clone_from(&tenant);
            let payload = serde_json::to_vec(&event).map_err(|e| CodecError::Unreadable(e.to_string()))?;
            plan.bytes += payload.len();
            plan.facts.push(Publication { topic: Topic(fact.topic.into_owned()), key: fact.key, payload: payload.into() });
        }
        Ok(decision.reply)
    }

    /// Keeps a reply under its key.
    pub(crate) fn keep_reply(
        &self,
        call: &Call,
        request_hash: u128,
        reply: &A::Reply,
        now: Timestamp,
        plan: &mut Plan,
    ) -> Result<(), CodecError> {
        let Some(key) = &call.idempotency else { return Ok(()) };
        let reply = serde_json::value::to_raw_value(reply).map_err(|e| CodecError::Unreadable(e.to_string()))?;
        let stored = StoredReply { key: key.as_str().to_owned(), request: format!("{request_hash:032x}"), reply, at: now };
        let row = codec::seal(&stored, None, call.trace.as_ref())?;
        plan.write(RowChange::Put(RowKey::new(IDEMPOTENCY, key.as_str()), row));
        plan.replies.push(stored);
        Ok(())
    }

    /// The outbox row is done with: its deletion rides on this commit, or waits for the next.
    pub(crate) fn finish_row(&mut self, id: OutboxId) -> Option<Pending<A>> {
        let pending = self.outbox.remove(id)?;
        self.riders.push(outbox::row_key(OUTBOX, id));
        Some(pending)
    }

    /// Keeps a row that was given up as a dead letter.
    pub(crate) fn bury(&self, id: OutboxId, pending: &Pending<A>, reason: &str, plan: &mut Plan) -> Result<(), CodecError> {
        let letter = DeadLetter { lane: &pending.lane, effect: pending.effect.as_ref(), reason };
        let row = codec::seal(&letter, A::tenant(&self.state).as_deref(), pending.trace.as_ref())?;
        plan.write(RowChange::Put(outbox::row_key(DEAD, id), row));
        Ok(())
    }

    /// The batch that makes the plan durable.
    pub(crate) fn batch(&mut self, plan: &mut Plan, now: Timestamp) -> Batch {
        for key in self.riders.drain(..) {
            plan.write(RowChange::Delete(key));
        }
        let audit = json!({ "epoch": self.epoch, "at": now, "commands": plan.audit });
        Batch {
            partition: self.address.partition(),
            epoch: self.epoch,
            seq: self.seq.next(),
            rows: std::mem::take(&mut plan.rows),
            audit: AuditRow(Bytes::from(audit.to_string())),
            wake: Wake { awake: !self.outbox.is_empty(), due: self.deadlines.next() },
            publish: std::mem::take(&mut plan.facts),
        }
    }
}
