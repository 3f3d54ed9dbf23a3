//! Registrations while transfers run on them.

use super::*;
use crate::control_plane::{
    Effect as AgentEffect, Reply as AgentReply,
    agent::{self, Event as AgentEvent},
    archive::Recalled,
    dsp::Role,
    transfer::{self, State},
};
use cellspace_cluster::{Agent, Input, Rejection};
use cellspace_schemas::{TransferId, dsp::transfer::TransferState as Seen};
use serde_json::json;

const NOW: Timestamp = Timestamp(1_000);

fn plane(id: &str, endpoint: &str, secret: Option<&str>) -> Prepared {
    let body = json!({"dataplaneId": id, "endpoint": endpoint, "profiles": ["HttpData-PULL"]});
    let authorization = secret.map(|secret| Authorization::ClientCredentials {
        token_endpoint: "https://idp.example".parse().unwrap(),
        client_id: "c".to_owned(),
        secret: secret.parse().unwrap(),
        keys: None,
    });
    Prepared::Register { id: id.parse().unwrap(), message: serde_json::from_value(body).unwrap(), authorization }
}

fn running_transfer(id: &str, bound: PlaneRef, state: State) -> Transfer {
    Transfer {
        id: id.parse().unwrap(),
        seen: Seen::Started,
        step: 0,
        message: None,
        call: None,
        counterparty_pid: None,
        data_plane: Some(bound),
        created_at: NOW,
        state_at: NOW,
        ..transfer::tests::transfer(state, Role::Provider)
    }
}

#[derive(Default)]
struct World {
    state: ControlPlaneState,
    forgotten: Vec<String>,
}

impl World {
    fn take(&mut self, decision: Decision<ControlPlane>) -> AgentReply {
        for event in &decision.events {
            ControlPlane::apply(&mut self.state, event);
        }
        for outgoing in &decision.effects {
            if let AgentEffect::DataPlanes(Effect::ForgetSecret(alias)) = &outgoing.effect {
                self.forgotten.push(alias.to_string());
            }
        }
        decision.reply
    }

    fn ask(&mut self, prepared: Prepared) -> Result<AgentReply, Refusal> {
        if let Some(record) = prepared.secret() {
            ControlPlane::apply(&mut self.state, &records::Event::Begun(record.clone(), NOW).into());
        }
        match ControlPlane::decide(
            &self.state,
            &Input::Command(agent::Prepared { asked: prepared.into(), recalled: Recalled::default() }),
            NOW,
        ) {
            Ok(decision) => Ok(self.take(decision)),
            Err(Rejection::Refused(AgentRefusal::DataPlanes(refusal))) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn bound(&self, id: &str) -> PlaneRef {
        self.state.data_planes.get(&id.parse().unwrap()).unwrap().reference()
    }

    fn transfer(&mut self, id: &str, bound: PlaneRef) {
        let event = transfer::Event::Set(Arc::new(running_transfer(id, bound, State::Started)));
        ControlPlane::apply(&mut self.state, &event.into());
    }

    /// Ends the transfer.
    fn end(&mut self, id: &str) {
        let id: TransferId = id.parse().unwrap();
        let mut ended = Transfer::clone(self.state.transfers.get(&id).unwrap());
        ended.state = State::Terminated;
        let decision = released(&self.state, &ended, Decision::action("end"));
        self.take(decision.event(transfer::Event::Set(Arc::new(ended)).into()));
    }

    fn endpoint(&self, bound: &PlaneRef) -> Option<String> {
        self.state.data_planes.of(bound).map(|plane| plane.endpoint.to_string())
    }
}

#[test]
fn a_plane_in_use_is_not_unregistered() {
    let mut world = World::default();
    world.ask(plane("d", "https://one.example", Some("s-1"))).unwrap();
    let bound = world.bound("d");
    world.transfer("t", bound.clone());
    let id: DataPlaneId = "d".parse().unwrap();
    assert_eq!(world.ask(Prepared::Unregister(id.clone())).err(), Some(Refusal::InUse(id.clone())));
    // Also when it has moved since.
    world.ask(plane("d", "https://two.example", Some("s-2"))).unwrap();
    assert_eq!(world.ask(Prepared::Unregister(id.clone())).err(), Some(Refusal::InUse(id.clone())));
    world.end("t");
    world.ask(Prepared::Unregister(id.clone())).unwrap();
    assert_eq!(world.forgotten, ["s-1", "s-2"]);
    assert_eq!(world.ask(Prepared::Unregister(id.clone())).err(), Some(Refusal::NotFound(id)));
}

#[test]
fn a_plane_that_moves_keeps_its_place_for_what_runs_there() {
    let mut world = World::default();
    world.ask(plane("d", "https://one.example", Some("s-1"))).unwrap();
    let one = world.bound("d");
    for id in ["t-1", "t-2"] {
        world.transfer(id, one.clone());
    }
    world.ask(plane("d", "https://two.example", Some("s-2"))).unwrap();
    let two = world.bound("d");
    assert_ne!(one, two);
    world.transfer("t-3", two.clone());
    assert_eq!(
        (world.endpoint(&one).as_deref(), world.endpoint(&two).as_deref()),
        (Some("https://one.example/"), Some("https://two.example/"))
    );
    // New credentials at the same place are for all that runs there.
    world.ask(plane("d", "https://two.example", Some("s-3"))).unwrap();
    assert_eq!((world.bound("d"), world.forgotten.as_slice()), (two.clone(), &["s-2".to_owned()][..]));
    // With the last transfer there the earlier place is forgotten.
    world.end("t-1");
    assert!(world.endpoint(&one).is_some());
    world.end("t-2");
    assert_eq!((world.endpoint(&one), world.forgotten.as_slice()), (None, &["s-2".to_owned(), "s-1".to_owned()][..]));
    world.end("t-3");
    assert!(world.endpoint(&two).is_some(), "the present registration stays");
}

#[test]
fn a_refused_registration_leaves_no_secret() {
    let mut world = World::default();
    for n in 0..MAX_DATA_PLANES {
        world.ask(plane(&format!("d-{n}"), "https://one.example", None)).unwrap();
    }
    assert_eq!(world.ask(plane("more", "https://one.example", None)).err(), Some(Refusal::TooMany));
    let reply = world.ask(plane("more", "https://one.example", Some("s-1"))).unwrap();
    assert!(matches!(reply, AgentReply::DataPlanes(Reply::Refused(Refusal::TooMany))), "{reply:?}");
    assert_eq!((world.forgotten.as_slice(), world.state.data_planes.len()), (&["s-1".to_owned()][..], MAX_DATA_PLANES));
    // A plane may not move for ever while something runs at each of its places.
    for n in 0..=MAX_DATA_PLANES {
        let bound = world.bound("d-0");
        world.transfer(&format!("t-{n}"), bound);
        let moved = world.ask(plane("d-0", &format!("https://place-{n}.example"), None));
        assert_eq!(moved.is_ok(), n < MAX_DATA_PLANES, "{n}");
    }
}

#[test]
fn a_participant_that_is_gone_leaves_no_registration() {
    let mut world = World::default();
    world.ask(plane("d", "https://one.example", Some("s-1"))).unwrap();
    let bound = world.bound("d");
    world.transfer("t", bound);
    world.ask(plane("d", "https://two.example", Some("s-2"))).unwrap();
    let decision = disposed(&world.state, Decision::action("participant.deleted"));
    assert!(matches!(decision.effects[0].effect, AgentEffect::DataPlanes(Effect::Dispose)));
    let rows: Vec<_> = decision.events.iter().map(ControlPlane::row).collect();
    assert!(decision.events.iter().all(|event| matches!(event, AgentEvent::DataPlanes(_))) && rows.len() == 2);
    world.take(decision);
    assert!(world.state.data_planes.all().next().is_none());
    world.forgotten.sort();
    assert_eq!(world.forgotten, ["s-1", "s-2"]);
}
