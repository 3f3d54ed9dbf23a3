//! The link between nodes. Nodes that speak another version of it do not understand each other.

use super::{
    agent::{Clerk, Steps},
    bug::Bug,
    node::{Access, Process},
};
use cellspace_cluster::{membership::Answer, remote::What, *};
use cellspace_storage::View;
use futures::{FutureExt, future::BoxFuture};
use std::sync::Arc;

impl PeerLink for Access {
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        let view = view.clone();
        async move {
            let shown = move |process: Arc<Process>| {
                let view = view.clone();
                async move { process.cell.shown(view).map_err(|ended| PeerError::NotDone(ended.to_string())) }
            };
            self.say(to, "view", true, shown).await?
        }
        .boxed()
    }

    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>> {
        let (member, asked_for, lies, wire) = (to.member.clone(), slots.to_vec(), self.world.is(Bug::PeersLie), self.wire);
        async move {
            let asked = move |process: Arc<Process>| {
                let (member, slots) = (member.clone(), asked_for.clone());
                async move {
                    let mut answers = process.cell.asked(&member, &slots, version).await;
                    process.tokens.tells(&slots, answers.as_deref_mut().unwrap_or_default());
                    if lies || process.wire != wire {
                        answers.iter_mut().flatten().for_each(|told| *told = Answer::Released.into());
                    }
                    answers.ok_or_else(|| PeerError::NotDone("another life".into()))
                }
            };
            let mut answers = self.say(to, "slots", true, asked).await??;
            self.tokens.hears(&to.member, slots, &mut answers);
            Ok(answers)
        }
        .boxed()
    }

    fn announce<'a>(&'a self, to: &'a Peer, _: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        async move { self.say(to, "news", true, |_| async {}).await }.boxed()
    }

    fn call<'a>(&'a self, to: &'a Peer, call: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        let (sent, world) = (serde_json::to_vec(call).unwrap(), self.world.clone());
        let said = match &call.what {
            What::Command { command, .. } => command,
            What::Query { query, .. } => query,
        };
        let (what, wire) = (format!("call {} {said}", call.owner), self.wire);
        async move {
            let called = move |process: Arc<Process>| {
                let (call, world): (AgentCall, _) = (serde_json::from_slice(&sent).unwrap(), world.clone());
                async move {
                    let owner = call.owner.to_string();
                    // Then here is where it is read.
                    let reads =
                        matches!(call.what, What::Query { .. }) && process.cluster.serves(&Address::of::<Clerk>(call.owner.clone()));
                    let answer = process.cluster.called(call).await;
                    if process.wire != wire {
                        return AgentAnswer::Elsewhere("it cannot be read".to_owned());
                    }
                    if let (true, AgentAnswer::Done(found)) = (reads, &answer) {
                        world.hold(world.known.lock().read(&owner, &serde_json::from_str(found.get()).unwrap()));
                    }
                    serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap()
                }
            };
            self.say(to, &what, false, called).await
        }
        .boxed()
    }
}

impl super::world::Known {
    /// What a node reads is not older than what any node has acknowledged (invariants LEASE and ISOLATION).
    pub fn read(&mut self, owner: &str, found: &Steps) -> Result<(), String> {
        self.reads += 1;
        let known = self.steps.get(owner).copied().unwrap_or(0);
        if found.steps < known {
            return Err(format!("LEASE: a read of {owner} sees {} steps, {known} were acknowledged before", found.steps));
        }
        if found.steps > 0 && found.owner != owner {
            return Err(format!("ISOLATION: a read of {owner} sees what is {}'s", found.owner));
        }
        Ok(())
    }
}
