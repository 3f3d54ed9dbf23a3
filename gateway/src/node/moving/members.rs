//! What members of cells are asked and told for a move.

use super::{Mover, Waits, told};
use cellspace_actors::settings;
use cellspace_cluster::{Elsewhere, Peer, PeerError};
use cellspace_storage::{CellName, Member};
use futures::{
    TryFutureExt,
    future::{join_all, select_ok},
};
use tokio::time::Instant;

impl Mover<'_> {
    /// Some member of the cell answers.
    pub(super) async fn reach(&self, cell: &CellName, version: u64) -> Result<(), Waits> {
        if cell == self.elsewhere.own() && self.is_member {
            return Ok(());
        }
        let (news, members) = (Elsewhere::news(self.owner), self.members(cell)?);
        if members.is_empty() {
            return Err(format!("cell {cell} has no members"));
        }
        let now = Instant::now();
        if members.iter().any(|peer| self.told.lock().counts(peer, &news, version, now)) {
            return Ok(());
        }
        let asked = members.iter().map(|peer| self.link.announce(peer, &news).map_ok(move |()| peer));
        let (peer, _) = select_ok(asked).await.map_err(|error| error.to_string())?;
        self.told.lock().answered(peer, &news, version, now);
        Ok(())
    }

    /// This node and every member of the cell have taken it in, but those whose life is over. Who becomes one after the rows were read has nothing of the owner in memory,
    /// when all of that was sealed before.
    pub(super) async fn tell(&self, cell: &CellName, version: u64) -> Result<(), Waits> {
        self.cluster.take_in(self.owner).await.map_err(told)?;
        let away = self.announce(&self.present(cell).await?, &Elsewhere::news(self.owner), version).await;
        match self.first_alive(cell, &away).await? {
            Some((peer, reason)) => Err(format!("node {} of cell {cell} may not have heard of it: {reason}", peer.member.node)),
            None => Ok(()),
        }
    }

    /// Every member of the cell but this node answers, or its life is over.
    pub(super) async fn answers(&self, cell: &CellName, version: u64) -> Result<(), Waits> {
        let silent = self.silent(&self.present(cell).await?, version).await;
        match self.first_alive(cell, &silent).await? {
            // It may be there, and say why it takes nothing.
            Some((peer, reason)) => Err(format!("node {} of cell {cell} is waited for: {reason}", peer.member.node)),
            None => Ok(()),
        }
    }

    /// Those of them that do not answer, and why. Any news would do; these close nothing that is served.
    pub(super) async fn silent(&self, members: &[Peer], version: u64) -> Vec<(Peer, PeerError)> {
        self.announce(members, settings::agent::CHANGED, version).await
    }

    /// One of them whose life is not over.
    pub(super) async fn first_alive<'a>(
        &self,
        cell: &CellName,
        away: &'a [(Peer, PeerError)],
    ) -> Result<Option<&'a (Peer, PeerError)>, Waits> {
        let over = join_all(away.iter().map(|(peer, _)| self.cells.is_over(cell, &peer.member))).await;
        for (one, is_over) in away.iter().zip(over) {
            if !is_over.map_err(told)? {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }

    /// Every member of the cell but this node, as the cell's rows have them now.
    pub(super) async fn present(&self, cell: &CellName) -> Result<Vec<Peer>, Waits> {
        let is_own = cell == self.elsewhere.own();
        let all = self.cells.members(cell).await.map_err(told)?;
        let is_me = |member: &Member| is_own && member.node == *self.me;
        if !self.is_member && all.iter().any(|(member, _)| is_me(member)) {
            return Err(format!("an earlier life of node {} may go on", self.me));
        }
        let others = all.into_iter().filter(|(member, _)| !is_me(member));
        let name = |cell: &CellName| (!is_own).then(|| cell.clone());
        Ok(others.map(|(member, endpoint)| Peer { member, endpoint, cell: name(cell) }).collect())
    }

    /// All of them have taken it in; those that have not, and why. Who has answered just now is not asked again, as long as the home has this version.
    async fn announce(&self, members: &[Peer], news: &str, version: u64) -> Vec<(Peer, PeerError)> {
        let now = Instant::now();
        let open: Vec<_> = members.iter().filter(|peer| !self.told.lock().counts(peer, news, version, now)).collect();
        let answers = join_all(open.iter().map(|peer| self.link.announce(peer, news))).await;
        let mut told = self.told.lock();
        let away = open.into_iter().zip(answers).filter_map(|(peer, answer)| match answer {
            Ok(()) => {
                told.answered(peer, news, version, now);
                None
            }
            Err(reason) => Some((peer.clone(), reason)),
        });
        away.collect()
    }

    /// Whoever does not hear of it finds it when the owner is asked for.
    pub(super) async fn tell_all(&self) {
        let cells = std::iter::once(self.elsewhere.own()).chain(self.elsewhere.names());
        let all: Vec<Peer> = cells.filter_map(|cell| self.members(cell).ok()).flatten().collect();
        let news = Elsewhere::news(self.owner);
        let there = join_all(all.iter().map(|peer| self.link.announce(peer, &news)));
        let (here, there) = tokio::join!(self.cluster.take_in(self.owner), there);
        let not_reached = there.iter().filter(|answer| answer.is_err()).count();
        if here.is_err() || not_reached > 0 {
            tracing::debug!(category = "app", owner = %self.owner, not_reached, "not all have heard of a move");
        }
    }

    fn members(&self, cell: &CellName) -> Result<Vec<Peer>, Waits> {
        let members = if cell == self.elsewhere.own() { Some(self.others.clone()) } else { self.elsewhere.members(cell) };
        members.ok_or_else(|| format!("this node does not know the members of cell {cell} yet"))
    }
}
