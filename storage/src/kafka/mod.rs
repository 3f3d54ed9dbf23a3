//! The event log in Kafka.
//!
//! A **topic** of the log is a topic of Kafka with one partition, so that a position is one number and events are in one order; one process of a group reads it
//! at a time, and others stand by. It keeps its events for good: nothing is lost that a group has not read.
//!
//! Events are **published** by an idempotent producer to all replicas in sync, and a publication is answered only then. **Groups** are Kafka's: who is given the
//! partition reads from the group's position and moves it after the effect, and a process that was taken for dead moves it no more. What is read comes from
//! **readers** beside the groups, which are kept where they stand.
//!
//! Everything asked of Kafka has an end; while it is out of reach, errors say so, and who publishes tries again.
//!
//! The client is in builds with the feature `kafka`; what is chosen of such a log can be said in all.

#[cfg(feature = "kafka")]
mod driver;
mod error;
mod options;

#[cfg(feature = "kafka")]
pub use driver::{GroupStanding, KafkaLog, TopicStanding};
pub use error::KafkaError;
pub use options::KafkaOptions;
