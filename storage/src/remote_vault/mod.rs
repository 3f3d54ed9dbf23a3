//! The vault of an installation that has HashiCorp Vault or OpenBao: keys in its transit engine, which signs, secrets in its KV engine (version 2).
//!
//! Private keys never leave it. Every record of an owner lies in the owner's folder of the KV engine: a secret itself, of a key a note that it is there, which
//! is written before the key is made and removed after it is gone. So a folder tells all that an owner has, and policies can be given by folder.
//! Where participants sign in by themselves ([`ParticipantLogin`]), all that is done for one is done with a token that names it, and the vault refuses that token
//! anything outside of that one's folder.

mod api;
mod names;
mod options;
pub(crate) mod participant;
pub(crate) mod public_key;
mod session;
#[cfg(test)]
mod tests;
mod vault;

pub use options::{Login, ParticipantLogin, RemoteVaultOptions, VaultOptionsError};
pub use vault::RemoteVault;
