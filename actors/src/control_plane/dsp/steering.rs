//! What a participant does by itself on reaching a state.

use super::Role;
use crate::control_plane::{
    negotiation::{self, Negotiation},
    transfer::{self, Transfer},
};
use cellspace_schemas::AgreementId;
use std::fmt::Debug;

/// What a participant does by itself on reaching a state, in the same turn. Pure: the same process, the same answer.
///
/// Policies are judged before it is asked: it only sees requests and acceptances that they allow, and no terms of the counterparty's own. A wiring that
/// must act later, or on its own script, answers `None` here and sends the acts as commands.
pub trait Steering: Debug + Send + Sync + 'static {
    /// The next act in a negotiation; an agreement gets the id `fresh`.
    fn negotiation(&self, negotiation: &Negotiation, fresh: &AgreementId) -> Option<negotiation::Act>;

    /// The next act in a transfer.
    fn transfer(&self, transfer: &Transfer) -> Option<transfer::Act>;
}

/// The product: at once. A provider agrees to what its policies allow and finalizes what was verified; a consumer accepts an offer of what it asked for,
/// and verifies what it was given as asked for. All other terms wait for a client of the Management API.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtOnce;

impl Steering for AtOnce {
    fn negotiation(&self, negotiation: &Negotiation, fresh: &AgreementId) -> Option<negotiation::Act> {
        use negotiation::{Act, State};
        match (negotiation.state, negotiation.role) {
            (State::Requested | State::Accepted, Role::Provider) => Some(Act::Agree(fresh.clone())),
            (State::Verified, Role::Provider) => Some(Act::Finalize),
            (State::Offered, Role::Consumer) => Some(Act::Accept),
            (State::Agreed, Role::Consumer) => Some(Act::Verify),
            (
                State::Requesting
                | State::Requested
                | State::Offering
                | State::Offered
                | State::Accepting
                | State::Accepted
                | State::Agreeing
                | State::Agreed
                | State::Verifying
                | State::Verified
                | State::Finalizing
                | State::Finalized
                | State::Terminating
                | State::Terminated,
                Role::Consumer | Role::Provider,
            ) => None,
        }
    }

    fn transfer(&self, transfer: &Transfer) -> Option<transfer::Act> {
        use transfer::{Act, State};
        match (transfer.state, transfer.role) {
            (State::Requested, Role::Provider) => Some(Act::Start),
            (_, Role::Consumer | Role::Provider) => None,
        }
    }
}
