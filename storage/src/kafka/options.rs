//! What may be chosen of a log in Kafka.

use super::KafkaError;
use std::time::Duration;

/// Longest prefix: names of topics have 249 characters at most (Kafka's limit), and those of activities are long.
const LONGEST_PREFIX: usize = 64;

/// Where the log is, and its bounds.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// `host:port` of some brokers; the others are found through them.
    pub servers: Vec<String>,
    /// What the names of this installation's topics and groups begin with; they are as they are called when it is empty.
    pub prefix: String,
    /// Name of this process within its groups. One that is known by name takes its place again at once after a crash; without a name it waits until its former
    /// self counts as gone.
    pub member: Option<String>,
    /// Replicas of topics that are made; what the brokers choose when `None`.
    pub replication: Option<u8>,
    /// How long Kafka may take for one answer, and to have an event on all replicas in sync.
    pub answer: Duration,
    /// How long a member of a group may be silent before another one takes its place. Brokers have bounds for it, from 6 s on.
    pub silence: Duration,
}

impl KafkaOptions {
    /// The defaults, with these servers and this prefix.
    #[must_use]
    pub fn new(servers: Vec<String>, prefix: impl Into<String>) -> Self {
        Self {
            servers,
            prefix: prefix.into(),
            member: None,
            replication: None,
            answer: Duration::from_secs(10),
            silence: Duration::from_secs(10),
        }
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// [`KafkaError::Options`] says what does not.
    pub fn check(&self) -> Result<(), KafkaError> {
        let port = |server: &str| server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if self.servers.is_empty() {
            return Err(KafkaError::Options("no broker is named".to_owned()));
        }
        if let Some(server) = self.servers.iter().find(|server| !port(server)) {
            return Err(KafkaError::Options(format!("{server:?} is not HOST:PORT")));
        }
        let plain = self.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if !plain || self.prefix.len() > LONGEST_PREFIX {
            let prefix = &self.prefix;
            return Err(KafkaError::Options(format!(
                "{prefix:?} is no prefix of topics: at most {LONGEST_PREFIX} letters, digits, dots, underscores and hyphens"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_ports_and_prefixes_are_plain() {
        let check = |server: &str, prefix: &str| KafkaOptions::new(vec![server.to_owned()], prefix).check().is_ok();
        assert!(check("h:1", "") && check("h:1", "cells-1.a_") && check("[::1]:9092", ""));
        for bad in ["", "h", "h:", ":1", "h:x", "h:70000"] {
            assert!(!check(bad, ""), "{bad}");
        }
        for bad in ["a b", "ä", "a/", "a*", &"a".repeat(65)] {
            assert!(!check("h:1", bad), "{bad}");
        }
        assert!(KafkaOptions::new(vec![], "").check().is_err());
    }
}
