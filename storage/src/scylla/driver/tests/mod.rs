//! The store against a real database: the shared checks, and what only a store that others use at the same time promises.

mod backup;
mod beside;
mod generations;
mod moving;
mod proxy;
mod races;
mod schema;
mod unknown;
mod vault;

use super::{Replication, ScyllaOptions, ScyllaStore, create_schema};
use crate::{
    CommitOutcome, EmbeddedOptions, EmbeddedStore, Partitions,
    testkit::{
        self, Turn, services,
        turn::{partition, rows},
    },
};
use cellspace_schemas::testkit::seed;
use std::{sync::Arc, time::Duration};

/// Places after which a copy tells how far it is: a few, so that copies in tests have many such moments.
const PLACES: u64 = 64;

/// A keyspace of a test.
pub(super) struct Keyspace(pub(super) ScyllaOptions);

impl Keyspace {
    /// A fresh one; `None` when there is no database.
    pub(super) async fn new(test: &str) -> Option<Self> {
        let nodes = services::cassandra(&format!("scylla::driver::tests::{test}"))?;
        let replication = Replication::Simple(u8::try_from(nodes.len()).unwrap());
        let name = format!("t_{}_{}", std::process::id(), test.rsplit("::").next().unwrap());
        let keyspace = Self(ScyllaOptions { copied_places: PLACES, ..ScyllaOptions::new(nodes, &name[..name.len().min(48)]) });
        assert_eq!(create_schema(&keyspace.0, &replication).await.unwrap(), None);
        Some(keyspace)
    }

    pub(super) async fn open(&self) -> ScyllaStore {
        ScyllaStore::open(self.0.clone()).await.unwrap()
    }

    pub(super) async fn remove(self) {
        services::drop_keyspace(&self.0.contact_points, &self.0.keyspace).await;
    }
}

pub(super) fn log(dir: &tempfile::TempDir) -> EmbeddedStore {
    EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap()
}

#[tokio::test]
async fn keeps_the_promises_of_all_backends() {
    let Some(keyspace) = Keyspace::new("keeps_the_promises_of_all_backends").await else { return };
    let (store, dir) = (keyspace.open().await, tempfile::tempdir().unwrap());
    testkit::wake_index::all(&store, &store).await;
    testkit::partitions::all(&store).await;
    testkit::partitions::of_many_nodes(&store).await;
    testkit::membership::all(&store).await;
    let log = log(&dir);
    store.publish_to(Arc::new(log.clone()));
    testkit::event_log::commits_publish(&store, &log).await;
    keyspace.remove().await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    let Some(mut keyspace) = Keyspace::new("random_operations_agree_with_the_model").await else { return };
    // Rows are moved often.
    keyspace.0.deleted_rows = 5;
    testkit::random::run(seed(), 400, async || keyspace.open().await, |_| None).await;
    keyspace.remove().await;
}

#[tokio::test]
async fn settings_and_boots_are_there_after_reopening() {
    let Some(keyspace) = Keyspace::new("settings_and_boots_are_there").await else { return };
    let store = keyspace.open().await;
    assert_eq!((store.boot(), store.meta("url").await.unwrap()), (1, None));
    store.put_meta("url", "a").await.unwrap();
    store.put_meta("url", "b").await.unwrap();
    drop(store);
    let store = keyspace.open().await;
    assert_eq!((store.boot(), store.meta("url").await.unwrap().as_deref()), (2, Some("b")));
    keyspace.remove().await;
}

#[tokio::test]
async fn a_commit_too_large_is_refused_and_hurts_nobody() {
    let Some(mut keyspace) = Keyspace::new("a_commit_too_large_is_refused").await else { return };
    keyspace.0.commit_bytes = 300_000;
    let (store, key) = (keyspace.open().await, partition("o", "k", ""));
    let claim = store.claim(&key, 1).await.unwrap();
    let large = Turn::after(&key, claim).put("t", "1", &"x".repeat(300_000));
    assert!(matches!(large.commit(&store).await, CommitOutcome::Refused(_)));
    // Larger than what the database takes of a batch without conditions.
    Turn::after(&key, claim).put("t", "1", &"x".repeat(290_000)).applied(&store).await;
    assert_eq!(rows(&store, &key, None).await.len(), 1);
    assert_eq!(store.counters().read().0, 1);
    keyspace.remove().await;
}

/// What takes the database a while to notice.
pub(super) const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_database_out_of_reach_is_told() {
    let options = ScyllaOptions::new(vec!["127.0.0.1:1".to_owned()], "cells");
    let error = ScyllaStore::open(options).await.unwrap_err();
    assert!(matches!(error, super::ScyllaError::Unreachable(_)), "{error}");
}
