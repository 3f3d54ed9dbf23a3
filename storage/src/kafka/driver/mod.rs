//! The log itself, by the client library of Kafka.

mod clients;
mod letters;
mod log;
mod member;
mod publisher;
mod reader;
mod readers;
mod report;
#[cfg(test)]
mod tests;
mod topics;

pub use log::KafkaLog;
pub use report::{GroupStanding, TopicStanding};

use super::{KafkaError, KafkaOptions};
