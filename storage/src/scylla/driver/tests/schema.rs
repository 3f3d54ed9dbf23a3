//! Versions of the schema.

use super::Keyspace;
use crate::scylla::driver::{Replication, SCHEMA_VERSION, ScyllaError, ScyllaStore, connect, create_schema};

#[tokio::test]
async fn another_schema_than_this_builds_is_refused() {
    let Some(keyspace) = Keyspace::new("another_schema_is_refused").await else { return };
    let (options, one) = (&keyspace.0, Replication::Simple(1));
    assert_eq!(create_schema(options, &one).await.unwrap(), Some(SCHEMA_VERSION), "it may be repeated");
    let session = connect::session(options, Some(&options.keyspace)).await.unwrap();
    let set = async |version: i32| {
        session.query_unpaged(format!("UPDATE schema_version SET version = {version} WHERE id = 'cellspace'"), ()).await.unwrap();
    };
    set(SCHEMA_VERSION + 1).await;
    for error in [create_schema(options, &one).await.unwrap_err(), ScyllaStore::open(options.clone()).await.unwrap_err()] {
        assert!(matches!(error, ScyllaError::NewerSchema { found, supported } if found == supported + 1), "{error}");
    }
    set(SCHEMA_VERSION - 1).await;
    let error = ScyllaStore::open(options.clone()).await.unwrap_err();
    assert!(matches!(error, ScyllaError::NoSchema), "{error}");
    assert_eq!(create_schema(options, &one).await.unwrap(), Some(SCHEMA_VERSION - 1));
    ScyllaStore::open(options.clone()).await.unwrap();
    let missing =
        crate::ScyllaOptions { keyspace: format!("{}_x", &options.keyspace[..options.keyspace.len().min(40)]), ..options.clone() };
    let error = ScyllaStore::open(missing).await.unwrap_err();
    assert!(matches!(error, ScyllaError::NoSchema) && error.to_string().contains("admin schema"), "{error}");
    keyspace.remove().await;
}
