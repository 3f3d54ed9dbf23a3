//! Drives the platform from outside, as a client does: kills it while it works and checks its promises, and puts it under load.

#![forbid(unsafe_code)]

pub mod cassandra;
pub mod cell;
pub mod dev;
pub mod drive;
pub mod http;
pub mod kill;
pub mod measure;
pub mod options;
pub mod platform;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod subject;
pub mod transcript;
pub mod world;
