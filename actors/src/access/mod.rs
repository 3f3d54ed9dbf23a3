//! The embedded token service: its clients, and the tokens for the platform's own APIs.

pub mod issuer;

pub use issuer::{AccessClaims, TokenIssuer};
