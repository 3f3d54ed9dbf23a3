//! Rows set apart: written by an agent's events, never loaded with its state, read one by one when somebody asks for them.

use crate::{
    Address, Agent, Cluster,
    codec::{self, CodecError},
};
use cellspace_storage::{Row, RowKey, StoreError};

impl Cluster {
    /// The event in one row of a table that is [`APART`](cellspace_storage::APART); activates nothing.
    ///
    /// # Errors
    /// When the store or the row cannot be read.
    pub async fn apart<A: Agent>(&self, address: &Address, key: &RowKey) -> Result<Option<A::Event>, StoreError> {
        self.partitions().get(&address.partition(), key).await?.map(|row| event::<A>(&row)).transpose()
    }

    /// The rows of such a table after an id, in order of their ids, at most `limit`: `(id, event)`; activates nothing.
    ///
    /// # Errors
    /// When the store or a row cannot be read.
    pub async fn apart_after<A: Agent>(
        &self,
        address: &Address,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, A::Event)>, StoreError> {
        let after = after.map(|id| RowKey::new(table, id));
        let page = self.partitions().scan(&address.partition(), Some(table), after.as_ref(), limit).await?;
        page.rows.iter().map(|row| Ok((row.key.id().to_owned(), event::<A>(row)?))).collect()
    }

    /// The ids alone of the rows of such a table after an id, in their order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn apart_ids_after(&self, address: &Address, table: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let page = self.partitions().scan(&address.partition(), Some(table), Some(&RowKey::new(table, after)), limit).await?;
        Ok(page.rows.iter().map(|row| row.key.id().to_owned()).collect())
    }
}

fn event<A: Agent>(row: &Row) -> Result<A::Event, StoreError> {
    let unreadable = |e: CodecError| StoreError::Corrupt(format!("{}/{}: {e}", row.key.table(), row.key.id()));
    Ok(codec::open::<A::Event>(&row.value).map_err(unreadable)?.body)
}
