//! Who may be connected: peers have places of their own, which nobody else takes. Their names are in certificates of the cell's authority, so that there are no
//! more of them than nodes.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};
use tokio_util::sync::CancellationToken;

/// Of whom it is not known yet who they are, at once.
pub(super) const STRANGERS: usize = 128;
/// Connections of one peer at once. It needs one for each kind of traffic; those that only end what is under way take none.
pub(super) const OF_ONE: usize = 8;

/// Those whose handshake has not ended yet, or who have not shown a certificate where one is asked for: the oldest makes room for the next, so that who takes its time keeps
/// nobody out.
#[derive(Debug)]
pub struct Strangers {
    there: VecDeque<Weak<CancellationToken>>,
    limit: usize,
}

impl Strangers {
    /// So many at once, at least one.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { there: VecDeque::new(), limit }
    }

    /// One more, until what is answered is dropped; it is to go when that is cancelled.
    pub fn enter(&mut self) -> Arc<CancellationToken> {
        if self.there.len() >= self.limit {
            self.there.retain(|other| other.strong_count() > 0);
        }
        if self.there.len() >= self.limit
            && let Some(oldest) = self.there.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.cancel();
        }
        let stranger = Arc::new(CancellationToken::new());
        self.there.push_back(Arc::downgrade(&stranger));
        stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_goes_when_there_are_too_many() {
        let mut strangers = Strangers::new(STRANGERS);
        let mut there: Vec<_> = (0..STRANGERS).map(|_| strangers.enter()).collect();
        // Who has shown who it is makes room, whichever it was.
        there.remove(7);
        there.push(strangers.enter());
        assert!(there.iter().all(|stranger| !stranger.is_cancelled()));
        there.push(strangers.enter());
        let gone = |n: usize| there[n].is_cancelled();
        assert!(gone(0) && (1..there.len()).all(|n| !gone(n)));
    }
}
