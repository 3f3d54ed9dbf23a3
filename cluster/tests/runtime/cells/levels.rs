//! Nodes of several builds in one cell: an upgrade node by node, and its end.

use super::*;
use bytes::Bytes;
use cellspace_storage::RowKey;
use std::collections::BTreeSet;

/// The level of the next build.
const NEXT: u16 = LEVEL + 1;

/// Levels of the rows in which all agents have their values; answers that are kept for who asks again stay as they were.
fn levels(place: &Place) -> BTreeSet<u16> {
    let disk = place.store.0.lock();
    let is_own = |(key, _): &(&Vec<u8>, &Bytes)| !RowKey::from_bytes((*key).clone().into()).table().starts_with('~');
    let level = |row: &[u8]| u16::try_from(serde_json::from_slice::<serde_json::Value>(row).unwrap()["v"].as_u64().unwrap()).unwrap();
    disk.partitions.values().flat_map(|stored| stored.rows.iter()).filter(is_own).map(|(_, row)| level(row)).collect()
}

async fn finalize(node: &Node) -> (u16, bool, Vec<String>) {
    let Finalized { level, raised, behind } = node.cell.finalize().await.unwrap();
    (level, raised, behind.into_iter().map(|node| node.0).collect())
}

#[tokio::test(start_paused = true)]
async fn a_cell_is_upgraded_node_by_node_and_writes_new_rows_when_that_is_finalized() {
    let place = Place::default();
    let a = place.start("a").await;
    place.add_to_all(1).await;
    let b = place.start_at("b", NEXT, Cell::new).await;
    let gateway = place.start_at("g", LEVEL, Cell::outside).await;
    gateway.cell.joined().await;
    place.nodes.lock().remove("g");
    place.settled(&["a", "b"]).await;
    // Whichever of them has an agent next reads what the other one wrote.
    place.add_to_all(2).await;
    assert_eq!(levels(&place), BTreeSet::from([LEVEL]));
    for node in [&a, &b, &gateway] {
        assert_eq!(finalize(node).await, (LEVEL, false, vec!["a".to_owned()]));
    }

    a.cluster.drain(Duration::from_secs(60)).await;
    place.nodes.lock().remove("a");
    let a = place.start_at("a", NEXT, Cell::new).await;
    place.settled(&["a", "b"]).await;
    place.add_to_all(3).await;
    assert_eq!(levels(&place), BTreeSet::from([LEVEL]), "nothing is written that an earlier build does not read until somebody says so");
    assert_eq!(finalize(&gateway).await, (LEVEL, false, vec!["g".to_owned()]), "its own life would be over");
    assert_eq!(finalize(&b).await, (NEXT, true, Vec::new()));
    for node in [&a, &b] {
        assert_eq!(finalize(node).await, (NEXT, false, Vec::new()));
    }
    place.add_to_all(4).await;
    assert_eq!(levels(&place), BTreeSet::from([NEXT]), "each agent has written its row again");

    // What is of an earlier build has no part in it any more, and says why.
    let late = place.start_at("c", LEVEL, Cell::new).await;
    place.nodes.lock().remove("c");
    for left in [late, gateway] {
        left.cell.over().await;
        let why = left.cell.why_over().map(ToString::to_string);
        assert_eq!(why, Some(format!("the cell writes rows of level {NEXT}, this node reads up to {LEVEL}")));
    }
    place.add_to_all(5).await;
    let view = place.rows.view().await.unwrap().unwrap();
    assert!(view.deal.members().iter().all(|member| member.node.0 != "c"), "{view:?}");
}
