//! State of an issuer in memory; a clone is the published snapshot and costs O(1).

use super::{Attestation, Definition, Holder, IssuedCredential, Process, issuance, status_list::StatusLists};
use cellspace_cluster::RowOf;
use cellspace_schemas::{
    Did, Timestamp,
    issuer::{AttestationId, CredentialDefinitionId, CredentialId, HolderId, HolderPid, IssuerPid},
};
use cellspace_storage::RowKey;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything one issuer knows.
#[derive(Debug, Clone, Default)]
pub struct IssuerState {
    /// Whom it knows.
    pub holders: RedBlackTreeMapSync<HolderId, Arc<Holder>>,
    /// How many of these nobody has registered.
    pub anonymous: usize,
    /// Where its claims come from.
    pub attestations: RedBlackTreeMapSync<AttestationId, Arc<Attestation>>,
    /// What it can issue.
    pub definitions: RedBlackTreeMapSync<CredentialDefinitionId, Arc<Definition>>,
    /// Requests, past and present, oldest first.
    pub processes: RedBlackTreeMapSync<IssuerPid, Arc<Process>>,
    /// What it issued.
    pub credentials: RedBlackTreeMapSync<CredentialId, Arc<IssuedCredential>>,
    /// The status of what it issued.
    pub lists: StatusLists,
    by_did: HashTrieMapSync<Did, HolderId>,
    by_request: HashTrieMapSync<(Did, HolderPid), IssuerPid>,
    under_way: HashTrieMapSync<HolderId, Pids>,
    of_strangers: HashTrieMapSync<HolderId, Pids>,
}

type Pids = RedBlackTreeMapSync<IssuerPid, ()>;

/// A change of state: the new value of one row, or its removal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The holder as it now is.
    Holder(Arc<Holder>),
    /// It is gone.
    HolderDeleted(HolderId),
    /// The attestation definition as it now is.
    Attestation(Arc<Attestation>),
    /// It is gone.
    AttestationDeleted(AttestationId),
    /// The credential definition as it now is.
    Definition(Arc<Definition>),
    /// It is gone.
    DefinitionDeleted(CredentialDefinitionId),
    /// The issuance process as it now is.
    Process(Arc<Process>),
    /// The credential as it now is.
    Credential(Arc<IssuedCredential>),
}

impl IssuerState {
    /// The holder with this DID.
    #[must_use]
    pub fn holder_by_did(&self, did: &Did) -> Option<&Arc<Holder>> {
        self.holders.get(self.by_did.get(did)?)
    }

    /// The newest process of this request.
    #[must_use]
    pub fn process_of(&self, holder: &Did, pid: &HolderPid) -> Option<&Arc<Process>> {
        self.processes.get(self.by_request.get(&(holder.clone(), pid.clone()))?)
    }

    /// The holder's processes that wait for approval, or whose credentials are on their way.
    pub fn under_way(&self, holder: &HolderId) -> impl Iterator<Item = &Arc<Process>> {
        self.under_way.get(holder).into_iter().flat_map(|pids| pids.keys()).filter_map(|pid| self.processes.get(pid))
    }

    /// All processes of a holder that nobody has registered, since it came.
    pub fn of_stranger(&self, holder: &HolderId) -> impl Iterator<Item = &Arc<Process>> {
        self.of_strangers.get(holder).into_iter().flat_map(|pids| pids.keys()).filter_map(|pid| self.processes.get(pid))
    }

    /// Until when a credential counts that was issued by now, or is just being issued; `None` when there is none.
    #[must_use]
    pub fn signed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let issued = self.credentials.values().map(|credential| credential.valid_until);
        let being_issued = self.definitions.values().map(|definition| now.plus(definition.validity));
        issued.chain(being_issued).max()
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Holder(holder) => {
                self.forget_holder(&holder.id);
                self.anonymous += usize::from(holder.anonymous);
                if !holder.anonymous {
                    self.of_strangers.remove_mut(&holder.id);
                }
                self.by_did.insert_mut(holder.did.clone(), holder.id.clone());
                self.holders.insert_mut(holder.id.clone(), holder.clone());
            }
            Event::HolderDeleted(id) => {
                self.forget_holder(id);
                self.of_strangers.remove_mut(id);
                self.holders.remove_mut(id);
            }
            Event::Attestation(attestation) => self.attestations.insert_mut(attestation.id.clone(), attestation.clone()),
            Event::AttestationDeleted(id) => {
                self.attestations.remove_mut(id);
            }
            Event::Definition(definition) => self.definitions.insert_mut(definition.id.clone(), definition.clone()),
            Event::DefinitionDeleted(id) => {
                self.definitions.remove_mut(id);
            }
            Event::Process(process) => self.apply_process(process),
            Event::Credential(credential) => {
                let before = self.credentials.get(&credential.id).map(|before| before.status).unwrap_or_default();
                self.lists.note(credential.format, credential.slot, before, credential.status);
                self.credentials.insert_mut(credential.id.clone(), credential.clone());
            }
        }
    }

    /// What follows from a holder that is changed or gone.
    fn forget_holder(&mut self, id: &HolderId) {
        if let Some(before) = self.holders.get(id) {
            self.anonymous = self.anonymous.saturating_sub(usize::from(before.anonymous));
            self.by_did.remove_mut(&before.did);
        }
    }

    fn apply_process(&mut self, process: &Arc<Process>) {
        // A failed request that is made again has two processes; an outcome that arrives late must not bring the older one back.
        let request = (process.holder_did.clone(), process.holder_pid.clone());
        let newest = self.by_request.get(&request).and_then(|pid| self.processes.get(pid));
        if newest.is_none_or(|newest| (newest.created_at, &newest.id) <= (process.created_at, &process.id)) {
            self.by_request.insert_mut(request, process.id.clone());
        }
        // It may have been another's: an operator has taken up who came as a stranger.
        if let Some(before) = self.processes.get(&process.id) {
            note(&mut self.under_way, &before.holder, &process.id, false);
        }
        let under_way = process.delivering || matches!(process.state, issuance::State::Submitted | issuance::State::Approved);
        note(&mut self.under_way, &process.holder, &process.id, under_way);
        if self.holders.get(&process.holder).is_some_and(|holder| holder.anonymous && holder.created_at <= process.created_at) {
            note(&mut self.of_strangers, &process.holder, &process.id, true);
        }
        self.processes.insert_mut(process.id.clone(), process.clone());
    }
}

/// Notes that a process is one of a holder's, or is not.
fn note(of: &mut HashTrieMapSync<HolderId, Pids>, holder: &HolderId, process: &IssuerPid, there: bool) {
    let mut pids = of.get(holder).cloned().unwrap_or_default();
    if there {
        pids.insert_mut(process.clone(), ());
    } else if !pids.remove_mut(process) {
        return;
    }
    if pids.is_empty() {
        of.remove_mut(holder);
    } else {
        of.insert_mut(holder.clone(), pids);
    }
}

/// Which row an event writes. Holders come before their processes, also when they are loaded.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    const HOLDER: &str = "holder";
    const ATTESTATION: &str = "attestation";
    const DEFINITION: &str = "definition";
    let put = |table, id: &str| RowOf::Put(RowKey::new(table, id));
    let delete = |table, id: &str| RowOf::Delete(RowKey::new(table, id));
    match event {
        Event::Holder(holder) => put(HOLDER, holder.id.as_str()),
        Event::HolderDeleted(id) => delete(HOLDER, id.as_str()),
        Event::Attestation(attestation) => put(ATTESTATION, attestation.id.as_str()),
        Event::AttestationDeleted(id) => delete(ATTESTATION, id.as_str()),
        Event::Definition(definition) => put(DEFINITION, definition.id.as_str()),
        Event::DefinitionDeleted(id) => delete(DEFINITION, id.as_str()),
        Event::Process(process) => put("process", process.id.as_str()),
        Event::Credential(credential) => put("credential", credential.id.as_str()),
    }
}
