//! Words of the Identity API: participant contexts, key pairs, credentials, credential requests.

pub mod credential;
pub mod ids;
pub mod key_pair;
pub mod participant;

pub use credential::{CredentialManifest, CredentialRequestDto, CredentialResource, HolderRequestResource, OfferRule, RequestedCredential};
pub use ids::KeyPairId;
pub use key_pair::{KeyDescriptor, KeyPairResource};
pub use participant::{DidRequest, ParticipantManifest, ParticipantResource, ParticipantSecrets};
