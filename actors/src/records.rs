//! Values and keys in the vault that rows name: each in a record of its own that is never written again, so that a commit names the new one wholly or not
//! at all.
//!
//! A record is in the vault before the commit that names it. Before that, a commit of the same agent notes that it is being made; the commit that names it
//! settles the note, and names nothing without one. So a note that is there tells of a record that no row names: when its time is over, or when its command
//! is known not to be executed, the agent takes the record out of the vault, however often it has to try. A crash at any point leaves a note or nothing.

use crate::Services;
use cellspace_cluster::{Address, Agent, AskError, Call, Decision, DeliveryError, PrepareError, Rejection, RowOf, Undo};
use cellspace_schemas::{KeyAlias, Owner, Timestamp};
use cellspace_storage::{RowKey, Secret, StoreError, Vault, VaultError, VaultPath};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, time::timeout};
use uuid::Uuid;

/// Table of the notes, and how the keys of their deadlines begin.
pub const TABLE: &str = "record";
/// How long after its note a record that no row names stays: longer than a command waits for its answer, and than a vault that gave none may still be at work.
const PATIENCE: Duration = Duration::from_secs(120);
/// Notes of one agent at most; who wants another one has to wait.
const MAX_NOTES: usize = 10_000;

/// What is known of a record that no row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    /// It is being made, or was; until then it may be named.
    Made(Timestamp),
    /// It is on its way out of the vault, and may neither be made nor named.
    Leaving,
}

/// The notes of an agent.
#[derive(Debug, Clone, Default)]
pub struct Notes(RedBlackTreeMapSync<KeyAlias, Note>);

/// A request of the agent's own preparations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Notes that a record is about to be made.
    Begin(KeyAlias),
    /// It was made for a command that is not executed.
    Abandon(KeyAlias),
}

/// It needs nothing of others.
pub type Prepared = Command;

/// A change of one note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The record is being made; what nobody names by then goes.
    Begun(KeyAlias, Timestamp),
    /// It is on its way out of the vault.
    Leaving(KeyAlias),
    /// A row names it, or it is gone.
    Settled(KeyAlias),
}

/// An agent whose rows name records.
pub trait Keeper: Agent {
    /// Its notes.
    fn notes(state: &Self::State) -> &Notes;
    /// Whether one of its rows names the record.
    fn names(state: &Self::State, record: &KeyAlias) -> bool;
    /// Why a record whose name somebody has chosen may not be made: a row names it. Names that are fresh each time are nobody's yet.
    fn taken(_state: &Self::State, _record: &KeyAlias) -> Option<Self::Refusal> {
        None
    }
    /// Asks it about a note.
    fn asking(command: Command) -> Self::Command;
    /// Changes a note.
    fn noting(event: Event) -> Self::Event;
    /// Takes a record out of the vault; its outcome must lead to [`gone`], its end without one to [`again`].
    fn forgetting(record: KeyAlias) -> Self::Effect;
}

impl Notes {
    /// Folds an event into the notes.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Begun(record, until) => self.0.insert_mut(record.clone(), Note::Made(*until)),
            Event::Leaving(record) => self.0.insert_mut(record.clone(), Note::Leaving),
            Event::Settled(record) => {
                self.0.remove_mut(record);
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    match event {
        Event::Begun(record, _) | Event::Leaving(record) => RowOf::Put(RowKey::new(TABLE, record.as_str())),
        Event::Settled(record) => RowOf::Delete(RowKey::new(TABLE, record.as_str())),
    }
}

/// The deadline that the note now has.
#[must_use]
pub fn deadline(event: &Event) -> (String, Option<Timestamp>) {
    match event {
        Event::Begun(record, until) => (format!("{TABLE}/{record}"), Some(*until)),
        Event::Leaving(record) | Event::Settled(record) => (format!("{TABLE}/{record}"), None),
    }
}

/// Decides about a note. Pure.
///
/// # Errors
/// [`Keeper::taken`]; [`Rejection::Stale`] while there are too many notes, or the record is on its way out.
pub fn decide<A: Keeper>(state: &A::State, command: &Command, now: Timestamp) -> Result<Decision<A>, Rejection<A::Refusal>> {
    let notes = &A::notes(state).0;
    match command {
        Command::Begin(record) => {
            if let Some(refusal) = A::taken(state, record) {
                return Err(Rejection::Refused(refusal));
            }
            if notes.get(record) == Some(&Note::Leaving) || notes.size() >= MAX_NOTES {
                return Err(Rejection::Stale);
            }
            Ok(Decision::action("record.begun").event(A::noting(Event::Begun(record.clone(), now.plus(PATIENCE)))))
        }
        // Also without a note: that may be gone since another one's time was over, or was settled for another command of the same name.
        Command::Abandon(record) => Ok(match (notes.get(record), A::names(state, record)) {
            (Some(Note::Leaving), _) | (None, true) => Decision::nothing(),
            (Some(Note::Made(_)), true) => settle(record),
            (Some(Note::Made(_)) | None, false) => leaving(record),
        }),
    }
}

/// The time of a note is over: its record goes, unless a row names it.
#[must_use]
pub fn due<A: Keeper>(state: &A::State, record: &str, now: Timestamp) -> Decision<A> {
    match KeyAlias::new(record).ok().and_then(|record| A::notes(state).0.get_key_value(&record)) {
        Some((record, Note::Made(until))) if *until <= now => {
            if A::names(state, record) {
                settle(record)
            } else {
                leaving(record)
            }
        }
        Some(_) | None => Decision::nothing(),
    }
}

fn settle<A: Keeper>(record: &KeyAlias) -> Decision<A> {
    Decision::action("record.settled").event(A::noting(Event::Settled(record.clone())))
}

fn leaving<A: Keeper>(record: &KeyAlias) -> Decision<A> {
    leave(Decision::action("record.leaving"), record)
}

/// Adds that a record, which no row names any longer, leaves the vault, and is not made anew before it is gone.
#[must_use]
pub fn leave<A: Keeper>(decision: Decision<A>, record: &KeyAlias) -> Decision<A> {
    let event = A::noting(Event::Leaving(record.clone()));
    decision.event(event).effect(format!("{TABLE}/{record}"), A::forgetting(record.clone()))
}

/// A record has left the vault.
#[must_use]
pub fn gone<A: Keeper>(state: &A::State, record: &KeyAlias) -> Decision<A> {
    match A::notes(state).0.get(record) {
        Some(Note::Leaving) => Decision::action("record.gone").event(A::noting(Event::Settled(record.clone()))),
        Some(Note::Made(_)) | None => Decision::nothing(),
    }
}

/// A record could not be taken out of the vault for long: that is tried until it is done.
#[must_use]
pub fn again<A: Keeper>(record: &KeyAlias) -> Decision<A> {
    Decision::action("record.leaving.again").effect(format!("{TABLE}/{record}"), A::forgetting(record.clone()))
}

/// A decision of a command for which records were made, or `found` to be there. It is made while they may be named; what it changes names each of them or
/// takes it out again, so that their notes are settled by the same commit.
///
/// # Errors
/// Those of `decided`, and [`Rejection::Stale`] when a note is gone, or what was found is on its way out.
pub fn settled<A: Keeper>(
    state: &A::State,
    made: Vec<KeyAlias>,
    found: Vec<KeyAlias>,
    decided: Result<Decision<A>, Rejection<A::Refusal>>,
) -> Result<Decision<A>, Rejection<A::Refusal>> {
    let decision = decided?;
    if !decision.changes() {
        return Ok(decision);
    }
    let note = |record: &KeyAlias| A::notes(state).0.get(record).copied();
    let may_be_named = made.iter().all(|record| matches!(note(record), Some(Note::Made(_))));
    if !may_be_named || found.iter().any(|record| note(record) == Some(Note::Leaving)) {
        return Err(Rejection::Stale);
    }
    let noted = found.into_iter().filter(|record| note(record).is_some());
    Ok(made.into_iter().chain(noted).fold(decision, |decision, record| decision.event(A::noting(Event::Settled(record)))))
}

/// A record that is noted, and may be made.
pub struct Noted {
    there: Arc<AtomicBool>,
    _undo: Undo,
}

impl Noted {
    /// Makes the record, well within the note's time. When it is not known whether it was made, as then, it is left to the note's deadline: the vault may
    /// still be at work.
    ///
    /// # Errors
    /// Those of `making`, or it took too long.
    pub async fn make<T>(self, making: impl Future<Output = Result<T, VaultError>>) -> Result<T, VaultError> {
        let late = |_| Err(VaultError::Store(StoreError::Unavailable("the vault takes too long".to_owned())));
        let made = timeout(PATIENCE / 2, making).await.unwrap_or_else(late);
        if made.is_ok() {
            self.there.store(true, Ordering::Release);
        }
        made
    }
}

/// Notes that a record is about to be made for the call. Should that not be executed, what is there then goes at once, when nobody holds the note any more.
///
/// # Errors
/// The agent cannot note it now.
pub async fn begin<A: Keeper>(
    services: &Services,
    address: &Address,
    record: KeyAlias,
    call: &Call,
) -> Result<Noted, PrepareError<A::Refusal>> {
    let of = |call: &Call| Call { trace: call.trace.clone(), timeout: call.timeout, ..Call::by(call.actor.clone()) };
    let begun = services.cluster.ask_beside::<A>(address, A::asking(Command::Begin(record.clone())), of(call)).await;
    begun.map_err(|error| match error {
        AskError::Refused(refusal) => PrepareError::Refused(refusal),
        other => PrepareError::Unavailable(other.to_string()),
    })?;
    let there = Arc::new(AtomicBool::new(false));
    // What is kept for a call whose outcome nobody knows holds no node.
    let (cluster, address, abandon) = (services.cluster.downgrade(), address.clone(), of(call));
    let made = there.clone();
    call.undo.by(move || {
        // Without a runtime or a node the note is found by the next one.
        if let (true, Ok(runtime), Some(cluster)) = (made.load(Ordering::Acquire), Handle::try_current(), cluster()) {
            runtime.spawn(async move {
                let abandoned = cluster.ask_beside::<A>(&address, A::asking(Command::Abandon(record.clone())), abandon).await;
                if let Err(error) = abandoned {
                    tracing::debug!(category = "app", vpa = %address, %record, %error, "a record is left to its deadline");
                }
            });
        }
    });
    Ok(Noted { there, _undo: call.undo.clone() })
}

/// Puts the value into a new record of the owner's, under `prefix` and a fresh name, from which it is removed should the call not be executed.
///
/// # Errors
/// The agent or the vault is out of reach.
pub async fn keep<A: Keeper>(
    services: &Services,
    address: &Address,
    prefix: &str,
    value: &str,
    call: &Call,
) -> Result<KeyAlias, PrepareError<A::Refusal>> {
    let unavailable = |e: &dyn fmt::Display| PrepareError::Unavailable(format!("the secret cannot be stored: {e}"));
    let record = KeyAlias::new(format!("{prefix}{}", Uuid::new_v4())).map_err(|e| unavailable(&e))?;
    let noted = begin::<A>(services, address, record.clone(), call).await?;
    let path = VaultPath { owner: address.owner.clone(), alias: record.clone() };
    let (vault, value) = (services.vault.clone(), Secret::from(value));
    // Goes on when its caller gives up: what is removed then must be there by then.
    let put = tokio::spawn(async move { noted.make(vault.put_secret(&path, value)).await });
    put.await.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
    Ok(record)
}

/// Removes a record that nothing names any longer; may be repeated.
///
/// # Errors
/// When it has to be tried again.
pub async fn forget(vault: &dyn Vault, owner: &Owner, record: &KeyAlias) -> Result<(), DeliveryError> {
    let path = VaultPath { owner: owner.clone(), alias: record.clone() };
    vault.delete(&path).await.map_err(|e| DeliveryError::Retry(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_plane::{DataPlane, DataPlaneState, command::Effect, state::Event as AgentEvent};
    use cellspace_cluster::Input;

    const NOW: Timestamp = Timestamp(1_000);

    fn alias(text: impl fmt::Display) -> KeyAlias {
        KeyAlias::new(text.to_string()).unwrap()
    }

    fn take(state: &mut DataPlaneState, decision: Decision<DataPlane>) -> Vec<KeyAlias> {
        decision.events.iter().for_each(|event| DataPlane::apply(state, event));
        let forgotten = decision.effects.into_iter().map(|outgoing| {
            let Effect::Forget(record) = outgoing.effect;
            record
        });
        forgotten.collect()
    }

    fn ask(state: &mut DataPlaneState, command: &Command) -> Result<Vec<KeyAlias>, ()> {
        decide::<DataPlane>(state, command, NOW)
            .map(|decision| take(state, decision))
            .map_err(|error| assert!(matches!(error, Rejection::Stale)))
    }

    fn name(state: &DataPlaneState, records: &[&KeyAlias]) -> Option<Decision<DataPlane>> {
        let named = Decision::action("named").event(AgentEvent::Disposed);
        settled::<DataPlane>(state, records.iter().map(|record| (*record).clone()).collect(), Vec::new(), Ok(named)).ok()
    }

    #[test]
    fn what_is_noted_is_named_or_goes_and_never_both() {
        let mut state = DataPlaneState::default();
        let [named, left, abandoned] = ["part/1", "part/2", "part/3"].map(alias);
        assert!(name(&state, &[&named]).is_none(), "nobody has noted it");
        for record in [&named, &left, &abandoned] {
            assert_eq!(ask(&mut state, &Command::Begin(record.clone())), Ok(Vec::new()));
        }
        // What changes nothing settles nothing.
        let nothing = settled::<DataPlane>(&state, vec![named.clone()], Vec::new(), Ok(Decision::nothing())).unwrap();
        assert!(take(&mut state, nothing).is_empty() && state.notes.len() == 3);
        let decision = name(&state, &[&named]).unwrap();
        state.secrets.insert_mut(alias("a"), named.clone());
        assert!(take(&mut state, decision).is_empty() && state.notes.len() == 2);
        assert_eq!(ask(&mut state, &Command::Abandon(named.clone())), Ok(Vec::new()), "a row names it");
        assert_eq!(ask(&mut state, &Command::Abandon(abandoned.clone())), Ok(vec![abandoned.clone()]));
        // Not before its time.
        for (at, goes) in
            [(NOW, vec![]), (NOW.plus(PATIENCE).minus(Duration::from_millis(1)), vec![]), (NOW.plus(PATIENCE), vec![left.clone()])]
        {
            for record in [&named, &left, &abandoned] {
                let key = format!("{TABLE}/{record}");
                let decision = DataPlane::decide(&state, &Input::Due(key), at).unwrap();
                let expected: Vec<KeyAlias> = goes.iter().filter(|other| *other == record).cloned().collect();
                assert_eq!(take(&mut state, decision), expected, "{record} at {at:?}");
            }
        }
        // On its way out it is neither named nor made, nor sent out twice.
        for record in [&left, &abandoned] {
            assert!(name(&state, &[record]).is_none() && ask(&mut state, &Command::Begin(record.clone())).is_err());
            assert_eq!(ask(&mut state, &Command::Abandon(record.clone())), Ok(Vec::new()));
            let effect = Arc::new(Effect::Forget(record.clone()));
            let again = DataPlane::decide(&state, &Input::Undeliverable(effect.clone(), "down".to_owned()), NOW).unwrap();
            assert_eq!(take(&mut state, again), std::slice::from_ref(record), "until it is done");
            let gone = DataPlane::decide(&state, &Input::Delivered(effect, ()), NOW).unwrap();
            assert!(take(&mut state, gone).is_empty());
        }
        assert!(state.notes.is_empty());
        assert_eq!(ask(&mut state, &Command::Begin(left)), Ok(Vec::new()));
    }

    #[test]
    fn notes_are_rows_with_deadlines() {
        let (record, until) = (alias("part/1"), NOW.plus(PATIENCE));
        let [begun, leaving, settled] =
            [Event::Begun(record.clone(), until), Event::Leaving(record.clone()), Event::Settled(record.clone())];
        let key = || RowKey::new(TABLE, "part/1");
        assert_eq!([&begun, &leaving, &settled].map(row), [RowOf::Put(key()), RowOf::Put(key()), RowOf::Delete(key())]);
        assert_eq!([&begun, &leaving, &settled].map(|event| deadline(event).1), [Some(until), None, None]);
        // What it is stored as stays what it is.
        assert_eq!(serde_json::to_string(&AgentEvent::Record(begun)).unwrap(), r#"{"Record":{"Begun":["part/1",121000]}}"#);
    }

    #[test]
    fn there_are_so_many_notes_at_most() {
        let mut state = DataPlaneState::default();
        for n in 0..MAX_NOTES {
            ask(&mut state, &Command::Begin(alias(n))).unwrap();
        }
        assert!(ask(&mut state, &Command::Begin(alias("more"))).is_err());
        ask(&mut state, &Command::Abandon(alias(0))).unwrap();
        assert!(ask(&mut state, &Command::Begin(alias("more"))).is_err(), "it is not gone yet");
        let gone = gone(&state, &alias(0));
        take(&mut state, gone);
        assert!(ask(&mut state, &Command::Begin(alias("more"))).is_ok());
    }

    /// Whatever a note says of it, a record that a row names stays; one that neither a row nor a note names goes when it is known to be there.
    #[test]
    fn what_a_row_names_stays() {
        let mut state = DataPlaneState::default();
        let [named, stray] = ["source-secret/1", "source-secret/2"].map(alias);
        for end in [
            Input::Command(crate::data_plane::command::Prepared::Record(Command::Abandon(named.clone()))),
            Input::Due(format!("{TABLE}/{named}")),
        ] {
            state.secrets.insert_mut(alias("a"), named.clone());
            ask(&mut state, &Command::Begin(named.clone())).unwrap();
            let decision = DataPlane::decide(&state, &end, NOW.plus(PATIENCE)).unwrap();
            assert!(decision.effects.is_empty());
            assert!(take(&mut state, decision).is_empty() && state.notes.is_empty(), "its note is settled");
        }
        assert_eq!(ask(&mut state, &Command::Abandon(named)), Ok(Vec::new()));
        assert_eq!(ask(&mut state, &Command::Abandon(stray.clone())), Ok(vec![stray]));
    }

    #[test]
    fn what_was_found_is_named_unless_it_goes() {
        let mut state = DataPlaneState::default();
        let found = alias("part/1");
        let name = |state: &DataPlaneState| {
            settled::<DataPlane>(state, Vec::new(), vec![found.clone()], Ok(Decision::action("named").event(AgentEvent::Disposed)))
        };
        assert_eq!(name(&state).unwrap().events.len(), 1);
        ask(&mut state, &Command::Begin(found.clone())).unwrap();
        assert_eq!(name(&state).unwrap().events, [AgentEvent::Disposed, AgentEvent::Record(Event::Settled(found.clone()))]);
        ask(&mut state, &Command::Abandon(found.clone())).unwrap();
        assert!(matches!(name(&state), Err(Rejection::Stale)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_left_to_its_deadline() {
        let noted = || {
            let there = Arc::new(AtomicBool::new(false));
            (there.clone(), Noted { there, _undo: Undo::default() })
        };
        let before = tokio::time::Instant::now();
        let (there, late) = noted();
        assert!(late.make(std::future::pending::<Result<(), VaultError>>()).await.is_err() && !there.load(Ordering::Acquire));
        assert!(before.elapsed() < PATIENCE);
        let (there, done) = noted();
        assert!(done.make(async { Ok(()) }).await.is_ok() && there.load(Ordering::Acquire));
    }
}
