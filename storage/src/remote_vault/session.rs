//! Sessions: tokens that logins have given. The node has one; where participants sign in by themselves, each that is in use has one of its own.

use super::options::{ParticipantLogin, RemoteVaultOptions};
use crate::{Secret, VaultError};
use cellspace_schemas::Owner;
use quick_cache::sync::Cache;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// A token is exchanged so long before its end.
const BEFORE_END: Duration = Duration::from_secs(30);
/// How long a token of unknown life is used.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// Participants whose sessions are kept: some 300 bytes each, as many as keys are known of. Who is not among them signs in anew.
const PARTICIPANTS: usize = 100_000;

/// A token, since when it is there, and until when it is good.
pub(super) struct Session {
    token: Arc<Secret>,
    since: Instant,
    until: Option<Instant>,
}

impl Session {
    /// One with a token that others renew.
    pub(super) fn given(token: Secret) -> Self {
        Self { token: Arc::new(token), since: Instant::now(), until: None }
    }

    /// One with a token that the vault lets live for so long.
    pub(super) fn lasting(token: Secret, life: Option<Duration>) -> Self {
        let life = life.filter(|life| !life.is_zero()).unwrap_or(UNKNOWN_LIFE);
        let since = Instant::now();
        Self { token: Arc::new(token), since, until: Some(since + life.saturating_sub(BEFORE_END).max(life / 2)) }
    }

    /// For how long the token is used.
    #[cfg(test)]
    pub(super) fn used_for(&self) -> Option<Duration> {
        self.until.map(|until| until - self.since)
    }

    /// The token.
    pub(super) fn token(&self) -> Arc<Secret> {
        self.token.clone()
    }
}

/// Why there is no token.
#[derive(Debug, Clone)]
pub(super) struct NoToken {
    pub error: VaultError,
    /// Whether the vault has said so, which is about who signs in and not about the vault.
    pub refused: bool,
}

impl From<VaultError> for NoToken {
    fn from(error: VaultError) -> Self {
        Self { error, refused: false }
    }
}

/// Where a session is, or will be.
#[derive(Default)]
pub(super) struct Place {
    session: parking_lot::Mutex<Option<Session>>,
    /// Held by who signs in: when the last one had no token, and why.
    pub(super) login: Mutex<Option<(Instant, NoToken)>>,
}

impl Place {
    /// The token that is there; not `refused`, unless that is too fresh to be exchanged.
    pub(super) fn held(&self, refused: Option<&Arc<Secret>>, pause: Duration) -> Option<Arc<Secret>> {
        let session = self.session.lock();
        let good = |held: &&Session| {
            let other = refused.is_none_or(|refused| !Arc::ptr_eq(refused, &held.token));
            let given = held.until.is_none();
            held.until.is_none_or(|until| until > Instant::now()) && (other || given || held.since.elapsed() < pause)
        };
        session.as_ref().filter(good).map(Session::token)
    }

    /// Takes the place of the session before.
    pub(super) fn put(&self, session: Session) {
        *self.session.lock() = Some(session);
    }
}

/// All places of a node.
pub(super) struct Places {
    node: Arc<Place>,
    participants: Cache<Owner, Arc<Place>>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { node: Arc::default(), participants: Cache::new(PARTICIPANTS) }
    }

    /// That of an owner: its own where participants sign in by themselves, the node's for what is the installation's.
    pub(super) fn of(&self, owner: &Owner, options: &RemoteVaultOptions) -> Arc<Place> {
        if signs_in(owner, options).is_none() {
            return self.node.clone();
        }
        let made = self.participants.get_or_insert_with(owner, || Ok::<_, std::convert::Infallible>(Arc::default()));
        match made {
            Ok(place) => place,
            Err(never) => match never {},
        }
    }
}

/// Mount and role by which this owner signs in, when it does so by itself.
pub(super) fn signs_in<'o>(owner: &Owner, options: &'o RemoteVaultOptions) -> Option<&'o ParticipantLogin> {
    options.participants.as_ref().filter(|_| *owner != Owner::installation())
}
