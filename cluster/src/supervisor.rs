//! Supervision of activations: one that panics is reported to its host and dropped, its neighbours go on.

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;

/// Told what an actor said when it panicked.
pub(crate) type OnPanic = Box<dyn Fn(String) + Send + Sync>;

/// Running actors.
pub(crate) type Supervised = Arc<dashmap::DashMap<ActorId, OnPanic>>;

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
                self.0.remove(&cell.get_id());
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                if let Some((_, on_panic)) = self.0.remove(&cell.get_id()) {
                    on_panic(error.to_string());
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}
