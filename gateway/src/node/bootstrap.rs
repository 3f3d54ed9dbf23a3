//! The first client: an admin whose secret lies in the data directory, made at the first start. There is no default password.
//!
//! The file is written before the client is made, so that no crash leaves a client whose secret nobody knows; a mark in the store keeps a
//! client that an operator has deleted from coming back.

use super::{NodeStore, StartError};
use crate::App;
use cellspace_actors::access::{
    clients::{self, ClientRole, Clients, ClientsState, Command, NewClient, Refusal, SecretHash},
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
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Name of the client.
const CLIENT: &str = "bootstrap";
/// Name of the file in the data directory.
const FILE: &str = "bootstrap-client.json";
/// Mark in the store: the client was made once.
const MADE: &str = "bootstrap-client";

/// How long a process of a cell waits for the client, and looks again.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

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

/// Makes the client at the first start; afterwards reads its file, which may be gone.
pub async fn ensure(dir: &Path, store: &NodeStore, app: &App) -> Result<Option<Bootstrap>, StartError> {
    let made = store.meta(MADE).await?.is_some();
    let bootstrap = match Bootstrap::read(dir)? {
        Some(bootstrap) => bootstrap,
        None if made => return Ok(None),
        None => {
            let path = dir.join(FILE);
            let (client_id, token_url) = (CLIENT.to_owned(), app.services.urls.admin("/token"));
            let secret = fresh_secret().map_err(|e| StartError::Bootstrap(e.to_string()))?;
            let stored = Stored { client_id, client_secret: SecretText::new(secret.expose_secret()), token_url };
            write(dir, &path, &stored).map_err(|reason| StartError::ClientFile { path: path.clone(), reason })?;
            Bootstrap::of(stored, path)
        }
    };
    if made {
        return Ok(Some(bootstrap));
    }
    let is_own = adopt(app, &bootstrap).await?;
    store.put_meta(MADE, "made").await?;
    if !is_own {
        // Another process of the cell has made it, and has the file.
        fs::remove_file(&bootstrap.path).map_err(|reason| StartError::ClientFile { path: bootstrap.path.clone(), reason })?;
        return Ok(None);
    }
    Ok(Some(Bootstrap { is_new: true, ..bootstrap }))
}

/// The same in a cell: the process that serves the installation's slot makes the client, and all others wait until it is there.
pub async fn ensure_among(dir: &Path, store: &NodeStore, app: &App) -> Result<Option<Bootstrap>, StartError> {
    let until = Instant::now() + PATIENCE;
    loop {
        if store.meta(MADE).await?.is_some() {
            return Bootstrap::read(dir);
        }
        let made = if app.services.cluster.serves(&clients::address()) { Some(ensure(dir, store, app).await) } else { None };
        match made {
            Some(Ok(bootstrap)) => return Ok(bootstrap),
            // The slot may be on its way to another process.
            Some(Err(StartError::Bootstrap(_))) | None if Instant::now() < until => sleep(AGAIN).await,
            Some(Err(error)) => return Err(error),
            None => return Err(StartError::Bootstrap("no process of the cell serves the installation's slot".to_owned())),
        }
    }
}

/// Whether the client is the one of this file.
async fn adopt(app: &App, bootstrap: &Bootstrap) -> Result<bool, StartError> {
    let failed = |reason: &dyn std::fmt::Display| StartError::Bootstrap(reason.to_string());
    let id: ClientId = bootstrap.client_id.parse().map_err(|e| failed(&e))?;
    let scopes = SCOPES.map(str::to_owned).to_vec();
    let new = NewClient { id, role: Some(ClientRole::Admin), participant: None, scopes, may_exchange: false };
    let command = Command::AdoptClient(new, SecretHash::new(&bootstrap.client_secret, *Uuid::new_v4().as_bytes()));
    let proves =
        |state: &ClientsState| state.clients().any(|client| client.id.as_str() == CLIENT && client.secret.proves(bootstrap.secret()));
    match app.services.cluster.ask::<Clients>(&clients::address(), command, Call::by("cellspace up")).await {
        Ok(_) => Ok(true),
        // It exists when the last start ended before the mark was set, or when another process of the cell was first.
        Err(AskError::Refused(Refusal::Exists(_))) => {
            app.services.cluster.read::<Clients, _>(&clients::address(), proves).await.map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Writes the file whole or not at all, for its owner alone.
fn write(dir: &Path, path: &Path, stored: &Stored) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    // One that a crash left may be of any mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(stored)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
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
