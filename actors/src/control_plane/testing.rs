//! A participant with something to offer, and counterparties that send it messages; for tests of decisions.

use super::{
    ControlPlane, ControlPlaneState, Participant, Refusal,
    agent::{Decided, Event},
    data_planes::{self, DataPlane},
    dsp::{Envelope, Mark, Sender, Steering},
    negotiation::{self, Negotiation},
    policy::ParticipantAgent,
    resources::{self, OfferDefinition},
    scopes::Scopes,
    transfer::{self, Transfer},
};
use crate::settings::{CelExpression, DEFAULT_PROFILE, DcpScope, ScopeType, Settings};
use cellspace_cluster::{Agent, Decision, Rejection};
use cellspace_schemas::{
    AgreementId, Did, MessageId, ProfileId, SecretText, Timestamp,
    dsp::negotiation::MessageOffer,
    management::{Asset, ContractDefinition, ParticipantContextConfig, ParticipantContextState, PolicyDefinition},
    odrl::Policy,
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

pub const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// Does nothing by itself.
#[derive(Debug)]
pub struct Silent;

impl Steering for Silent {
    fn negotiation(&self, _: &Negotiation, _: &AgreementId) -> Option<negotiation::Act> {
        None
    }

    fn transfer(&self, _: &Transfer) -> Option<transfer::Act> {
        None
    }
}

pub fn own() -> Did {
    Did::new("did:web:own").unwrap()
}

pub fn peer() -> Did {
    Did::new("did:web:peer").unwrap()
}

pub fn profile() -> ProfileId {
    DEFAULT_PROFILE.parse().unwrap()
}

/// Members and manufacturers, each with its expression; the manufacturer's credential is asked for by policies that name it.
pub fn settings() -> Settings {
    let has = |name: &str| {
        let expression = format!("ctx.agent.claims.vc.hasCredential('{name}')");
        let (id, left_operand, description) = (name.to_owned(), name.to_owned(), String::new());
        (id.clone(), CelExpression { id, left_operand, expression, description, scopes: vec![], actions: vec![] })
    };
    let scope = |id: &str, scope_type, prefix: Option<&str>| {
        let prefix_mapping = prefix.map(str::to_owned);
        (id.to_owned(), DcpScope { id: id.to_owned(), scope_type, value: id.to_owned(), profile: "*".to_owned(), prefix_mapping })
    };
    let scopes = [
        scope("member", ScopeType::Default, None),
        scope("manufacturer", ScopeType::Policy, Some("Manufacturer")),
        scope("other", ScopeType::Policy, Some("Other")),
    ];
    Settings::new(1, BTreeMap::from([has("Membership"), has("Manufacturer"), has("Other")]), BTreeMap::from(scopes), BTreeMap::new())
}

pub fn participant(state: ParticipantContextState) -> Arc<Participant> {
    Arc::new(Participant {
        id: "p".parse().unwrap(),
        identity: own(),
        state,
        properties: json!({"tenant": "t-1", "note": "x"}).as_object().unwrap().clone(),
        created_at: NOW,
        config: ParticipantContextConfig::default(),
    })
}

fn rules(operand: Option<&str>) -> Policy {
    let constraint: Vec<Value> =
        operand.iter().map(|operand| json!({"leftOperand": operand, "operator": "eq", "rightOperand": "active"})).collect();
    serde_json::from_value(json!({"@type": "Set", "permission": [{"action": "use", "constraint": constraint}]})).unwrap()
}

/// `open` for all, `restricted` shown to members and agreed with manufacturers, `hidden` for manufacturers alone; one data plane for pulls.
pub fn state() -> ControlPlaneState {
    let mut state =
        ControlPlaneState { participant: Some(participant(ParticipantContextState::Activated)), ..ControlPlaneState::default() };
    let mut put = |event| resources::apply(&mut state, &event);
    for (id, operand) in [("any", None), ("member", Some("Membership")), ("maker", Some("Manufacturer"))] {
        let policy = PolicyDefinition { id: id.parse().unwrap(), policy: rules(operand), private_properties: Map::new(), created_at: NOW };
        put(resources::Event::Policy(Arc::new(policy)));
    }
    for (id, access, contract) in [("open", "any", "any"), ("restricted", "member", "maker"), ("hidden", "maker", "maker")] {
        let asset = Asset {
            id: id.parse().unwrap(),
            is_catalog: false,
            properties: Map::new(),
            private_properties: Map::new(),
            dataplane_metadata: None,
            created_at: NOW,
        };
        put(resources::Event::Asset(Arc::new(asset)));
        let selector = json!([{"operandLeft": "id", "operator": "=", "operandRight": id}]);
        let definition = ContractDefinition {
            id: id.parse().unwrap(),
            access_policy_id: access.parse().unwrap(),
            contract_policy_id: contract.parse().unwrap(),
            assets_selector: serde_json::from_value(selector).unwrap(),
            private_properties: Map::new(),
            created_at: NOW,
        };
        put(resources::Event::Definition(Arc::new(OfferDefinition { definition, offer_key: Uuid::from_u128(9), found_by: None })));
    }
    let plane = DataPlane {
        id: "dp".parse().unwrap(),
        revision: 0,
        endpoint: "http://dp/flows".parse().unwrap(),
        transfer_types: vec!["HttpData-PULL".parse().unwrap()],
        labels: vec![],
        authorization: None,
        registered_at: NOW,
    };
    data_planes::apply(&mut state, &data_planes::Event::Set(Arc::new(plane)));
    state
}

/// The offer of the asset, with the rules that its contract policy has; `key` 9 is the right one.
pub fn offer(asset: &str, key: u128) -> MessageOffer {
    let id = super::catalog::testing_offer_id(asset, asset, key);
    let operand = (asset != "open").then_some("Manufacturer");
    let mut policy = rules(operand).to_json();
    policy.as_object_mut().unwrap().extend(json!({"@type": "Offer", "@id": id, "target": asset}).as_object().unwrap().clone());
    serde_json::from_value(policy).unwrap()
}

/// A verified sender with these credentials, that was asked for these optional scopes.
pub fn sender(did: Did, credentials: &[&str], asked: &[&str]) -> Sender {
    let credentials: Vec<Value> = credentials.iter().map(|name| json!({"type": [name]})).collect();
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Sender {
        agent: ParticipantAgent::new(did, &credentials),
        asked: Scopes { required: owned(&["member"]), optional: owned(asked), named: vec![] },
        settings: Arc::new(settings()),
    }
}

/// What a message with this `@id` comes with.
pub fn envelope(id: &str) -> Envelope {
    let mark = Mark::of("Message", Some(&MessageId::new(id).unwrap()), b"");
    Envelope { profile: profile(), token: SecretText::new("token"), mark }
}

/// The state after the decision.
pub fn after(state: &ControlPlaneState, decision: &Decision<ControlPlane>) -> ControlPlaneState {
    let mut after = state.clone();
    decision.events.iter().for_each(|event: &Event| ControlPlane::apply(&mut after, event));
    after
}

pub fn refusal(decided: Decided) -> Refusal {
    match decided {
        Err(Rejection::Refused(refusal)) => refusal,
        Err(Rejection::Stale) => panic!("stale"),
        Ok(decision) => panic!("not refused: {}", decision.action),
    }
}
