//! The first client: an admin whose secret lies in the data directory, made at the first start. There is no default password.
//!
//! The file is written before the client is made, so that no crash leaves a client whose secret nobody knows, and has its name once the client is known to have
//! its secret: of several processes that start at the same time, one has it. A mark in the store keeps a client that an operator has deleted from coming back, and says
//! where the file is.

use super::{NodeStore, StartError};
use crate::App;
use cellspace_actors::access::{
    clients::{self, ClientRole, Clients, Command, HashOf, NewClient, Refusal, SecretHash},
    fresh_secret,
};
use cellspace_cluster::{AskError, Call};
use cellspace_schemas::{ClientId, SecretText};
use cellspace_storage::Secret;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// Name of the client.
const CLIENT: &str = "bootstrap";
/// Name of the file in the data directory.
const FILE: &str = "bootstrap-client.json";
/// Its name until the client is known to have its secret.
const BEGUN: &str = "bootstrap-client.new";
/// Mark in the store: the client was made once. Its value is where its file is, for people.
const MADE: &str = "bootstrap-client";
/// Who has made it has not said where.
const UNSAID: &str = "a process that has not said so";

/// How long a process of a cell waits for the client, and looks again.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);
/// How long a start waits for whether its client's file opens anything.
const SOON: Duration = Duration::from_secs(5);

/// Everything that an admin may do.
const SCOPES: [&str; 13] = [
    "management-api:admin",
    "identity-api:admin",
    "issuer-admin-api:admin",
    "siglet-api:admin",
    "siglet-mgmt-api:admin",
    "data-plane-api:admin",
    "signaling-api:admin",
    "token-service-api:admin",
    "runtime-api:admin",
    "tenant-manager-api:read",
    "tenant-manager-api:write",
    "provision-manager-api:read",
    "provision-manager-api:write",
];

/// The first client's credentials.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// OAuth2 `client_id`.
    pub client_id: String,
    /// OAuth2 `client_secret`.
    pub client_secret: Secret,
    /// Where tokens are asked for.
    pub token_url: String,
    /// The file that holds them.
    pub path: PathBuf,
    /// Whether this start made them.
    pub is_new: bool,
}

/// As in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    client_id: String,
    client_secret: SecretText,
    token_url: String,
}

/// Makes the client at the first start; afterwards reads its file, which may be gone or with another process.
pub async fn ensure(dir: &Path, store: &NodeStore, app: &App) -> Result<Option<Bootstrap>, StartError> {
    match store.meta(MADE).await? {
        Some(place) => found(dir, store, app, place).await,
        None => make(dir, store, app).await,
    }
}

/// The same in a cell: the process that serves the installation's slot makes the client, and all others wait until it is there.
pub async fn ensure_among(dir: &Path, store: &NodeStore, app: &App) -> Result<Option<Bootstrap>, StartError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let may = store.meta(MADE).await?.is_some() || app.services.cluster.serves(&clients::address());
        let ensured = if may { Some(ensure(dir, store, app).await) } else { None };
        match ensured {
            Some(Ok(bootstrap)) => return Ok(bootstrap),
            // The slot may be on its way to another process.
            Some(Err(StartError::Bootstrap(_))) | None if Instant::now() < until => sleep(AGAIN).await,
            Some(Err(error)) => return Err(error),
            None => return Err(StartError::Bootstrap("no process of the cell serves the installation's slot".to_owned())),
        }
    }
}

async fn make(dir: &Path, store: &NodeStore, app: &App) -> Result<Option<Bootstrap>, StartError> {
    let known = Bootstrap::read(dir)?;
    let (is_begun, client) = match (known, Bootstrap::begun(dir)?) {
        (Some(known), _) => (false, known),
        (None, Some(begun)) => (true, begun),
        (None, None) => {
            let (client_id, token_url, path) = (CLIENT.to_owned(), app.services.urls.admin("/token"), dir.join(BEGUN));
            let secret = fresh_secret().map_err(|e| StartError::Bootstrap(e.to_string()))?;
            let stored = Stored { client_id, client_secret: SecretText::new(secret.expose_secret()), token_url };
            write(dir, &path, &stored).map_err(|reason| StartError::ClientFile { path: path.clone(), reason })?;
            (true, Bootstrap::of(stored, path))
        }
    };
    if adopt(app, &client).await? {
        let client = if is_begun { client.confirmed(dir)? } else { client };
        store.put_meta(MADE, &place(app, &client)).await?;
        return Ok(Some(Bootstrap { is_new: true, ..client }));
    }
    // Another process of the cell has made it, which has not said so yet.
    let place = store.first_meta(MADE, UNSAID).await?;
    found(dir, store, app, place).await
}

/// The client was made, and its file is there.
async fn found(dir: &Path, store: &NodeStore, app: &App, place_of_it: String) -> Result<Option<Bootstrap>, StartError> {
    if let Some(begun) = Bootstrap::begun(dir)? {
        // This process ended before it knew whether it has made the client, or another one was first.
        if is_own(app, &begun).await? {
            let client = begun.confirmed(dir)?;
            store.put_meta(MADE, &place(app, &client)).await?;
            return Ok(Some(client));
        }
        fs::remove_file(&begun.path).map_err(|reason| StartError::ClientFile { path: begun.path.clone(), reason })?;
    }
    let client = match Bootstrap::read(dir)? {
        // One of another installation, or of a client that was deleted. Where that is not known soon it counts: no start waits for those that know.
        Some(client) if matches!(timeout(SOON, is_own(app, &client)).await, Ok(Ok(false))) => {
            tracing::warn!(category = "app", action = "client.stale", path = %client.path.display(), "the file of the first client opens nothing");
            None
        }
        client => client,
    };
    if client.is_none() && app.nodes.is_some() {
        tracing::info!(category = "app", action = "client.elsewhere", place = place_of_it, "the file of the first client is not here");
    }
    Ok(client)
}

/// Where the client's file is, for those who look for it on another process.
fn place(app: &App, client: &Bootstrap) -> String {
    let path = std::path::absolute(&client.path).unwrap_or_else(|_| client.path.clone());
    let node = app.nodes.as_ref().map(|nodes| format!("node {}: ", nodes.me())).unwrap_or_default();
    format!("{node}{}", path.display())
}

/// Makes the client with the secret of this file; whether it has that.
async fn adopt(app: &App, bootstrap: &Bootstrap) -> Result<bool, StartError> {
    let scopes = SCOPES.map(str::to_owned).to_vec();
    let new = NewClient { id: bootstrap.id()?, role: Some(ClientRole::Admin), participant: None, scopes, may_exchange: false };
    let command = Command::AdoptClient(new, SecretHash::new(&bootstrap.client_secret, *Uuid::new_v4().as_bytes()));
    match app.services.cluster.ask::<Clients>(&clients::address(), command, Call::by("cellspace up")).await {
        Ok(_) => Ok(true),
        // It exists when the last start ended before the mark was set, or when another process of the cell was first.
        Err(AskError::Refused(Refusal::Exists(_))) => is_own(app, bootstrap).await,
        Err(error) => Err(StartError::Bootstrap(error.to_string())),
    }
}

/// Whether the client is the one of this file.
async fn is_own(app: &App, bootstrap: &Bootstrap) -> Result<bool, StartError> {
    let known = app.services.cluster.query_patiently::<Clients, _>(&clients::address(), &HashOf(bootstrap.id()?)).await;
    let known = known.map_err(|error| StartError::Bootstrap(error.to_string()))?;
    Ok(known.is_some_and(|hash| hash.proves(bootstrap.secret())))
}

/// Writes the file, for its owner alone. What a crash leaves of it is no client.
fn write(dir: &Path, path: &Path, stored: &Stored) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // One that a crash left may be of any mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec_pretty(stored)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

impl Bootstrap {
    /// The client whose file is in the data directory; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, StartError> {
        Self::read_file(dir.join(FILE))
    }

    /// The client of this file; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_file(path: PathBuf) -> Result<Option<Self>, StartError> {
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        match stored {
            Ok(stored) => Ok(Some(Self::of(stored, path))),
            Err(reason) => Err(StartError::ClientFile { path, reason }),
        }
    }

    /// One of which it is not known whether it opens anything.
    fn begun(dir: &Path) -> Result<Option<Self>, StartError> {
        match Self::read_file(dir.join(BEGUN)) {
            // What a crash has left of it was no client's yet.
            Err(StartError::ClientFile { reason, .. }) if reason.kind() == io::ErrorKind::InvalidData => Ok(None),
            read => read,
        }
    }

    /// It opens everything: it has its name from now on.
    fn confirmed(self, dir: &Path) -> Result<Self, StartError> {
        let path = dir.join(FILE);
        let named = fs::rename(&self.path, &path).and_then(|()| File::open(dir)?.sync_all());
        named.map_err(|reason| StartError::ClientFile { path: path.clone(), reason })?;
        Ok(Self { path, ..self })
    }

    fn id(&self) -> Result<ClientId, StartError> {
        self.client_id.parse().map_err(|error| StartError::Bootstrap(format!("{}: {error}", self.path.display())))
    }

    fn of(stored: Stored, path: PathBuf) -> Self {
        let Stored { client_id, client_secret, token_url } = stored;
        Self { client_id, client_secret: client_secret.expose().into(), token_url, path, is_new: false }
    }

    /// The secret, for those who print or use it.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.client_secret.expose_secret()
    }
}
