//! The agent that keeps the settings: one per installation.

use super::{
    CelExpression, DEFAULT_PROFILE, DataspaceProfile, DcpScope,
    state::{Event, SettingsState},
};
use crate::{Services, expressions::Program};
use cellspace_cluster::{
    Address, Agent, AskError, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RowOf,
};
use cellspace_schemas::{Owner, ProfileId, Timestamp};
use cellspace_storage::AgentKind;
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Expressions, scopes and profiles of an installation at most, each.
pub const MAX_OF_A_KIND: usize = 1_000;

/// Where the agent is.
#[must_use]
pub fn address() -> Address {
    Address::of::<SettingsAgent>(Owner::installation())
}

/// The settings of the installation.
pub struct SettingsAgent {
    services: Services,
}

impl SettingsAgent {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub const fn new(services: Services) -> Self {
        Self { services }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A CEL expression.
    Expression,
    /// A DCP scope.
    Scope,
    /// A dataspace profile.
    Profile,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expression => "CEL expression",
            Self::Scope => "DCP scope",
            Self::Profile => "dataspace profile",
        })
    }
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes an expression.
    CreateExpression(CelExpression),
    /// Replaces an expression.
    UpdateExpression(CelExpression),
    /// Removes an expression.
    DeleteExpression(String),
    /// Makes a scope.
    CreateScope(DcpScope),
    /// Replaces a scope.
    UpdateScope(DcpScope),
    /// Removes a scope.
    DeleteScope(String),
    /// Makes a profile.
    CreateProfile(DataspaceProfile),
    /// Replaces a profile; also the default one.
    UpdateProfile(DataspaceProfile),
    /// Removes a profile.
    DeleteProfile(ProfileId),
}

/// Nothing needs to be asked of others.
#[derive(Debug)]
pub struct Prepared(Command);

/// Answer to a request: when it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Milliseconds since the epoch.
    pub at: Timestamp,
}

/// All settings, for other nodes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Whole;

impl Query<SettingsAgent> for Whole {
    const NAME: &'static str = "whole";
    /// As rows have them.
    type Answer = Vec<Event>;

    fn answer(&self, state: &SettingsState) -> Vec<Event> {
        state.rows()
    }
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is one already.
    #[error("{0} {1} exists")]
    Exists(Kind, String),
    /// There is none.
    #[error("{0} {1} does not exist")]
    NotFound(Kind, String),
    /// Too many.
    #[error("at most {MAX_OF_A_KIND} of {0} are possible")]
    Limit(Kind),
    /// The expression cannot be used.
    #[error("{0}")]
    Expression(String),
    /// Another profile has the path, or its name.
    #[error("the path {0} is that of another dataspace profile")]
    PathTaken(String),
    /// Counterparties have stored addresses with the profile's path.
    #[error("the path {0} of the dataspace profile cannot be changed: counterparties send messages there")]
    PathInUse(String),
    /// The default profile stays.
    #[error("the dataspace profile {DEFAULT_PROFILE} always exists")]
    DefaultProfile,
}

/// To put the newest settings in this node's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publish;

type Decided = Result<Decision<SettingsAgent>, Rejection<Refusal>>;

impl Agent for SettingsAgent {
    const KIND: AgentKind = AgentKind("settings");
    type State = SettingsState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Publish;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.query::<Whole>()
    }

    fn creates(command: &Command) -> bool {
        match command {
            Command::CreateExpression(_) | Command::CreateScope(_) | Command::CreateProfile(_) => true,
            // The default profile is there before anything was written.
            Command::UpdateProfile(profile) => profile.name.as_str() == DEFAULT_PROFILE,
            Command::UpdateExpression(_)
            | Command::DeleteExpression(_)
            | Command::UpdateScope(_)
            | Command::DeleteScope(_)
            | Command::DeleteProfile(_) => false,
        }
    }

    fn prepare<'a>(
        &'a self,
        _address: &'a Address,
        _snapshot: Arc<SettingsState>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        async { Ok(Prepared(command)) }.boxed()
    }

    fn decide(state: &SettingsState, input: &Input<Self>, now: Timestamp) -> Decided {
        let Input::Command(Prepared(command)) = input else {
            return Ok(Decision::nothing());
        };
        let (action, event) = decide(state, command)?;
        Ok(Decision::action(action)
            .event(event)
            .event(Event::Version(state.version + 1))
            .effect("settings", Publish)
            .replying(Reply { at: now }))
    }

    fn apply(state: &mut SettingsState, event: &Event) {
        state.apply(event);
    }

    fn row(event: &Event) -> RowOf {
        event.row()
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        self.services.settings.store(Arc::new(delivery.snapshot.settings()));
        async { Ok(()) }.boxed()
    }
}

/// The event of a request. Pure.
fn decide(state: &SettingsState, command: &Command) -> Result<(&'static str, Event), Refusal> {
    let valid = |expression: &CelExpression| Program::compile(&expression.expression).map_err(|e| Refusal::Expression(e.to_string()));
    let absent = |there: bool, count: usize, kind: Kind, id: &str| match (there, count) {
        (true, _) => Err(Refusal::Exists(kind, id.to_owned())),
        (false, MAX_OF_A_KIND..) => Err(Refusal::Limit(kind)),
        (false, _) => Ok(()),
    };
    let present = |there: bool, kind: Kind, id: &str| if there { Ok(()) } else { Err(Refusal::NotFound(kind, id.to_owned())) };
    let is_default = |name: &ProfileId| name.as_str() == DEFAULT_PROFILE;
    match command {
        Command::CreateExpression(new) => {
            absent(state.expressions.contains_key(&new.id), state.expressions.size(), Kind::Expression, &new.id)?;
            valid(new)?;
            Ok(("settings.expression.created", Event::Expression(Arc::new(new.clone()))))
        }
        Command::UpdateExpression(new) => {
            present(state.expressions.contains_key(&new.id), Kind::Expression, &new.id)?;
            valid(new)?;
            Ok(("settings.expression.updated", Event::Expression(Arc::new(new.clone()))))
        }
        Command::DeleteExpression(id) => {
            present(state.expressions.contains_key(id), Kind::Expression, id)?;
            Ok(("settings.expression.deleted", Event::ExpressionDeleted(id.clone())))
        }
        Command::CreateScope(new) => {
            absent(state.scopes.contains_key(&new.id), state.scopes.size(), Kind::Scope, &new.id)?;
            Ok(("settings.scope.created", Event::Scope(Arc::new(new.clone()))))
        }
        Command::UpdateScope(new) => {
            present(state.scopes.contains_key(&new.id), Kind::Scope, &new.id)?;
            Ok(("settings.scope.updated", Event::Scope(Arc::new(new.clone()))))
        }
        Command::DeleteScope(id) => {
            present(state.scopes.contains_key(id), Kind::Scope, id)?;
            Ok(("settings.scope.deleted", Event::ScopeDeleted(id.clone())))
        }
        Command::CreateProfile(new) => {
            let there = state.profiles.contains_key(&new.name) || is_default(&new.name);
            absent(there, state.profiles.size(), Kind::Profile, new.name.as_str())?;
            own_path(state, new)?;
            Ok(("settings.profile.created", Event::Profile(Arc::new(new.clone()))))
        }
        Command::UpdateProfile(new) => {
            present(state.profiles.contains_key(&new.name) || is_default(&new.name), Kind::Profile, new.name.as_str())?;
            own_path(state, new)?;
            // Under its name a profile is found in any case; a body that does not say its path means the one that it has.
            let held = state.profiles.get(&new.name).filter(|held| held.segment() != held.name.as_str());
            let path = match held {
                Some(held) if held.path != new.path && new.segment() != new.name.as_str() => {
                    return Err(Refusal::PathInUse(held.path.clone()));
                }
                Some(held) => held.path.clone(),
                None => new.path.clone(),
            };
            Ok(("settings.profile.updated", Event::Profile(Arc::new(DataspaceProfile { path, ..new.clone() }))))
        }
        Command::DeleteProfile(name) if is_default(name) => Err(Refusal::DefaultProfile),
        Command::DeleteProfile(name) => {
            present(state.profiles.contains_key(name), Kind::Profile, name.as_str())?;
            Ok(("settings.profile.deleted", Event::ProfileDeleted(name.clone())))
        }
    }
}

/// Whether a path leads to one profile alone: those of others, and their names, are not its own.
fn own_path(state: &SettingsState, new: &DataspaceProfile) -> Result<(), Refusal> {
    let settings = state.settings();
    let taken = [new.segment(), new.name.as_str()].into_iter().any(|place| settings.profile_at(place).is_some_and(|of| *of != new.name));
    if taken { Err(Refusal::PathTaken(new.path.clone())) } else { Ok(()) }
}

/// What other nodes are told when the settings have changed.
pub const CHANGED: &str = "settings";

/// Puts the newest settings in this node's memory: at its start, and after a change before the answer goes out.
///
/// # Errors
/// When the agent cannot be read.
pub async fn refresh(services: &Services) -> Result<(), AskError<Refusal>> {
    let settings = match services.cluster.snapshot_anywhere::<SettingsAgent, _>(&address(), &Whole).await {
        Ok(state) => state.settings(),
        Err(AskError::NotRegistered) => SettingsState::default().settings(),
        Err(other) => return Err(other),
    };
    services.settings.store(Arc::new(settings));
    Ok(())
}

/// Changes the settings; when it answers, this node already uses them.
///
/// # Errors
/// [`AskError`] of the agent.
pub async fn change(services: &Services, command: Command, call: Call) -> Result<Reply, AskError<Refusal>> {
    let reply = services.cluster.ask::<SettingsAgent>(&address(), command, call).await?;
    // The change is stored; should this fail, the agent's own delivery brings it.
    if let Err(error) = refresh(services).await {
        tracing::warn!(category = "app", %error, "the changed settings are not in memory yet");
    }
    services.cluster.announce(CHANGED).await;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::management::ScopeType;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn expression(id: &str, text: &str) -> CelExpression {
        let (left_operand, expression) = ("M".to_owned(), text.to_owned());
        CelExpression { id: id.to_owned(), left_operand, expression, description: String::new(), scopes: vec![], actions: vec![] }
    }

    fn scope(id: &str) -> DcpScope {
        DcpScope { id: id.to_owned(), scope_type: ScopeType::Default, value: "v".to_owned(), profile: "*".to_owned(), prefix_mapping: None }
    }

    fn profile(name: &str) -> DataspaceProfile {
        let default = super::super::default_profile().unwrap();
        DataspaceProfile { name: ProfileId::new(name).unwrap(), path: format!("/{name}"), ..default }
    }

    fn run(state: &mut SettingsState, rows: &mut BTreeMap<Vec<u8>, Event>, command: Command) -> Result<(), Refusal> {
        match SettingsAgent::decide(state, &Input::Command(Prepared(command)), Timestamp(1)) {
            Ok(decision) => {
                for event in decision.events {
                    state.apply(&event);
                    match event.row() {
                        RowOf::Put(key) => rows.insert(key.as_bytes().to_vec(), event),
                        RowOf::Delete(key) => rows.remove(key.as_bytes()),
                    };
                }
                Ok(())
            }
            Err(Rejection::Refused(refusal)) => Err(refusal),
            Err(Rejection::Stale) => panic!("stale"),
        }
    }

    #[test]
    fn what_is_refused() {
        let (mut state, mut rows) = (SettingsState::default(), BTreeMap::new());
        let mut go = |command| run(&mut state, &mut rows, command).err();
        let name = |name: &str| ProfileId::new(name).unwrap();
        assert_eq!(go(Command::UpdateExpression(expression("e", "true"))), Some(Refusal::NotFound(Kind::Expression, "e".into())));
        assert!(matches!(go(Command::CreateExpression(expression("e", "1 +"))), Some(Refusal::Expression(_))));
        assert_eq!(go(Command::CreateExpression(expression("e", "true"))), None);
        assert_eq!(go(Command::CreateExpression(expression("e", "true"))), Some(Refusal::Exists(Kind::Expression, "e".into())));
        assert!(matches!(go(Command::UpdateExpression(expression("e", "ctx.vc.withType('x')"))), Some(Refusal::Expression(_))));
        assert_eq!(go(Command::DeleteExpression("x".into())), Some(Refusal::NotFound(Kind::Expression, "x".into())));
        assert_eq!(go(Command::CreateScope(scope("s"))), None);
        assert_eq!(go(Command::CreateScope(scope("s"))), Some(Refusal::Exists(Kind::Scope, "s".into())));
        assert_eq!(go(Command::DeleteScope("s".into())), None);
        assert_eq!(go(Command::UpdateScope(scope("s"))), Some(Refusal::NotFound(Kind::Scope, "s".into())));
        assert_eq!(go(Command::CreateProfile(profile(DEFAULT_PROFILE))), Some(Refusal::Exists(Kind::Profile, DEFAULT_PROFILE.into())));
        assert_eq!(go(Command::DeleteProfile(name(DEFAULT_PROFILE))), Some(Refusal::DefaultProfile));
        assert_eq!(go(Command::UpdateProfile(profile("net"))), Some(Refusal::NotFound(Kind::Profile, "net".into())));
        assert_eq!(go(Command::UpdateProfile(profile(DEFAULT_PROFILE))), None);
        assert_eq!(go(Command::CreateProfile(profile("net"))), None);
        // A path, and a name, leads to one profile.
        let at = |of: &str, path: &str| DataspaceProfile { path: path.to_owned(), ..profile(of) };
        let taken = |path: &str| Some(Refusal::PathTaken(path.to_owned()));
        assert_eq!(go(Command::CreateProfile(at("other", "/net"))), taken("/net"));
        assert_eq!(go(Command::UpdateProfile(at("net", &format!("/{DEFAULT_PROFILE}")))), taken(&format!("/{DEFAULT_PROFILE}")));
        assert_eq!(go(Command::UpdateProfile(at("net", "/elsewhere"))), None);
        assert_eq!(go(Command::CreateProfile(at("other", "/elsewhere"))), taken("/elsewhere"));
        assert_eq!(go(Command::CreateProfile(at("elsewhere", "/fine"))), taken("/fine"));
        assert_eq!(go(Command::UpdateProfile(at("net", "/other"))), Some(Refusal::PathInUse("/elsewhere".to_owned())));
        // Not to name one is to keep it.
        assert_eq!(go(Command::UpdateProfile(at("net", "/net"))), None);
        let settings = state.settings();
        for (place, of) in [("net", Some("net")), ("elsewhere", Some("net")), (DEFAULT_PROFILE, Some(DEFAULT_PROFILE)), ("other", None)] {
            assert_eq!(settings.profile_at(place).map(ProfileId::as_str), of, "{place}");
        }
        assert_eq!((settings.path_of(&name("net")).as_ref(), settings.path_of(&name("gone")).as_ref()), ("/elsewhere", "/gone"));
        assert_eq!(state.settings().profiles.len(), 2);
    }

    fn commands() -> impl Strategy<Value = Command> {
        let ids = prop_oneof![Just("a"), Just("b")];
        prop_oneof![
            ids.clone().prop_map(|id| Command::CreateExpression(expression(id, "true"))),
            ids.clone().prop_map(|id| Command::UpdateExpression(expression(id, "false"))),
            ids.clone().prop_map(|id| Command::DeleteExpression(id.to_owned())),
            ids.clone().prop_map(|id| Command::CreateScope(scope(id))),
            ids.clone().prop_map(|id| Command::DeleteScope(id.to_owned())),
            ids.clone().prop_map(|id| Command::CreateProfile(profile(id))),
            ids.prop_map(|id| Command::DeleteProfile(ProfileId::new(id).unwrap())),
        ]
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        #[test]
        fn loading_gives_the_same_settings_and_versions_only_rise(commands in prop::collection::vec(commands(), 1..40)) {
            let (mut state, mut rows) = (SettingsState::default(), BTreeMap::new());
            for command in commands {
                let before = state.settings();
                let done = run(&mut state, &mut rows, command);
                prop_assert_eq!(state.version, before.version + u64::from(done.is_ok()));
            }
            let mut loaded = SettingsState::default();
            rows.values().for_each(|event| loaded.apply(event));
            prop_assert_eq!(loaded.settings(), state.settings());
            prop_assert!(state.settings().profiles.contains_key(&ProfileId::new(DEFAULT_PROFILE).unwrap()));
        }
    }
}
