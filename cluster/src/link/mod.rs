//! What nodes of a cell say to each other: HTTP/2, with certificates on both sides.
//!
//! A peer is who its certificate says: a node of this cell, by an authority that this node believes. Connections are made when they are needed, and kept;
//! messages are bounded in size and time. What does not arrive is said again by who has to say it, or found in the rows of the membership.

mod certificates;
mod client;
mod files;
mod forwarded;
mod identity;
mod name;
mod places;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use certificates::{Authority, CertificateError, Issued};
pub use client::Link;
pub use files::{FromFiles, certificates, key};
pub use forwarded::{Forwarded, Requests};
pub use identity::{CertificateFiles, Identity, IdentityError};
pub use name::{NameError, PeerName};
pub use places::Strangers;
pub use server::{Answers, LinkServer};
pub use wire::{BoxError, LinkBody, WIRE_VERSION};
