//! Which cell serves an owner: a row for each that was moved.

use super::{ScyllaStore, heads::stored};
use crate::{Home, Homes, StoreError, Swap};
use cellspace_schemas::Owner;
use futures::future::BoxFuture;
use scylla::DeserializeRow;

#[derive(DeserializeRow)]
struct StoredHome {
    content: String,
}

impl Homes for ScyllaStore {
    fn of<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>> {
        Box::pin(async move {
            let found = self.inner().one::<StoredHome>(&self.inner().statements.home, (owner.as_str(),)).await?;
            let read = |row: StoredHome| serde_json::from_str(&row.content);
            found.map(read).transpose().map_err(|e| StoreError::Corrupt(format!("the home of {owner} cannot be read: {e}")))
        })
    }

    fn put<'a>(&'a self, owner: &'a Owner, next: &'a Home) -> BoxFuture<'a, Swap> {
        Box::pin(async move {
            let (inner, statements, owner) = (self.inner(), &self.inner().statements, owner.as_str());
            let Some(version) = stored(next.version).filter(|version| *version > 0) else { return Swap::Refused };
            let content = match serde_json::to_string(next) {
                Ok(content) => content,
                Err(error) => return Swap::Unknown(format!("not sent: {error}")),
            };
            match version - 1 {
                0 => inner.swap(&statements.first_home, (owner, version, content)).await,
                before => inner.swap(&statements.next_home, (version, content, owner, before)).await,
            }
        })
    }
}
