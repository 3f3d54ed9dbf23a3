//! What an operator sees: traces, logs, metrics, health.

pub mod health;
pub mod json_layer;
pub mod logs;
pub mod metrics;
pub mod trace;

pub use health::Health;
pub use logs::{LogFormat, LogGuard, LogOptions};
