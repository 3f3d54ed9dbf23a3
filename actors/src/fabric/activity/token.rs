//! `jwtlet-activity`: makes the participant context id. Tokens need no preparation here: each call of an agent mints its own.

use super::{ActivityAgent, ActivityError, Work, outputs};
use crate::derived_id::derived_id;
use cellspace_schemas::fabric::{Properties, keys};
use futures::future::BoxFuture;

/// The type.
pub(super) const TYPE: &str = "jwtlet-activity";

/// The agent.
pub struct TokenActivity;

impl ActivityAgent for TokenActivity {
    fn activity_type(&self) -> &'static str {
        TYPE
    }

    fn deploy<'a>(&'a self, work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move {
            // The orchestration determines it, so that a repeat makes the same.
            let id = derived_id(&["participant-context", work.orchestration.as_str()]).simple().to_string();
            Ok(outputs([(keys::PARTICIPANT_CONTEXT_ID, id)]))
        })
    }

    fn dispose<'a>(&'a self, _work: Work<'a>) -> BoxFuture<'a, Result<Properties, ActivityError>> {
        Box::pin(async move { Ok(Properties::new()) })
    }
}
