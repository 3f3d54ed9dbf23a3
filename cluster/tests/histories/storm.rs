//! A cold start: a node dies, and all that it had is asked for at once.

use super::{
    agent::{Clerk, Order},
    history::run,
    node::Process,
    world::{OWNED, World, ms},
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::Owner;
use parking_lot::Mutex;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::sleep;

/// Agents of the participant that has many: fewer than it may have requests.
const MANY: usize = 900;
/// Agents that a node loads at once: at first, and at the most.
const FIRST: usize = 64;
const LOADING: usize = 256;

fn address(owner: &Owner, n: usize) -> Address {
    Address { name: format!("{n}"), ..Address::of::<Clerk>(owner.clone()) }
}

/// As a client that comes again when it is told to.
async fn note(process: Arc<Process>, address: Address, id: u32) {
    for _ in 0..30 {
        let call = Call { timeout: Duration::from_secs(20), ..Call::by("client") };
        match process.cluster.ask_anywhere::<Clerk>(&address, Order::Note { id }, call).await {
            Ok(_) => return,
            Err(AskError::Unavailable { retry_after, .. } | AskError::TooMany { retry_after }) => sleep(retry_after).await,
            Err(other) => panic!("{address}: {other}"),
        }
    }
    panic!("{address} never answered");
}

async fn both_serve(world: &World) -> (Arc<Process>, Arc<Process>) {
    for _ in 0..120 {
        let up = world.up();
        let settled = world.disk.lock().view.as_ref().is_some_and(|view| view.deal.from == view.deal.to && view.deal.to.len() == 2);
        if settled && OWNED.iter().all(|owner| up.iter().any(|(_, process)| process.cluster.serves(&Address::of::<Clerk>(owner.clone())))) {
            return (up[0].1.clone(), up[1].1.clone());
        }
        sleep(ms(500)).await;
    }
    panic!("the nodes do not serve");
}

#[test]
fn after_a_nodes_death_its_agents_come_back_a_few_at_once_and_each_participants_in_turn() {
    run(
        || World::of(7, 2, None, false),
        |world| async move {
            world.calm.store(true, Relaxed);
            world.start(0).await;
            world.start(1).await;
            let (one, two) = both_serve(&world).await;
            let its = |process: &Process| -> Vec<Owner> {
                OWNED.iter().filter(|owner| process.cluster.serves(&Address::of::<Clerk>(Owner::clone(owner)))).cloned().collect()
            };
            let dies = if its(&one).len() >= 2 { 0 } else { 1 };
            let (dying, left) = if dies == 0 { (one, two) } else { (two, one) };
            let owners = its(&dying);
            let all: Vec<Address> = (0..MANY).map(|n| address(&owners[0], n)).chain([address(&owners[1], 0)]).collect();
            for some in all.chunks(100) {
                futures::future::join_all(some.iter().map(|address| note(dying.clone(), address.clone(), 1))).await;
            }
            world.bury(dies);
            world.most_loading.store(0, Relaxed);
            let order = Arc::new(Mutex::new(Vec::new()));
            let asking: Vec<_> = all
                .into_iter()
                .map(|address| {
                    let (left, order) = (left.clone(), order.clone());
                    tokio::spawn(async move {
                        note(left, address.clone(), 2).await;
                        order.lock().push(address);
                    })
                })
                .collect();
            for asked in asking {
                asked.await.unwrap();
            }
            let most = world.most_loading.load(Relaxed);
            assert!((FIRST..=LOADING).contains(&most), "{most} loaded at once");
            let place = order.lock().iter().position(|address| address.owner == owners[1]).unwrap();
            assert!(place < LOADING * 2, "{place} agents of another participant came first, all of whom were asked before");
            (Ok(()), world)
        },
    )
    .0
    .unwrap();
}
