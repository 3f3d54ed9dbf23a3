//! The words of Cellspace: identifiers, wire types of every protocol and API, compact JSON-LD.
//!
//! This crate does no I/O and knows no clock. Everything that crosses a border (HTTP, event log, storage rows) is spelled here once.

#![forbid(unsafe_code)]

pub mod bitstring;
pub mod cloud_event;
pub mod dcp;
pub mod dps;
pub mod dsp;
pub mod fabric;
pub mod identity;
pub mod ids;
pub mod issuer;
pub mod json;
pub mod jsonld;
pub mod management;
pub mod odrl;
pub mod query_spec;
pub mod secret_text;
pub mod source;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod timestamp;
pub mod trace_context;
pub mod violation;

pub use cloud_event::{CloudEvent, CloudEventError, EventPosition};
pub use ids::{
    AgreementId, AssetId, ClientId, ContractDefinitionId, DataPlaneId, Did, DidError, IdError, KeyAlias, MessageId, NegotiationId, OfferId,
    Owner, ParticipantContextId, PartyId, Pid, PolicyDefinitionId, ProfileId, SecretId, SourceName, TransferId, TransferType,
};
pub use query_spec::QuerySpec;
pub use secret_text::SecretText;
pub use timestamp::Timestamp;
pub use trace_context::TraceContext;
pub use violation::Violation;
