//! Expressions that give policies their meaning: the Common Expression Language over verified claims.
//!
//! The crate `cel` parses and expands macros. Evaluation is our own: names are resolved once, it borrows the claims instead of copying them, it
//! counts every step against a [`Budget`] (claims come from counterparties, expressions from administrators), and it cannot panic. What of the
//! expressions reads the claims only is evaluated once per message (its [`Context`]), and charged to each that asks for it. Not supported, and refused
//! when an expression is compiled: regular expressions, bytes, struct literals, optional syntax.

mod budget;
mod context;
mod credentials;
mod elements;
mod eval;
mod explain;
mod function;
mod functions;
mod lower;
mod node;
mod program;
mod this;
mod value;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use context::Context;
pub use elements::Elements;
pub use program::{CompileError, Compiler, Program};
pub use this::operator;
pub use value::{Failure, Val};
