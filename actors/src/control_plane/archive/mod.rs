//! Finished work leaves the state, so that waking a participant costs the same after a hundred thousand negotiations as after ten.
//!
//! What ended longest ago moves, in the commit of whatever is decided next, into tables apart that no activation reads. It is found again there by
//! every id that it may be asked for with: [`recall`](mod@recall) brings it back for one decision or one answer, [`list`] reads it page by page, and finds
//! it by the marks that it left for the fields that queries name most. A finished process changes only by coming back into the state (its agreement is retired), so what was recalled is true as long as it has not moved since;
//! what is in the state wins over it.

mod event;
mod filed;
mod key;
pub mod list;
mod marks;
pub mod recall;
mod search;
mod settle;

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod tests;

pub use event::{Event, State, apply, row};
pub use filed::Filed;
pub use key::Key;
pub use marks::{AGREED, Field, Kind, Mark, Sought};
pub use recall::{Recalled, recall, with};
pub(super) use settle::settle;

/// Finished processes of each kind that stay in the state: those that ended last, since they are asked for most.
pub const KEPT: usize = 128;
