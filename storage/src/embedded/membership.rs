//! The membership of an embedded node: a constant. The lock on the data directory is the fence, and whoever has it is alone.

use super::EmbeddedStore;
use crate::{Deal, Incarnation, Lease, Member, Membership, NodeName, StoreError, Swap, View};
use futures::future::{BoxFuture, ready};

/// The only node's name.
const NODE: &str = "node-1";

impl EmbeddedStore {
    fn alone(&self) -> Member {
        Member { node: NodeName(NODE.to_owned()), incarnation: Incarnation(self.boot()) }
    }
}

impl Membership for EmbeddedStore {
    /// Its version is the boot counter, as in the epochs of this store.
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        let deal = Deal { from: vec![self.alone()], to: vec![self.alone()], mark: 0 };
        Box::pin(ready(Ok(Some(View { version: self.boot(), format: 1, deal, past: Vec::new(), dead: Vec::new() }))))
    }

    /// Nobody else can join.
    fn change_view(&self, _: View) -> BoxFuture<'_, Swap> {
        Box::pin(ready(Swap::Refused))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(ready(Ok(vec![Lease::first(self.alone(), 1, "")])))
    }

    /// Lasts as long as the process: there is nothing to renew.
    fn put_lease(&self, _: Option<Lease>, _: Lease) -> BoxFuture<'_, Swap> {
        Box::pin(ready(Swap::Refused))
    }
}
