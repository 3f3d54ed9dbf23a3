//! The credential service of one participant context: DID document, key pairs, credentials, requests for credentials, presentations.
//!
//! Pure machines: [`context`] (the participant context and its DID document), [`key`], [`credential`], [`watch`] (what becomes of them by time), [`holder_request`]
//! (which credential is for which entry of one: [`entries`]), [`offer`]. Around them:
//! [`agent`], the shell; [`issuance`], the holder's I/O of DCP issuance; [`presentations`], answers to presentation queries; [`sts`], the secure token
//! service; [`listing`], the lists over all participant contexts; [`secrets`], their end.

pub mod agent;
pub mod context;
pub mod credential;
mod entries;
pub mod holder_request;
pub mod issuance;
pub mod key;
pub mod listing;
pub mod offer;
pub mod presentations;
pub mod questions;
pub mod refusal;
pub mod secrets;
pub mod state;
pub mod sts;
#[cfg(test)]
mod tests;
pub mod watch;
#[cfg(test)]
mod watch_tests;

pub use agent::{Command, CredentialService, Effect, Event, Reply};
pub use refusal::Refusal;
pub use state::State;
