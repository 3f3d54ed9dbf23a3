//! Why a node does not start, and what to do about it.

use crate::http::TableError;
use cellspace_cluster::{
    NodeName,
    link::{IdentityError, NameError},
};
use cellspace_storage::{KafkaError, OpenError, ScyllaError, StoreError, VaultError, VaultOptionsError};
use std::{io, net::IpAddr, path::PathBuf};
use url::Url;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be used.
    #[error(transparent)]
    Scylla(#[from] ScyllaError),
    /// The agents of the data directory are in another store.
    #[error("the agents of this installation are in {known}, not in {wanted}: start it as before, or begin anew with another --data-dir")]
    OtherStore {
        /// Where they are.
        known: String,
        /// Where they are looked for now.
        wanted: String,
    },
    /// The keyspace belongs to another data directory.
    #[error(
        "the keyspace {0} holds the agents of another installation: start it with that one's --data-dir, or begin anew with another --cassandra-keyspace"
    )]
    OtherInstallation(String),
    /// The keyspace belongs to another cell.
    #[error("the keyspace {keyspace} is that of the cell {found:?}, not of {wanted:?}: each cell has a keyspace of its own")]
    OtherCell {
        /// Which keyspace.
        keyspace: String,
        /// Whose it is.
        found: String,
        /// For whom it was to be opened.
        wanted: String,
    },
    /// Several processes share what one has in its data directory.
    #[error("a process of a cell needs {0}, which all of them share")]
    CellNeeds(&'static str),
    /// What is chosen for the process makes no sense.
    #[error("{key}: {reason}")]
    Cell {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Processes of a cell judge each other by the same terms.
    #[error(
        "the cell keeps the terms that it began with ({known}), not {wanted}: start it as before, or end all its processes and say cellspace admin terms"
    )]
    OtherTerms {
        /// Those of the others.
        known: String,
        /// Those of this process.
        wanted: String,
    },
    /// What all processes of a cell judge each other by is changed while none of them runs.
    #[error("node {0} of the cell runs: end all of them first")]
    CellRuns(NodeName),
    /// No cell has begun there.
    #[error("no cell has begun in the keyspace {0}: its first start takes the terms of its file")]
    NoCell(String),
    /// Its certificates cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its name cannot be one.
    #[error(transparent)]
    PeerName(#[from] NameError),
    /// Its life in the cell is over, for this reason.
    #[error("this process is no part of the cell any more: {0}")]
    LifeOver(String),
    /// It was told to end before it was up.
    #[error("ended by a signal before the node was up")]
    Ended,
    /// Kafka cannot be used.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The events of the data directory are in another log.
    #[error(
        "the events of this installation are in {known}, not in {wanted}: start it as before, or begin anew with another --data-dir (a cell: another keyspace)"
    )]
    OtherEvents {
        /// Where they are.
        known: String,
        /// Where they are looked for now.
        wanted: String,
    },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The installation's vault is not named as it must be.
    #[error(transparent)]
    VaultOptions(#[from] VaultOptionsError),
    /// The installation's vault does not answer, or refuses.
    #[error("the vault cannot be used ({vault}): {reason}")]
    VaultAway {
        /// The options that name it.
        vault: String,
        /// Why.
        reason: String,
    },
    /// Keys lie in another vault.
    #[error(
        "the keys of this installation lie in {known}, not in {wanted}: start it as before, or begin anew with another --data-dir (a cell: another keyspace)"
    )]
    OtherVault {
        /// Where they lie.
        known: String,
        /// Where they are looked for now.
        wanted: String,
    },
    /// The fabric cannot start.
    #[error(transparent)]
    Fabric(#[from] cellspace_actors::fabric::StartError),
    /// A port is taken, or may not be bound.
    #[error("cannot listen on {host}:{port} for the {listener} listener ({reason}): {way_out}")]
    Bind {
        /// Address.
        host: IpAddr,
        /// Port.
        port: u16,
        /// Which listener.
        listener: &'static str,
        /// Why.
        reason: io::Error,
        /// What to do.
        way_out: &'static str,
    },
    /// Three ports in a row do not fit above it.
    #[error("port {0} leaves no room for the admin and operations listeners on the next two: choose one up to {max}", max = super::Ports::LAST_BASE)]
    Port(u16),
    /// The certificate of the listeners cannot be used.
    #[error("the certificate of the listeners (--tls-cert, --tls-key): {0}")]
    Tls(IdentityError),
    /// The authorities that are to be believed cannot be.
    #[error("the authorities (--ca-file): {0}")]
    Authorities(IdentityError),
    /// No encryption, and not loopback.
    #[error(
        "{0} is no loopback address and requests are not encrypted here: give --tls-cert and --tls-key, or put a TLS proxy in front and say --allow-plain-http"
    )]
    NotLoopback(IpAddr),
    /// Not a base URL.
    #[error("{0} is not a base URL: expected http(s)://host[:port] without a path")]
    BadUrl(Url),
    /// Nobody reaches its listeners there.
    #[error("{0} is not reached: with --tls-cert listeners speak TLS alone, so their URLs begin with https")]
    PlainUrl(Url),
    /// The installation is known under another URL.
    #[error(
        "this installation is known as {stored} ({what} URL), which is part of its data, not as {wanted}: say {flag} {stored}, \
         start it on the port it had, or begin anew with another --data-dir (a cell: another keyspace)"
    )]
    UrlChanged {
        /// Which of the two.
        what: &'static str,
        /// The option that names it.
        flag: &'static str,
        /// As stored.
        stored: String,
        /// As it would be now.
        wanted: String,
    },
    /// The settings of the installation cannot be read.
    #[error("the settings of the installation cannot be read: {0}")]
    Settings(String),
    /// What the store remembers of the installation makes no sense.
    #[error("the stored setting {0} is not readable: restore a backup")]
    Setting(&'static str),
    /// The file of the first client cannot be read or written.
    #[error("the client file {}: {reason}", .path.display())]
    ClientFile {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The first client cannot be made.
    #[error("the first client cannot be made: {0}")]
    Bootstrap(String),
    /// A mistake in the program.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
    /// Anything else of the machine.
    #[error(transparent)]
    Io(#[from] io::Error),
}
