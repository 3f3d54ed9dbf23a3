//! What operators do: holders, attestations, credential definitions, the status of credentials, offers.

use super::{
    Attestation, Definition, Holder, IssuerState, Process,
    agent::{Decided, Effect, Refusal},
    issuance::{self, Step},
    state::Event,
    status_list::StatusCommand,
};
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
            if state.holders.contains_key(&body.holder_id) {
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
    if let Some(other) = state.holder_by_did(&body.did).filter(|other| other.id != body.holder_id) {
        return Err(Refusal::Conflict(format!("holder {} has the DID {}", other.id, other.did)).into());
    }
    let holder = Holder::new(body.clone(), created_at, now).map_err(Refusal::Invalid)?;
    Ok(Decision::action(action).event(Event::Holder(Arc::new(holder))))
}

fn delete_holder(state: &IssuerState, id: &HolderId, now: Timestamp) -> Decided {
    state.holders.get(id).ok_or_else(|| Refusal::not_found("holder", id))?;
    let mut decision = Decision::action("holder.deleted").event(Event::HolderDeleted(id.clone()));
    for process in state.under_way(id) {
        if let Step::To { state, .. } = issuance::step(process.state, issuance::Command::Abandon) {
            let error = Some("the holder was removed".to_owned());
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
    let mut changed = super::IssuedCredential::clone(credential);
    changed.status = status;
    changed.reason = reason.map(str::to_owned);
    let fact = Fact {
        topic: "runtime.facts".into(),
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
    let effect = Effect::Offer { holder: holder.did.clone(), credentials: body.credentials.clone() };
    Ok(Decision::action("credential.offered").effect(format!("offer/{}", holder.id), effect))
}
