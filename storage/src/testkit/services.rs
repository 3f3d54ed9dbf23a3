//! Servers that some tests need, named by the environment. Without one a test says that it is skipped; with `CELLSPACE_REQUIRE_SERVICES=1` it fails.

use std::io::Write;

/// Contact points of the Cassandra or ScyllaDB of `CELLSPACE_TEST_CASSANDRA`.
#[must_use]
pub fn cassandra(test: &str) -> Option<Vec<String>> {
    of("CELLSPACE_TEST_CASSANDRA", "Cassandra", test).map(|hosts| hosts.split(',').map(str::to_owned).collect())
}

/// Bootstrap servers of the Kafka of `CELLSPACE_TEST_KAFKA`.
#[must_use]
pub fn kafka(test: &str) -> Option<String> {
    of("CELLSPACE_TEST_KAFKA", "Kafka", test)
}

/// Removes the keyspace of a test.
#[cfg(feature = "scylla")]
pub async fn drop_keyspace(nodes: &[String], name: &str) {
    let session = scylla::client::session_builder::SessionBuilder::new().known_nodes(nodes).build().await.unwrap();
    session.query_unpaged(format!("DROP KEYSPACE {name}"), ()).await.unwrap();
}

fn of(variable: &str, name: &str, test: &str) -> Option<String> {
    let named = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if named.is_none() {
        skipped(name, test, &format!("{variable} says where it is, see deploy/dev"));
    }
    named
}

/// Says that the test is skipped, since this is not here.
///
/// # Panics
/// Where nothing may be missing: with `CELLSPACE_REQUIRE_SERVICES=1`.
pub fn skipped(name: &str, test: &str, hint: &str) {
    let required = std::env::var("CELLSPACE_REQUIRE_SERVICES").is_ok_and(|required| required == "1");
    assert!(!required, "{test} needs {name}: {hint}");
    // Past the capture of the test's output.
    let _ = writeln!(std::io::stderr(), "\nskipped: needs {name}: {test} ({hint})");
}
