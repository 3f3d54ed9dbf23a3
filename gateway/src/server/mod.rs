//! Listeners and the stack that a request passes, from the socket to its handler and back.
//!
//! Read [`stack::stack`] from top to bottom: it is a request's life.

pub mod activity;
pub mod admit;
pub mod answer;
pub mod connection;
pub mod connections;
mod crowd;
pub mod deadline;
pub mod dispatch;
pub mod gate;
pub mod lag;
pub mod nodes;
pub mod overload;
pub mod received;
pub mod resolve;
pub mod shed;
pub mod stack;
#[cfg(test)]
mod tests;
pub mod tls;

pub use connections::{Connections, serve};
pub use dispatch::Gateway;
pub use lag::Lag;
pub use nodes::Nodes;
pub use received::Received;
pub use stack::{Limits, stack};
pub use tls::{ListenerTls, TlsFiles};
