//! The platform as its users see it: an HTTP client, and the parts of a dataspace's story played through it.
//!
//! This crate knows the platform's APIs and nothing of its inside; the demo and the load tests share it.

#![forbid(unsafe_code)]

pub mod client;
pub mod operator;
pub mod provider;
pub mod reporter;
pub mod sharing;
pub mod source;
pub mod story;
pub mod tenants;

pub use client::{Caller, Client, Patience};
pub use reporter::{Reporter, Silent, check};
