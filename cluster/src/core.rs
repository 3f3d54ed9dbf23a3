//! The pure half of a turn: absorbs inputs into the state and gathers what one commit must write (EFFECT: effects are rows of that commit).

use crate::{
    About, Address, Agent, Call, Decision, Happening, Input, OutboxId, Rejection, RowOf, Track,
    codec::{self, CodecError},
    dead_letters::{self, KEPT_LETTERS, LETTER_LIST, Letter, LetterList},
    deadlines::Deadlines,
    idempotency::{IDEMPOTENCY, Replies, StoredReply},
    outbox::{self, MAX_ASIDE, OUTBOX, Outbox, OutboxRow, Pending},
    plan::{AuditEntry, Plan},
};
use bytes::Bytes;
use cellspace_schemas::{
    Timestamp, TraceContext,
    cloud_event::{CloudEvent, EventPosition},
};
use cellspace_storage::{APART, AuditRow, Batch, Claim, Epoch, Permit, Publication, Row, RowChange, RowKey, Seq, Topic, Wake};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// State of one activation between turns.
pub(crate) struct Core<A: Agent> {
    pub(crate) address: Address,
    pub(crate) epoch: Epoch,
    pub(crate) seq: Seq,
    pub(crate) registered: bool,
    /// Level at which rows are written.
    pub(crate) level: u16,
    pub(crate) state: A::State,
    pub(crate) outbox: Outbox<A>,
    pub(crate) deadlines: Deadlines,
    pub(crate) letters: LetterList,
    /// Rows to delete with the next commit; alone they are worth a commit only after a while.
    pub(crate) riders: Vec<RowKey>,
    /// Whether rows aside were left out since there was room for them.
    pub(crate) full: bool,
    /// What the last commit left in the wake index, of whatever version of the program: rows may mean more to this one, so that a difference is written.
    committed: Wake,
    /// Distinguishes this activation from every other one, of whatever data directory: message ids are made from it.
    nonce: Uuid,
    /// Bytes of each row in memory, by the hash of its key.
    sizes: HashMap<u64, usize>,
    bytes: usize,
}

/// A stored row, read.
pub(crate) struct Stored<A: Agent> {
    key: RowKey,
    /// Bytes of its value.
    size: usize,
    content: Content<A>,
}

enum Content<A: Agent> {
    Outbox(OutboxId, OutboxRow<A::Effect>, Option<TraceContext>),
    Reply(StoredReply),
    Letters(LetterList),
    Event(A::Event, Option<TraceContext>),
}

impl<A: Agent> Stored<A> {
    /// Reads a row of a level up to this one.
    pub(crate) fn read(row: &Row, reads: u16) -> Result<Self, CodecError> {
        let content = match row.key.table() {
            OUTBOX => {
                let opened = codec::open::<OutboxRow<A::Effect>>(&row.value, reads)?;
                let id = row.key.id().parse().map_err(|_| CodecError::Unreadable(format!("outbox key {}", row.key.id())))?;
                Content::Outbox(id, opened.body, opened.trace)
            }
            IDEMPOTENCY => Content::Reply(codec::open::<StoredReply>(&row.value, reads)?.body),
            LETTER_LIST => Content::Letters(codec::open::<LetterList>(&row.value, reads)?.body),
            _ => {
                let opened = codec::open::<A::Event>(&row.value, reads)?;
                Content::Event(opened.body, opened.trace)
            }
        };
        Ok(Self { key: row.key.clone(), size: row.value.len(), content })
    }
}

/// Who and what an accepted decision comes from.
pub(crate) struct Origin<'a> {
    pub(crate) actor: &'a str,
    pub(crate) command: Option<String>,
    pub(crate) trace: Option<&'a TraceContext>,
}

/// Content of an audit row.
#[derive(Serialize)]
struct Audit<'a> {
    epoch: Epoch,
    at: Timestamp,
    commands: &'a [AuditEntry],
}

/// What is read of an audit row.
#[derive(Deserialize)]
pub(crate) struct Witness {
    pub(crate) at: Timestamp,
    commands: Vec<Witnessed>,
}

#[derive(Deserialize)]
struct Witnessed {
    command: Option<String>,
    #[serde(default)]
    happened: Vec<Happening>,
}

impl Witness {
    pub(crate) fn read(row: &AuditRow) -> Result<Self, CodecError> {
        serde_json::from_slice(&row.0).map_err(|e| CodecError::Unreadable(e.to_string()))
    }

    /// Whether the commit holds this command.
    pub(crate) fn names(&self, command: &str) -> bool {
        self.commands.iter().any(|entry| entry.command.as_deref() == Some(command))
    }

    /// What happened in the commit, in order.
    pub(crate) fn happened(self) -> impl Iterator<Item = Happening> {
        self.commands.into_iter().flat_map(|entry| entry.happened)
    }
}

impl<A: Agent> Core<A> {
    pub(crate) fn new(address: Address, claim: Claim, nonce: Uuid, level: u16) -> Self {
        Self {
            address,
            epoch: claim.epoch,
            seq: claim.head.unwrap_or_default().seq,
            registered: claim.head.is_some(),
            level,
            state: A::State::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            letters: LetterList::default(),
            riders: Vec::new(),
            full: false,
            committed: claim.wake,
            nonce,
            sizes: HashMap::new(),
            bytes: 0,
        }
    }

    /// Takes in one stored row. Rows come in key order, so outbox rows come in order of their ids.
    pub(crate) fn load(&mut self, row: Stored<A>, replies: &mut Replies) {
        self.measure(&row.key, row.size);
        match row.content {
            Content::Outbox(id, row, trace) => self.outbox.add(id, Pending::new(row, trace)),
            Content::Reply(reply) => replies.insert(reply),
            Content::Letters(letters) => self.letters = letters,
            Content::Event(event, trace) => self.fold(&event, trace),
        }
    }

    /// What the wake index must say.
    pub(crate) fn wake(&self) -> Wake {
        Wake { awake: !self.outbox.is_empty(), due: self.deadlines.next() }
    }

    /// Whether something waits for a commit to ride on: deletions, or a wake index that says something else.
    pub(crate) fn has_riders(&self) -> bool {
        !self.riders.is_empty() || self.wake() != self.committed
    }

    /// Bytes of the rows in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn measure(&mut self, key: &RowKey, value: usize) {
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
        let size = key.as_bytes().len() + value;
        self.bytes += size;
        self.bytes -= self.sizes.insert(hash, size).unwrap_or(0);
    }

    fn forget(&mut self, key: &RowKey) {
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
        self.bytes -= self.sizes.remove(&hash).unwrap_or(0);
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
                about: decision.events.iter().map(A::about).find(|about| *about != About::default()).unwrap_or_default(),
                command: origin.command,
                trace: trace.cloned(),
                happened: decision.happened,
            });
        }
        for event in &decision.events {
            self.fold(event, trace.cloned());
            match A::row(event) {
                RowOf::Put(key) => plan.put(key, codec::seal(event, self.level, A::tenant(&self.state).as_deref(), trace))?,
                RowOf::Delete(key) => plan.delete(key),
            }
        }
        let tenant = A::tenant(&self.state);
        for outgoing in decision.effects {
            if A::track(&outgoing.effect) == Track::Aside && self.outbox.aside() >= MAX_ASIDE {
                plan.left_out += 1;
                continue;
            }
            let id = self.number(plan);
            let row = OutboxRow { lane: outgoing.lane, message: self.message(id), effect: outgoing.effect };
            self.enqueue(id, row, trace.cloned(), plan)?;
        }
        for fact in decision.facts {
            let position = EventPosition { seq: self.seq.next().0, n: plan.number() };
            let mut event = CloudEvent::new(self.address.to_string(), position, fact.kind, now, fact.data).subject(fact.key.clone());
            event.traceparent = trace.cloned();
            event.tenant.clone_from(&tenant);
            let payload = serde_json::to_vec(&event).map_err(|e| CodecError::Unreadable(e.to_string()))?;
            plan.publish(Publication { topic: Topic(fact.topic.into_owned()), key: fact.key, payload: payload.into() });
        }
        Ok(decision.reply)
    }

    fn number(&self, plan: &mut Plan) -> OutboxId {
        OutboxId { seq: self.seq.next(), n: plan.number() }
    }

    /// A UUID (version 8) that no other row has.
    fn message(&self, id: OutboxId) -> Uuid {
        let name = format!("{}/{}.{}/{id}", self.nonce, self.epoch.view, self.epoch.count);
        uuid::Builder::from_custom_bytes(xxhash_rust::xxh3::xxh3_128(name.as_bytes()).to_be_bytes()).into_uuid()
    }

    fn enqueue(&mut self, id: OutboxId, row: OutboxRow<A::Effect>, trace: Option<TraceContext>, plan: &mut Plan) -> Result<(), CodecError> {
        plan.put(outbox::row_key(id), codec::seal(&row, self.level, A::tenant(&self.state).as_deref(), trace.as_ref()))?;
        self.outbox.add(id, Pending::new(row, trace));
        Ok(())
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
        let row = codec::seal(&stored, self.level, A::tenant(&self.state).as_deref(), call.trace.as_ref());
        plan.put(RowKey::new(IDEMPOTENCY, key.as_str()), row)?;
        plan.replies.push(stored);
        Ok(())
    }

    /// The outbox row is done with: its deletion rides on this commit, or waits for the next.
    pub(crate) fn finish_row(&mut self, id: OutboxId) -> Option<Pending<A>> {
        let pending = self.outbox.remove(id)?;
        self.full &= self.outbox.aside() > MAX_ASIDE / 2;
        self.riders.push(outbox::row_key(id));
        Some(pending)
    }

    /// Keeps a row that was given up as a dead letter, without what is secret in it; the number of letters that had to go for it, or for which there is no
    /// place: of what is delivered aside none takes that of another, and all have half of the places at most.
    pub(crate) fn bury(
        &mut self,
        id: OutboxId,
        pending: &Pending<A>,
        reason: &str,
        now: Timestamp,
        plan: &mut Plan,
    ) -> Result<usize, CodecError> {
        if A::track(&pending.effect) == Track::Aside && self.letters.len() >= KEPT_LETTERS / 2 {
            return Ok(1);
        }
        let redacted = A::redact(&pending.effect);
        let letter = Letter {
            lane: pending.lane.clone(),
            message: pending.message,
            at: now,
            attempts: pending.progress.lock().attempts,
            reason: dead_letters::shortened(reason),
            redacted: redacted.is_some(),
            effect: redacted.as_ref().unwrap_or_else(|| &*pending.effect),
        };
        plan.put(
            dead_letters::letter_key(id),
            codec::seal(&letter, self.level, A::tenant(&self.state).as_deref(), pending.trace.as_ref()),
        )?;
        self.letters.push_back(id);
        let mut dropped = 0;
        while self.letters.len() > KEPT_LETTERS {
            if let Some(oldest) = self.letters.pop_front() {
                plan.delete(dead_letters::letter_key(oldest));
                dropped += 1;
            }
        }
        self.write_letter_list(plan)?;
        Ok(dropped)
    }

    /// Takes a dead letter away, and puts it back into its lane when it is given; `false` when there is no such letter.
    pub(crate) fn redress(
        &mut self,
        id: OutboxId,
        again: Option<(Letter<A::Effect>, Option<TraceContext>)>,
        actor: &str,
        plan: &mut Plan,
    ) -> Result<bool, CodecError> {
        let Some(place) = self.letters.iter().position(|kept| *kept == id) else { return Ok(false) };
        self.letters.remove(place);
        plan.delete(dead_letters::letter_key(id));
        self.write_letter_list(plan)?;
        let action = if again.is_some() { "outbox.redriven" } else { "outbox.discarded" };
        plan.audit.push(AuditEntry {
            action,
            actor: actor.to_owned(),
            about: About::default(),
            command: None,
            trace: None,
            happened: Vec::new(),
        });
        if let Some((letter, trace)) = again {
            let row = OutboxRow { lane: letter.lane, message: letter.message, effect: letter.effect };
            self.enqueue(self.number(plan), row, trace, plan)?;
        }
        Ok(true)
    }

    fn write_letter_list(&self, plan: &mut Plan) -> Result<(), CodecError> {
        plan.put(dead_letters::list_key(), codec::seal(&self.letters, self.level, A::tenant(&self.state).as_deref(), None))
    }

    /// The batch that makes the plan durable.
    pub(crate) fn batch(&mut self, plan: &mut Plan, now: Timestamp) -> Result<Batch, CodecError> {
        for key in std::mem::take(&mut self.riders) {
            plan.delete_unless_written(key);
        }
        let (rows, publish) = plan.take();
        for change in &rows {
            match change {
                // Dead letters are not kept in memory.
                _ if change.key().table().starts_with(APART) => {}
                RowChange::Put(key, value) => self.measure(key, value.len()),
                RowChange::Delete(key) => self.forget(key),
            }
        }
        let audit = serde_json::to_vec(&Audit { epoch: self.epoch, at: now, commands: &plan.audit });
        let audit = audit.map_err(|e| CodecError::Unreadable(e.to_string()))?;
        Ok(Batch {
            partition: self.address.partition(),
            epoch: self.epoch,
            seq: self.seq.next(),
            rows,
            audit: AuditRow(Bytes::from(audit)),
            wake: self.wake(),
            publish,
            permit: Permit::default(),
        })
    }

    /// The batch of this number has landed, with what it told the wake index.
    pub(crate) fn landed(&mut self, seq: Seq, wake: Wake) {
        self.seq = seq;
        self.committed = wake;
        self.registered = true;
    }
}
