//! What every backend promises, as checks over the traits alone. A backend's tests open it and call these; each check uses partitions,
//! topics and folders of its own, so that all may run on one store.

// A broken promise is a panic with its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod event_log;
pub mod membership;
pub mod partitions;
pub mod random;
pub mod random_vault;
pub mod remote_vault;
pub mod services;
pub mod turn;
pub mod vault;
pub mod wake_index;

pub use membership::MemoryMembership;
pub use turn::Turn;
