//! Key pairs: CREATED, ACTIVATED, ROTATED, REVOKED.

mod names;
mod pair;

pub use names::{KeyNames, KeySpec, alias_of, vault_alias};
pub use pair::{KeyPair, KeyState};

use super::{Event, Refusal, State, agent::Decided};
use crate::records;
use cellspace_cluster::{Decision, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, Timestamp,
    identity::{KeyPairId, key_pair::KeyUsage, participant::MAX_ENTRIES},
};
use cellspace_storage::{PublicKey, RowKey};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Table of its rows.
pub const TABLE: &str = "key";
/// Most revoked key pairs that are kept and shown; the oldest goes first.
const MAX_REVOKED: usize = 64;

/// A key that is in the vault, not yet in the state.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// Its names.
    pub names: KeyNames,
    /// Its public half.
    pub public: PublicKey,
    /// Whether it is used at once.
    pub active: bool,
    /// What it is used for.
    pub usage: BTreeSet<KeyUsage>,
    /// Whether it was made for the command; else it was there before.
    pub made: bool,
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Adds a key pair.
    Add {
        /// Which.
        spec: KeySpec,
        /// Whether it becomes the default.
        make_default: bool,
    },
    /// Activates a created key pair.
    Activate(KeyPairId),
    /// Replaces an activated key pair by a new one.
    Rotate {
        /// Which.
        id: KeyPairId,
        /// By what.
        successor: KeySpec,
        /// How long the old public half stays published at the least, in milliseconds; while something counts that it has signed it stays anyway.
        duration: u64,
    },
    /// Revokes a key pair, and adds another one in its place when asked to.
    Revoke {
        /// Which.
        id: KeyPairId,
        /// What comes in its place.
        successor: Option<KeySpec>,
    },
}

impl Command {
    /// The key that has to be made first.
    #[must_use]
    pub const fn spec(&self) -> Option<&KeySpec> {
        match self {
            Self::Add { spec, .. } | Self::Rotate { successor: spec, .. } | Self::Revoke { successor: Some(spec), .. } => Some(spec),
            Self::Activate(_) | Self::Revoke { successor: None, .. } => None,
        }
    }
}

/// A request with its key, which is in the vault.
#[derive(Debug)]
pub struct Prepared {
    /// As asked for.
    pub command: Command,
    /// The key that [`Command::spec`] describes.
    pub new: Option<NewKey>,
    /// For a rotation: until when credentials count that the key may have signed.
    pub signed_until: Option<Timestamp>,
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum KeyEvent {
    /// The key pair is now this.
    Changed(Arc<KeyPair>),
    /// It is gone.
    Removed(KeyPairId),
}

/// Whether a key of these names can be added.
///
/// # Errors
/// [`Refusal::KeyExists`], [`Refusal::BadKey`] or [`Refusal::Full`].
pub fn check_new(state: &State, did: &Did, names: &KeyNames) -> Result<(), Refusal> {
    if state.keys.values().filter(|key| key.state != KeyState::Revoked).count() >= MAX_ENTRIES {
        return Err(Refusal::Full("key pairs"));
    }
    if names.key_id.split_once('#').is_none_or(|(of, _)| of != did.as_str()) {
        return Err(Refusal::BadKey("keyId must be a DID URL of the participant's own DID"));
    }
    vault_alias(&names.alias)?;
    let taken = |key: &Arc<KeyPair>| key.id == names.id || key.key_id == names.key_id || key.alias == names.alias;
    if state.keys.values().any(taken) { Err(Refusal::KeyExists) } else { Ok(()) }
}

/// Adds a key pair; the first one is the default.
///
/// # Errors
/// As [`check_new`].
pub fn add(state: &State, new: &NewKey, make_default: bool, now: Timestamp) -> Result<Vec<KeyEvent>, Refusal> {
    let did = new.names.key_id.split_once('#').and_then(|(did, _)| Did::new(did).ok());
    let did = state.context.as_ref().map(|context| context.did.clone()).or(did).ok_or(Refusal::NoContext)?;
    check_new(state, &did, &new.names)?;
    let KeyNames { id, key_id, alias } = new.names.clone();
    let default_pair = make_default || !state.keys.values().any(|key| key.default_pair);
    let mut events = if default_pair { clear_default(state) } else { Vec::new() };
    events.push(changed(KeyPair {
        id,
        key_id,
        alias,
        public: new.public.clone(),
        // (none) --add--> ACTIVATED | CREATED
        state: if new.active { KeyState::Activated } else { KeyState::Created },
        since: now,
        default_pair,
        usage: new.usage.clone(),
        rotation_duration: 0,
        signed_until: None,
        ends: false,
    }));
    Ok(events)
}

fn clear_default(state: &State) -> Vec<KeyEvent> {
    let defaults = state.keys.values().filter(|key| key.default_pair);
    defaults.map(|key| changed(KeyPair { default_pair: false, ..(**key).clone() })).collect()
}

fn changed(key: KeyPair) -> KeyEvent {
    KeyEvent::Changed(Arc::new(key))
}

/// What a command does to the key pair that it names, before another one comes in its place.
struct Change {
    action: &'static str,
    events: Vec<KeyEvent>,
    /// Private key that goes.
    gone: Option<KeyAlias>,
    /// Whether the new key becomes the default.
    make_default: bool,
    /// What the new key is used for, when nothing is said.
    usage: BTreeSet<KeyUsage>,
}

/// `None` when it is so already.
fn change(state: &State, command: &Command, now: Timestamp) -> Result<Option<Change>, Refusal> {
    use KeyState::{Activated, Created, Revoked, Rotated};
    let find = |id: &KeyPairId| state.keys.get(id).cloned().ok_or(Refusal::NoKey);
    Ok(match command {
        Command::Add { make_default, .. } => {
            Some(Change { action: "key.added", events: Vec::new(), gone: None, make_default: *make_default, usage: BTreeSet::new() })
        }
        Command::Activate(id) => {
            let key = find(id)?;
            match key.state {
                // CREATED --activate--> ACTIVATED
                Created => Some(Change {
                    action: "key.activated",
                    events: vec![changed(moved(&key, Activated, now))],
                    gone: None,
                    make_default: false,
                    usage: BTreeSet::new(),
                }),
                Activated => None,
                Rotated | Revoked => return Err(not_allowed(&key, "activated")),
            }
        }
        Command::Rotate { successor, .. } if !successor.active => {
            return Err(Refusal::BadKey("the key that takes the place of a rotated one must be active"));
        }
        Command::Rotate { id, duration, .. } => {
            let key = find(id)?;
            match key.state {
                // ACTIVATED --rotate--> ROTATED
                Activated => {
                    let rotated = KeyPair { default_pair: false, rotation_duration: *duration, ends: true, ..moved(&key, Rotated, now) };
                    Some(Change {
                        action: "key.rotated",
                        events: vec![changed(rotated)],
                        gone: None,
                        make_default: key.default_pair,
                        usage: key.usage.clone(),
                    })
                }
                Created | Rotated | Revoked => return Err(not_allowed(&key, "rotated")),
            }
        }
        Command::Revoke { id, .. } => {
            let key = find(id)?;
            match key.state {
                // CREATED, ACTIVATED, ROTATED --revoke--> REVOKED
                Created | Activated | Rotated => Some(revoke(state, &key, now)),
                Revoked => None,
            }
        }
    })
}

/// Its names stay taken for as long as it is kept.
fn revoke(state: &State, key: &KeyPair, now: Timestamp) -> Change {
    let mut events = vec![changed(KeyPair { default_pair: false, ..moved(key, KeyState::Revoked, now) })];
    let revoked = || state.keys.values().filter(|key| key.state == KeyState::Revoked);
    if revoked().count() >= MAX_REVOKED
        && let Some(oldest) = revoked().min_by_key(|key| key.since)
    {
        events.push(KeyEvent::Removed(oldest.id.clone()));
    }
    Change { action: "key.revoked", events, gone: Some(key.alias.clone()), make_default: key.default_pair, usage: key.usage.clone() }
}

/// The state that a key pair which the command asks for is added to; `None` when there is none to be made.
///
/// # Errors
/// [`Refusal`], before anything was made.
pub fn before_new(state: &State, command: &Command, now: Timestamp) -> Result<Option<State>, Refusal> {
    Ok(match (change(state, command, now)?, command.spec()) {
        (Some(change), Some(_)) => Some(after(state, &change.events)),
        (Some(_) | None, _) => None,
    })
}

fn after(state: &State, events: &[KeyEvent]) -> State {
    let mut after = state.clone();
    events.iter().for_each(|event| apply(&mut after, event));
    after
}

/// Decides.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub fn decide(state: &State, prepared: &Prepared, now: Timestamp) -> Decided {
    if state.context.is_none() {
        return Err(Refusal::NoContext.into());
    }
    let Some(mut change) = change(state, &prepared.command, now)? else { return Ok(Decision::nothing()) };
    if let Command::Rotate { id, .. } = &prepared.command {
        for event in &mut change.events {
            if let KeyEvent::Changed(key) = event
                && key.id == *id
            {
                let signed_until = prepared.signed_until.filter(|_| key.is_for(KeyUsage::Credentials));
                *event = changed(KeyPair { signed_until, ..(**key).clone() });
            }
        }
    }
    if prepared.command.spec().is_some() {
        // No key was made, since the command had nothing to do then.
        let mut new = prepared.new.clone().ok_or(Rejection::Stale)?;
        if new.usage.is_empty() {
            new.usage.clone_from(&change.usage);
        }
        change.events.extend(add(&after(state, &change.events), &new, change.make_default, now)?);
    }
    Ok(decided(change))
}

/// The time of a rotated key has come.
pub fn due(state: &State, id: &KeyPairId, now: Timestamp) -> Decided {
    Ok(match state.keys.get(id) {
        // ROTATED --due--> REVOKED
        Some(key) if key.ends_at().is_some_and(|at| at <= now) => decided(revoke(state, key, now)),
        Some(_) | None => Decision::nothing(),
    })
}

fn decided(change: Change) -> Decision<super::CredentialService> {
    let mut decision = Decision::action(change.action);
    decision.events.extend(change.events.into_iter().map(Event::Key));
    match change.gone.and_then(|alias| vault_alias(&alias).ok()) {
        Some(record) => records::leave(decision, &record),
        None => decision,
    }
}

fn moved(key: &KeyPair, state: KeyState, now: Timestamp) -> KeyPair {
    KeyPair { state, since: now, ..key.clone() }
}

fn not_allowed(key: &KeyPair, wanted: &'static str) -> Refusal {
    Refusal::KeyState { from: key.state.name(), wanted }
}

/// Key of its deadline.
fn deadline_key(id: &KeyPairId) -> String {
    format!("{TABLE}/{id}")
}

/// The deadline that the key pair now has.
#[must_use]
pub fn deadline(event: &KeyEvent) -> (String, Option<Timestamp>) {
    match event {
        KeyEvent::Changed(key) => (deadline_key(&key.id), key.ends_at()),
        KeyEvent::Removed(id) => (deadline_key(id), None),
    }
}

/// Folds.
pub fn apply(state: &mut State, event: &KeyEvent) {
    match event {
        KeyEvent::Changed(key) => state.keys.insert_mut(key.id.clone(), key.clone()),
        KeyEvent::Removed(id) => {
            state.keys.remove_mut(id);
        }
    }
}

/// Its row.
#[must_use]
pub fn row(event: &KeyEvent) -> RowOf {
    match event {
        KeyEvent::Changed(key) => RowOf::Put(RowKey::new(TABLE, key.id.as_str())),
        KeyEvent::Removed(id) => RowOf::Delete(RowKey::new(TABLE, id.as_str())),
    }
}
