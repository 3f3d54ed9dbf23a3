//! The first client: an admin whose secret lies in the data directory, made at the first start. There is no default password.
//!
//! The file is written before the client is made, so that no crash leaves a client whose secret nobody knows; a mark in the store keeps a
//! client that an operator has deleted from coming back.

use super::{NodeStore, StartError};
use crate::App;
use cellspace_actors::access::{
    clients::{self, ClientRole, Clients, Command, NewClient, Refusal, SecretHash},
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
};
use uuid::Uuid;

/// Name of the client.
const CLIENT: &str = "bootstrap";
/// Name of the file in the data directory.
const FILE: &str = "bootstrap-client.json";
/// Mark in the store: the client was made once.
const MADE: &str = "bootstrap-client";

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
    adopt(app, &bootstrap).await?;
    store.put_meta(MADE, "made").await?;
    Ok(Some(Bootstrap { is_new: true, ..bootstrap }))
}

async fn adopt(app: &App, bootstrap: &Bootstrap) -> Result<(), StartError> {
    let failed = |reason: &dyn std::fmt::Display| StartError::Bootstrap(reason.to_string());
    let id: ClientId = bootstrap.client_id.parse().map_err(|e| failed(&e))?;
    let scopes = SCOPES.map(str::to_owned).to_vec();
    let new = NewClient { id, role: Some(ClientRole::Admin), participant: None, scopes, may_exchange: false };
    let command = Command::AdoptClient(new, SecretHash::new(&bootstrap.client_secret, *Uuid::new_v4().as_bytes()));
    match app.services.cluster.ask::<Clients>(&clients::address(), command, Call::by("cellspace up")).await {
        // It exists when the last start ended before the mark was set.
        Ok(_) | Err(AskError::Refused(Refusal::Exists(_))) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// Writes the file whole or not at all, for its owner alone.
fn write(dir: &Path, path: &Path, stored: &Stored) -> io::Result<()> {
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
        let path = dir.join(FILE);
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
