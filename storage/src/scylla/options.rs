//! What may be chosen of a store in ScyllaDB or Cassandra.

use super::ScyllaError;
use crate::{Secret, Topic};
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

/// Longest name of a keyspace (Cassandra's limit).
const LONGEST_KEYSPACE: usize = 48;

/// Where the store is, and its bounds.
#[derive(Debug, Clone)]
pub struct ScyllaOptions {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// The cell's keyspace: lower case letters, digits and underscores.
    pub keyspace: String,
    /// The datacenter that serves the cell, the same for all its nodes. May be `None` where the database has one alone.
    pub datacenter: Option<String>,
    /// User and password, when the database asks for them.
    pub login: Option<(String, Secret)>,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Bytes that a commit may have; a larger one is refused.
    pub commit_bytes: usize,
    /// Deleted rows that a partition may gather before it is copied; a partition with more rows may gather twice as many as it has, and 50,000 at most.
    pub deleted_rows: u32,
    /// Landed publications that wait in memory for the event log; above that they are read from the database.
    pub publications: usize,
    /// Places of a partition that a copy to another cell's keyspace passes before it tells how far it is, also where nothing is different.
    pub copied_places: u64,
    /// How long a key of the vault signs after its record was read, without another look whether another node has removed it.
    pub key_known: Duration,
    /// Topics that are told without promises, and how many of their events may wait for the log: what comes on top is left out, which is logged, counted and seen
    /// in what the store says of its topics.
    pub facts: BTreeMap<Topic, u64>,
}

impl ScyllaOptions {
    /// The defaults, with these contact points and this keyspace.
    #[must_use]
    pub fn new(contact_points: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            contact_points,
            keyspace: keyspace.into(),
            datacenter: None,
            login: None,
            request_timeout: Duration::from_secs(10),
            commit_bytes: 4 << 20,
            deleted_rows: 2_000,
            publications: 4_096,
            copied_places: 4_096,
            key_known: Duration::from_secs(2),
            facts: BTreeMap::new(),
        }
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// [`ScyllaError::Options`] says what does not.
    pub fn check(&self) -> Result<(), ScyllaError> {
        if self.contact_points.is_empty() {
            return Err(ScyllaError::Options("no contact point is named".to_owned()));
        }
        let name = self.keyspace.as_bytes();
        let plain = name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
        if !plain || name.len() > LONGEST_KEYSPACE || !name.first().is_some_and(u8::is_ascii_lowercase) {
            return Err(ScyllaError::Options(format!(
                "{:?} is no name of a keyspace: at most {LONGEST_KEYSPACE} lower case letters, digits and underscores, a letter first",
                self.keyspace
            )));
        }
        Ok(())
    }
}

/// How often each row is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// So often, wherever nodes are (`SimpleStrategy`): one datacenter.
    Simple(u8),
    /// So often in each of these datacenters (`NetworkTopologyStrategy`).
    Datacenters(BTreeMap<String, u8>),
}

/// As in CQL.
impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(factor) => write!(f, "{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"),
            Self::Datacenters(factors) => {
                f.write_str("{'class': 'NetworkTopologyStrategy'")?;
                factors.iter().try_for_each(|(name, factor)| write!(f, ", '{name}': {factor}"))?;
                f.write_str("}")
            }
        }
    }
}

/// `3`, or `dc1=3,dc2=2`.
impl FromStr for Replication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor = |text: &str| match text.parse::<u8>() {
            Ok(factor @ 1..=9) => Ok(factor),
            _ => Err(format!("{text:?} is no replication factor from 1 to 9")),
        };
        if !text.contains('=') {
            return factor(text).map(Self::Simple);
        }
        let mut factors = BTreeMap::new();
        for part in text.split(',') {
            let (name, count) = part.split_once('=').ok_or_else(|| format!("{part:?} is not DATACENTER=FACTOR"))?;
            let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(named) {
                return Err(format!("{name:?} is no name of a datacenter"));
            }
            if factors.insert(name.to_owned(), factor(count)?).is_some() {
                return Err(format!("{name} is named twice"));
            }
        }
        Ok(Self::Datacenters(factors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_a_number_or_datacenters() {
        assert_eq!("3".parse(), Ok(Replication::Simple(3)));
        let two: Replication = "b=2,a-1=3".parse().unwrap();
        assert_eq!(two.to_string(), "{'class': 'NetworkTopologyStrategy', 'a-1': 3, 'b': 2}");
        for bad in ["", "0", "10", "-1", "a", "a=", "a=0", "=1", "a=1,a=2", "a=1,", "a'=1", "a b=1"] {
            assert!(bad.parse::<Replication>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_keyspaces_are_plain() {
        let check = |name: &str| ScyllaOptions::new(vec!["h:1".to_owned()], name).check().is_ok();
        assert!(check("cellspace") && check("cell_1"));
        for bad in ["", "1a", "_a", "A", "a-b", "a;b", "a\"", &"a".repeat(49)] {
            assert!(!check(bad), "{bad}");
        }
        assert!(ScyllaOptions::new(vec![], "a").check().is_err());
    }
}
