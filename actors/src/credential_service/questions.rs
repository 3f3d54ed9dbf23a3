//! What others ask of a participant's credential service, from whichever node.

use super::{CredentialService, State, context::ParticipantContext};
use cellspace_cluster::Query;
use cellspace_schemas::{Owner, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// The participant context, when it is there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ContextOf;

impl Query<CredentialService> for ContextOf {
    const NAME: &'static str = "context";
    type Answer = Option<Arc<ParticipantContext>>;

    fn answer(&self, state: &State) -> Self::Answer {
        state.context.clone()
    }
}

/// The DID document that is published at this path, as it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedAt(pub Owner);

impl Query<CredentialService> for PublishedAt {
    const NAME: &'static str = "published-at";
    type Answer = Option<Box<RawValue>>;

    fn answer(&self, state: &State) -> Self::Answer {
        state.context.as_ref().filter(|context| context.path == self.0)?;
        to_raw_value(&state.published_document()?).ok()
    }
}

/// What lists over all participant contexts show of one, each as it is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Listed {
    /// The context itself.
    Context,
    /// Its DID document.
    Document,
    /// Its key pairs.
    Keys,
    /// Its credentials, as they are at this time.
    Credentials(Timestamp),
}

impl Query<CredentialService> for Listed {
    const NAME: &'static str = "listed";
    type Answer = Vec<Box<RawValue>>;

    fn answer(&self, state: &State) -> Self::Answer {
        let Some(context) = &state.context else { return Vec::new() };
        match self {
            Self::Context => told(context.resource()).into_iter().collect(),
            Self::Document => state.did_document().and_then(told).into_iter().collect(),
            Self::Keys => state.keys.values().filter_map(|key| told(key.resource(&context.id))).collect(),
            Self::Credentials(now) => state.credentials.values().filter_map(|c| told(c.resource(&context.id, *now))).collect(),
        }
    }
}

fn told(value: impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(&value).ok()
}
