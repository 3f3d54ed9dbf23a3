//! Who calls, and what the caller may do.

pub mod scope;

pub use scope::{Action, Scope};
