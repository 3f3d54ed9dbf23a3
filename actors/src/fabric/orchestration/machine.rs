//! The machine. Pure: what a command or deadline does to the run, as events and facts.

use super::{
    ActivityRun, ActivityState, Run, RunState, Undo,
    agent::{Decided, Effect, Event, OrchestrationAgent, Reply},
};
use crate::fabric::{limits, topics};
use cellspace_cluster::{Decision, Fact};
use cellspace_schemas::{
    Timestamp,
    fabric::{
        Activity, ActivityId, ActivityMessage, OrchestrationManifest, OrchestrationState, OrchestrationStep, OrchestrationType, Properties,
        TemplateRef, keys,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Attempts at one activity.
pub const MAX_ATTEMPTS: u32 = 12;
/// An attempt without an answer has failed after this time; agents end their work before.
pub const ACTIVITY_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause before the second attempt; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a run is to go through, as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The template of the definition.
    pub template: TemplateRef,
    /// Its levels.
    pub steps: Vec<OrchestrationStep>,
    /// What undoes it.
    pub undo: Option<OrchestrationType>,
}

/// What an activity agent says of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ActivityResult {
    /// Done, with these outputs.
    Complete(Properties),
    /// It may work later, for this reason it did not now.
    Retry(String),
    /// It will never work.
    Fatal(String),
}

/// Pause after a failed attempt.
fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// A turn at work: the run and the activities it touches, on copies.
struct Turn {
    run: Run,
    activities: BTreeMap<ActivityId, Arc<ActivityRun>>,
    touched: Vec<ActivityId>,
    facts: Vec<Fact>,
    now: Timestamp,
}

impl Turn {
    fn of(run: Run, state: &RunState, now: Timestamp) -> Self {
        let activities = state.activities.iter().map(|(id, a)| (id.clone(), a.clone())).collect();
        Self { run, activities, touched: Vec::new(), facts: Vec::new(), now }
    }

    fn set(&mut self, activity: ActivityRun) {
        let id = activity.activity.id.clone();
        self.activities.insert(id.clone(), Arc::new(activity));
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    fn enter(&mut self, state: OrchestrationState) {
        (self.run.state, self.run.state_timestamp) = (state, self.now);
    }

    /// Asks an agent for an attempt.
    fn ask(&mut self, activity: &Activity, attempt: u32) {
        let orchestration_type = self.run.manifest.orchestration_type.clone();
        let message = ActivityMessage {
            orchestration_id: self.run.manifest.id.clone(),
            activity: Activity { discriminator: Some(orchestration_type), ..activity.clone() },
            attempt,
            processing_data: self.run.processing_data.clone(),
        };
        self.facts.push(Fact {
            topic: topics::activities(&activity.activity_type).into(),
            key: self.run.manifest.id.to_string(),
            kind: topics::ACTIVITY_REQUESTED,
            data: json!(message),
        });
        let due = Some(self.now.plus(ACTIVITY_TIMEOUT));
        let (activity, outputs) = (activity.clone(), Properties::new());
        self.set(ActivityRun { activity, state: ActivityState::Started, attempt, outputs, reason: None, due });
    }

    fn is(&self, id: &ActivityId, state: ActivityState) -> bool {
        self.activities.get(id).is_some_and(|a| a.state == state)
    }

    /// Starts the present level; when nothing is left to do, the run is complete.
    fn start_level(&mut self) {
        match self.run.steps.get(self.run.level).cloned() {
            Some(step) => step.activities.iter().for_each(|activity| self.ask(activity, 1)),
            // Running -> Completed
            None => {
                self.enter(OrchestrationState::Completed);
                self.respond(true);
            }
        }
    }

    /// Goes to the next level when all activities of the present one have completed.
    fn advance(&mut self) {
        let level = self.run.steps.get(self.run.level);
        if level.is_some_and(|step| step.activities.iter().all(|a| self.is(&a.id, ActivityState::Completed))) {
            self.run.level += 1;
            self.start_level();
        }
    }

    /// Running -> Errored. Pending repetitions end; what is under way comes to its end first.
    fn fail(&mut self, reason: String) {
        self.enter(OrchestrationState::Errored);
        self.run.error_detail = Some(reason);
        let retrying: Vec<_> = self.activities.values().filter(|a| a.state == ActivityState::Retrying).cloned().collect();
        for activity in retrying {
            self.set(ActivityRun { state: ActivityState::Failed, due: None, ..activity.as_ref().clone() });
        }
        self.respond(false);
        self.undo();
    }

    /// Tells whoever asked how the run ended.
    fn respond(&mut self, success: bool) {
        let response = self.run.response(success);
        let (topic, kind) = (topics::RESULTS.into(), topics::ORCHESTRATION_ENDED);
        self.facts.push(Fact { topic, key: response.correlation_id.clone(), kind, data: json!(response) });
    }

    /// Asks for the orchestration that undoes an errored run, once no activity is under way.
    fn undo(&mut self) {
        let under_way = self.activities.values().any(|a| a.state == ActivityState::Started);
        let (Undo::By(undo), false) = (&self.run.undo, under_way) else { return };
        let Some(id) = self.run.manifest.id.compensation() else { return };
        let mut payload = self.run.manifest.payload.clone();
        payload.insert(keys::VPA_STATE.to_owned(), Value::Object(self.run.output_data.clone()));
        let manifest = OrchestrationManifest { id, orchestration_type: undo.clone(), payload, ..self.run.manifest.clone() };
        let (topic, kind) = (topics::REQUESTS.into(), topics::ORCHESTRATION_REQUESTED);
        self.facts.push(Fact { topic, key: manifest.correlation_id.clone(), kind, data: json!(manifest) });
        self.run.undo = Undo::Requested;
    }

    fn complete(&mut self, activity: &ActivityRun, outputs: Properties) {
        self.run.processing_data.extend(outputs.clone());
        self.run.output_data.extend(outputs.clone());
        self.set(ActivityRun { state: ActivityState::Completed, outputs, due: None, reason: None, ..activity.clone() });
    }

    fn decision(self, action: &'static str) -> Decision<OrchestrationAgent> {
        let run = Run { version: self.run.version + 1, ..self.run };
        let mut decision = Decision::action(action).event(Event::Run(Arc::new(run))).effect("directory", Effect::Index);
        for activity in self.touched.iter().filter_map(|id| self.activities.get(id)) {
            decision = decision.event(Event::Activity(activity.clone()));
        }
        decision.facts.extend(self.facts);
        decision
    }
}

/// Starts a run. A second request under the same id is the same request.
pub fn start(state: &RunState, manifest: &OrchestrationManifest, plan: &Result<Plan, String>, now: Timestamp) -> Decided {
    if state.run.is_some() {
        return Ok(Decision::nothing());
    }
    let (template, steps, undo) = match plan {
        Ok(plan) => (Some(plan.template.clone()), plan.steps.clone(), plan.undo.clone().map_or(Undo::Never, Undo::By)),
        Err(_) => (None, Vec::new(), Undo::Never),
    };
    let run = Run {
        manifest: manifest.clone(),
        template,
        steps,
        level: 0,
        state: OrchestrationState::Initialized,
        state_timestamp: now,
        created: now,
        version: 0,
        processing_data: manifest.payload.clone(),
        output_data: Properties::new(),
        error_detail: None,
        undo,
    };
    let mut turn = Turn::of(run, state, now);
    match plan {
        // Initialized -> Running, and on to Completed when there is nothing to do
        Ok(_) => {
            turn.enter(OrchestrationState::Running);
            turn.start_level();
        }
        // Initialized -> Errored: no such definition
        Err(reason) => turn.fail(reason.clone()),
    }
    Ok(turn.decision("orchestration.started"))
}

/// An agent answers an attempt. Answers to anything but the attempt under way change nothing.
pub fn report(state: &RunState, id: &ActivityId, attempt: u32, result: &ActivityResult, now: Timestamp) -> Decided {
    let (Some(run), Some(activity)) = (&state.run, state.under_way(id, attempt)) else { return Ok(Decision::nothing()) };
    let mut turn = Turn::of(run.as_ref().clone(), state, now);
    let too_large = match result {
        ActivityResult::Complete(outputs) => limits::properties("outputs", outputs).err().map(ActivityResult::Fatal),
        ActivityResult::Retry(_) | ActivityResult::Fatal(_) => None,
    };
    Ok(match (run.state, too_large.as_ref().unwrap_or(result)) {
        // Running -> Running | Completed
        (OrchestrationState::Running, ActivityResult::Complete(outputs)) => {
            turn.complete(activity, outputs.clone());
            turn.advance();
            turn.decision("activity.completed")
        }
        // Running -> Running | Errored
        (OrchestrationState::Running, ActivityResult::Retry(reason)) => attempt_failed(turn, activity, reason),
        // Running -> Errored
        (OrchestrationState::Running, ActivityResult::Fatal(reason)) => {
            turn.set(ended(activity, reason));
            turn.fail(format!("{id}: {reason}"));
            turn.decision("activity.failed")
        }
        // Errored -> Errored: the last one under way lets the undoing begin
        (OrchestrationState::Errored, ActivityResult::Complete(outputs)) => {
            turn.complete(activity, outputs.clone());
            turn.undo();
            turn.decision("activity.completed")
        }
        (OrchestrationState::Errored, ActivityResult::Retry(reason) | ActivityResult::Fatal(reason)) => {
            turn.set(ended(activity, reason));
            turn.undo();
            turn.decision("activity.failed")
        }
        (
            OrchestrationState::Initialized | OrchestrationState::Completed,
            ActivityResult::Complete(_) | ActivityResult::Retry(_) | ActivityResult::Fatal(_),
        ) => Decision::nothing(),
    })
}

/// The deadline of an activity has passed.
pub fn due(state: &RunState, id: &str, now: Timestamp) -> Decided {
    let activity = state.activities.iter().find(|(key, _)| key.as_str() == id).map(|(_, activity)| activity);
    let (Some(run), Some(activity)) = (&state.run, activity) else { return Ok(Decision::nothing()) };
    let mut turn = Turn::of(run.as_ref().clone(), state, now);
    let silent = "no agent answered in time";
    Ok(match (run.state, activity.state) {
        // Running -> Running: the next attempt
        (OrchestrationState::Running, ActivityState::Retrying) => {
            turn.ask(&activity.activity, activity.attempt + 1);
            turn.decision("activity.repeated")
        }
        // Running -> Running | Errored
        (OrchestrationState::Running, ActivityState::Started) => attempt_failed(turn, activity, silent),
        // Errored -> Errored
        (OrchestrationState::Errored, ActivityState::Started) => {
            turn.set(ended(activity, silent));
            turn.undo();
            turn.decision("activity.failed")
        }
        (
            OrchestrationState::Initialized | OrchestrationState::Running | OrchestrationState::Completed | OrchestrationState::Errored,
            ActivityState::Started | ActivityState::Retrying | ActivityState::Completed | ActivityState::Failed,
        ) => Decision::nothing(),
    })
}

fn ended(activity: &ActivityRun, reason: &str) -> ActivityRun {
    ActivityRun { state: ActivityState::Failed, due: None, reason: Some(reason.to_owned()), ..activity.clone() }
}

/// Repeats the activity later, or fails the run when all attempts are spent.
fn attempt_failed(mut turn: Turn, activity: &ActivityRun, reason: &str) -> Decision<OrchestrationAgent> {
    let attempt = activity.attempt;
    if attempt >= MAX_ATTEMPTS {
        turn.set(ended(activity, reason));
        turn.fail(format!("{}: gave up after {attempt} attempts: {reason}", activity.activity.id));
        return turn.decision("activity.failed");
    }
    let due = Some(turn.now.plus(pause(attempt)));
    turn.set(ActivityRun { state: ActivityState::Retrying, due, reason: Some(reason.to_owned()), ..activity.clone() });
    turn.decision("activity.retrying")
}

/// Answers with the run as it is after the decision.
pub fn replying(state: &RunState, decision: Decision<OrchestrationAgent>) -> Decision<OrchestrationAgent> {
    let mut after = state.clone();
    for event in &decision.events {
        super::agent::apply(&mut after, event);
    }
    let reply = after.view().map_or(Reply::Done, |view| Reply::Orchestration(Box::new(view)));
    decision.replying(reply)
}
