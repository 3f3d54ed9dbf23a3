//! Versions of the schema.

use super::Keyspace;
use crate::scylla::driver::{Replication, SCHEMA_VERSION, ScyllaError, ScyllaStore, connect, create_schema};
use crate::{Incarnation, Lease, Membership, NodeName, Settled, Swap};
use cellspace_schemas::Timestamp;

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
    // What comes and goes with nearly every turn is not read over for days.
    let grace = async |table: &str| {
        let query = "SELECT gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
        let answer = session.query_unpaged(query, (options.keyspace.as_str(), table)).await.unwrap().into_rows_result().unwrap();
        answer.single_row::<(i32,)>().unwrap().0
    };
    assert_eq!((grace("awake").await, grace("due").await), (600, 600));
    assert!(grace("publications").await > 10_000, "an event that came back would be told again");
    let missing =
        crate::ScyllaOptions { keyspace: format!("{}_x", &options.keyspace[..options.keyspace.len().min(40)]), ..options.clone() };
    let error = ScyllaStore::open(missing).await.unwrap_err();
    assert!(matches!(error, ScyllaError::NoSchema) && error.to_string().contains("admin schema"), "{error}");
    keyspace.remove().await;
}

/// What a build that does not know it has left in a row is not taken for what the row says.
#[tokio::test]
async fn what_a_row_tells_is_of_its_own_renewal_alone() {
    let Some(keyspace) = Keyspace::new("what_a_row_tells_is_of_its_own_renewal").await else { return };
    let store = keyspace.open().await;
    let first = Lease {
        node: NodeName("a".to_owned()),
        incarnation: Incarnation(4),
        counter: 7,
        revoked: false,
        level: 1,
        endpoint: "h:1".to_owned(),
        until: Some(Timestamp(1_700_000_000_123)),
        settled: Some(Settled { view: 3, at: Timestamp(1_700_000_000_100) }),
        follows: Some(9),
    };
    assert_eq!(store.put_lease(None, first.clone()).await, Swap::Applied);
    assert_eq!(store.leases().await.unwrap(), std::slice::from_ref(&first));
    let session = connect::session(&keyspace.0, Some(&keyspace.0.keyspace)).await.unwrap();
    let by_another_build = async |set: &str| {
        session.query_unpaged(format!("UPDATE leases SET {set} WHERE id = 'cell' AND node = 'a' IF EXISTS"), ()).await.unwrap();
        let found = store.leases().await.unwrap().remove(0);
        (found.until, found.settled, found.follows)
    };
    assert_eq!(by_another_build("revoked = true").await, (first.until, first.settled, first.follows));
    assert_eq!(by_another_build("counter = 8").await, (None, None, None));
    assert_eq!(by_another_build("counter = 7, incarnation = 5").await, (None, None, None));
    keyspace.remove().await;
}
