//! Key pairs: CREATED, ACTIVATED, ROTATED, REVOKED.

use super::{Effect, Event, Refusal, State, agent::Decided};
use cellspace_cluster::{Decision, Rejection, RowOf};
use cellspace_schemas::{
    Did, KeyAlias, ParticipantContextId, Timestamp,
    dcp::VerificationMethod,
    identity::{
        KeyDescriptor, KeyPairId, KeyPairResource,
        key_pair::{KeyGeneratorParams, KeyKind},
        participant::MAX_ENTRIES,
    },
};
use cellspace_storage::{KeyAlgorithm, PublicKey, RowKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Table of its rows.
pub const TABLE: &str = "key";
/// Lane of vault work.
const LANE: &str = "key";
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
    /// What it is used for, as given.
    pub usage: Vec<String>,
    /// For how long its public half stays published after a rotation, as asked for, in milliseconds; 0 when unlimited.
    pub rotation_duration: u64,
}

impl KeyPair {
    /// Whether new signatures may be made with it.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.state == KeyState::Activated
    }

    /// Whether its public half is in the DID document.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(self.state, KeyState::Activated | KeyState::Rotated)
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
    /// What it is used for.
    pub usage: Vec<String>,
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
            usage: descriptor.usage.iter().take(8).cloned().collect(),
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

/// A key that is in the vault, not yet in the state.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// Id of the resource.
    pub id: KeyPairId,
    /// Absolute DID URL.
    pub key_id: String,
    /// Name in the vault.
    pub alias: KeyAlias,
    /// Its public half.
    pub public: PublicKey,
    /// Whether it is used at once.
    pub active: bool,
    /// What it is used for.
    pub usage: Vec<String>,
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
        /// How long the old public half stays published, in milliseconds; 0 when unlimited.
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
pub fn check_new(state: &State, did: &Did, id: Option<&KeyPairId>, key_id: Option<&str>, alias: Option<&KeyAlias>) -> Result<(), Refusal> {
    if state.keys.size() >= MAX_ENTRIES {
        return Err(Refusal::Full("key pairs"));
    }
    if key_id.is_some_and(|key_id| key_id.split_once('#').is_none_or(|(of, _)| of != did.as_str())) {
        return Err(Refusal::BadKey("keyId must be a DID URL of the participant's own DID"));
    }
    let taken = |key: &Arc<KeyPair>| Some(&key.id) == id || Some(key.key_id.as_str()) == key_id || Some(&key.alias) == alias;
    if state.keys.values().any(taken) { Err(Refusal::KeyExists) } else { Ok(()) }
}

/// Adds a key pair; the first one is the default.
///
/// # Errors
/// As [`check_new`].
pub fn add(state: &State, new: &NewKey, make_default: bool, now: Timestamp) -> Result<Vec<KeyEvent>, Refusal> {
    let did = new.key_id.split_once('#').and_then(|(did, _)| Did::new(did).ok());
    let did = state.context.as_ref().map(|context| context.did.clone()).or(did).ok_or(Refusal::NoContext)?;
    check_new(state, &did, Some(&new.id), Some(&new.key_id), Some(&new.alias))?;
    let default_pair = make_default || !state.keys.values().any(|key| key.default_pair);
    let mut events = if default_pair { clear_default(state) } else { Vec::new() };
    events.push(changed(KeyPair {
        id: new.id.clone(),
        key_id: new.key_id.clone(),
        alias: new.alias.clone(),
        public: new.public.clone(),
        // (none) --add--> ACTIVATED | CREATED
        state: if new.active { KeyState::Activated } else { KeyState::Created },
        since: now,
        default_pair,
        usage: new.usage.clone(),
        rotation_duration: 0,
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

/// Decides.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub fn decide(state: &State, prepared: &Prepared, now: Timestamp) -> Decided {
    if state.context.is_none() {
        return Err(Refusal::NoContext.into());
    }
    let find = |id: &KeyPairId| state.keys.get(id).cloned().ok_or(Refusal::NoKey);
    let (action, events, effect) = match (&prepared.command, &prepared.new) {
        (Command::Add { make_default, .. }, Some(new)) => ("key.added", add(state, new, *make_default, now)?, None),
        (Command::Activate(id), _) => {
            let key = find(id)?;
            match key.state {
                // CREATED --activate--> ACTIVATED
                KeyState::Created => ("key.activated", vec![changed(moved(&key, KeyState::Activated, now))], None),
                KeyState::Activated => return Ok(Decision::nothing()),
                KeyState::Rotated | KeyState::Revoked => return Err(not_allowed(&key, "activated")),
            }
        }
        (Command::Rotate { id, duration, .. }, Some(new)) => {
            let key = find(id)?;
            match key.state {
                // ACTIVATED --rotate--> ROTATED
                KeyState::Activated => {
                    let mut events =
                        vec![changed(KeyPair { default_pair: false, rotation_duration: *duration, ..moved(&key, KeyState::Rotated, now) })];
                    let mut after = state.clone();
                    events.iter().for_each(|event| apply(&mut after, event));
                    events.extend(add(&after, new, key.default_pair, now)?);
                    ("key.rotated", events, None)
                }
                KeyState::Created | KeyState::Rotated | KeyState::Revoked => return Err(not_allowed(&key, "rotated")),
            }
        }
        (Command::Revoke { id, successor }, new) => {
            let key = find(id)?;
            match key.state {
                // CREATED, ACTIVATED, ROTATED --revoke--> REVOKED
                KeyState::Created | KeyState::Activated | KeyState::Rotated => {
                    let mut events = vec![changed(KeyPair { default_pair: false, ..moved(&key, KeyState::Revoked, now) })];
                    if let (Some(_), Some(new)) = (successor, new) {
                        let mut after = state.clone();
                        events.iter().for_each(|event| apply(&mut after, event));
                        events.extend(add(&after, new, key.default_pair, now)?);
                    }
                    ("key.revoked", events, Some(Effect::DeleteSecret(key.alias.clone())))
                }
                KeyState::Revoked => return Ok(Decision::nothing()),
            }
        }
        // `prepare` makes the key of every command that has one.
        (Command::Add { .. } | Command::Rotate { .. }, None) => return Err(Refusal::BadKey("the key was not made").into()),
    };
    let mut decision = Decision::action(action);
    decision.events.extend(events.into_iter().map(Event::Key));
    Ok(match effect {
        Some(effect) => decision.effect(LANE, effect),
        None => decision,
    })
}

fn moved(key: &KeyPair, state: KeyState, now: Timestamp) -> KeyPair {
    KeyPair { state, since: now, ..key.clone() }
}

fn not_allowed(key: &KeyPair, wanted: &'static str) -> Rejection<Refusal> {
    Refusal::KeyState { from: key.state.name(), wanted }.into()
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
