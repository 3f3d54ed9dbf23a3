//! What one evaluation may cost.

use super::Failure;
use std::cell::Cell;

/// Steps left. A step is one node evaluated, one element visited, or 64 bytes of text handled.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u32>,
}

impl Budget {
    /// Steps of one evaluation; about a millisecond.
    pub const STEPS: u32 = 20_000;

    /// A budget of this many steps.
    #[must_use]
    pub const fn of(steps: u32) -> Self {
        Self { left: Cell::new(steps) }
    }

    /// Takes steps.
    ///
    /// # Errors
    /// [`Failure::Budget`] when they are spent.
    pub fn take(&self, steps: usize) -> Result<(), Failure> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.left.get().checked_sub(steps));
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Failure::Budget)
    }

    /// Takes what handling a text of so many bytes costs.
    ///
    /// # Errors
    /// [`Failure::Budget`] when the steps are spent.
    pub fn take_text(&self, bytes: usize) -> Result<(), Failure> {
        self.take(bytes / 64)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(Self::STEPS)
    }
}
