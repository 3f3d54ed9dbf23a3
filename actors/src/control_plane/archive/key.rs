//! The ids that finished processes are asked for with.

use super::{
    super::{ControlPlaneState, negotiation::Negotiation, transfer::Transfer},
    Filed,
};
use cellspace_schemas::{AgreementId, Did, NegotiationId, Pid, TransferId};
use cellspace_storage::{APART, RowKey};
use serde::{Deserialize, Serialize};

/// One id of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// Our id of a negotiation.
    Negotiation(NegotiationId),
    /// The agreement that a negotiation led to.
    Agreement(AgreementId),
    /// The counterparty's id of a negotiation.
    NegotiationOf(Did, Pid),
    /// Our id of a transfer.
    Transfer(TransferId),
    /// The counterparty's id of a transfer.
    TransferOf(Did, Pid),
}

/// A table apart.
pub(super) fn table(name: &str) -> String {
    format!("{APART}{name}")
}

/// Rows of one process id of all counterparties stand together. Neither part has white space, so the separator is unambiguous.
pub(super) fn of(pid: &Pid, peer: &str) -> String {
    format!("{pid}\n{peer}")
}

impl Key {
    pub(super) const NEGOTIATION: &'static str = "negotiation";
    pub(super) const NEGOTIATION_OF: &'static str = "negotiation-of";
    pub(super) const TRANSFER: &'static str = "transfer";
    pub(super) const TRANSFER_OF: &'static str = "transfer-of";
    const AGREEMENT: &'static str = "agreement";

    /// Where the archive keeps what it leads to.
    #[must_use]
    pub fn row(&self) -> RowKey {
        match self {
            Self::Negotiation(id) => RowKey::new(&table(Self::NEGOTIATION), id.as_str()),
            Self::Agreement(id) => RowKey::new(&table(Self::AGREEMENT), id.as_str()),
            Self::NegotiationOf(peer, pid) => RowKey::new(&table(Self::NEGOTIATION_OF), &of(pid, peer.as_str())),
            Self::Transfer(id) => RowKey::new(&table(Self::TRANSFER), id.as_str()),
            Self::TransferOf(peer, pid) => RowKey::new(&table(Self::TRANSFER_OF), &of(pid, peer.as_str())),
        }
    }

    /// Whether the process is in the state.
    #[must_use]
    pub fn is_in(&self, state: &ControlPlaneState) -> bool {
        Negotiation::at(state, self).is_some() || Transfer::at(state, self).is_some()
    }
}
