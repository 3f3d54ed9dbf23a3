//! Where truth is kept: traits for partitions, wake index, membership, event log and vault, and their backends: embedded ones,
//! ScyllaDB or Cassandra (feature `scylla`) for all but the event log, Kafka (feature `kafka`) for that, and for the vault also that of others.
//!
//! A **partition** holds one agent: its head, rows and audit trail, written by one conditional batch per turn ([`Partitions::commit`]).
//! Only this crate knows a database. Every backend passes the same `testkit`.

#![forbid(unsafe_code)]

mod backoff;
pub mod backup;
pub mod batch;
pub mod counters;
pub mod embedded;
pub mod event_log;
pub mod kafka;
pub mod membership;
pub mod partition;
pub mod partitions;
pub mod permit;
pub mod relocation;
pub mod remote_vault;
pub mod row;
pub mod scylla;
mod sealed;
pub mod slot;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod vault;
pub mod wake;

pub use batch::{AuditRow, Batch, Publication, RowChange};
pub use counters::Counters;
pub use embedded::{EmbeddedOptions, EmbeddedStore, EmbeddedVault, OpenError, Publishing, TopicReport};
pub use event_log::{DeadLetter, EventLog, EventRecord, Group, Offset, Topic};
#[cfg(feature = "kafka")]
pub use kafka::KafkaLog;
pub use kafka::{KafkaError, KafkaOptions};
pub use membership::{Dead, Deal, Incarnation, Lease, Member, Membership, NodeName, Settled, Swap, View};
pub use partition::{AgentKind, Epoch, Head, PartitionKey, Seq};
pub use partitions::{APART, Claim, ClaimError, CommitOutcome, Partitions, ReadRows, Rows, StoreError};
pub use permit::Permit;
pub use relocation::{Ahead, CellName, Home, Homes, Movable, Phase, Seal, Standing};
pub use remote_vault::{Login, ParticipantLogin, RemoteVault, RemoteVaultOptions, VaultOptionsError};
pub use row::{Row, RowKey, RowPage};
pub use scylla::{Replication, ScyllaError, ScyllaOptions};
#[cfg(feature = "scylla")]
pub use scylla::{ScyllaStore, ScyllaVault};
pub use sealed::{MASTER_KEY_BYTES, MasterKey};
pub use slot::{Slot, Slots};
pub use vault::{KeyAlgorithm, PublicKey, Secret, Vault, VaultError, VaultPath};
pub use wake::{DueRow, ReadWake, Wake, WakeCursor, WakeIndex, WakePage};
