//! Words of the Decentralized Claims Protocol 1.0: DID documents, scopes, messages, credential formats.

pub mod did_document;
pub mod format;
pub mod messages;
pub mod read;
pub mod scope;

pub use did_document::{DidDocument, Relationship, Service, VerificationMethod};
pub use format::CredentialFormat;
pub use messages::{
    CredentialContainer, CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, DeliveryStatus, PresentationQueryMessage,
    PresentationResponseMessage,
};
pub use read::{Message, MessageError, read};
pub use scope::{CredentialScope, ScopeError};

/// JSON-LD context of DCP 1.0 messages.
pub const DCP_CONTEXT: &str = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";
/// Context of credentials and presentations of the VC Data Model 1.1.
pub const VC1_CONTEXT: &str = "https://www.w3.org/2018/credentials/v1";
/// Context of credentials and presentations of the VC Data Model 2.0.
pub const VC2_CONTEXT: &str = "https://www.w3.org/ns/credentials/v2";
