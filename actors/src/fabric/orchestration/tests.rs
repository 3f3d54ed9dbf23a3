//! Table of every (state, activity state, input), and runs from start to end.

use super::{ActivityResult, ActivityState, MAX_ATTEMPTS, OrchestrationAgent, Plan, Prepared, Reply, RunState, Undo};
use crate::fabric::{registry::dag, topics};
use cellspace_cluster::{Agent, Decision, Fact, Input};
use cellspace_schemas::{
    Timestamp,
    fabric::{
        Activity, ActivityId, ActivityMessage, OrchestrationManifest, OrchestrationResponse, OrchestrationState, OrchestrationType,
        Properties, TemplateRef, keys,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn id(text: &str) -> ActivityId {
    ActivityId::new(text).unwrap()
}

fn manifest() -> OrchestrationManifest {
    serde_json::from_value(json!({"id": "o-1", "correlationId": "pp-1", "orchestrationType": keys::DEPLOY,
        "payload": {keys::PARTICIPANT_ID: "did:web:acme"}, "tenantId": "t-1"}))
    .unwrap()
}

fn plan(activities: Value, undo: bool) -> Result<Plan, String> {
    let activities: Vec<Activity> = serde_json::from_value(activities).unwrap();
    Ok(Plan {
        template: TemplateRef::new("tpl-1").unwrap(),
        steps: dag::levels(&activities).unwrap(),
        undo: undo.then(|| OrchestrationType::new(keys::DISPOSE).unwrap()),
    })
}

/// token, then reg and ih together, then creds.
fn deployment() -> Result<Plan, String> {
    plan(
        json!([{"id": "token", "type": "jwtlet-activity"}, {"id": "reg", "type": "registration-activity", "dependsOn": ["token"]},
            {"id": "ih", "type": "identityhub-activity", "dependsOn": ["token"]},
            {"id": "creds", "type": "onboarding-activity", "dependsOn": ["reg", "ih"]}]),
        true,
    )
}

struct Machine {
    state: RunState,
    now: Timestamp,
}

impl Machine {
    fn started(plan: Result<Plan, String>) -> (Self, Decision<OrchestrationAgent>) {
        let mut machine = Self { state: RunState::default(), now: Timestamp(1_000_000) };
        let decision = machine.step(Input::Command(Prepared::Start(Box::new(manifest()), plan)));
        (machine, decision)
    }

    fn step(&mut self, input: Input<OrchestrationAgent>) -> Decision<OrchestrationAgent> {
        let decision = OrchestrationAgent::decide(&self.state, &input, self.now).unwrap();
        for event in &decision.events {
            OrchestrationAgent::apply(&mut self.state, event);
        }
        decision
    }

    fn report(&mut self, activity: &str, attempt: u32, result: ActivityResult) -> Decision<OrchestrationAgent> {
        self.step(Input::Command(Prepared::Report(id(activity), attempt, result)))
    }

    fn complete(&mut self, activity: &str, outputs: Value) -> Decision<OrchestrationAgent> {
        self.report(activity, 1, ActivityResult::Complete(outputs.as_object().unwrap().clone()))
    }

    fn due(&mut self, activity: &str) -> Decision<OrchestrationAgent> {
        let due = self.state.activities.get(&id(activity)).and_then(|a| a.due);
        self.now = due.unwrap_or(self.now);
        self.step(Input::Due(activity.to_owned()))
    }

    fn run_state(&self) -> OrchestrationState {
        self.state.run.as_ref().unwrap().state
    }

    fn activity(&self, activity: &str) -> (ActivityState, u32) {
        let found = self.state.activities.get(&id(activity)).unwrap();
        (found.state, found.attempt)
    }
}

/// `(activity, attempt)` of every request to an agent.
fn asked(decision: &Decision<OrchestrationAgent>) -> Vec<(String, u32)> {
    let of = |fact: &&Fact| fact.kind == topics::ACTIVITY_REQUESTED;
    let messages = decision.facts.iter().filter(of).map(|fact| serde_json::from_value::<ActivityMessage>(fact.data.clone()).unwrap());
    messages.map(|m| (m.activity.id.to_string(), m.attempt)).collect()
}

fn response(decision: &Decision<OrchestrationAgent>) -> Option<OrchestrationResponse> {
    let fact = decision.facts.iter().find(|fact| fact.topic == topics::RESULTS)?;
    Some(serde_json::from_value(fact.data.clone()).unwrap())
}

fn undoing(decision: &Decision<OrchestrationAgent>) -> Option<OrchestrationManifest> {
    let fact = decision.facts.iter().find(|fact| fact.topic == topics::REQUESTS)?;
    Some(serde_json::from_value(fact.data.clone()).unwrap())
}

fn pairs(list: &[(&str, u32)]) -> Vec<(String, u32)> {
    list.iter().map(|(name, attempt)| ((*name).to_owned(), *attempt)).collect()
}

#[test]
fn levels_run_one_after_the_other() {
    let (mut m, first) = Machine::started(deployment());
    assert_eq!(asked(&first), pairs(&[("token", 1)]));
    let Reply::Orchestration(view) = &first.reply else { panic!("no orchestration in the reply") };
    assert_eq!((view.state, view.steps.len()), (OrchestrationState::Running, 3));
    assert_eq!(first.facts[0].topic, "provisioning.activities.jwtlet-activity");

    let second = m.complete("token", json!({"participantContextId": "pc-1"}));
    assert_eq!(asked(&second), pairs(&[("reg", 1), ("ih", 1)]));
    let message: ActivityMessage = serde_json::from_value(second.facts[0].data.clone()).unwrap();
    assert_eq!(message.processing_data["participantContextId"], "pc-1");
    assert_eq!(message.processing_data[keys::PARTICIPANT_ID], "did:web:acme");
    assert_eq!(message.activity.discriminator.unwrap().as_str(), keys::DEPLOY);

    // The barrier: one of two is not enough.
    assert!(asked(&m.complete("reg", json!({}))).is_empty());
    assert_eq!(asked(&m.complete("ih", json!({}))), pairs(&[("creds", 1)]));
    let last = m.complete("creds", json!({"holderPid": "hp-1"}));
    let response = response(&last).unwrap();
    assert!(response.success && response.error_detail.is_none());
    assert_eq!(Value::Object(response.properties), json!({"participantContextId": "pc-1", "holderPid": "hp-1"}));
    assert_eq!((response.manifest_id.as_str(), response.tenant_id.unwrap().as_str()), ("o-1", "t-1"));
    assert_eq!(m.run_state(), OrchestrationState::Completed);
    assert!(undoing(&last).is_none());
}

#[test]
fn nothing_to_do_is_complete_and_no_definition_is_an_error() {
    let (m, decision) = Machine::started(plan(json!([]), true));
    assert_eq!(m.run_state(), OrchestrationState::Completed);
    assert!(response(&decision).unwrap().success);
    let (m, decision) = Machine::started(Err("no orchestration definition".to_owned()));
    assert_eq!(m.run_state(), OrchestrationState::Errored);
    assert_eq!(response(&decision).unwrap().error_detail.as_deref(), Some("no orchestration definition"));
    assert!(undoing(&decision).is_none());
}

#[test]
fn a_second_request_under_the_same_id_is_the_same() {
    let (mut m, _) = Machine::started(deployment());
    m.complete("token", json!({}));
    let again = m.step(Input::Command(Prepared::Start(Box::new(manifest()), deployment())));
    assert!(!again.changes());
    let Reply::Orchestration(view) = again.reply else { panic!("no orchestration in the reply") };
    assert_eq!(view.completed.len(), 1);
}

#[test]
fn failed_attempts_are_repeated_with_growing_pauses_and_then_given_up() {
    let (mut m, _) = Machine::started(deployment());
    let mut pauses = Vec::new();
    for attempt in 1..MAX_ATTEMPTS {
        let before = m.now;
        let decision = m.report("token", attempt, ActivityResult::Retry("unreachable".to_owned()));
        assert!(decision.facts.is_empty());
        assert_eq!(m.activity("token"), (ActivityState::Retrying, attempt));
        assert_eq!(asked(&m.due("token")), pairs(&[("token", attempt + 1)]));
        pauses.push(m.now.since(before).as_millis());
    }
    assert_eq!(pauses[..8], [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    let last = m.report("token", MAX_ATTEMPTS, ActivityResult::Retry("unreachable".to_owned()));
    assert_eq!(m.run_state(), OrchestrationState::Errored);
    assert_eq!(response(&last).unwrap().error_detail.unwrap(), "token: gave up after 12 attempts: unreachable");
}

#[test]
fn agents_are_told_whether_an_attempt_is_under_way() {
    let begin = |activity: &str, attempt| Input::Command(Prepared::Begin(id(activity), attempt));
    let (mut m, _) = Machine::started(deployment());
    let due = m.now.plus(super::ACTIVITY_TIMEOUT);
    let told = m.step(begin("token", 1));
    assert!(!told.changes());
    let Reply::Attempt(attempt) = told.reply else { panic!("not under way") };
    assert_eq!((attempt.due, attempt.tenant.unwrap().as_str()), (due, "t-1"));
    m.report("token", 1, ActivityResult::Retry("later".to_owned()));
    assert_eq!(m.step(begin("token", 1)).reply, Reply::Done, "it has failed");
    m.due("token");
    assert_eq!(m.step(begin("token", 1)).reply, Reply::Done, "it was an earlier attempt");
    assert!(matches!(m.step(begin("token", 2)).reply, Reply::Attempt(_)));
    m.report("token", 2, ActivityResult::Complete(Properties::new()));
    assert_eq!(m.step(begin("token", 2)).reply, Reply::Done, "it is done");
    assert_eq!(m.step(begin("creds", 1)).reply, Reply::Done, "it was never started");
}

#[test]
fn silence_is_a_failed_attempt() {
    let (mut m, _) = Machine::started(deployment());
    let started = m.now;
    m.due("token");
    assert_eq!(m.now.since(started), super::ACTIVITY_TIMEOUT);
    assert_eq!(m.activity("token"), (ActivityState::Retrying, 1));
    assert_eq!(asked(&m.due("token")), pairs(&[("token", 2)]));
    // The silent agent's late answer is of an attempt that does not count any more.
    assert!(!m.report("token", 1, ActivityResult::Complete(Properties::new())).changes());
}

#[test]
fn a_fatal_failure_is_undone_once_nothing_is_under_way() {
    let (mut m, _) = Machine::started(deployment());
    m.complete("token", json!({"participantContextId": "pc-1"}));
    let failed = m.report("reg", 1, ActivityResult::Fatal("refused".to_owned()));
    let answer = response(&failed).unwrap();
    assert_eq!((answer.success, answer.error_detail.as_deref()), (false, Some("reg: refused")));
    assert_eq!(m.run_state(), OrchestrationState::Errored);
    // `ih` is still at work, and may yet make something.
    assert!(undoing(&failed).is_none());
    let ended = m.complete("ih", json!({"made": "yes"}));
    let undo = undoing(&ended).unwrap();
    assert_eq!((undo.id.as_str(), undo.orchestration_type.as_str()), ("o-1.compensation", keys::DISPOSE));
    assert_eq!(undo.payload[keys::VPA_STATE], json!({"participantContextId": "pc-1", "made": "yes"}));
    assert_eq!(undo.tenant_id, manifest().tenant_id);
    assert_eq!(m.state.run.as_ref().unwrap().undo, Undo::Requested);
    // Nothing brings the run back, and it ends only once.
    for late in [m.complete("ih", json!({})), m.due("reg"), m.due("ih")] {
        assert!(!late.changes());
    }
}

#[test]
fn pending_repetitions_end_with_the_run() {
    let (mut m, _) = Machine::started(deployment());
    m.complete("token", json!({}));
    m.report("ih", 1, ActivityResult::Retry("later".to_owned()));
    let failed = m.report("reg", 1, ActivityResult::Fatal("refused".to_owned()));
    assert_eq!(m.activity("ih"), (ActivityState::Failed, 1));
    assert!(undoing(&failed).is_some());
    assert!(!m.due("ih").changes());
}

#[test]
fn without_a_disposing_definition_nothing_is_undone() {
    let (mut m, _) = Machine::started(plan(json!([{"id": "a", "type": "x"}]), false));
    assert!(undoing(&m.report("a", 1, ActivityResult::Fatal("no".to_owned()))).is_none());
}

#[test]
fn outputs_are_bounded() {
    let (mut m, _) = Machine::started(deployment());
    let failed = m.complete("token", json!({"x": "x".repeat(crate::fabric::limits::MAX_PROPERTIES)}));
    assert!(response(&failed).unwrap().error_detail.unwrap().contains("at most"));
}

/// What each input does in each pair of states: the run's next state and the activity's, or nothing.
#[test]
fn table() {
    use ActivityState::{Completed, Failed, Retrying, Started};
    use OrchestrationState as Run;
    let complete = || ActivityResult::Complete(Properties::new());
    let retry = || ActivityResult::Retry("later".to_owned());
    let fatal = || ActivityResult::Fatal("never".to_owned());
    let report = |result, attempt| Input::Command(Prepared::Report(id("a"), attempt, result));
    let inputs: Vec<(&str, Box<dyn Fn() -> Input<OrchestrationAgent>>)> = vec![
        ("complete", Box::new(move || report(complete(), 1))),
        ("retry", Box::new(move || report(retry(), 1))),
        ("fatal", Box::new(move || report(fatal(), 1))),
        ("other attempt", Box::new(move || report(ActivityResult::Complete(Properties::new()), 2))),
        ("due", Box::new(|| Input::Due("a".to_owned()))),
    ];
    let expected = |run: Run, activity: ActivityState, input: &str| match (run, activity, input) {
        (Run::Running, Started, "complete") => Some((Run::Completed, Completed)),
        (Run::Running, Started, "retry" | "due") => Some((Run::Running, Retrying)),
        (Run::Running, Started, "fatal") => Some((Run::Errored, Failed)),
        (Run::Running, Retrying, "due") => Some((Run::Running, Started)),
        (Run::Errored, Started, "complete") => Some((Run::Errored, Completed)),
        (Run::Errored, Started, "retry" | "fatal" | "due") => Some((Run::Errored, Failed)),
        _ => None,
    };
    for run in [Run::Initialized, Run::Running, Run::Completed, Run::Errored] {
        for activity in [Started, Retrying, Completed, Failed] {
            for (name, input) in &inputs {
                let (mut m, _) = Machine::started(plan(json!([{"id": "a", "type": "x"}]), true));
                let mut whole = m.state.run.as_ref().unwrap().as_ref().clone();
                whole.state = run;
                m.state.run = Some(whole.into());
                let mut part = m.state.activities.get(&id("a")).unwrap().as_ref().clone();
                part.state = activity;
                m.state.activities.insert_mut(id("a"), part.into());
                let changed = m.step(input()).changes();
                let after = changed.then(|| (m.run_state(), m.activity("a").0));
                assert_eq!(after, expected(run, activity, name), "{run:?}, {activity:?}, {name}");
            }
        }
    }
    // An activity that was never started has nothing to say.
    let (mut m, _) = Machine::started(deployment());
    assert!(!m.complete("creds", json!({})).changes());
    assert!(!m.due("creds").changes());
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    /// Whatever agents answer, and however often and late: every run ends, once, and no activity starts before those it depends on.
    #[test]
    fn every_run_ends_once(answers in proptest::collection::vec((0usize..4, 0usize..5, 1u32..4), 0..200)) {
        let (mut m, _) = Machine::started(deployment());
        let names = ["token", "reg", "ih", "creds"];
        let mut ends = 0;
        let mut undone = 0;
        let step = |m: &mut Machine, decision: Decision<OrchestrationAgent>, ends: &mut u32, undone: &mut u32| {
            *ends += u32::from(response(&decision).is_some());
            *undone += u32::from(undoing(&decision).is_some());
            for (name, _) in asked(&decision) {
                let steps = &m.state.run.as_ref().unwrap().steps;
                let activity = steps.iter().flat_map(|s| &s.activities).find(|a| a.id.as_str() == name).unwrap();
                assert!(activity.depends_on.iter().all(|d| m.activity(d.as_str()).0 == ActivityState::Completed));
            }
        };
        for (which, what, attempt) in answers {
            let name = names[which];
            let decision = match what {
                0 => m.due(name),
                1 => m.report(name, attempt, ActivityResult::Retry("later".to_owned())),
                2 if attempt == 3 => m.report(name, attempt, ActivityResult::Fatal("never".to_owned())),
                _ => m.report(name, attempt, ActivityResult::Complete(Properties::new())),
            };
            step(&mut m, decision, &mut ends, &mut undone);
        }
        // From here on agents are silent: deadlines alone bring the run to its end.
        for _ in 0..1_000 {
            let next = m.state.activities.values().filter(|a| a.due.is_some()).min_by_key(|a| a.due).map(|a| a.activity.id.clone());
            let Some(next) = next else { break };
            let decision = m.due(next.as_str());
            step(&mut m, decision, &mut ends, &mut undone);
        }
        prop_assert_eq!(ends, 1);
        let errored = m.run_state() == OrchestrationState::Errored;
        prop_assert!(errored || m.run_state() == OrchestrationState::Completed);
        prop_assert_eq!(undone, u32::from(errored));
    }
}
