//! Listeners and the stack that a request passes, from the socket to its handler and back.
//!
//! Read [`stack::stack`] from top to bottom: it is a request's life.

pub mod activity;
pub mod admit;
pub mod answer;
pub mod connections;
pub mod deadline;
pub mod dispatch;
pub mod resolve;
pub mod stack;
#[cfg(test)]
mod tests;

pub use connections::{Connections, serve};
pub use dispatch::Gateway;
pub use stack::{Limits, stack};
