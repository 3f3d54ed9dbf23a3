//! Transfers as tests have them, and what is kept of their effects.

mod table;
mod two_sides;

use super::{Notice, PlaneCall, State, Task, Transfer};
use crate::control_plane::{
    data_planes::PlaneRef,
    dsp::{Repeats, Role},
};
use cellspace_schemas::{
    Did, Pid, Timestamp,
    dsp::{DataAddress, transfer::TransferState as Seen},
    management::DataplaneMetadata,
};

fn pid() -> Pid {
    Pid::new("theirs").unwrap()
}

pub(super) fn address() -> Option<DataAddress> {
    Some(DataAddress { endpoint_type: "t".into(), endpoint: Some("http://data".into()), endpoint_properties: vec![] })
}

pub fn transfer(state: State, role: Role) -> Transfer {
    Transfer {
        id: "t".parse().unwrap(),
        role,
        state,
        seen: Seen::Requested,
        step: 5,
        message: Some(5),
        call: Some(4),
        counterparty: Did::new("did:web:peer").unwrap(),
        address: "http://x".parse().unwrap(),
        counterparty_pid: Some(pid()),
        profile: "p".parse().unwrap(),
        agreement: "ag".parse().unwrap(),
        asset: "asset".parse().unwrap(),
        transfer_type: "HttpData-PULL".parse().unwrap(),
        metadata: DataplaneMetadata::default(),
        data_plane: Some(PlaneRef { id: "plane".parse().unwrap(), revision: 0 }),
        start_with: None,
        suspended_by: None,
        data_done: false,
        end_again_at: None,
        end_failures: 0,
        ends_at: None,
        look_at: None,
        patience: None,
        accepted: Repeats::default(),
        error_detail: None,
        errors: 0,
        callbacks: vec![],
        private_properties: serde_json::Map::new(),
        created_at: Timestamp(1),
        state_at: Timestamp(1),
    }
}

/// What a dead letter keeps of an effect gives nobody access to data.
#[test]
fn no_data_address_is_left_in_a_redacted_effect() {
    let start = |data_address| PlaneCall::Start { claims: serde_json::Map::new(), data_address };
    let tasks = |address: Option<DataAddress>| {
        let notices = [Notice::Request(address.clone()), Notice::Start(address.clone())].map(|notice| Task::Tell(1, notice));
        let calls =
            [start(address.clone()), PlaneCall::Started(address.clone()), PlaneCall::Resume(address)].map(|call| Task::Call(1, call));
        notices.into_iter().chain(calls).map(|task| super::Effect { transfer: "t".parse().unwrap(), task })
    };
    for (with, without) in tasks(address()).zip(tasks(None)) {
        assert_eq!(super::redact(&with).as_ref(), Some(&without));
        assert_eq!(super::redact(&without), None);
    }
}
