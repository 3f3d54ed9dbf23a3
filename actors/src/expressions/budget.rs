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

    /// Steps left.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.get()
    }

    /// Takes steps.
    ///
    /// # Errors
    /// [`Failure::Budget`] when they are spent.
    pub fn take(&self, steps: u32) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Failure::Budget)
    }

    /// Takes a step for each of so many elements.
    ///
    /// # Errors
    /// [`Failure::Budget`] when the steps are spent.
    pub fn take_each(&self, elements: usize) -> Result<(), Failure> {
        self.take(u32::try_from(elements).unwrap_or(u32::MAX))
    }

    /// Takes what handling a text of so many bytes costs.
    ///
    /// # Errors
    /// [`Failure::Budget`] when the steps are spent.
    pub fn take_text(&self, bytes: usize) -> Result<(), Failure> {
        self.take_each(bytes / 64)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(Self::STEPS)
    }
}
