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

/// Those who have not shown a certificate of the cell yet: the oldest makes room for the next, so that who does not show one keeps nobody out.
#[derive(Debug, Default)]
pub(super) struct Strangers(VecDeque<Weak<CancellationToken>>);

impl Strangers {
    /// One more, until what is answered is dropped; it is to go when that is cancelled.
    pub(super) fn enter(&mut self) -> Arc<CancellationToken> {
        if self.0.len() >= STRANGERS {
            self.0.retain(|other| other.strong_count() > 0);
        }
        if self.0.len() >= STRANGERS
            && let Some(oldest) = self.0.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.cancel();
        }
        let stranger = Arc::new(CancellationToken::new());
        self.0.push_back(Arc::downgrade(&stranger));
        stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_goes_when_there_are_too_many() {
        let mut strangers = Strangers::default();
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
