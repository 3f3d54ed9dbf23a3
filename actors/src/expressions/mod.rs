//! Expressions that give policies their meaning: the Common Expression Language over verified claims.
//!
//! The crate `cel` parses and expands macros. Evaluation is our own: it borrows the claims instead of copying them, it counts every step against
//! a [`Budget`] (claims come from counterparties, expressions from administrators), and it cannot panic. Not supported, and refused when an
//! expression is compiled: regular expressions, bytes, struct literals, optional syntax.

mod budget;
mod credentials;
mod eval;
mod functions;
mod program;
mod value;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use eval::Variables;
pub use program::{CompileError, Program};
pub use value::{Failure, Val};
