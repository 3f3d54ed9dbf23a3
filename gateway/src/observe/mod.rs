//! What an operator sees: traces, logs, metrics.

pub mod trace;
