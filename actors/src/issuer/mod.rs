//! The hosted issuer: whom it knows, what it issues on which attestations, what it issued, and the status of that.
//!
//! One agent ([`Issuer`]) whose owner is the issuer's participant context. Pure: `issuance` (the process), `status_list`, `definition` with `rules` and
//! `mappings`, `attestation`, `credential`, and the decisions of `admin`, `admission`, `requests` and `approval`. I/O: `agent` (the holder's token), `call_out` (services
//! that attest), `hook` (services that approve), `delivery` (to holders), `publisher` (status lists to verifiers).

pub mod admin;
pub mod admission;
pub mod agent;
pub mod approval;
pub mod attestation;
pub mod bits;
pub mod call_out;
pub mod claims;
pub mod credential;
pub mod definition;
pub mod delivery;
pub mod holder;
pub mod hook;
pub mod issuance;
pub mod list_credential;
pub mod mappings;
pub mod publisher;
pub mod requests;
pub mod rules;
pub mod signing;
pub mod state;
pub mod status_list;
#[cfg(test)]
pub(crate) mod testing;

pub use agent::{Command, Effect, Issuer, Prepared, Refusal, Reply};
pub use attestation::Attestation;
pub use credential::IssuedCredential;
pub use definition::Definition;
pub use holder::Holder;
pub use issuance::Process;
pub use publisher::{PublishError, StatusListPublisher};
pub use state::{Event, IssuerState};
pub use status_list::{ListBits, Purpose, Status, StatusListId};
