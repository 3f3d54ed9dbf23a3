//! A bare lightweight transaction by the driver: what a turn is compared with.

use anyhow::{Context, Result, ensure};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::{Consistency, SerialConsistency, prepared::PreparedStatement},
    value::{CqlValue, Row},
};

/// A table of its own in the same keyspace.
pub struct Bare {
    session: Session,
    keyspace: String,
    update: PreparedStatement,
}

impl Bare {
    /// Makes the table, with `count` rows.
    pub async fn open(nodes: &[String], keyspace: &str, count: usize) -> Result<Self> {
        let session = SessionBuilder::new().known_nodes(nodes).build().await?;
        session.use_keyspace(keyspace, false).await?;
        session.query_unpaged("CREATE TABLE bare (id bigint PRIMARY KEY, seq bigint, value blob)", ()).await?;
        let mut update = session.prepare("UPDATE bare SET seq = ?, value = ? WHERE id = ? IF seq = ?").await?;
        // As the store has it.
        update.set_consistency(Consistency::LocalQuorum);
        update.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        for id in 0..i64::try_from(count)? {
            session.query_unpaged("INSERT INTO bare (id, seq) VALUES (?, 0) IF NOT EXISTS", (id,)).await?;
        }
        Ok(Self { session, keyspace: keyspace.to_owned(), update })
    }

    /// One of them: the row's `seq`-th.
    pub async fn update(&self, id: usize, seq: i64, value: &[u8]) -> Result<()> {
        let answer = self.session.execute_unpaged(&self.update, (seq, value, i64::try_from(id)?, seq - 1)).await?;
        let row: Row = answer.into_rows_result()?.single_row()?;
        let applied = row.columns.into_iter().next().flatten().context("no answer")?;
        ensure!(applied == CqlValue::Boolean(true), "row {id} is not at {}", seq - 1);
        Ok(())
    }

    /// Removes the keyspace, with all that was measured in it.
    pub async fn remove(self) -> Result<()> {
        self.session.query_unpaged(format!("DROP KEYSPACE {}", self.keyspace), ()).await?;
        Ok(())
    }
}
