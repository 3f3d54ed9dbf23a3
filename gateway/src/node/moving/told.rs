//! What members of cells have answered to in one call for a move, so that none of them is told the same again at each look. Pure.

use cellspace_cluster::Peer;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long an answer counts: whoever has given it may be gone after that.
pub(super) const COUNTS: Duration = Duration::from_secs(2);

/// The members, with what each was told. As many as there are nodes and kinds of news, as long as one call lasts.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<(Peer, String), Answered>);

#[derive(Debug)]
struct Answered {
    /// The version of the home when it was told.
    version: u64,
    at: Instant,
}

impl Told {
    /// The peer has answered to this, which it was told while the home had this version.
    pub(super) fn answered(&mut self, peer: &Peer, news: &str, version: u64, at: Instant) {
        self.0.insert((peer.clone(), news.to_owned()), Answered { version, at });
    }

    /// Whether that counts still: for another version of the home it says nothing.
    pub(super) fn counts(&self, peer: &Peer, news: &str, version: u64, now: Instant) -> bool {
        let answered = self.0.get(&(peer.clone(), news.to_owned()));
        answered.is_some_and(|answered| answered.version == version && now.duration_since(answered.at) < COUNTS)
    }
}
