//! Why a log in Kafka cannot be used.

use crate::StoreError;

/// Why the log cannot be used. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KafkaError {
    /// The options make no sense.
    #[error("{0}")]
    Options(String),
    /// The client is not in this build.
    #[error("this build of cellspace has no Kafka in it: build it with `--features kafka`")]
    NotBuilt,
    /// The client cannot be made.
    #[error("the Kafka client cannot be made: {0}")]
    Client(String),
    /// The topics under this prefix are not those of this installation.
    #[error(
        "the topics of Kafka under {prefix:?} {found}: start it with the Kafka and the --kafka-prefix that it had, or begin anew with another --kafka-prefix"
    )]
    OtherInstallation {
        /// The prefix.
        prefix: String,
        /// What was found there.
        found: &'static str,
    },
    /// It does not answer as it must.
    #[error("the event log cannot be used: {0}")]
    Store(#[from] StoreError),
}
