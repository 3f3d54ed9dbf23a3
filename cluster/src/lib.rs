//! Virtual actors with durable turns. They know of dataspaces only whom audit lines name.
//!
//! An agent always exists under its [`Address`]; it is in memory only while in use. [`Cluster::ask`] is the one way to it. One agent is one
//! storage partition with one writer and one conditional batch per turn; a turn never waits for the network, calls to others are outbox rows.

#![forbid(unsafe_code)]

mod absent;
mod activation;
pub mod address;
pub mod admin;
mod admission;
pub mod agent;
mod apart;
mod ask;
pub mod call;
pub mod cell;
pub mod clock;
pub mod cluster;
mod codec;
mod core;
mod crash;
mod dead_letters;
mod deadlines;
pub mod decision;
pub mod delivery;
mod destinations;
mod dispatcher;
mod ended;
pub mod error;
mod failures;
mod fair;
pub mod follow;
mod host;
mod idempotency;
mod inbox;
pub mod link;
mod load;
mod loading;
pub mod membership;
mod outbox;
mod pace;
pub mod placement;
mod plan;
mod proof;
pub mod remote;
mod reply;
pub mod ring;
mod supervisor;
mod sweep;
#[cfg(test)]
mod testing;
mod timers;
pub mod trace;
mod turn;
pub mod undo;
mod wakeups;
mod watched;
mod witness;

pub use address::Address;
pub use admin::{AdminError, Audited, AuditedChange, DeadLetter, Explanation, OutboxEntry, Parked};
pub use agent::{Agent, Input, RowOf};
pub use apart::Apart;
pub use call::{Call, CallId, IdempotencyKey};
pub use cell::{BootClock, Cell, CellOptions, Elsewhere, Finalized, Peer, PeerError, PeerLink, SlotMemory, Told, Uptime, Whereabouts};
pub use cellspace_storage::Slot;
pub use clock::{Clock, SystemClock};
pub use cluster::{Cluster, Options};
pub use codec::LEVEL;
#[cfg(feature = "failpoints")]
pub use crash::arm_crash_point;
pub use decision::{About, Decision, Fact, Happening, Outgoing};
pub use delivery::{Delivery, DeliveryError, OutboxId, OutboxIdError, RetryPolicy, Track};
pub use error::{AskError, PrepareError, Rejection};
pub use follow::{Following, Happened};
pub use placement::{Opening, Placement, ServedBefore};
pub use proof::Unproven;
pub use remote::{AgentAnswer, AgentCall, Query, Reach};
pub use ring::{NodeName, Ring};
pub use undo::Undo;
