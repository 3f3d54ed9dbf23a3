//! What vaults keep that seal their records themselves: the master key, the sealing of a record, and what is in one.

mod content;
mod master_key;
mod sealing;
mod signing_key;

pub(crate) use content::{Content, data_key, fresh_data_key, open_record};
pub(crate) use master_key::KeyBytes;
pub use master_key::{MASTER_KEY_BYTES, MasterKey};
pub(crate) use sealing::{Place, Sealer};
pub(crate) use signing_key::SigningKey;
