//! Orchestrations: one agent per run of a definition.
//!
//! A run goes through the levels of its definition. All activities of a level start at the same time, as events on
//! `provisioning.activities.<type>`; the next level starts when all have completed. What an activity agent has to say comes back as a command
//! that names activity and attempt, so that repeats and late answers change nothing. A failed attempt is repeated after a pause, a bounded
//! number of times; then, or when an agent says that it will never work, the run is `Errored`, and the disposing definition of the same
//! template undoes what has been done.

mod agent;
mod machine;
mod state;

pub use agent::{Command, Effect, Ending, Event, OrchestrationAgent, Prepared, Reply};
pub use machine::{ACTIVITY_TIMEOUT, ActivityResult, MAX_ATTEMPTS, Plan};
pub use state::{ActivityRun, ActivityState, Attempt, Run, RunState, Undo};

#[cfg(test)]
mod tests;
