//! Integration tests of the whole platform, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod access;
mod agreements;
mod approval;
mod architecture;
mod authorization;
mod backup;
mod bad_input;
#[cfg(feature = "scylla")]
mod cassandra;
mod cell;
#[cfg(all(feature = "scylla", feature = "kafka"))]
mod cell_backup;
#[cfg(all(feature = "scylla", feature = "kafka"))]
mod cell_of_three;
mod conformance;
mod data_plane;
mod disk_full;
mod fabric;
mod federated;
mod fuzz_seeds;
mod hostile;
mod hostile_input;
mod hostile_peer;
mod hostile_schemas;
mod hostile_tokens;
mod identity;
mod isolation;
mod issuance;
#[cfg(feature = "kafka")]
mod kafka;
mod killed;
mod management;
mod meanwhile;
mod message_schemas;
mod negotiating;
mod node;
mod openapi;
mod process;
mod process_events;
mod profiles;
mod program;
mod queries;
mod sharing;
mod stage;
mod support;
mod tls;
mod trace;
#[cfg(all(feature = "scylla", feature = "kafka"))]
mod two_cells;
mod vault;

/// A build without them says of what needs them that it is skipped.
#[cfg(not(all(feature = "scylla", feature = "kafka")))]
#[test]
fn servers_are_tested_with() {
    cellspace_storage::testkit::services::skipped(
        "Cassandra and Kafka",
        "all tests with them",
        "--features cellspace/scylla,cellspace/kafka",
    );
}
