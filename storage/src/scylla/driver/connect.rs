//! The session with the database.

use super::{ScyllaError, ScyllaOptions};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    policies::load_balancing::DefaultPolicy,
    statement::{Consistency, SerialConsistency},
};
use secrecy::ExposeSecret;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);

/// A session, in the keyspace when one is given. Reads go to replicas, at `LOCAL_QUORUM`.
pub(super) async fn session(options: &ScyllaOptions, keyspace: Option<&str>) -> Result<Session, ScyllaError> {
    builder(options, keyspace).build().await.map_err(|e| match e {
        scylla::errors::NewSessionError::UseKeyspaceError(_) => ScyllaError::NoSchema,
        other => ScyllaError::Unreachable(other.to_string()),
    })
}

fn builder(options: &ScyllaOptions, keyspace: Option<&str>) -> SessionBuilder {
    let mut balancing = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(balancing.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .connection_timeout(CONNECT)
        .default_execution_profile_handle(profile.into_handle())
        .keyspaces_to_fetch([options.keyspace.as_str()]);
    if let Some((user, password)) = &options.login {
        builder = builder.user(user, password.expose_secret());
    }
    match keyspace {
        Some(keyspace) => builder.use_keyspace(keyspace, false),
        None => builder,
    }
}
