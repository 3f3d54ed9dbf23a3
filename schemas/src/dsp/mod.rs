//! Dataspace Protocol 2025-1: the wire types of its messages, in compact JSON-LD.
//!
//! A message is read by [`message::read`]: exact known `@context`, exact `@type`, then a typed and bounded body. A message in another form of JSON-LD
//! is brought into this one first ([`crate::jsonld`]). A context that is not known is refused, since it could give the terms another meaning.

pub mod base_url;
pub mod catalog;
pub mod data_address;
pub mod error;
pub mod message;
pub mod negotiation;
pub mod properties;
pub mod reasons;
pub mod transfer;
pub mod versions;

pub use base_url::{BaseUrl, BaseUrlError};
pub use data_address::{DataAddress, EndpointProperty};
pub use message::{CONTEXT, Message, MessageError, Received, SentContext};
