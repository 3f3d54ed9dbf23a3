//! The embedded token service: its clients, and the tokens for the platform's own APIs.

pub mod clients;
pub mod issuer;
pub mod secret;

pub use clients::Clients;
pub(crate) use issuer::thumbprint;
pub use issuer::{AccessClaims, TokenIssuer};
pub use secret::fresh_secret;
