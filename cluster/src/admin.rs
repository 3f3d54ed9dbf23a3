//! What an operator sees of the runtime, and may do about it.

use crate::{
    About, Address, Agent, Cluster, NodeName, OutboxId, Slot,
    codec::{self, CodecError, Opened},
    core::Core,
    dead_letters::{Letter, letters_table},
    host::AnyHost,
    outbox::{OUTBOX, OutboxRow},
};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{AuditRow, Epoch, Row, RowKey, Seq, StoreError};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// Rows read at once.
const PAGE: usize = 512;
/// Audit rows shown of an agent, of so many that are read: some are of commits that took away what was delivered, and nothing else.
const AUDITED: usize = 10;
const AUDIT_ROWS: usize = 64;

/// Why nothing is shown or done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No agents of this kind run here.
    #[error("there are no agents of kind {0} here")]
    UnknownKind(String),
    /// No such dead letter.
    #[error("no such dead letter")]
    NotFound,
    /// Something secret was left out of the letter: what caused it must cause it anew.
    #[error("the dead letter cannot be sent again: a secret was left out of it")]
    Redacted,
    /// Not now; it may have been done all the same.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<CodecError> for AdminError {
    fn from(error: CodecError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// An undelivered outbox row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxEntry {
    /// Which row.
    #[serde(serialize_with = "as_text")]
    pub id: OutboxId,
    /// Its lane: rows of one lane are delivered in order.
    pub lane: String,
    /// The `@id` of its message.
    pub message_id: Uuid,
    /// Attempts since it was loaded.
    pub attempts: u32,
    /// When it is tried again, while it pauses between attempts.
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt did not succeed.
    pub reason: Option<String>,
}

/// An outbox row that was given up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Which one.
    #[serde(serialize_with = "as_text")]
    pub id: OutboxId,
    /// The lane it was in.
    pub lane: String,
    /// The `@id` of its message.
    pub message_id: Uuid,
    /// When it was given up.
    pub at: Timestamp,
    /// Attempts before that, since it was loaded.
    pub attempts: u32,
    /// Why.
    pub reason: String,
    /// Whether something secret was left out of it: it cannot be sent again.
    pub redacted: bool,
    /// What was to be done, without secrets.
    pub effect: Value,
}

/// An agent that is parked: it failed again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Its address.
    pub address: String,
    /// How it failed last.
    pub reason: String,
}

impl From<(Address, String)> for Parked {
    fn from((address, reason): (Address, String)) -> Self {
        Self { address: address.to_string(), reason }
    }
}

/// An audit row: what one commit was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Number of the commit.
    pub seq: Seq,
    /// Epoch of the activation that made it.
    pub epoch: Epoch,
    /// When.
    pub at: Timestamp,
    /// What happened in it, in order.
    pub changes: Vec<AuditedChange>,
}

/// One change of an audit row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedChange {
    /// What happened, for example `negotiation.agreed`.
    pub action: String,
    /// Who was the cause.
    pub actor: String,
    /// With whom and under what.
    #[serde(flatten)]
    pub about: About,
}

/// An audit row as it is read here.
#[derive(Deserialize)]
struct StoredAudit {
    epoch: Epoch,
    at: Timestamp,
    commands: Vec<AuditedChange>,
}

/// How an agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Number of the slot that its owner falls into.
    pub slot: u16,
    /// The node that runs it.
    pub node: Option<String>,
    /// Whether it was ever written.
    pub registered: bool,
    /// Whether it is in memory.
    pub resident: bool,
    /// Epoch of its activation, or of its last commit when it is not in memory.
    pub epoch: Option<Epoch>,
    /// Number of its last commit.
    pub seq: Option<Seq>,
    /// Bytes of its rows in memory.
    pub bytes: usize,
    /// Undelivered outbox rows.
    pub outbox: usize,
    /// Dead letters kept.
    pub dead_letters: usize,
    /// Its next deadline, as far as the node has it in memory.
    pub next_deadline: Option<Timestamp>,
    /// Why it is parked, when it is.
    pub parked: Option<String>,
    /// Its last audit rows that can be read and tell of a change, the newest first.
    pub audit: Vec<Audited>,
}

fn as_text<S: serde::Serializer>(id: &OutboxId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// What an activation says of itself.
pub(crate) struct Inspection {
    epoch: Epoch,
    seq: Seq,
    bytes: usize,
    outbox: Vec<OutboxEntry>,
    letters: usize,
    due: Option<Timestamp>,
}

impl Inspection {
    pub(crate) fn of<A: Agent>(core: &Core<A>) -> Self {
        let entry = |(id, pending): (OutboxId, &crate::outbox::Pending<A>)| {
            let progress = pending.progress.lock().clone();
            OutboxEntry {
                id,
                lane: pending.lane.clone(),
                message_id: pending.message,
                attempts: progress.attempts,
                next_attempt: progress.next,
                reason: progress.reason,
            }
        };
        Self {
            epoch: core.epoch,
            seq: core.seq,
            bytes: core.bytes(),
            outbox: core.outbox.iter().map(entry).collect(),
            letters: core.letters.len(),
            due: core.deadlines.next(),
        }
    }
}

impl Cluster {
    /// The address of an agent of a kind that runs here, for example `control-plane`.
    #[must_use]
    pub fn address(&self, kind: &str, owner: Owner, name: &str) -> Option<Address> {
        let kind = self.host_of(kind)?.kind();
        Some(Address { owner, kind, name: name.to_owned() })
    }

    /// The agent's undelivered outbox rows, in the order of their commits. An agent that is not in memory is not activated for it; attempts are
    /// counted only in memory.
    ///
    /// # Errors
    /// [`AdminError`] when the kind is not known or the store cannot be read.
    pub async fn outbox(&self, address: &Address) -> Result<Vec<OutboxEntry>, AdminError> {
        match self.known(address)?.inspect(address).await {
            Some(inspection) => Ok(inspection.outbox),
            None => self.rows(address, OUTBOX).await?.iter().map(|row| stored_entry(row, self.placement().reads())).collect(),
        }
    }

    /// The agent's dead letters, oldest first. Nothing secret is in them.
    ///
    /// # Errors
    /// [`AdminError`] when the kind is not known or the store cannot be read.
    pub async fn dead_letters(&self, address: &Address) -> Result<Vec<DeadLetter>, AdminError> {
        let host = self.known(address)?;
        let mut letters = self
            .rows(address, &letters_table())
            .await?
            .iter()
            .map(|row| stored_letter(row, self.placement().reads()))
            .collect::<Result<Vec<_>, _>>()?;
        letters.iter_mut().for_each(|letter| host.shown(&mut letter.effect));
        Ok(letters)
    }

    /// Puts a dead letter back into its lane, as the same message, and forgets the letter. What the agent has decided since stays decided. `actor` is
    /// named in the audit row.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn redrive(&self, address: &Address, id: OutboxId, actor: &str) -> Result<(), AdminError> {
        self.known(address)?.redress(self.clone(), address.clone(), id, true, actor.to_owned()).await
    }

    /// Throws a dead letter away. `actor` is named in the audit row.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn discard(&self, address: &Address, id: OutboxId, actor: &str) -> Result<(), AdminError> {
        self.known(address)?.redress(self.clone(), address.clone(), id, false, actor.to_owned()).await
    }

    /// How the agent stands; activates nothing.
    ///
    /// # Errors
    /// [`AdminError`] when the kind is not known or the store cannot be read.
    pub async fn explain(&self, address: &Address) -> Result<Explanation, AdminError> {
        let host = self.known(address)?;
        let slot = Slot::of(&address.owner);
        let inspected = host.inspect(address).await;
        // Then: they are not older than what the agent has said.
        let rows = self.partitions().audit(&address.partition(), AUDIT_ROWS).await?;
        let mut explanation = Explanation {
            slot: slot.number(),
            node: self.placement().owner(slot).map(|NodeName(name)| name),
            registered: self.partitions().exists(&address.partition()).await?,
            resident: false,
            epoch: rows.first().and_then(audited).map(|last| last.epoch),
            seq: rows.first().map(|(seq, _)| *seq),
            bytes: 0,
            outbox: 0,
            dead_letters: 0,
            next_deadline: self.timers().get(address),
            parked: host.parked().into_iter().find_map(|(parked, reason)| (parked == *address).then_some(reason)),
            audit: rows.iter().filter_map(audited).filter(|row| !row.changes.is_empty()).take(AUDITED).collect(),
        };
        if let Some(inspection) = inspected {
            explanation.resident = true;
            explanation.epoch = Some(inspection.epoch);
            explanation.seq = Some(inspection.seq);
            explanation.bytes = inspection.bytes;
            explanation.outbox = inspection.outbox.len();
            explanation.dead_letters = inspection.letters;
            explanation.next_deadline = inspection.due;
        } else {
            explanation.outbox = self.rows(address, OUTBOX).await?.len();
            explanation.dead_letters = self.rows(address, &letters_table()).await?.len();
        }
        Ok(explanation)
    }

    fn known(&self, address: &Address) -> Result<Arc<dyn AnyHost>, AdminError> {
        self.host_of(address.kind.0).ok_or_else(|| AdminError::UnknownKind(address.kind.0.to_owned()))
    }

    async fn rows(&self, address: &Address, table: &str) -> Result<Vec<Row>, StoreError> {
        let partition = address.partition();
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after: Option<RowKey> = rows.last().map(|row| row.key.clone());
            let page = self.partitions().scan(&partition, Some(table), after.as_ref(), PAGE).await?;
            rows.extend(page.rows);
            if !page.more {
                return Ok(rows);
            }
        }
    }
}

/// `None`: it cannot be read, which may be why somebody looks.
fn audited((seq, row): &(Seq, AuditRow)) -> Option<Audited> {
    let StoredAudit { epoch, at, commands } = serde_json::from_slice(&row.0).ok()?;
    Some(Audited { seq: *seq, epoch, at, changes: commands })
}

fn id_of(row: &Row) -> Result<OutboxId, AdminError> {
    row.key.id().parse().map_err(|e: crate::delivery::OutboxIdError| AdminError::Unavailable(e.to_string()))
}

fn stored_entry(row: &Row, reads: u16) -> Result<OutboxEntry, AdminError> {
    let OutboxRow { lane, message, effect: IgnoredAny } = codec::open::<OutboxRow<IgnoredAny>>(&row.value, reads)?.body;
    Ok(OutboxEntry { id: id_of(row)?, lane, message_id: message, attempts: 0, next_attempt: None, reason: None })
}

fn stored_letter(row: &Row, reads: u16) -> Result<DeadLetter, AdminError> {
    let Opened { body: Letter { lane, message, at, attempts, reason, redacted, effect }, .. } =
        codec::open::<Letter<Value>>(&row.value, reads)?;
    Ok(DeadLetter { id: id_of(row)?, lane, message_id: message, at, attempts, reason, redacted, effect })
}
