//! Who is part of a cell, which node serves which slot, and how a slot goes from one node to another without two serving it at once. Pure: no clock, no
//! I/O, no randomness.
//!
//! - Each [`Node`] renews its lease row and reads view and leases after it. A renewal lasts [`Terms::lease`] from its *start*, and counts only when the view
//!   read after it has been applied: so whoever holds a lease has applied every view that is older than the lease.
//! - Whoever sees a counter stand still for lease and margin, while it held its own lease, takes that lease away and then the node out of the view; never
//!   more than half of the nodes at once. What leaves the view can serve nothing any more.
//! - Where a node begins another life, whoever sees that the lease of the life before has ended puts the new one in its place.
//! - The owner of a slot opens it when each node that may have owned it before has said that it released it, has left the view, or was given lease and
//!   margin since the view was applied. A [`View`](cellspace_storage::View) tells its last changes, so that who missed a few knows who that is.
//! - A planned change moves few slots at a time; commits are safe without any of this, since no claim is made over one of a newer view.

mod dealt;
mod lease;
mod node;
mod plan;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod watch;

pub use dealt::{Dealt, Rings};
pub use lease::{Ended, next_life};
pub use node::{MOST_HOPS, Node, Route, Step};
pub use plan::{behind, finalized};
pub use table::{Answer, ServedLast};
pub use terms::{Moment, Terms};
