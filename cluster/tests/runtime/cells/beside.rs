//! A node that follows the members of another cell of its installation.

use super::*;
use cellspace_schemas::Owner;
use cellspace_storage::{CellName, Home, Homes};

/// Nobody was ever moved.
struct AtHome;

impl Homes for AtHome {
    fn of<'a>(&'a self, _: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>> {
        async { Ok(None) }.boxed()
    }

    fn put<'a>(&'a self, _: &'a Owner, _: &'a Home) -> BoxFuture<'a, Swap> {
        async { Swap::Refused }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_cannot_be_read_is_counted_on_by_nobody_and_found_again() {
    let (here, there) = (Place::default(), Place::default());
    there.start("b").await;
    there.settled(&["b"]).await;
    let (name, way) = (|name: &str| CellName(name.to_owned()), there.way());
    let followed = Cell::outside(CellOptions {
        node: NodeName("a".to_owned()),
        level: 1,
        endpoint: String::new(),
        terms: Terms::default(),
        membership: way.clone(),
        peers: way,
        uptime: Arc::new(Time(Instant::now())),
        clock: TestClock::new(),
    });
    let elsewhere = Elsewhere::new(Arc::new(AtHome), name("here"), name("there"), BTreeMap::from([(name("there"), followed)]));
    let a = here.start_as("a", |options| {
        let cell = Cell::new(options);
        cell.among(elsewhere.clone());
        cell
    });
    let a = a.await;
    here.settled(&["a"]).await;
    let owner = counter("o").owner;
    let until = async |wanted: bool| {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            match a.cell.located(&owner, 0, 0, limit).await {
                Whereabouts::There(peer, _) if wanted && peer.member.node.0 == "b" && peer.cell == Some(name("there")) => return,
                Whereabouts::Nowhere(reason) if !wanted && reason == "the nodes of cell there are not known to this one" => return,
                other => assert!(Instant::now() < limit, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until(true).await;
    assert!(elsewhere.members(&name("there")).is_some_and(|members| members.len() == 1));
    // Its rows are of a level that this node does not read: where something is there is not guessed from what was so before.
    let view = there.rows.view().await.unwrap().unwrap();
    let newer = |format, by| View { version: view.version + by, format, ..view.clone() };
    assert_eq!(there.rows.change_view(newer(2, 1)).await, Swap::Applied);
    until(false).await;
    assert_eq!(elsewhere.members(&name("there")).map(|members| members.len()), None);
    assert!(a.cluster.serves(&counter("o")) && a.cell.why_over().is_none(), "it is a node of its own cell still");
    // As after a backup was restored.
    assert_eq!(there.rows.change_view(newer(1, 2)).await, Swap::Applied);
    until(true).await;
}
