//! A short way to write batches.

use crate::{
    AuditRow, Batch, Claim, CommitOutcome, PartitionKey, Partitions, Permit, Publication, Row, RowChange, RowKey, Seq, Topic, Wake,
};
use bytes::Bytes;
use cellspace_schemas::{Owner, Timestamp};

/// The partition `(owner, kind, name)`.
#[must_use]
pub fn partition(owner: &str, kind: &str, name: &str) -> PartitionKey {
    PartitionKey { owner: Owner::new(owner).unwrap(), kind: kind.to_owned(), name: name.to_owned() }
}

/// A batch under construction.
#[derive(Debug, Clone)]
pub struct Turn(Batch);

impl Turn {
    /// The first turn after a claim.
    #[must_use]
    pub fn after(partition: &PartitionKey, claim: Claim) -> Self {
        let seq = claim.head.unwrap_or_default().seq.next();
        Self(Batch {
            partition: partition.clone(),
            epoch: claim.epoch,
            seq,
            rows: Vec::new(),
            audit: AuditRow(format!("audit {}", seq.0).into()),
            wake: Wake::default(),
            publish: Vec::new(),
            permit: Permit::default(),
        })
    }

    /// The turn with another number.
    #[must_use]
    pub fn numbered(mut self, seq: u64) -> Self {
        self.0.seq = Seq(seq);
        self.0.audit = AuditRow(format!("audit {seq}").into());
        self
    }

    /// Puts a row.
    #[must_use]
    pub fn put(mut self, table: &str, id: &str, value: &str) -> Self {
        self.0.rows.push(RowChange::Put(RowKey::new(table, id), Bytes::copy_from_slice(value.as_bytes())));
        self
    }

    /// Deletes a row.
    #[must_use]
    pub fn delete(mut self, table: &str, id: &str) -> Self {
        self.0.rows.push(RowChange::Delete(RowKey::new(table, id)));
        self
    }

    /// Publishes an event.
    #[must_use]
    pub fn publish(mut self, topic: &str, key: &str, payload: &str) -> Self {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        self.0.publish.push(Publication { topic: Topic(topic.to_owned()), key: key.to_owned(), payload });
        self
    }

    /// Leaves undelivered outbox rows behind.
    #[must_use]
    pub fn awake(mut self) -> Self {
        self.0.wake.awake = true;
        self
    }

    /// Leaves a deadline behind.
    #[must_use]
    pub fn due(mut self, at: i64) -> Self {
        self.0.wake.due = Some(Timestamp(at));
        self
    }

    /// The batch.
    #[must_use]
    pub fn batch(self) -> Batch {
        self.0
    }

    /// Commits it.
    pub async fn commit(self, store: &dyn Partitions) -> CommitOutcome {
        store.commit(self.0).await
    }

    /// Commits it, and nothing but success will do.
    pub async fn applied(self, store: &dyn Partitions) {
        let what = format!("{} {:?}", self.0.partition, self.0.seq);
        assert_eq!(store.commit(self.0).await, CommitOutcome::Applied, "{what}");
    }
}

/// All rows of a table (or of all), in pages of three.
pub async fn rows(store: &dyn Partitions, partition: &PartitionKey, table: Option<&str>) -> Vec<(String, String, String)> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let page = store.scan(partition, table, all.last().map(|row| &row.key), 3).await.unwrap();
        assert!(page.rows.len() <= 3 && (!page.more || page.rows.len() == 3), "{page:?}");
        all.extend(page.rows);
        if !page.more {
            break;
        }
    }
    let text = |row: Row| {
        (row.key.table().to_owned(), row.key.id().to_owned(), String::from_utf8(row.value.to_vec()).expect("test rows are texts"))
    };
    all.into_iter().map(text).collect()
}
