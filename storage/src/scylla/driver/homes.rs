//! Which cell serves an owner: a row for each that was moved.

use super::{ScyllaStore, heads::stored, store::Inner};
use crate::{Home, Homes, StoreError, Swap};
use cellspace_schemas::Owner;
use futures::{Stream, StreamExt, future::BoxFuture};
use scylla::DeserializeRow;

#[derive(DeserializeRow)]
struct StoredHome {
    owner: String,
    content: String,
}

impl StoredHome {
    fn read(self) -> Result<(Owner, Home), StoreError> {
        let owner = Owner::new(self.owner).map_err(|_| StoreError::Corrupt("a home names no owner".to_owned()))?;
        let unreadable = |e: serde_json::Error| StoreError::Corrupt(format!("the home of {owner} cannot be read: {e}"));
        let home = serde_json::from_str(&self.content).map_err(unreadable)?;
        Ok((owner, home))
    }
}

impl Homes for ScyllaStore {
    fn of<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>> {
        Box::pin(async move {
            let found = self.inner().one::<StoredHome>(&self.inner().statements.home, (owner.as_str(),)).await?;
            Ok(found.map(StoredHome::read).transpose()?.map(|(_, home)| home))
        })
    }

    fn put<'a>(&'a self, owner: &'a Owner, next: &'a Home) -> BoxFuture<'a, Swap> {
        Box::pin(async move {
            let (inner, statements, owner) = (self.inner(), &self.inner().statements, owner.as_str());
            let (version, content) = match written(next) {
                Ok(written) => written,
                Err(swap) => return swap,
            };
            match version - 1 {
                0 => inner.swap(&statements.first_home, (owner, version, content)).await,
                before => inner.swap(&statements.next_home, (version, content, owner, before)).await,
            }
        })
    }
}

/// A home's columns.
fn written(home: &Home) -> Result<(i64, String), Swap> {
    let version = stored(home.version).filter(|version| *version > 0).ok_or(Swap::Refused)?;
    Ok((version, serde_json::to_string(home).map_err(|error| Swap::Unknown(format!("not sent: {error}")))?))
}

impl Inner {
    /// All rows, each as of its last change that is done.
    pub(super) async fn homes(&self) -> Result<impl Stream<Item = Result<(Owner, Home), StoreError>> + Unpin, StoreError> {
        let rows = self.stream::<StoredHome>(self.statements.homes.clone(), ()).await?;
        Ok(rows.map(|row| row.and_then(StoredHome::read)))
    }

    /// Puts a row, whatever its number, in the place of none.
    pub(super) async fn put_first_home(&self, owner: &Owner, home: &Home) -> Swap {
        match written(home) {
            Ok((version, content)) => self.swap(&self.statements.first_home, (owner.as_str(), version, content)).await,
            Err(swap) => swap,
        }
    }
}
