//! ODRL policies as the Dataspace Protocol uses them (ODRL profile of DSP 2025-1): typed, bounded, in compact JSON-LD.
//!
//! Reading accepts terms with and without the `odrl:` prefix or as IRIs, single values where lists are meant, and `@id` and `@value` objects;
//! writing always gives the compact form, so that what was read once is written the same everywhere.

mod operator;
mod parse;
mod policy;
mod render;

pub use operator::{LogicalOperator, Operator};
pub use policy::{AtomicConstraint, Constraint, Policy, PolicyType, Rule};

/// Namespace of ODRL.
pub const ODRL_NAMESPACE: &str = "http://www.w3.org/ns/odrl/2/";
/// Rules of one kind in a policy, and duties of a permission, at most.
pub const MAX_RULES: usize = 64;
/// Constraints in a policy at most, all rules and levels together.
pub const MAX_CONSTRAINTS: usize = 256;
/// Levels of logical constraints at most.
pub const MAX_DEPTH: usize = 8;
/// Longest operand, action or identifier, in bytes; a structured right operand in its JSON form.
pub const MAX_OPERAND_BYTES: usize = 4096;

/// The term that a text names: without the prefix or namespace of ODRL, everything else as it is. A term's term is the term itself.
#[must_use]
pub fn term(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix("odrl:").or_else(|| text.strip_prefix(ODRL_NAMESPACE)) {
        text = rest;
    }
    text
}
