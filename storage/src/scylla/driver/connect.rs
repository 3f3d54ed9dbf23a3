//! The session with the database.

use super::{ScyllaError, ScyllaOptions};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    policies::load_balancing::DefaultPolicy,
    statement::{Consistency, SerialConsistency},
};
use secrecy::ExposeSecret;
use std::{collections::BTreeSet, time::Duration};

const CONNECT: Duration = Duration::from_secs(10);

/// A session, in the keyspace when one is given. Reads go to replicas, at `LOCAL_QUORUM`.
pub(super) async fn session(options: &ScyllaOptions, keyspace: Option<&str>) -> Result<Session, ScyllaError> {
    let session = builder(options, keyspace).build().await.map_err(|e| match e {
        scylla::errors::NewSessionError::UseKeyspaceError(_) => ScyllaError::NoSchema,
        other => ScyllaError::Unreachable(other.to_string()),
    })?;
    let nodes = session.get_cluster_state();
    of_one_datacenter(options.datacenter.as_deref(), nodes.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()))?;
    Ok(session)
}

/// A claim counts in the datacenter that decided it: two that decide for themselves would each let somebody serve the same.
fn of_one_datacenter<'a>(named: Option<&str>, found: impl Iterator<Item = &'a str>) -> Result<(), ScyllaError> {
    let found: BTreeSet<&str> = found.collect();
    if found.is_empty() {
        return Err(ScyllaError::Unreachable("it does not say which datacenters it has".to_owned()));
    }
    let all = || found.iter().copied().collect::<Vec<_>>().join(", ");
    match named {
        Some(named) if !found.contains(named) => {
            Err(ScyllaError::Options(format!("the database has no datacenter {named:?}: it has {}", all())))
        }
        None if found.len() > 1 => Err(ScyllaError::Options(format!(
            "the database has the datacenters {}: name the one that serves the cell, the same for all nodes",
            all()
        ))),
        Some(_) | None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_served_by_one_datacenter() {
        let said = |named, found: &[&'static str]| of_one_datacenter(named, found.iter().copied()).map_err(|error| error.to_string());
        assert_eq!(said(None, &["a", "a"]), Ok(()));
        assert_eq!(said(Some("b"), &["a", "b"]), Ok(()));
        assert!([None, Some("a")].into_iter().all(|named| said(named, &[]).is_err_and(|error| error.contains("cannot be reached"))));
        assert!(said(None, &["b", "a"]).is_err_and(|error| error.contains("a, b")));
        assert!(said(Some("c"), &["a"]).is_err_and(|error| error.contains("no datacenter \"c\": it has a")));
    }
}
