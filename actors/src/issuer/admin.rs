//! What operators do: holders, attestations, credential definitions, the status of credentials, offers.

use super::{
    Attestation, Definition, Holder, IssuedCredential, Issuer, IssuerState, Process,
    agent::{Decided, Effect, Refusal},
    approval::{self, Answer},
    issuance::{self, Step},
    state::Event,
    status_list::StatusCommand,
};
use crate::fabric::topics::FACTS;
use cellspace_cluster::{Decision, Fact};
use cellspace_schemas::{
    Timestamp,
    issuer::{
        AttestationId, CredentialDefinitionId, CredentialId, HolderId,
        admin::{AttestationBody, DefinitionBody, HolderBody, OfferBody},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Attestation and credential definitions of one issuer at most, each.
pub const MAX_DEFINITIONS: usize = 4096;
/// Credentials in one request or offer at most.
pub const MAX_REQUESTED: usize = 32;
/// Longest reason of an offer, in bytes.
const MAX_OFFER_REASON: usize = 128;
/// Longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;

/// A request of an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Registers a holder.
    CreateHolder(HolderBody),
    /// Replaces a holder.
    UpdateHolder(HolderBody),
    /// Removes a holder; what is on its way to it is given up.
    DeleteHolder(HolderId),
    /// Makes an attestation definition.
    CreateAttestation(AttestationBody),
    /// Removes one that no credential definition names.
    DeleteAttestation(AttestationId),
    /// Makes a credential definition.
    CreateDefinition(DefinitionBody),
    /// Replaces one.
    UpdateDefinition(DefinitionBody),
    /// Removes one; what was issued by it stays.
    DeleteDefinition(CredentialDefinitionId),
    /// Changes the status of a credential.
    ChangeStatus {
        /// Which.
        credential: CredentialId,
        /// How.
        command: StatusCommand,
        /// Why.
        reason: Option<String>,
    },
    /// Offers credentials to a holder.
    Offer(OfferBody),
}

impl Command {
    /// Whether it may be the first thing that an issuer is told.
    #[must_use]
    pub const fn creates(&self) -> bool {
        match self {
            Self::CreateHolder(_) | Self::CreateAttestation(_) | Self::CreateDefinition(_) => true,
            Self::UpdateHolder(_)
            | Self::DeleteHolder(_)
            | Self::DeleteAttestation(_)
            | Self::UpdateDefinition(_)
            | Self::DeleteDefinition(_)
            | Self::ChangeStatus { .. }
            | Self::Offer(_) => false,
        }
    }
}

/// Decides about an operator's request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &IssuerState, command: &Command, now: Timestamp) -> Decided {
    match command {
        Command::CreateHolder(body) => {
            // One that came by itself is registered like any other.
            let taken = state.holders.get(&body.holder_id).is_some_and(|there| !there.anonymous || there.did != body.did);
            if taken {
                return Err(Refusal::exists("holder", &body.holder_id).into());
            }
            set_holder(state, body, now, now, "holder.created")
        }
        Command::UpdateHolder(body) => {
            let there = state.holders.get(&body.holder_id).ok_or_else(|| Refusal::not_found("holder", &body.holder_id))?;
            set_holder(state, body, there.created_at, now, "holder.updated")
        }
        Command::DeleteHolder(id) => delete_holder(state, id, now),
        Command::CreateAttestation(body) => {
            if state.attestations.contains_key(&body.id) {
                return Err(Refusal::exists("attestation", &body.id).into());
            }
            room(state.attestations.size(), "attestations")?;
            let attestation = Attestation::new(body.clone(), now).map_err(Refusal::Invalid)?;
            Ok(Decision::action("attestation.created").event(Event::Attestation(Arc::new(attestation))))
        }
        Command::DeleteAttestation(id) => {
            state.attestations.get(id).ok_or_else(|| Refusal::not_found("attestation", id))?;
            if let Some(user) = state.definitions.values().find(|definition| definition.attestations.contains(id)) {
                return Err(Refusal::Conflict(format!("attestation {id} is used by credential definition {}", user.id)).into());
            }
            Ok(Decision::action("attestation.deleted").event(Event::AttestationDeleted(id.clone())))
        }
        Command::CreateDefinition(body) => {
            if state.definitions.contains_key(&body.id) {
                return Err(Refusal::exists("credential definition", &body.id).into());
            }
            room(state.definitions.size(), "credential definitions")?;
            set_definition(state, body, now, "definition.created")
        }
        Command::UpdateDefinition(body) => {
            let there = state.definitions.get(&body.id).ok_or_else(|| Refusal::not_found("credential definition", &body.id))?;
            set_definition(state, body, there.created_at, "definition.updated")
        }
        Command::DeleteDefinition(id) => {
            state.definitions.get(id).ok_or_else(|| Refusal::not_found("credential definition", id))?;
            Ok(Decision::action("definition.deleted").event(Event::DefinitionDeleted(id.clone())))
        }
        Command::ChangeStatus { credential, command, reason } => change_status(state, credential, *command, reason.as_deref()),
        Command::Offer(body) => offer(state, body),
    }
}

fn room(count: usize, what: &str) -> Result<(), Refusal> {
    if count < MAX_DEFINITIONS { Ok(()) } else { Err(Refusal::Invalid(format!("an issuer has at most {MAX_DEFINITIONS} {what}"))) }
}

fn set_holder(state: &IssuerState, body: &HolderBody, created_at: Timestamp, now: Timestamp, action: &'static str) -> Decided {
    let other = state.holder_by_did(&body.did).filter(|other| other.id != body.holder_id);
    if let Some(other) = other.filter(|other| !other.anonymous) {
        return Err(Refusal::Conflict(format!("holder {} has the DID {}", other.id, other.did)).into());
    }
    let holder = Arc::new(Holder::new(body.clone(), created_at, now).map_err(Refusal::Invalid)?);
    let decision = Decision::action(action);
    Ok(match other {
        Some(stranger) => take_up(state, stranger, &holder, decision),
        None => decision.event(Event::Holder(holder)),
    })
}

/// Who came as a stranger is a registered holder from now on, with what it has asked for and got.
fn take_up(state: &IssuerState, stranger: &Holder, holder: &Arc<Holder>, decision: Decision<Issuer>) -> Decision<Issuer> {
    let mut decision = decision.event(Event::HolderDeleted(stranger.id.clone())).event(Event::Holder(holder.clone()));
    for process in state.of_stranger(&stranger.id) {
        let issued = process.requested.iter().filter_map(|requested| state.credentials.get(&requested.credential));
        let of_holder = |issued: &IssuedCredential| IssuedCredential { holder: holder.id.clone(), ..issued.clone() };
        decision.events.extend(issued.map(|issued| Event::Credential(Arc::new(of_holder(issued)))));
        decision.events.push(Event::Process(Arc::new(Process { holder: holder.id.clone(), ..Process::clone(process) })));
    }
    decision
}

fn delete_holder(state: &IssuerState, id: &HolderId, now: Timestamp) -> Decided {
    state.holders.get(id).ok_or_else(|| Refusal::not_found("holder", id))?;
    let mut decision = Decision::action("holder.deleted").event(Event::HolderDeleted(id.clone()));
    for process in state.under_way(id) {
        const GONE: &str = "the holder was removed";
        if let Some(Answer::Open(question)) = &process.answer {
            decision = decision.and(approval::end(process, question, Answer::Missing, "", GONE, now)?);
        } else if let Step::To { state, .. } = issuance::step(process.state, issuance::Command::Abandon) {
            let error = Some(GONE.to_owned());
            decision = decision.event(Event::Process(Arc::new(Process { state, error, updated_at: now, ..Process::clone(process) })));
        }
    }
    Ok(decision)
}

fn set_definition(state: &IssuerState, body: &DefinitionBody, created_at: Timestamp, action: &'static str) -> Decided {
    let definition = Definition::new(body.clone(), created_at).map_err(Refusal::Invalid)?;
    if let Some(missing) = definition.attestations.iter().find(|id| !state.attestations.contains_key(*id)) {
        return Err(Refusal::Invalid(format!("attestation {missing} does not exist, create it first")).into());
    }
    Ok(Decision::action(action).event(Event::Definition(Arc::new(definition))))
}

fn change_status(state: &IssuerState, id: &CredentialId, command: StatusCommand, reason: Option<&str>) -> Decided {
    let credential = state.credentials.get(id).ok_or_else(|| Refusal::not_found("credential", id))?;
    if reason.is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
        return Err(Refusal::Invalid(format!("reason has at most {MAX_REASON_BYTES} bytes")).into());
    }
    let status = credential.status.after(command).map_err(|rule| Refusal::Conflict(rule.to_string()))?;
    if status == credential.status {
        return Ok(Decision::nothing());
    }
    let mut changed = IssuedCredential::clone(credential);
    changed.status = status;
    changed.reason = reason.map(str::to_owned);
    let fact = Fact {
        topic: FACTS.into(),
        key: changed.issuer.to_string(),
        kind: "org.cellspace.credential.status-changed",
        data: json!({"credential": id, "issuer": changed.issuer, "holder": changed.holder, "status": status.status().name()}),
    };
    let action = match command {
        StatusCommand::Revoke => "credential.revoked",
        StatusCommand::Suspend => "credential.suspended",
        StatusCommand::Resume => "credential.resumed",
    };
    Ok(Decision::action(action).event(Event::Credential(Arc::new(changed))).fact(fact))
}

fn offer(state: &IssuerState, body: &OfferBody) -> Decided {
    let holder = state.holders.get(&body.holder_id).ok_or_else(|| Refusal::not_found("holder", &body.holder_id))?;
    if body.credentials.is_empty() || body.credentials.len() > MAX_REQUESTED {
        return Err(Refusal::Invalid(format!("an offer names 1 to {MAX_REQUESTED} credential definitions")).into());
    }
    if let Some(missing) = body.credentials.iter().find(|id| !state.definitions.contains_key(*id)) {
        return Err(Refusal::Invalid(format!("credential definition {missing} does not exist")).into());
    }
    let good = |reason: &String| (1..=MAX_OFFER_REASON).contains(&reason.len()) && !reason.chars().any(char::is_control);
    if !body.offer_reason.as_ref().is_none_or(good) {
        return Err(Refusal::Invalid(format!("offerReason has 1 to {MAX_OFFER_REASON} bytes, none of them a control character")).into());
    }
    let (credentials, reason) = (body.credentials.clone(), body.offer_reason.clone());
    let effect = Effect::Offer { holder: holder.did.clone(), credentials, reason };
    Ok(Decision::action("credential.offered").effect(format!("offer/{}", holder.id), effect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{
        Purpose, Status, StatusListId,
        credential::tests::{issuer, urls},
        delivery::offer_message,
        status_list::ListBits,
        testing::{World, attestation, definition, did, holder, open},
    };
    use cellspace_schemas::dcp::CredentialFormat;

    fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn body(command: Command) -> HolderBody {
        match command {
            Command::CreateHolder(body) => body,
            _ => panic!("not a holder"),
        }
    }

    #[test]
    fn holders_are_unique_by_id_and_did() {
        let mut world = World::seeded();
        assert!(matches!(world.admin(holder("acme", &json!({}))), Err(Refusal::Exists("holder", _))));
        let same_did = HolderBody { holder_id: id("acme-2"), ..body(holder("acme", &json!({}))) };
        assert!(matches!(world.admin(Command::CreateHolder(same_did)), Err(Refusal::Conflict(_))));
        world.admin(holder("other", &json!({}))).unwrap();
        let taken = HolderBody { did: did("acme"), ..body(holder("other", &json!({}))) };
        assert!(matches!(world.admin(Command::UpdateHolder(taken)), Err(Refusal::Conflict(_))));
        // A new DID takes the place of the old one.
        let moved = HolderBody { did: did("acme-new"), ..body(holder("acme", &json!({"a": 1}))) };
        world.admin(Command::UpdateHolder(moved)).unwrap();
        assert!(world.state.holder_by_did(&did("acme")).is_none());
        assert_eq!(world.state.holder_by_did(&did("acme-new")).map(|h| h.id.as_str()), Some("acme"));
        let large =
            HolderBody { properties: json!({"x": "y".repeat(40_000)}).as_object().unwrap().clone(), ..body(holder("big", &json!({}))) };
        assert!(matches!(world.admin(Command::CreateHolder(large)), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        let mut world = World::seeded();
        let Command::CreateDefinition(unknown) = definition("gold", "VC2_0_JOSE") else { panic!("not a definition") };
        for command in [
            Command::UpdateHolder(body(holder("stranger", &json!({})))),
            Command::DeleteHolder(id("stranger")),
            Command::DeleteAttestation(id("none")),
            Command::UpdateDefinition(unknown),
            Command::DeleteDefinition(id("gold")),
            Command::ChangeStatus { credential: id("none"), command: StatusCommand::Revoke, reason: None },
            Command::Offer(OfferBody { holder_id: id("stranger"), credentials: vec![id("membership")], offer_reason: None }),
        ] {
            assert!(!command.creates());
            let rows = world.rows.len();
            assert!(matches!(world.admin(command.clone()), Err(Refusal::NotFound(..))), "{command:?}");
            assert_eq!(world.rows.len(), rows);
        }
    }

    #[test]
    fn definitions_name_attestations_that_stay() {
        let mut world = World::seeded();
        assert!(matches!(world.admin(attestation("registration")), Err(Refusal::Exists(..))));
        assert!(matches!(world.admin(definition("membership", "VC2_0_JOSE")), Err(Refusal::Exists(..))));
        let Command::CreateDefinition(mut unknown) = definition("gold", "VC2_0_JOSE") else { panic!("not a definition") };
        unknown.attestations = vec![id("none")];
        assert!(matches!(world.admin(Command::CreateDefinition(unknown)), Err(Refusal::Invalid(_))));
        assert!(matches!(world.admin(Command::DeleteAttestation(id("registration"))), Err(Refusal::Conflict(_))));
        world.admin(Command::DeleteDefinition(id("membership"))).unwrap();
        world.admin(Command::DeleteDefinition(id("manufacturer"))).unwrap();
        world.admin(Command::DeleteAttestation(id("registration"))).unwrap();
        assert_eq!(world.reloaded().attestations.size(), 0);
    }

    #[test]
    fn a_revoked_credential_has_its_bit() {
        let mut world = World::seeded();
        world.request("acme", "h", &["membership"]).unwrap();
        let credential = world.state.credentials.values().next().unwrap().clone();
        let list = StatusListId { format: CredentialFormat::Vc2Jose, purpose: Purpose::Revocation, number: 1 };
        let bit =
            |world: &World| world.state.lists.content(list, ListBits::default()).unwrap().bits.get(credential.slot.index as usize).unwrap();
        assert!(!bit(&world));
        let change = |command, reason: Option<&str>| Command::ChangeStatus {
            credential: credential.id.clone(),
            command,
            reason: reason.map(str::to_owned),
        };
        world.admin(change(StatusCommand::Suspend, Some("unpaid"))).unwrap();
        assert_eq!(world.state.credentials.get(&credential.id).unwrap().reason.as_deref(), Some("unpaid"));
        world.admin(change(StatusCommand::Revoke, None)).unwrap();
        assert!(bit(&world));
        assert_eq!(world.state.credentials.get(&credential.id).unwrap().status.status(), Status::Revoked);
        let (log, version) = (world.log.len(), world.state.lists.version(list));
        world.admin(change(StatusCommand::Revoke, None)).unwrap();
        assert_eq!((world.log.len(), world.state.lists.version(list)), (log, version), "a repeat changes nothing");
        assert!(matches!(world.admin(change(StatusCommand::Resume, None)), Err(Refusal::Conflict(_))));
        let content = |state: &IssuerState| state.lists.content(list, ListBits::default());
        assert_eq!(content(&world.reloaded()), content(&world.state));
    }

    #[test]
    fn who_came_as_a_stranger_is_registered_with_what_it_has() {
        let stranger = || did("stranger");
        for id_of_entry in ["known", stranger().as_str()] {
            let mut world = World::seeded();
            world.admin(open("open", false)).unwrap();
            world.admin(open("waits", true)).unwrap();
            world.request("stranger", "h-1", &["open"]).unwrap();
            world.sent(Ok(())).unwrap();
            let waits = world.request("stranger", "h-2", &["waits"]).unwrap();
            let body =
                HolderBody { did: stranger(), holder_id: id(id_of_entry), ..body(holder("known", &json!({"signed": true, "since": "1"}))) };
            // An entry of somebody else is not taken.
            let of_acme = HolderBody { holder_id: id("acme"), ..body.clone() };
            assert!(matches!(world.admin(Command::CreateHolder(of_acme)), Err(Refusal::Exists(..))));
            let other = HolderBody { holder_id: id(stranger().as_str()), did: did("fourth"), ..body.clone() };
            assert!(matches!(world.admin(Command::CreateHolder(other)), Err(Refusal::Exists(..))));
            world.admin(Command::CreateHolder(body.clone())).unwrap();
            assert!(matches!(world.admin(Command::CreateHolder(body)), Err(Refusal::Exists(..))), "once");
            for state in [&world.state, &world.reloaded()] {
                let known = state.holder_by_did(&stranger()).unwrap();
                assert_eq!((known.id.as_str(), known.anonymous, state.anonymous), (id_of_entry, false, 0));
                assert_eq!(state.holders.size(), 2, "one entry of it, and acme's");
                assert!(state.processes.values().all(|process| process.holder == known.id));
                assert!(state.credentials.values().all(|issued| issued.holder == known.id));
                assert_eq!(state.under_way(&known.id).map(|process| &process.id).collect::<Vec<_>>(), [&waits]);
                assert_eq!(state.of_stranger(&id(stranger().as_str())).count(), 0);
            }
            // It goes on, and may have what only registered holders may.
            world.approve(&waits).unwrap();
            assert_eq!(world.state.credentials.size(), 2);
            world.request("stranger", "h-3", &["membership"]).unwrap();
        }
    }

    #[test]
    fn offers_name_what_can_be_issued() {
        let mut world = World::seeded();
        let offer = |credentials: &[&str], reason: Option<&str>| {
            let credentials = credentials.iter().map(|c| id(c)).collect();
            Command::Offer(OfferBody { holder_id: id("acme"), credentials, offer_reason: reason.map(str::to_owned) })
        };
        assert!(matches!(world.admin(offer(&[], None)), Err(Refusal::Invalid(_))));
        assert!(matches!(world.admin(offer(&["gold"], None)), Err(Refusal::Invalid(_))));
        for bad in ["", "a\nb", &"x".repeat(MAX_OFFER_REASON + 1)] {
            assert!(matches!(world.admin(offer(&["membership"], Some(bad))), Err(Refusal::Invalid(_))), "{bad}");
        }
        for reason in [None, Some("proof-key-revocation")] {
            world.admin(offer(&["membership"], reason)).unwrap();
            let Some(Effect::Offer { holder, credentials, reason: told }) = world.outbox.front().map(AsRef::as_ref) else {
                panic!("no offer")
            };
            assert_eq!((holder, told.as_deref()), (&did("acme"), reason));
            // All that there is to say, so that the holder need not ask for it.
            let offered = |id: &CredentialDefinitionId| Some(world.state.definitions.get(id)?.offered(&issuer(), &urls()));
            let message = offer_message(did("issuer"), credentials, told.as_deref(), offered);
            let object = serde_json::to_value(&message.credentials[0]).unwrap();
            let mut expected = serde_json::json!({"id": "membership", "type": "CredentialObject", "credentialType": "membershipCredential",
                "credentialSchema": "http://localhost:8080/api/issuance/v1beta/participants/issuer/schemas/membership",
                "bindingMethods": ["did:web"], "profile": "vc20-bssl/jwt"});
            if let Some(reason) = reason {
                expected["offerReason"] = serde_json::json!(reason);
            }
            assert_eq!(object, expected);
            world.sent(Ok(())).unwrap();
        }
    }
}
