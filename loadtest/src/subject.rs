//! The platform that is measured: one of our own in a temporary directory, or one that runs already.

use crate::{
    cassandra::Cassandra,
    measure::{counters::Counters, process::Usage},
    options::Common,
    platform::{self, Launch, Platform},
    transcript::Tape,
};
use anyhow::{Context, Result};
use cellspace_client::{Caller, Client, Patience, Silent};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where it is, and who may use it.
pub struct Subject {
    /// Admin listener.
    pub admin: String,
    /// Public listener.
    pub public: String,
    /// Operations listener.
    pub ops: String,
    /// Client with all rights.
    client_id: String,
    client_secret: String,
    /// For calls that are not measured.
    pub http: reqwest::Client,
    /// Takes samples of what is measured.
    pub tape: Option<Arc<Tape>>,
    own: Option<Own>,
    /// How long it may be away for calls that are not measured.
    patience: Option<Patience>,
}

/// A platform of our own; what it keeps goes with it.
struct Own {
    // In this order: the platform ends before its database, and nothing is left to be written when the folder goes.
    platform: Platform,
    launch: Launch,
    _cassandra: Option<Cassandra>,
    folder: tempfile::TempDir,
}

impl Subject {
    /// Starts one with these further arguments of `cellspace up`, or takes the one that is named.
    ///
    /// # Errors
    /// When it does not start or is not there.
    pub async fn open(common: &Common, arguments: &[&str]) -> Result<Self> {
        let tape = common.transcript.as_deref().map(Tape::begin).transpose()?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        if let Some(against) = &common.against {
            let port = |step: u16| -> Result<String> {
                let mut url = against.clone();
                let port = against.port().context("the URL must have a port")?;
                url.set_port(Some(port.wrapping_add(step))).map_err(|()| anyhow::anyhow!("{against} cannot have a port"))?;
                Ok(url.as_str().trim_end_matches('/').to_owned())
            };
            let (client_id, client_secret) = common.credentials()?;
            // The public listener is the one before, operations the one after.
            return Ok(Self {
                public: port(u16::MAX)?,
                admin: port(0)?,
                ops: port(1)?,
                client_id,
                client_secret,
                http,
                tape,
                own: None,
                patience: None,
            });
        }
        let folder = platform::workspace(None)?;
        let mut arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (binary, cassandra) = match &common.cassandra {
            None => (platform::binary().await?, None),
            Some(nodes) => {
                let binary = platform::binary_for_cells().await?;
                let cassandra = Cassandra::open(nodes, folder.path()).await?;
                arguments.extend(cassandra.schema(&binary).await?);
                (binary, Some(cassandra))
            }
        };
        let launch = Launch { binary, data: folder.path().join("data"), log: folder.path().join("log"), crash: None, arguments };
        let platform = launch.start().await?.ready()?;
        let to = platform.endpoints.clone();
        let own = Some(Own { platform, launch, _cassandra: cassandra, folder });
        Ok(Self {
            admin: to.admin,
            public: to.public,
            ops: to.ops,
            client_id: to.client_id,
            client_secret: to.client_secret,
            http,
            tape,
            own,
            patience: None,
        })
    }

    /// One that runs already, and whose requests may take a while, since it is about to be disturbed: `client` is id and secret of one with all rights.
    ///
    /// # Errors
    /// When there can be no client for HTTP.
    pub fn at(public: String, admin: String, ops: String, (client_id, client_secret): (String, String)) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let patience = Some(Patience { limit: Duration::from_secs(60), pause: Duration::from_millis(100) });
        Ok(Self { public, admin, ops, client_id, client_secret, http, tape: None, own: None, patience })
    }

    /// Ends our own platform in order and starts it again on the same data.
    ///
    /// # Errors
    /// When it is not our own, or does not come back.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_after(async |_: &Path| Ok(())).await
    }

    /// As [`Subject::restart`], with work on its data directory before it is started again.
    ///
    /// # Errors
    /// When it is not our own, does not come back, or the work fails.
    pub async fn restart_after(&mut self, work: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
        let own = self.own.as_mut().context("only a platform of our own can be restarted: leave --against out")?;
        own.platform.end().await?;
        work(&own.launch.data).await?;
        own.platform = own.launch.start().await?.ready()?;
        let to = own.platform.endpoints.clone();
        (self.admin, self.public, self.ops) = (to.admin, to.public, to.ops);
        Ok(())
    }

    /// What it has used: as the kernel counts it for our own process, else as it says itself.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self, counters: &Counters) -> Result<Usage> {
        match &self.own {
            Some(own) => Usage::of(own.platform.pid()?),
            None => Ok(Usage { cpu: Duration::from_secs_f64(counters.cpu_seconds), resident: counters.resident }),
        }
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// When it has ended or does not answer.
    pub async fn resident(&self) -> Result<u64> {
        let counters = if self.own.is_some() { Counters::default() } else { Counters::read(self).await? };
        Ok(self.usage(&counters)?.resident)
    }

    /// Its data directory, when it is our own.
    #[must_use]
    pub fn data(&self) -> Option<PathBuf> {
        self.own.as_ref().map(|own| own.launch.data.clone())
    }

    /// A folder on the disk that it writes to.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.own.as_ref().map_or_else(std::env::temp_dir, |own| own.folder.path().to_owned())
    }

    /// A client of it that tells nobody, and the token of the client with all rights.
    ///
    /// # Errors
    /// When the token service refuses.
    pub async fn client(&self) -> Result<(Client, Caller)> {
        let mut client = self.silent();
        let admin = client.client_token("admin", &self.client_id, &self.client_secret).await?;
        Ok((client, admin))
    }

    /// A client of it that tells nobody.
    #[must_use]
    pub fn silent(&self) -> Client {
        let mut client = Client::new(self.http.clone(), self.admin.clone(), self.public.clone(), Box::new(Silent));
        client.patience = self.patience;
        client
    }

    /// How long it may be away for what is not measured.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.patience.map(|patience| patience.limit)
    }

    /// Host part of the DIDs that it serves.
    #[must_use]
    pub fn did_host(&self) -> String {
        did_host(&self.public)
    }
}

/// Host part of the DIDs that a platform serves at this public URL.
#[must_use]
pub fn did_host(public: &str) -> String {
    public.trim_start_matches("http://").replace(':', "%3A")
}
