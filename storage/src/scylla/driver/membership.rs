//! The membership's rows: the view, and all leases in one partition, so that they are read together as they are.

use super::{
    ScyllaStore,
    heads::stored,
    store::{Conditional, Inner},
};
use crate::{Incarnation, Lease, Membership, NodeName, Settled, StoreError, Swap, View};
use cellspace_schemas::Timestamp;
use futures::future::BoxFuture;
use scylla::{DeserializeRow, serialize::row::SerializeRow, statement::prepared::PreparedStatement};
use serde::{Deserialize, Serialize};

#[derive(DeserializeRow)]
struct StoredView {
    content: String,
}

#[derive(DeserializeRow)]
struct StoredLease {
    node: String,
    incarnation: i64,
    counter: i64,
    revoked: bool,
    level: i32,
    endpoint: String,
    /// [`Told`], as JSON.
    told: Option<String>,
}

/// What a row tells beside. Of which life and renewal it is: builds that do not know it leave it as it is.
#[derive(Serialize, Deserialize)]
struct Told {
    incarnation: i64,
    counter: i64,
    until: Option<Timestamp>,
    settled: Option<Settled>,
    follows: Option<u64>,
}

impl StoredLease {
    fn read(self) -> Result<Lease, StoreError> {
        let unreadable = |_| StoreError::Corrupt(format!("the lease of {} cannot be read", self.node));
        // What another build tells in another way says nothing here, and keeps nobody from the lease.
        let told = self.told.and_then(|told| serde_json::from_str::<Told>(&told).ok());
        let told = told.filter(|told| (told.incarnation, told.counter) == (self.incarnation, self.counter));
        Ok(Lease {
            incarnation: Incarnation(u64::try_from(self.incarnation).map_err(unreadable)?),
            counter: u64::try_from(self.counter).map_err(unreadable)?,
            level: u16::try_from(self.level).map_err(unreadable)?,
            node: NodeName(self.node),
            revoked: self.revoked,
            endpoint: self.endpoint,
            until: told.as_ref().and_then(|told| told.until),
            settled: told.as_ref().and_then(|told| told.settled),
            follows: told.and_then(|told| told.follows),
        })
    }
}

impl Membership for ScyllaStore {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        Box::pin(async move {
            let found = self.inner().one::<StoredView>(&self.inner().statements.view, ()).await?;
            let read = |row: StoredView| {
                serde_json::from_str(&row.content).map_err(|e| StoreError::Corrupt(format!("the view cannot be read: {e}")))
            };
            found.map(read).transpose()
        })
    }

    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        Box::pin(async move {
            let (inner, statements) = (self.inner(), &self.inner().statements);
            let (version, view) = match written(&next) {
                Ok(written) => written,
                Err(swap) => return swap,
            };
            match version - 1 {
                0 => inner.swap(&statements.first_view, (version, view)).await,
                before => inner.swap(&statements.next_view, (version, view, before)).await,
            }
        })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let rows = self.inner().many::<StoredLease>(&self.inner().statements.leases, (), usize::MAX).await?;
            rows.into_iter().map(StoredLease::read).collect()
        })
    }

    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        Box::pin(async move {
            let (inner, statements) = (self.inner(), &self.inner().statements);
            let numbers = |lease: &Lease| Some((stored(lease.incarnation.0)?, stored(lease.counter)?));
            let Some((incarnation, counter)) = numbers(&next) else { return Swap::Refused };
            let Lease { node: NodeName(node), revoked, level, endpoint, until, settled, follows, .. } = next;
            let (level, told) = (i32::from(level), serde_json::to_string(&Told { incarnation, counter, until, settled, follows }));
            let told = match told {
                Ok(told) => told,
                Err(error) => return Swap::Unknown(format!("not sent: {error}")),
            };
            let Some(before) = before else {
                return inner.swap(&statements.first_lease, (node, incarnation, counter, revoked, level, endpoint, told)).await;
            };
            let Some((was, counted)) = numbers(&before) else { return Swap::Refused };
            let values = (incarnation, counter, revoked, level, endpoint, told, node, was, counted, before.revoked);
            inner.swap(&statements.next_lease, values).await
        })
    }
}

/// A view's columns.
fn written(view: &View) -> Result<(i64, String), Swap> {
    let version = stored(view.version).filter(|version| *version > 0).ok_or(Swap::Refused)?;
    Ok((version, serde_json::to_string(view).map_err(|error| Swap::Unknown(format!("not sent: {error}")))?))
}

impl Inner {
    /// Puts a view, whatever its number, in the place of none.
    pub(super) async fn put_first_view(&self, view: &View) -> Swap {
        match written(view) {
            Ok(written) => self.swap(&self.statements.first_view, written).await,
            Err(swap) => swap,
        }
    }

    pub(super) async fn swap(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Swap {
        match self.conditional(statement, values).await {
            Ok(Some(Conditional::Applied)) => Swap::Applied,
            Ok(Some(Conditional::NotApplied)) => Swap::Refused,
            Ok(None) => Swap::Unknown("the database's answer cannot be read".to_owned()),
            Err(error) => Swap::Unknown(error.to_string()),
        }
    }
}
