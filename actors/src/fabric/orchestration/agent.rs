//! The orchestration's agent: dispatch, and what it asks of the registry.

use super::{
    ActivityResult, ActivityRun, Attempt, Run, RunState,
    machine::{self, Plan},
};
use crate::{
    Services,
    fabric::{
        Refusal,
        index::{self, OrchestrationEntry},
        registry::{self, dag},
    },
};
use cellspace_cluster::{
    Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RetryPolicy, RowOf,
};
use cellspace_schemas::{
    Timestamp,
    fabric::{ActivityId, Orchestration, OrchestrationId, OrchestrationManifest, OrchestrationResponse},
};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An orchestration; the owner of its address is the orchestration id.
pub struct OrchestrationAgent {
    services: Services,
}

impl OrchestrationAgent {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// A request to an orchestration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Starts it.
    Start(Box<OrchestrationManifest>),
    /// An agent is about to work on an attempt at an activity: is it under way?
    Begin(ActivityId, u32),
    /// An agent answers an attempt at an activity.
    Report(ActivityId, u32, ActivityResult),
}

/// A request with what the registry said about it.
#[derive(Debug)]
pub enum Prepared {
    /// Starts the run by this plan.
    Start(Box<OrchestrationManifest>, Result<Plan, String>),
    /// An agent asks about an attempt.
    Begin(ActivityId, u32),
    /// An agent answers an attempt.
    Report(ActivityId, u32, ActivityResult),
}

/// Answer to a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// The orchestration as it now is.
    Orchestration(Box<Orchestration>),
    /// The attempt that is under way.
    Attempt(Attempt),
}

/// A change of the orchestration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The run as it now is.
    Run(Arc<Run>),
    /// An activity as it now is.
    Activity(Arc<ActivityRun>),
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Show the orchestration in the directory as it now is.
    Index,
}

/// What the machine decided.
pub type Decided = Result<Decision<OrchestrationAgent>, Rejection<Refusal>>;

/// Folds an event into the state.
pub fn apply(state: &mut RunState, event: &Event) {
    match event {
        Event::Run(run) => state.run = Some(run.clone()),
        Event::Activity(activity) => state.activities.insert_mut(activity.activity.id.clone(), activity.clone()),
    }
}

impl OrchestrationAgent {
    async fn plan(&self, manifest: &OrchestrationManifest) -> Result<Result<Plan, String>, PrepareError<Refusal>> {
        let registry = registry::snapshot(&self.services).await.map_err(|e| PrepareError::Unavailable(format!("the registry: {e}")))?;
        let kind = &manifest.orchestration_type;
        let Some(definition) = registry.definition(kind) else { return Ok(Err(format!("no orchestration definition for {kind}"))) };
        let undo = kind.disposal().filter(|undo| registry.definition(undo).is_some());
        Ok(match dag::levels(&definition.activities) {
            Ok(steps) => Ok(Plan { template: definition.template, steps, undo }),
            Err(e) => Err(format!("the orchestration definition for {kind} cannot be run: {e}")),
        })
    }
}

/// Whether there is a run, and how it ended if it has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ending;

impl Query<OrchestrationAgent> for Ending {
    const NAME: &'static str = "ending";
    type Answer = (bool, Option<OrchestrationResponse>);

    fn answer(&self, state: &RunState) -> Self::Answer {
        (state.run.is_some(), state.response())
    }
}

impl Agent for OrchestrationAgent {
    const KIND: AgentKind = AgentKind("orchestration");
    type State = RunState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<OrchestrationEntry>().query::<Ending>()
    }

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Start(_))
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        _snapshot: Arc<RunState>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(async move {
            match command {
                Command::Start(manifest) => {
                    if manifest.id.as_str() != address.owner.as_str() {
                        return Err(Refusal::Invalid("the manifest belongs to another orchestration".to_owned()).into());
                    }
                    let plan = self.plan(&manifest).await?;
                    Ok(Prepared::Start(manifest, plan))
                }
                Command::Begin(activity, attempt) => Ok(Prepared::Begin(activity, attempt)),
                Command::Report(activity, attempt, result) => Ok(Prepared::Report(activity, attempt, result)),
            }
        })
    }

    fn decide(state: &RunState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared::Start(manifest, plan)) => {
                machine::start(state, manifest, plan, now).map(|decision| machine::replying(state, decision))
            }
            Input::Command(Prepared::Begin(activity, attempt)) => {
                Ok(Decision::reply(state.attempt(activity, *attempt).map_or(Reply::Done, Reply::Attempt)))
            }
            Input::Command(Prepared::Report(activity, attempt, result)) => machine::report(state, activity, *attempt, result, now),
            // A row of the directory shows what it last showed; the next change brings it up to date.
            Input::Delivered(_, ()) | Input::Undeliverable(..) => Ok(Decision::nothing()),
            Input::Due(key) => machine::due(state, key, now),
        }
    }

    fn apply(state: &mut RunState, event: &Event) {
        apply(state, event);
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Run(_) => RowOf::Put(RowKey::new("run", "")),
            Event::Activity(activity) => RowOf::Put(RowKey::new("activity", activity.activity.id.as_str())),
        }
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Run(_) => None,
            Event::Activity(activity) => Some((activity.activity.id.to_string(), activity.due)),
        }
    }

    fn tenant(state: &RunState) -> Option<String> {
        state.run.as_ref().and_then(|run| run.manifest.tenant_id.as_ref()).map(ToString::to_string)
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let mut call = Call::by(delivery.address.to_string());
            call.trace.clone_from(&delivery.trace);
            let id = OrchestrationId::new(delivery.address.owner.as_str()).map_err(|e| DeliveryError::Refused(e.to_string()))?;
            Ok(index::show_orchestration(&self.services, &id, &delivery.snapshot, &call).await?)
        })
    }

    fn retry_policy(_effect: &Effect) -> RetryPolicy {
        index::RETRY
    }
}
