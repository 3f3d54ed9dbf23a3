//! The store of these tests keeps the promises of all backends: what is shown on it holds on others.

use crate::support::MemoryStore;
use cellspace_storage::testkit;

#[tokio::test]
async fn keeps_the_promises_of_all_backends() {
    let store = MemoryStore::default();
    testkit::wake_index::all(&store, &store).await;
    testkit::partitions::all(&store).await;
    testkit::partitions::of_many_nodes(&store).await;
}
