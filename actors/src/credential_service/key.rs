//! Key pairs: CREATED, ACTIVATED, ROTATED, REVOKED.

use super::{Event, Refusal, State, agent::Decided, presentations::PRESENTATION_LIFETIME};
use crate::{records, trust::replay::SKEW};
use cellspace_cluster::{Decision, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, ParticipantContextId, Timestamp,
    dcp::VerificationMethod,
    identity::{
        KeyDescriptor, KeyPairId, KeyPairResource,
        key_pair::{KeyGeneratorParams, KeyKind, KeyUsage},
        participant::MAX_ENTRIES,
    },
};
use cellspace_storage::{KeyAlgorithm, PublicKey, RowKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;

/// Table of its rows.
pub const TABLE: &str = "key";
/// Most revoked key pairs that are kept and shown; the oldest goes first.
const MAX_REVOKED: usize = 64;
/// Folder of private keys within the participant's part of the vault: a key pair's alias is a name among key pairs, whatever else lies there.
const FOLDER: &str = "keypair";
/// How aliases begin that nobody has chosen, and nobody may choose.
const MADE: &str = "made-";
/// How long anything counts that a participant signs for itself: a presentation, within the skew of clocks.
const SIGNATURE_LIFETIME: Duration = PRESENTATION_LIFETIME.saturating_add(SKEW);
const KEY_CONTEXT: &str = "https://w3id.org/security/suites/jws-2020/v1";

/// State of a key pair (Identity API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyState {
    /// Made; neither signs nor is published.
    Created,
    /// Signs and is published.
    Activated,
    /// Signs no more; stays published, so that what it signed can be verified.
    Rotated,
    /// Neither signs nor is published; what it signed is invalid.
    Revoked,
}

impl KeyState {
    /// The state's code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Created => 100,
            Self::Activated => 200,
            Self::Rotated => 300,
            Self::Revoked => 400,
        }
    }

    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Activated => "ACTIVATED",
            Self::Rotated => "ROTATED",
            Self::Revoked => "REVOKED",
        }
    }
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Id of the resource.
    pub id: KeyPairId,
    /// DID URL of the public key.
    pub key_id: String,
    /// Name of the private key in the vault.
    pub alias: KeyAlias,
    /// Its public half.
    pub public: PublicKey,
    /// State.
    pub state: KeyState,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is preferred for signing.
    pub default_pair: bool,
    /// What it signs; everything when empty. Rows of an earlier version have a `usage` that was shown and had no effect: what such a key has signed of whatever
    /// kind counts on.
    #[serde(rename = "usages", default)]
    pub usage: BTreeSet<KeyUsage>,
    /// For how long its public half stays published after a rotation, as asked for, in milliseconds; 0 when nothing was asked for.
    pub rotation_duration: u64,
    /// Until when credentials count that it may have signed for an issuer; known when it is rotated.
    #[serde(default)]
    pub signed_until: Option<Timestamp>,
    /// Whether it ends by itself when nothing counts any more that it has signed. Not so for those that an earlier build has rotated without a duration:
    /// their owners were told that they stay, and what they have signed may not be known.
    #[serde(default)]
    pub ends: bool,
}

impl KeyPair {
    /// Whether what it signs counts for this usage.
    #[must_use]
    pub fn is_for(&self, usage: KeyUsage) -> bool {
        self.usage.is_empty() || self.usage.contains(&usage)
    }

    /// Whether new signatures of this usage may be made with it.
    #[must_use]
    pub fn can_sign(&self, usage: KeyUsage) -> bool {
        self.state == KeyState::Activated && self.is_for(usage)
    }

    /// Whether its public half is in the DID document.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(self.state, KeyState::Activated | KeyState::Rotated)
    }

    /// When its public half leaves the DID document: for a rotated key when nothing counts any more that it has signed, but not before the duration that
    /// was asked for is over.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let lasting = Duration::from_millis(self.rotation_duration).max(SIGNATURE_LIFETIME);
        let ends = self.state == KeyState::Rotated && (self.ends || self.rotation_duration > 0);
        ends.then(|| self.since.plus(lasting).max(self.signed_until.unwrap_or_default()))
    }

    /// As the DID document shows it.
    #[must_use]
    pub fn verification_method(&self, did: &Did) -> VerificationMethod {
        VerificationMethod {
            id: self.key_id.clone(),
            method_type: "JsonWebKey2020".to_owned(),
            controller: Some(did.to_string()),
            public_key_jwk: Some(self.public.jwk.clone()),
            public_key_multibase: None,
        }
    }

    /// As the Identity API shows it.
    #[must_use]
    pub fn resource(&self, participant: &ParticipantContextId) -> KeyPairResource {
        KeyPairResource {
            id: self.id.clone(),
            participant_context_id: participant.clone(),
            key_id: self.key_id.clone(),
            key_context: KEY_CONTEXT,
            group_name: None,
            default_pair: self.default_pair,
            private_key_alias: self.alias.clone(),
            serialized_public_key: self.public.jwk.to_string(),
            state: self.state.code(),
            timestamp: self.since,
            use_duration: 0,
            rotation_duration: self.rotation_duration,
            usage: self.usage.clone(),
        }
    }
}

/// Which key to make, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySpec {
    /// DID URL, `#fragment` or fragment; fresh when absent.
    pub key_id: Option<String>,
    /// Id of the resource; fresh when absent.
    pub resource_id: Option<KeyPairId>,
    /// Name in the vault; fresh when absent.
    pub alias: Option<KeyAlias>,
    /// `true` for P-256, else Ed25519.
    pub p256: bool,
    /// The public half of a key that is in the vault already.
    pub existing: Option<Value>,
    /// Whether it is used at once.
    pub active: bool,
    /// What it is used for; everything when empty, or what the key is used for whose place it takes.
    pub usage: BTreeSet<KeyUsage>,
}

impl KeySpec {
    /// Checks a descriptor.
    ///
    /// # Errors
    /// [`Refusal::BadKey`] names the rule.
    pub fn read(descriptor: &KeyDescriptor) -> Result<Self, Refusal> {
        let kind = descriptor.key_generator_params.as_ref().map_or(Some(KeyKind::Ed25519), KeyGeneratorParams::kind);
        let kind = kind.ok_or(Refusal::BadKey("keyGeneratorParams must be EdDSA with Ed25519, or EC with P-256"))?;
        if descriptor.public_key_pem.is_some() {
            return Err(Refusal::BadKey("publicKeyPem is not supported, use publicKeyJwk or keyGeneratorParams"));
        }
        if descriptor.public_key_jwk.is_some() && (descriptor.key_generator_params.is_some() || descriptor.private_key_alias.is_none()) {
            return Err(Refusal::BadKey("publicKeyJwk needs a privateKeyAlias and excludes keyGeneratorParams"));
        }
        if descriptor.private_key_alias.as_ref().is_some_and(|alias| alias.as_str().starts_with(MADE)) {
            return Err(Refusal::BadKey("a privateKeyAlias must not begin with made-, as those do that are made here"));
        }
        let fragment_ok = |id: &String| {
            let fragment = id.rsplit('#').next().unwrap_or_default();
            !fragment.is_empty() && id.len() <= 512 && id.bytes().all(|b| b.is_ascii_graphic())
        };
        if !descriptor.key_id.as_ref().is_none_or(fragment_ok) {
            return Err(Refusal::BadKey("keyId must be a DID URL with a fragment, or a fragment"));
        }
        Ok(Self {
            key_id: descriptor.key_id.clone(),
            resource_id: descriptor.resource_id.clone(),
            alias: descriptor.private_key_alias.clone(),
            p256: kind == KeyKind::P256,
            existing: descriptor.public_key_jwk.clone(),
            active: descriptor.active.unwrap_or(true),
            usage: descriptor.usage.clone(),
        })
    }

    /// A key with default values, used at once.
    #[must_use]
    pub fn fresh() -> Self {
        Self { active: true, ..Self::default() }
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        if self.p256 { KeyAlgorithm::P256 } else { KeyAlgorithm::Ed25519 }
    }
}

/// The names of a key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNames {
    /// Id of the resource.
    pub id: KeyPairId,
    /// Absolute DID URL.
    pub key_id: String,
    /// Name in the vault.
    pub alias: KeyAlias,
}

impl KeyNames {
    /// The names that the spec gives, filled up from `fresh`.
    #[must_use]
    pub fn new(did: &Did, spec: &KeySpec, fresh: Uuid) -> Self {
        let key_id = match spec.key_id.as_deref() {
            None => format!("{did}#{fresh}"),
            Some(url) if url.starts_with("did:") => url.to_owned(),
            Some(fragment) => format!("{did}#{}", fragment.trim_start_matches('#')),
        };
        let made = || KeyAlias::new(format!("{MADE}{fresh}")).unwrap_or_else(|_| KeyAlias::from_uuid(fresh));
        let alias = spec.alias.clone().unwrap_or_else(made);
        let id = spec.resource_id.clone().unwrap_or_else(|| KeyPairId::from_uuid(fresh));
        Self { id, key_id, alias }
    }

    /// Whether they and the names of another key could not be told apart.
    #[must_use]
    pub fn clash(&self, other: &Self) -> bool {
        self.id == other.id || self.key_id == other.key_id || self.alias == other.alias
    }
}

/// Where the vault keeps the private half of a key pair with this alias, in the participant's part.
///
/// # Errors
/// [`Refusal::BadKey`] for an alias that is too long.
pub fn vault_alias(alias: &KeyAlias) -> Result<KeyAlias, Refusal> {
    KeyAlias::new(format!("{FOLDER}/{alias}")).map_err(|_| Refusal::BadKey("privateKeyAlias is too long"))
}

/// The alias of the key pair whose private half the vault keeps in this record.
#[must_use]
pub fn alias_of(record: KeyAlias) -> KeyAlias {
    let within = record.as_str().strip_prefix(FOLDER).and_then(|within| within.strip_prefix('/'));
    within.and_then(|alias| KeyAlias::new(alias).ok()).unwrap_or(record)
}

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
