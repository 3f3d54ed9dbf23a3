//! Brings archived processes back for one decision or one answer.

use super::{super::ControlPlaneState, Event, Filed, Key};
use crate::{
    control_plane::{
        self, ControlPlane, Refusal,
        negotiation::{self, Negotiation},
        transfer::{self, Transfer},
    },
    trust,
};
use cellspace_cluster::{Address, Apart, Cluster, Rejection};
use cellspace_storage::StoreError;
use std::{borrow::Cow, sync::Arc};

/// What was found in the archive for a command.
#[derive(Debug, Default)]
pub struct Recalled {
    negotiations: Vec<Arc<Negotiation>>,
    transfers: Vec<Arc<Transfer>>,
    /// Every id that the command may be about.
    keys: Vec<Key>,
    /// How much was archived when it was looked for.
    moved: u64,
}

impl Recalled {
    #[cfg(test)]
    pub(super) const fn of(negotiations: Vec<Arc<Negotiation>>, transfers: Vec<Arc<Transfer>>, keys: Vec<Key>, moved: u64) -> Self {
        Self { negotiations, transfers, keys, moved }
    }

    /// The state with what was recalled in it.
    ///
    /// # Errors
    /// [`Rejection::Stale`] when something that is missed has moved into the archive since it was looked for.
    pub fn shown<'a>(&self, state: &'a ControlPlaneState) -> Result<Cow<'a, ControlPlaneState>, Rejection<Refusal>> {
        let mut shown = Cow::Borrowed(state);
        for process in &self.negotiations {
            if state.negotiations.get(&process.id).is_none() {
                Negotiation::show(shown.to_mut(), process.clone());
            }
        }
        for process in &self.transfers {
            if state.transfers.get(&process.id).is_none() {
                Transfer::show(shown.to_mut(), process.clone());
            }
        }
        // Also what was found: it may have been brought back meanwhile, changed, and moved again.
        if self.keys.iter().any(|key| !key.is_in(state) && state.archive.has_moved(key, self.moved)) {
            return Err(Rejection::Stale);
        }
        Ok(shown)
    }

    /// As [`Self::shown`], for readers: the state as it is when nothing was recalled.
    #[must_use]
    pub fn shown_to(&self, state: &Arc<ControlPlaneState>) -> Arc<ControlPlaneState> {
        match self.shown(state) {
            Ok(Cow::Owned(shown)) => Arc::new(shown),
            Ok(Cow::Borrowed(_)) | Err(_) => state.clone(),
        }
    }
}

/// Looks for what the keys lead to, as far as it is not in the state.
///
/// # Errors
/// When the archive cannot be read.
pub async fn recall(cluster: &Cluster, address: &Address, state: &ControlPlaneState, keys: Vec<Key>) -> Result<Recalled, StoreError> {
    let mut recalled = Recalled { moved: state.archive.moved, ..Recalled::default() };
    let missed: Vec<Key> = keys.iter().filter(|key| state.archive.opened && !key.is_in(state)).cloned().collect();
    if !missed.is_empty() {
        let read = move |rows: &Apart<'_, ControlPlane>| {
            let (mut negotiations, mut transfers) = (Vec::new(), Vec::new());
            for key in &missed {
                match key {
                    Key::Negotiation(_) | Key::Agreement(_) | Key::NegotiationOf(..) => {
                        negotiations.extend(find::<Negotiation>(rows, key)?)
                    }
                    Key::Transfer(_) | Key::TransferOf(..) => transfers.extend(find::<Transfer>(rows, key)?),
                }
            }
            Ok::<_, StoreError>((negotiations, transfers))
        };
        (recalled.negotiations, recalled.transfers) = cluster.read_apart(address, read).await?;
    }
    recalled.keys = keys;
    Ok(recalled)
}

/// The state as a reader sees it who asks for these ids, wherever they are kept.
///
/// # Errors
/// When the archive cannot be read.
pub async fn with(
    cluster: &Cluster,
    address: &Address,
    state: Arc<ControlPlaneState>,
    key: Key,
) -> Result<Arc<ControlPlaneState>, StoreError> {
    if key.is_in(&state) {
        return Ok(state);
    }
    let recalled = recall(cluster, address, &state, vec![key]).await?;
    Ok(recalled.shown_to(&state))
}

pub(super) fn find<T: Filed>(rows: &Apart<'_, ControlPlane>, key: &Key) -> Result<Option<Arc<T>>, StoreError> {
    let event = match rows.get(&key.row())? {
        Some(control_plane::Event::Archive(Event::Named { id, .. })) => match T::key(&id) {
            Some(key) => rows.get(&key.row())?,
            None => None,
        },
        other => other,
    };
    Ok(event.and_then(T::read))
}

/// Every id of an ended process that a command may be about.
#[must_use]
pub(in crate::control_plane) fn keys_of(command: &control_plane::Command) -> Vec<Key> {
    match command {
        control_plane::Command::Negotiation(command) => of_negotiation(command),
        control_plane::Command::Transfer(command) => of_transfer(command),
        control_plane::Command::Participant(_)
        | control_plane::Command::Resources(_)
        | control_plane::Command::DataPlanes(_)
        | control_plane::Command::Secrets(_)
        | control_plane::Command::Records(_) => Vec::new(),
    }
}

fn of_negotiation(command: &negotiation::Command) -> Vec<Key> {
    use negotiation::{Command, Message};
    match command {
        Command::Request(new) | Command::Offer(new) => new.id.iter().cloned().map(Key::Negotiation).collect(),
        Command::Act { id, .. } | Command::Accept { id, .. } | Command::Agree { id, .. } | Command::Delete(id) => {
            vec![Key::Negotiation(id.clone())]
        }
        Command::Retire { agreement, .. } => vec![Key::Agreement(agreement.clone())],
        Command::Receive(incoming) => {
            let (consumer, provider) = incoming.message.pids();
            let theirs = match &incoming.message {
                Message::Request(_) => consumer,
                Message::Offer(_) => provider,
                _ => None,
            };
            let begun = theirs.filter(|_| incoming.id.is_none()).and_then(|theirs| {
                let sender = trust::claimed_sender(&incoming.envelope.token)?;
                Some(Key::NegotiationOf(sender, theirs.clone()))
            });
            let agreement = match &incoming.message {
                Message::Agreement(message) => Some(Key::Agreement(message.agreement.id.clone())),
                _ => None,
            };
            incoming.id.iter().cloned().map(Key::Negotiation).chain(begun).chain(agreement).collect()
        }
    }
}

fn of_transfer(command: &transfer::Command) -> Vec<Key> {
    use transfer::{Command, Message};
    match command {
        Command::Request(new) => {
            new.id.iter().cloned().map(Key::Transfer).chain(std::iter::once(Key::Agreement(new.agreement.clone()))).collect()
        }
        Command::Act { id, .. } | Command::Signal { id, .. } => vec![Key::Transfer(id.clone())],
        Command::Receive(incoming) => {
            let begun = match &incoming.message {
                Message::Request(message) if incoming.id.is_none() => {
                    let sender = trust::claimed_sender(&incoming.envelope.token);
                    let theirs = sender.map(|sender| Key::TransferOf(sender, message.consumer_pid.clone()));
                    theirs.into_iter().chain([Key::Agreement(message.agreement_id.clone())]).collect()
                }
                _ => Vec::new(),
            };
            incoming.id.iter().cloned().map(Key::Transfer).chain(begun).collect()
        }
    }
}
