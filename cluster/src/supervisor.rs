//! Supervision of activations: a failed one is dropped and reported to its host, its neighbours go on.

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;

/// Told when an actor has ended: `Some(error)` when it failed.
pub(crate) type OnEnd = Box<dyn Fn(Option<&ActorProcessingErr>) + Send + Sync>;

/// Actors under supervision.
pub(crate) type Supervised = Arc<dashmap::DashMap<ActorId, OnEnd>>;

pub(crate) struct Supervisor(pub(crate) Supervised);

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(&self, _: ActorRef<()>, event: SupervisionEvent, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                if let Some((_, on_end)) = self.0.remove(&cell.get_id()) {
                    on_end(None);
                }
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                if let Some((_, on_end)) = self.0.remove(&cell.get_id()) {
                    on_end(Some(&error));
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}
