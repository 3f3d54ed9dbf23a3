//! Virtual actors with durable turns, and no word of dataspaces.
//!
//! An agent always exists under its [`Address`]; it is in memory only while in use. [`Cluster::ask`] is the one way to it. One agent is one
//! storage partition with one writer and one conditional batch per turn; a turn never waits for the network, calls to others are outbox rows.

#![forbid(unsafe_code)]

pub mod address;
pub mod agent;
pub mod call;
pub mod clock;
pub mod cluster;
pub mod decision;
pub mod delivery;
pub mod error;

pub use address::Address;
pub use agent::{Agent, Input, RowOf};
pub use call::{Call, IdempotencyKey};
pub use clock::{Clock, SystemClock};
pub use cluster::{Cluster, Options};
pub use decision::{Decision, Fact, Outgoing};
pub use delivery::{Delivery, DeliveryError, OutboxId, RetryPolicy};
pub use error::{AskError, PrepareError, Rejection};
