//! Which record of the vault a secret names, and which records are taken out of it.

use super::*;
use crate::control_plane::{
    Effect as AgentEffect,
    testing::{self, NOW},
};
use cellspace_cluster::{Agent, Rejection};

struct World {
    state: ControlPlaneState,
    forgotten: Vec<String>,
}

impl World {
    fn put(&mut self, id: &str, record: &str, new: bool) -> AgentReply {
        self.decide(&Prepared::Put { id: id.parse().unwrap(), record: record.parse().unwrap(), new })
    }

    fn decide(&mut self, prepared: &Prepared) -> AgentReply {
        let decision = decide(&self.state, prepared, NOW).unwrap();
        decision.events.iter().for_each(|event| ControlPlane::apply(&mut self.state, event));
        self.forgotten.extend(decision.effects.into_iter().map(|outgoing| match outgoing.effect {
            AgentEffect::DataPlanes(data_planes::Effect::ForgetSecret(record)) => record.to_string(),
            other => panic!("{other:?}"),
        }));
        decision.reply
    }

    fn record(&self, id: &str) -> Option<&str> {
        self.state.secrets.get(&id.parse().unwrap()).map(|secret| secret.record.as_str())
    }
}

fn world() -> World {
    World { state: testing::state(), forgotten: Vec::new() }
}

fn refused(reply: AgentReply) -> Refusal {
    match reply {
        AgentReply::Secrets(Reply::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_record_is_named_or_taken_out() {
    let mut world = world();
    assert!(matches!(world.put("a", "secret/1", true), AgentReply::Created(Created { id, .. }) if id == "a"));
    assert!(matches!(world.put("a", "secret/2", false), AgentReply::Done));
    assert_eq!((world.record("a"), &world.forgotten[..]), (Some("secret/2"), &["secret/1".to_owned()][..]));
    // Somebody was faster.
    assert_eq!(refused(world.put("a", "secret/3", true)), Refusal::Exists("a".parse().unwrap()));
    assert_eq!(refused(world.put("b", "secret/4", false)), Refusal::NotFound("b".parse().unwrap()));
    assert_eq!((world.record("a"), world.record("b")), (Some("secret/2"), None));
    world.decide(&Prepared::Delete("a".parse().unwrap()));
    assert_eq!((world.record("a"), world.forgotten.join(" ")), (None, "secret/1 secret/3 secret/4 secret/2".to_owned()));
    let again = decide(&world.state, &Prepared::Delete("a".parse().unwrap()), NOW);
    assert!(matches!(again, Err(Rejection::Refused(AgentRefusal::Secrets(Refusal::NotFound(_))))));
    // Nothing is kept for who is gone.
    world.state.participant = None;
    assert_eq!(refused(world.put("c", "secret/5", true)), Refusal::NoParticipant);
    assert_eq!(world.forgotten.last().map(String::as_str), Some("secret/5"));
}

#[test]
fn there_are_so_many_at_most() {
    let mut world = world();
    for n in 0..MAX_SECRETS {
        world.put(&format!("s-{n}"), &format!("secret/{n}"), true);
    }
    assert_eq!(refused(world.put("more", "secret/more", true)), Refusal::TooMany);
    assert_eq!(world.forgotten, ["secret/more"]);
    assert!(matches!(world.put("s-0", "secret/other", false), AgentReply::Done));
}

#[test]
fn secrets_go_after_all_that_needs_them() {
    let mut world = world();
    for id in ["a", "b"] {
        world.put(id, &format!("secret/{id}"), true);
    }
    assert!(at_rest(&world.state, 0).is_ok());
    assert!(at_rest(&world.state, 1).is_err(), "the receiver of a callback asks for its secret");
    // Their values have left the vault: so do the rows, of who is gone alone.
    let delete = participant::Effect::DeleteSecrets;
    let outcome = |state: &ControlPlaneState| participant::delivered(state, &delete, participant::Outcome::Done).unwrap();
    assert!(!outcome(&world.state).changes());
    (world.state.deleted, world.state.participant) = (world.state.participant.take(), None);
    let decision = outcome(&world.state);
    assert_eq!((decision.events.len(), decision.effects.len()), (2, 0));
    world.state = testing::after(&world.state, &decision);
    assert_eq!(world.state.secrets.iter().count(), 0);
    assert!(!outcome(&world.state).changes(), "and once");
}

/// What is removed from the vault is worked on for as long as all that a participant leaves behind.
#[test]
fn removals_are_not_given_up_soon() {
    let forget: AgentEffect = data_planes::Effect::ForgetSecret("secret/1".parse().unwrap()).into();
    assert!(ControlPlane::retry_policy(&forget).patience() > std::time::Duration::from_secs(12 * 3600));
}
