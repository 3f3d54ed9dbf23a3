//! What is taken back of a command's preparation when the command is not executed.

use parking_lot::Mutex;
use std::{fmt, mem, sync::Arc};

type Step = Box<dyn FnOnce() + Send>;

/// Steps that take back what [`crate::Agent::prepare`] has done elsewhere. They are gone once the command's decision is durable, and stay undone where
/// nobody knows whether it is; whatever else becomes of the preparation, with the last handle they are taken: when the command is refused, stale,
/// answered by a stored reply, given up on its way, or its commit did not land. A crash takes none of them.
#[derive(Clone, Default)]
pub struct Undo(Arc<Steps>);

#[derive(Default)]
struct Steps(Mutex<Vec<Step>>);

impl Undo {
    /// Adds a step. It must not wait: what has to be waited for it spawns.
    pub fn by(&self, step: impl FnOnce() + Send + 'static) {
        self.0.0.lock().push(Box::new(step));
    }

    /// From now on who holds the steps says what becomes of them.
    pub(crate) fn waive(&self) -> Vec<Step> {
        mem::take(&mut *self.0.0.lock())
    }
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undo").finish_non_exhaustive()
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        mem::take(self.0.get_mut()).into_iter().for_each(|step| step());
    }
}
