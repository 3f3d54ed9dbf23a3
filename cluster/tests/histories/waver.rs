//! Views that follow each other faster than any node's rounds: slots go to and fro, some nodes miss a view or two, and what nodes say of them comes late.

use super::{
    dice::Dice,
    world::{SLOTS, World},
};
use cellspace_storage::{Deal, Member, View};
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// So many changes at most, so that who misses them all may have missed more than the view tells of.
const CHANGES: u64 = View::PAST as u64 + 2;

/// Slots go from member to member, some times, with a little time between in which they may open and be used; meanwhile members die, or fall silent. No pace is
/// kept: what a node may take for known of a slot does not rest on that.
pub fn waver(world: &Arc<World>, dice: &mut Dice) {
    let pauses = [5..60, 40..250, 150..900][dice.index(3)].clone();
    let mut time = 0;
    for _ in 0..dice.within(2..CHANGES) {
        time += dice.within(pauses.clone());
        let mut dice = Dice::of(dice.number(), "view");
        if dice.chance(250) {
            let (seat, after, lasts, dies) = (dice.index(world.nodes), dice.within(1..150), dice.within(500..4_000), dice.chance(400));
            world.at(time + after, dice.number(), move |world| match dies {
                _ if world.is_calm() => {}
                true => world.crash(seat),
                false => fall_silent(world, seat, lasts),
            });
        }
        world.at(time, dice.number(), move |world| change(world, &mut dice));
    }
    world.slow.store(world.now() + time, Relaxed);
}

/// Nobody hears of this node for so long.
fn fall_silent(world: &Arc<World>, seat: usize, lasts: u64) {
    world.net.lock().cut.extend((0..world.nodes).filter(|to| *to != seat).map(|to| (seat, to)));
    world.at(lasts, seat as u64, move |world| world.net.lock().cut.retain(|(from, _)| *from != seat));
}

fn change(world: &Arc<World>, dice: &mut Dice) {
    if world.is_calm() {
        return;
    }
    let next = {
        let mut disk = world.disk.lock();
        let Some(next) = disk.view.as_ref().and_then(|view| after(view, dice)) else { return };
        disk.change_view(next.clone());
        next
    };
    world.note(|| format!("the view wavers: {} with {:?}", next.version, next.deal));
    for (seat, process) in world.up() {
        if world.fault(dice, 300) || process.wire > 1 {
            continue;
        }
        let (view, mut dice) = (next.clone(), Dice::of(dice.number(), &format!("shown to {seat}")));
        world.at(world.delay(&mut dice), dice.number(), move |_| {
            tokio::spawn(async move {
                process.gate.pass().await;
                let _ = process.cell.shown(view);
            });
        });
    }
}

/// Some slots go to other members, or back. Nobody leaves by that: who left may serve no more.
fn after(view: &View, dice: &mut Dice) -> Option<View> {
    let from: Vec<Member> = view.deal.members().into_iter().cloned().collect();
    let Deal { mut to, mark, .. } = view.deal.clone();
    let mark = if to == from || dice.chance(300) {
        to.clone_from(&from);
        while to.len() > 1 && (to == from || dice.chance(400)) {
            to.remove(dice.index(to.len()));
        }
        SLOTS
    } else {
        // Back, or there once more.
        if mark == 0 { SLOTS } else { 0 }
    };
    let mark = if dice.chance(100) { u16::try_from(dice.within(0..u64::from(SLOTS))).unwrap() } else { mark };
    if to == from {
        return None;
    }
    let deal = Deal { from, to, mark };
    let mut past = view.past.clone();
    past.push(view.deal.clone());
    let past = past.split_off(past.len().saturating_sub(View::PAST));
    Some(View { version: view.version + 1, format: view.format, deal, past, dead: view.dead.clone() })
}
