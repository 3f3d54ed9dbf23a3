//! The agent: who may be made, changed, removed.

use super::{
    Client, ClientRole, ClientsState, Mapping, ScopeMapping, SecretHash,
    client::scopes_are_valid,
    state::{Event, MAX_CLIENTS, MAX_MAPPINGS, MAX_SCOPE_MAPPINGS},
};
use crate::Services;
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RowOf};
use cellspace_schemas::{ClientId, Owner, ParticipantContextId, Timestamp};
use cellspace_storage::AgentKind;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc};
use uuid::Uuid;

/// Where the agent is.
#[must_use]
pub fn address() -> Address {
    Address::of::<Clients>(Owner::installation())
}

/// The clients of the embedded token service.
pub struct Clients {
    services: Services,
}

impl Clients {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub const fn new(services: Services) -> Self {
        Self { services }
    }
}

/// A client to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// Its name.
    pub id: ClientId,
    /// Its role.
    pub role: Option<ClientRole>,
    /// Whom it acts for.
    pub participant: Option<ParticipantContextId>,
    /// What its tokens may grant.
    pub scopes: Vec<String>,
    /// Whether it may exchange its tokens.
    pub may_exchange: bool,
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes a client with a fresh secret.
    CreateClient(NewClient),
    /// Makes a client whose secret is kept elsewhere.
    AdoptClient(NewClient, SecretHash),
    /// Removes a client and its mappings; tokens it holds end by themselves.
    DeleteClient(ClientId),
    /// Makes a mapping.
    CreateMapping(Mapping),
    /// Replaces a mapping.
    UpdateMapping(Mapping),
    /// Removes a mapping.
    DeleteMapping(ClientId, ParticipantContextId),
    /// Removes all mappings of a client.
    DeleteMappings(ClientId),
    /// Makes a scope mapping.
    CreateScope(ScopeMapping),
    /// Replaces a scope mapping.
    UpdateScope(ScopeMapping),
    /// Removes a scope mapping.
    DeleteScope(String),
}

/// What the secret of a client is known by, when there is the client: it proves the secret to whoever has it, and tells it to nobody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HashOf(pub ClientId);

impl Query<Clients> for HashOf {
    const NAME: &'static str = "hash-of";
    type Answer = Option<SecretHash>;

    fn answer(&self, state: &ClientsState) -> Option<SecretHash> {
        state.client(&self.0).map(|client| client.secret.clone())
    }
}

/// A request, for a new client with its secret's hash and the nonce that the secret comes from.
#[derive(Debug)]
pub enum Prepared {
    /// A new client.
    Create(NewClient, SecretHash, Uuid),
    /// Anything else.
    Other(Command),
}

/// Answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    #[default]
    Done,
    /// A client was made; its secret is [`crate::access::TokenIssuer::client_secret`] of this nonce.
    Created(Uuid),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is there already.
    #[error("{0} exists")]
    Exists(String),
    /// It is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There are too many.
    #[error("at most {0} are possible")]
    TooMany(usize),
    /// A scope, name or list is out of bounds.
    #[error("{0}")]
    Invalid(&'static str),
}

/// This agent does nothing outside.
#[derive(Debug, Serialize, Deserialize)]
pub enum NoEffect {}

type Decided = Result<Decision<Clients>, Rejection<Refusal>>;

impl Agent for Clients {
    const KIND: AgentKind = AgentKind("clients");
    type State = ClientsState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = NoEffect;
    type Outcome = Infallible;
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.query::<HashOf>()
    }

    /// It is the installation's: every command may be its first.
    fn creates(_: &Command) -> bool {
        true
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Address,
        _: Arc<ClientsState>,
        command: Command,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        async move {
            Ok(match command {
                Command::CreateClient(new) => {
                    let nonce = Uuid::new_v4();
                    let secret = self.services.tokens.client_secret(&new.id, nonce);
                    let hash = SecretHash::new(&secret, *Uuid::new_v4().as_bytes());
                    Prepared::Create(new, hash, nonce)
                }
                other => Prepared::Other(other),
            })
        }
        .boxed()
    }

    fn decide(state: &ClientsState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared::Create(new, secret, nonce)) => {
                Ok(create_client(state, new, secret, now)?.replying(Reply::Created(*nonce)))
            }
            Input::Command(Prepared::Other(command)) => decide(state, command, now),
            Input::Delivered(never, _) | Input::Undeliverable(never, _) => match **never {},
            Input::Due(_) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut ClientsState, event: &Event) {
        state.apply(event);
    }

    fn row(event: &Event) -> RowOf {
        event.row()
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Infallible, DeliveryError>> {
        match *delivery.effect {}
    }
}

fn decide(state: &ClientsState, command: &Command, now: Timestamp) -> Decided {
    match command {
        // What `prepare` turns into a prepared creation.
        Command::CreateClient(_) => Err(Rejection::Stale),
        Command::AdoptClient(new, secret) => create_client(state, new, secret, now),
        Command::DeleteClient(id) => {
            state.client(id).ok_or_else(|| Refusal::NotFound(format!("client {id}")))?;
            let deleted = Decision::action("client.deleted").event(Event::ClientDeleted(id.clone()));
            Ok(delete_mappings(state, id, deleted))
        }
        Command::CreateMapping(mapping) => {
            if find(state, &mapping.client_identifier, &mapping.participant_context).is_ok() {
                return Err(Refusal::Exists(name(&mapping.client_identifier, &mapping.participant_context)).into());
            }
            bounded(state.mapping_count(), MAX_MAPPINGS)?;
            put_mapping("mapping.created", mapping)
        }
        Command::UpdateMapping(mapping) => {
            find(state, &mapping.client_identifier, &mapping.participant_context)?;
            put_mapping("mapping.updated", mapping)
        }
        Command::DeleteMapping(client, participant) => {
            find(state, client, participant)?;
            Ok(Decision::action("mapping.deleted").event(Event::MappingDeleted(client.clone(), participant.clone())))
        }
        Command::DeleteMappings(client) => Ok(delete_mappings(state, client, Decision::action("mappings.deleted"))),
        Command::CreateScope(scope) => {
            if state.scope(&scope.scope).is_some() {
                return Err(Refusal::Exists(format!("scope {}", scope.scope)).into());
            }
            bounded(state.scope_count(), MAX_SCOPE_MAPPINGS)?;
            put_scope("scope.created", scope)
        }
        Command::UpdateScope(scope) => {
            state.scope(&scope.scope).ok_or_else(|| Refusal::NotFound(format!("scope {}", scope.scope)))?;
            put_scope("scope.updated", scope)
        }
        Command::DeleteScope(scope) => {
            state.scope(scope).ok_or_else(|| Refusal::NotFound(format!("scope {scope}")))?;
            Ok(Decision::action("scope.deleted").event(Event::ScopeDeleted(scope.clone())))
        }
    }
}

fn create_client(state: &ClientsState, new: &NewClient, secret: &SecretHash, now: Timestamp) -> Decided {
    if state.client(&new.id).is_some() {
        return Err(Refusal::Exists(format!("client {}", new.id)).into());
    }
    bounded(state.client_count(), MAX_CLIENTS)?;
    if !scopes_are_valid(&new.scopes) {
        return Err(Refusal::Invalid("scopes must be at most 64 visible ASCII words of at most 128 bytes").into());
    }
    // A participant's token without its participant would act for whoever bears the client's name, and the others act for none.
    if (new.role == Some(ClientRole::Participant)) != new.participant.is_some() {
        return Err(Refusal::Invalid("the role participant needs a participant context, the other roles have none").into());
    }
    let client = Client {
        id: new.id.clone(),
        role: new.role,
        participant: new.participant.clone(),
        scopes: new.scopes.clone(),
        may_exchange: new.may_exchange,
        secret: secret.clone(),
        created_at: now,
    };
    Ok(Decision::action("client.created").event(Event::Client(Arc::new(client))))
}

fn name(client: &ClientId, participant: &ParticipantContextId) -> String {
    format!("mapping of {client} to {participant}")
}

fn find<'s>(state: &'s ClientsState, client: &ClientId, participant: &ParticipantContextId) -> Result<&'s Arc<Mapping>, Refusal> {
    state.mapping(client, participant).ok_or_else(|| Refusal::NotFound(name(client, participant)))
}

fn bounded(count: usize, limit: usize) -> Result<(), Refusal> {
    if count < limit { Ok(()) } else { Err(Refusal::TooMany(limit)) }
}

fn put_mapping(action: &'static str, mapping: &Mapping) -> Decided {
    if !mapping.is_valid() {
        return Err(Refusal::Invalid("scopes and audiences must be at most 64 visible ASCII words of at most 128 bytes").into());
    }
    Ok(Decision::action(action).event(Event::Mapping(Arc::new(mapping.clone()))))
}

fn put_scope(action: &'static str, scope: &ScopeMapping) -> Decided {
    if !scope.is_valid() {
        return Err(Refusal::Invalid("scope and claims.scope must be visible ASCII words, at most 64 of at most 128 bytes").into());
    }
    Ok(Decision::action(action).event(Event::Scope(Arc::new(scope.clone()))))
}

fn delete_mappings(state: &ClientsState, client: &ClientId, decision: Decision<Clients>) -> Decision<Clients> {
    state.mappings_of(client).fold(decision, |decision, mapping| {
        decision.event(Event::MappingDeleted(mapping.client_identifier.clone(), mapping.participant_context.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::clients::mapping::ScopeClaims;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hash() -> SecretHash {
        SecretHash::new(&"secret".to_owned().into(), [0; 16])
    }

    fn new_client(id: &str) -> NewClient {
        NewClient {
            id: id.parse().unwrap(),
            role: Some(ClientRole::Admin),
            participant: None,
            scopes: vec!["a:read".to_owned()],
            may_exchange: true,
        }
    }

    fn mapping(client: &str, participant: &str) -> Mapping {
        Mapping {
            client_identifier: client.parse().unwrap(),
            participant_context: participant.parse().unwrap(),
            scopes: vec!["read".to_owned()],
            audiences: Vec::new(),
        }
    }

    fn scope(name: &str) -> ScopeMapping {
        ScopeMapping { scope: name.to_owned(), claims: ScopeClaims { scope: "a:read".to_owned() } }
    }

    fn run(state: &mut ClientsState, command: Command) -> Result<Reply, Refusal> {
        let input = match command {
            Command::CreateClient(new) => Prepared::Create(new, hash(), Uuid::nil()),
            other => Prepared::Other(other),
        };
        match Clients::decide(state, &Input::Command(input), Timestamp(1)) {
            Ok(decision) => {
                decision.events.iter().for_each(|event| Clients::apply(state, event));
                Ok(decision.reply)
            }
            Err(Rejection::Refused(refusal)) => Err(refusal),
            Err(Rejection::Stale) => panic!("nothing gets stale"),
        }
    }

    #[test]
    fn every_command_on_what_is_there_and_what_is_not() {
        let mut s = ClientsState::default();
        let exists = |what: &str| Err(Refusal::Exists(what.to_owned()));
        let missing = |what: &str| Err(Refusal::NotFound(what.to_owned()));
        let (c, p): (ClientId, ParticipantContextId) = ("c".parse().unwrap(), "p".parse().unwrap());
        for (command, expected) in [
            (Command::DeleteClient(c.clone()), missing("client c")),
            (Command::CreateClient(new_client("c")), Ok(Reply::Created(Uuid::nil()))),
            (Command::CreateClient(new_client("c")), exists("client c")),
            (Command::AdoptClient(new_client("c"), hash()), exists("client c")),
            (Command::AdoptClient(new_client("d"), hash()), Ok(Reply::Done)),
            (Command::UpdateMapping(mapping("c", "p")), missing("mapping of c to p")),
            (Command::DeleteMapping(c.clone(), p.clone()), missing("mapping of c to p")),
            (Command::CreateMapping(mapping("c", "p")), Ok(Reply::Done)),
            (Command::CreateMapping(mapping("c", "p")), exists("mapping of c to p")),
            (Command::UpdateMapping(mapping("c", "p")), Ok(Reply::Done)),
            (Command::CreateMapping(mapping("c", "q")), Ok(Reply::Done)),
            (Command::CreateMapping(mapping("d", "p")), Ok(Reply::Done)),
            (Command::DeleteMapping(c.clone(), p), Ok(Reply::Done)),
            (Command::UpdateScope(scope("read")), missing("scope read")),
            (Command::CreateScope(scope("read")), Ok(Reply::Done)),
            (Command::CreateScope(scope("read")), exists("scope read")),
            (Command::UpdateScope(scope("read")), Ok(Reply::Done)),
            (Command::DeleteScope("read".to_owned()), Ok(Reply::Done)),
            (Command::DeleteScope("read".to_owned()), missing("scope read")),
            (Command::DeleteMappings("nobody".parse().unwrap()), Ok(Reply::Done)),
            (Command::DeleteClient(c), Ok(Reply::Done)),
        ] {
            assert_eq!(run(&mut s, command.clone()), expected, "{command:?}");
        }
        assert_eq!(s.clients().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(s.mappings().map(|m| m.client_identifier.as_str()).collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn roles_and_bounds_are_checked() {
        let mut s = ClientsState::default();
        let client =
            |role, participant: Option<&str>| NewClient { role, participant: participant.map(|p| p.parse().unwrap()), ..new_client("c") };
        for bad in [
            client(Some(ClientRole::Participant), None),
            client(Some(ClientRole::Admin), Some("p")),
            client(Some(ClientRole::Provisioner), Some("p")),
            client(None, Some("p")),
            NewClient { scopes: vec!["a b".to_owned()], ..new_client("c") },
        ] {
            assert!(matches!(run(&mut s, Command::CreateClient(bad.clone())), Err(Refusal::Invalid(_))), "{bad:?}");
        }
        for good in [client(Some(ClientRole::Participant), Some("p")), NewClient { id: "n".parse().unwrap(), ..client(None, None) }] {
            assert!(run(&mut s, Command::CreateClient(good)).is_ok());
        }
        let bad = Mapping { scopes: vec![String::new()], ..mapping("c", "p") };
        assert!(matches!(run(&mut s, Command::CreateMapping(bad)), Err(Refusal::Invalid(_))));
        assert!(matches!(run(&mut s, Command::CreateScope(scope("a b"))), Err(Refusal::Invalid(_))));
    }

    fn commands() -> impl Strategy<Value = Command> {
        let (client, participant, name) = (|| "[ab]", || "[pq]", || "[st]");
        prop_oneof![
            client().prop_map(|c| Command::CreateClient(new_client(&c))),
            client().prop_map(|c| Command::DeleteClient(c.parse().unwrap())),
            (client(), participant()).prop_map(|(c, p)| Command::CreateMapping(mapping(&c, &p))),
            (client(), participant()).prop_map(|(c, p)| Command::UpdateMapping(mapping(&c, &p))),
            (client(), participant()).prop_map(|(c, p)| Command::DeleteMapping(c.parse().unwrap(), p.parse().unwrap())),
            client().prop_map(|c| Command::DeleteMappings(c.parse().unwrap())),
            name().prop_map(|n| Command::CreateScope(scope(&n))),
            name().prop_map(Command::DeleteScope),
        ]
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// Loading the rows that a history left gives the state that the history made.
        #[test]
        fn rows_hold_the_state(history in proptest::collection::vec(commands(), 0..40)) {
            let mut state = ClientsState::default();
            let mut rows = BTreeMap::new();
            for command in history {
                let input = match command {
                    Command::CreateClient(new) => Prepared::Create(new, hash(), Uuid::nil()),
                    other => Prepared::Other(other),
                };
                let Ok(decision) = Clients::decide(&state, &Input::Command(input), Timestamp(1)) else { continue };
                for event in decision.events {
                    Clients::apply(&mut state, &event);
                    match Clients::row(&event) {
                        RowOf::Put(key) => { rows.insert(key, serde_json::to_vec(&event).unwrap()); }
                        RowOf::Delete(key) => { prop_assert!(rows.remove(&key).is_some()); }
                    }
                }
            }
            let mut loaded = ClientsState::default();
            for row in rows.values() {
                Clients::apply(&mut loaded, &serde_json::from_slice(row).unwrap());
            }
            let sorted = |s: &ClientsState| { let mut c: Vec<_> = s.clients().cloned().collect(); c.sort_by(|a, b| a.id.cmp(&b.id)); c };
            prop_assert_eq!(sorted(&state), sorted(&loaded));
            prop_assert!(state.mappings().eq(loaded.mappings()));
            prop_assert_eq!((state.mapping_count(), loaded.mapping_count()), (state.mappings().count(), state.mappings().count()));
            prop_assert!(state.scopes().eq(loaded.scopes()));
        }
    }
}
