//! Bodies of the Management API (v5).

pub mod envelope;

pub use envelope::{MANAGEMENT_CONTEXT, Reader};
