//! The hosted issuer: whom it knows, what it issues on which attestations, what it issued, and the status of that.
//!
//! One agent ([`Issuer`]) whose owner is the issuer's participant context. Pure: `issuance` (the process), `status_list`, `definition` with `rules` and
//! `mappings`, `attestation`, `credential`. I/O: `delivery` (to holders), `publisher` (status lists to verifiers), `requests` (the holder's token).

pub mod attestation;
pub mod bits;
pub mod claims;
pub mod credential;
pub mod definition;
pub mod holder;
pub mod issuance;
pub mod list_credential;
pub mod mappings;
pub mod rules;
pub mod status_list;

pub use attestation::Attestation;
pub use credential::IssuedCredential;
pub use definition::Definition;
pub use holder::Holder;
pub use issuance::Process;
pub use status_list::{Purpose, Status, StatusListId};
