//! Rows set apart: written by an agent's events, never loaded with its state, read when somebody asks for them.

use crate::{
    Address, Agent, Cluster,
    codec::{self, CodecError},
};
use bytes::Bytes;
use cellspace_storage::{RowKey, Rows, StoreError};
use std::{marker::PhantomData, ops::ControlFlow};
use tokio::sync::oneshot;

/// What sorts behind everything that follows in an id.
const LAST: &str = "\u{10ffff}";

/// The rows of one agent in tables that are [`APART`](cellspace_storage::APART). Reading them may wait for the disk, or for others.
pub struct Apart<'a, A> {
    rows: &'a dyn Rows,
    /// Highest level of rows that are read here.
    reads: u16,
    agent: PhantomData<fn() -> A>,
}

impl<A: Agent> Apart<'_, A> {
    /// The event in one row.
    ///
    /// # Errors
    /// When the store or the row cannot be read.
    pub fn get(&self, key: &RowKey) -> Result<Option<A::Event>, StoreError> {
        Ok(self.get_all(std::slice::from_ref(key))?.into_iter().flatten().next())
    }

    /// The events in these rows, in the order of the keys.
    ///
    /// # Errors
    /// When the store or a row cannot be read.
    pub fn get_all(&self, keys: &[RowKey]) -> Result<Vec<Option<A::Event>>, StoreError> {
        let read =
            |(key, value): (&RowKey, Option<Bytes>)| value.map(|value| event::<A>(key.table(), key.id(), &value, self.reads)).transpose();
        keys.iter().zip(self.rows.values(keys)?).map(read).collect()
    }

    /// Which of these rows are there, in the order of the keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        self.rows.has(keys)
    }

    /// The rows of a table after an id, in order of their ids, at most `limit`: `(id, event)`.
    ///
    /// # Errors
    /// When the store or a row cannot be read.
    pub fn after(&self, table: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, A::Event)>, StoreError> {
        let mut found = Vec::new();
        let mut outcome = Ok(());
        self.each(table, after, limit, &mut |id, value| match event::<A>(table, id, value, self.reads) {
            Ok(event) => {
                found.push((id.to_owned(), event));
                ControlFlow::Continue(())
            }
            Err(error) => {
                outcome = Err(error);
                ControlFlow::Break(())
            }
        })?;
        outcome.map(|()| found)
    }

    /// What follows `beginning` in the ids of a table that begin with it, in their order, at most `limit`, from what is behind `after` on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn ids(&self, table: &str, beginning: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        self.each(table, Some(&format!("{beginning}{after}")), limit, &mut |id, _| match id.strip_prefix(beginning) {
            Some(rest) => {
                found.push(rest.to_owned());
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        })?;
        Ok(found)
    }

    /// The other way round: what follows `beginning` in the ids of a table that begin with it, from the last one in front of `before` on, at most `limit`;
    /// from the very last one without.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn ids_back(&self, table: &str, beginning: &str, before: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        // No id goes on with the last of all characters.
        let before = format!("{beginning}{}", before.unwrap_or(LAST));
        if limit > 0 {
            self.rows.each_back(table, &before, &mut |id, _| match id.strip_prefix(beginning) {
                Some(rest) => {
                    found.push(rest.to_owned());
                    if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
                None => ControlFlow::Break(()),
            })?;
        }
        Ok(found)
    }

    fn each(
        &self,
        table: &str,
        after: Option<&str>,
        mut limit: usize,
        take: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if limit == 0 {
            return Ok(());
        }
        self.rows.each(table, after, &mut |id, value| {
            limit -= 1;
            take(id, value)?;
            if limit == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }
}

impl Cluster {
    /// The event in one row of a table that is [`APART`](cellspace_storage::APART); activates nothing.
    ///
    /// # Errors
    /// When the store or the row cannot be read.
    pub async fn apart<A: Agent>(&self, address: &Address, key: &RowKey) -> Result<Option<A::Event>, StoreError> {
        let row = self.partitions().get(&address.partition(), key).await?;
        row.map(|row| event::<A>(row.key.table(), row.key.id(), &row.value, self.placement().reads())).transpose()
    }

    /// What `read` finds in such tables; it does not run on a thread of the executor, and should soon be done. Activates nothing.
    ///
    /// # Errors
    /// When the store cannot be read, and those of `read`.
    pub async fn read_apart<A, T, E>(
        &self,
        address: &Address,
        read: impl FnOnce(&Apart<'_, A>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        A: Agent,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let reads = self.placement().reads();
        let read = Box::new(move |rows: &dyn Rows| {
            // Who asked may have gone.
            let _ = tell.send(read(&Apart { rows, reads, agent: PhantomData }));
        });
        self.partitions().read(&address.partition(), read).await?;
        told.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the rows were not read".to_owned()).into()))
    }
}

fn event<A: Agent>(table: &str, id: &str, value: &[u8], reads: u16) -> Result<A::Event, StoreError> {
    let unreadable = |e: CodecError| StoreError::Corrupt(format!("{table}/{id}: {e}"));
    Ok(codec::open::<A::Event>(value, reads).map_err(unreadable)?.body)
}
