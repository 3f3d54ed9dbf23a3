//! What a backup is made of.

use crate::{CellName, Group, Head, Lease, Offset, PartitionKey, Seq, Topic, VaultPath, View, Wake};
use base64::{Engine, engine::general_purpose::STANDARD};
use cellspace_schemas::{Owner, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::num::NonZeroU64;

/// Bytes; base64 in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob(pub Vec<u8>);

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// How the rest is to be read.
    pub format: u32,
    /// Name of the installation, when it was given one.
    pub installation: Option<String>,
    /// The keyspace that its agents are in, when they are in one.
    pub keyspace: Option<String>,
    /// The cell of several processes that the keyspace is of; then nothing of a data directory is in it.
    pub cell: Option<String>,
    /// When it was begun.
    pub taken_at: Timestamp,
}

/// Every other line but the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// A setting of the installation.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// How often the store was opened: epochs begin above that.
    Boot(u64),
    /// What follows is in a keyspace of a database, with settings and boots of its own.
    Keyspace,
    /// The membership of a cell.
    View(View),
    /// A lease of the membership.
    Lease(Lease),
    /// Which cell has an owner who was moved: a home of which nothing is under way.
    Home {
        /// Whose.
        owner: Owner,
        /// Where that is.
        cell: CellName,
        /// Changes so far.
        version: NonZeroU64,
        /// When the owner came there, when that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came: Option<Timestamp>,
    },
    /// A partition; its rows follow.
    Partition {
        /// Whose.
        key: PartitionKey,
        /// The commit as of which its rows are.
        head: Head,
        /// What the wake index says of it.
        wake: Wake,
    },
    /// A row of the last partition.
    Row {
        /// Where.
        key: Blob,
        /// What.
        value: Blob,
    },
    /// An audit row of the last partition.
    Audit {
        /// Of which commit.
        seq: Seq,
        /// What.
        value: Blob,
    },
    /// An event of a commit that has not come to the log, where a database keeps it.
    Waiting {
        /// Whose commit.
        partition: PartitionKey,
        /// Which one.
        seq: Seq,
        /// Where it goes.
        topic: Topic,
        /// Its key.
        key: String,
        /// The event itself.
        payload: Blob,
    },
    /// A topic; its groups and events follow.
    Topic {
        /// Its name.
        topic: Topic,
        /// Offset of the next event.
        next: u64,
        /// Lowest offset that may be there.
        oldest: u64,
    },
    /// A consumer group of the last topic.
    Group {
        /// Its name.
        group: Group,
        /// How far it is.
        position: Offset,
    },
    /// An event of the last topic.
    Event {
        /// Where it stands.
        offset: Offset,
        /// Its key.
        key: String,
        /// The event itself.
        payload: Blob,
    },
    /// The vault's own key, sealed with the master key.
    VaultRoot(Blob),
    /// A record of the vault, sealed with the vault's own key.
    VaultRecord {
        /// Its place.
        path: Blob,
        /// What it holds.
        sealed: Blob,
    },
    /// A record of a cell's vault, sealed with that vault's own key.
    CellVaultRecord {
        /// Its place.
        path: VaultPath,
        /// What it holds.
        sealed: Blob,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_as_it_was_written_and_nothing_else_is_one() {
        let home = |came| Record::Home {
            owner: Owner::new("p/1").unwrap(),
            cell: CellName("b".to_owned()),
            version: NonZeroU64::new(4).unwrap(),
            came,
        };
        for (came, line) in [
            (Some(Timestamp(5)), r#"{"home":{"owner":"p/1","cell":"b","version":4,"came":5}}"#),
            (None, r#"{"home":{"owner":"p/1","cell":"b","version":4}}"#),
        ] {
            assert_eq!(serde_json::to_string(&home(came)).unwrap(), line);
            assert_eq!(serde_json::from_str::<Record>(line).unwrap(), home(came));
        }
        for line in [
            r#"{"home":{"owner":"","cell":"b","version":4}}"#,
            r#"{"home":{"owner":"p 1","cell":"b","version":4}}"#,
            r#"{"home":{"owner":"p/1","version":4}}"#,
            r#"{"home":{"owner":"p/1","cell":"b"}}"#,
            r#"{"home":{"owner":"p/1","cell":"b","version":0}}"#,
            r#"{"home":{"owner":"p/1","cell":"b","version":-4}}"#,
        ] {
            assert!(serde_json::from_str::<Record>(line).is_err(), "{line}");
        }
    }
}
