//! The gateway: listeners, request stack, authentication, route table, error mapping, command line.
//!
//! Only this crate knows HTTP status codes. Handlers translate between wire types and agents' commands; they hold no state.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod cli;
pub mod crypto;
pub mod demo;
pub mod http;
pub mod node;
pub mod observe;
pub mod routes;
pub mod server;

pub use app::App;
pub use node::{Node, NodeConfig, Ports};
