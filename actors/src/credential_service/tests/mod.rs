//! Every state and command of the machines, and what holds whatever is asked of them.

mod contexts;
mod deliveries;
mod keys;
mod offers;
mod presentations;
mod requests;
mod whatever_is_asked;

use super::{
    CredentialService, Event, Refusal, State,
    agent::{Effect, Outcome, Prepared},
    context::{self, Create, DidState},
    credential::{self, StoredCredential},
    holder_request::{self, Acknowledged, Delivered, RequestState},
    key::{self, KeyNames, KeySpec, KeyState, NewKey},
    offer::{self, MAX_FOLLOWED, MAX_ID_BYTES, MAX_OFFERS, Offer, OfferedObject},
    watch::{HeldStatus, Watch},
};
use crate::records::{self, Keeper};
use cellspace_cluster::{Agent, Decision, Input, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, Owner, ParticipantContextId, SecretText, Timestamp,
    dcp::{CredentialFormat, CredentialScope, Service, messages::OfferedCredential},
    identity::{KeyPairId, OfferRule, RequestedCredential, key_pair::KeyUsage},
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use cellspace_storage::{KeyAlgorithm, PublicKey};
use serde_json::{Map, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    slice::from_ref,
    sync::Arc,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn did() -> Did {
    Did::new("did:web:cells.example:acme").unwrap()
}

fn issuer(name: &str) -> Did {
    Did::new(format!("did:web:{name}.example")).unwrap()
}

fn new_key(name: &str, active: bool) -> NewKey {
    let (id, alias) = (KeyPairId::new(name).unwrap(), KeyAlias::new(name).unwrap());
    NewKey {
        names: KeyNames { id, key_id: format!("{}#{name}", did()), alias },
        public: PublicKey { algorithm: KeyAlgorithm::Ed25519, jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": name}) },
        active,
        usage: BTreeSet::new(),
        made: false,
    }
}

fn create(active: bool) -> Prepared {
    let create = Create {
        did: did(),
        active,
        services: vec![Service::new("s", "CredentialService", "https://cells.example/cs")],
        keys: Vec::new(),
        scopes: Vec::new(),
        properties: Map::new(),
        sts_account: false,
    };
    Prepared::Context(context::Prepared::Create {
        id: ParticipantContextId::new("acme").unwrap(),
        path: Owner::new("acme").unwrap(),
        create: Box::new(create),
        keys: vec![new_key("k1", true)],
    })
}

fn plain(command: context::Command) -> Prepared {
    Prepared::Context(context::Prepared::Plain(command))
}

type Decided = Result<Decision<CredentialService>, Rejection<Refusal>>;

/// Decides and folds; the audit's word for what happened, or the refusal.
fn step(state: &mut State, input: Input<CredentialService>) -> Result<&'static str, String> {
    let decided: Decided = CredentialService::decide(state, &input, NOW);
    match decided {
        Ok(decision) => {
            decision.events.iter().for_each(|event| CredentialService::apply(state, event));
            assert_eq!(decision.action.is_empty(), !decision.changes(), "every change has a name");
            Ok(decision.action)
        }
        Err(Rejection::Refused(refusal)) => Err(refusal.to_string()),
        Err(Rejection::Stale) => panic!("nothing here goes stale"),
    }
}

fn command(state: &mut State, prepared: Prepared) -> Result<&'static str, String> {
    step(state, Input::Command(prepared))
}

fn acme(active: bool) -> State {
    let mut state = State::default();
    command(&mut state, create(active)).unwrap();
    state
}

fn release() -> Arc<Effect> {
    Arc::new(Effect::ReleaseName(Owner::new("acme").unwrap()))
}

fn released() -> Input<CredentialService> {
    Input::Delivered(release(), Outcome::Done)
}

fn key_command(command: key::Command, new: Option<NewKey>) -> Prepared {
    Prepared::Key(key::Prepared { command, new, signed_until: None })
}

fn spec() -> KeySpec {
    KeySpec::fresh()
}

fn request(holder_pid: &str, ids: &[&str]) -> Prepared {
    let asked = |id: &&str| RequestedCredential {
        format: CredentialFormat::Vc2Jose,
        credential_type: "Member".to_owned(),
        id: CredentialDefinitionId::new(id).unwrap(),
    };
    let pid = HolderPid::new(holder_pid).unwrap();
    let credentials = ids.iter().map(asked).collect();
    let request =
        holder_request::Request { holder_pid: Some(pid.clone()), issuer: issuer("issuer"), credentials, pre_authorized_code: None };
    Prepared::Request(request, pid)
}

fn held(id: &str, raw: &str, request: Option<&str>) -> Arc<StoredCredential> {
    Arc::new(StoredCredential {
        id: CredentialId::new(id).unwrap(),
        credential_id: None,
        format: CredentialFormat::Vc2Jose,
        types: vec!["VerifiableCredential".to_owned(), "Member".to_owned()],
        contexts: Vec::new(),
        issuer: issuer("issuer"),
        holder: did(),
        valid_from: None,
        valid_until: Some(Timestamp(NOW.0 + 1_000)),
        raw: raw.to_owned(),
        json: json!({}),
        request: request.map(|pid| HolderPid::new(pid).unwrap()),
        status: HeldStatus::Active,
        watch: Watch::default(),
    })
}

fn delivered(holder_pid: &str, from: &str, outcome: Result<Vec<Arc<StoredCredential>>, String>) -> Prepared {
    Prepared::Deliver(Delivered {
        issuer: issuer(from),
        issuer_pid: IssuerPid::new("ip").unwrap(),
        holder_pid: HolderPid::new(holder_pid).unwrap(),
        outcome,
    })
}

fn effect() -> Arc<Effect> {
    Arc::new(Effect::RequestCredentials { holder_pid: HolderPid::new("hp").unwrap(), issuer: issuer("issuer"), credentials: Vec::new() })
}

fn acknowledged(issuer_pid: Option<&str>) -> Input<CredentialService> {
    Input::Delivered(effect(), Outcome::Acknowledged(Acknowledged { issuer_pid: issuer_pid.map(|pid| IssuerPid::new(pid).unwrap()) }))
}

/// What a turn did, what it sends, and the deadline that it set.
fn turn(
    state: &mut State,
    input: Input<CredentialService>,
    now: Timestamp,
) -> (&'static str, Vec<Arc<Effect>>, Option<(String, Timestamp)>) {
    let decision = CredentialService::decide(state, &input, now).unwrap();
    decision.events.iter().for_each(|event| CredentialService::apply(state, event));
    let due = decision.events.iter().filter_map(CredentialService::deadline).find_map(|(key, at)| at.map(|at| (key, at)));
    (decision.action, decision.effects.into_iter().map(|outgoing| Arc::new(outgoing.effect)).collect(), due)
}

fn offer(from: &str, id: Option<&str>, ids: &[&str]) -> Offer {
    let object = |id: &&str| OfferedObject::read(OfferedCredential { id: (*id).to_owned(), ..OfferedCredential::default() }).unwrap();
    Offer::new(issuer(from), id.map(str::to_owned), ids.iter().map(object).collect(), NOW)
}

/// The offer with what its issuer says of it: `member-1` is one of the type `Member`, and so on.
fn offered(from: &str, id: Option<&str>, ids: &[&str]) -> Prepared {
    let object = |id: &&str| RequestedCredential {
        format: CredentialFormat::Vc2Jose,
        credential_type: id.split('-').next().unwrap().to_owned(),
        id: CredentialDefinitionId::new(id).unwrap(),
    };
    Prepared::Offer(offer::Prepared { offer: offer(from, id, ids), objects: ids.iter().map(object).collect() })
}

fn rules(rules: &[(&str, &[&str])]) -> Prepared {
    let rule = |(from, types): &(&str, &[&str])| OfferRule { issuer: issuer(from), types: types.iter().map(|t| (*t).to_owned()).collect() };
    plain(context::Command::SetOfferRules(rules.iter().map(rule).collect()))
}

/// A credential with these types, known to its issuer by `id`.
fn typed(resource: &str, id: &str, kind: &str, raw: &str) -> Arc<StoredCredential> {
    let types = vec!["VerifiableCredential".to_owned(), kind.to_owned()];
    Arc::new(StoredCredential { credential_id: Some(id.to_owned()), types, ..(*held(resource, raw, Some("hp"))).clone() })
}
