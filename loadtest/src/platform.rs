//! The platform as a child process that can be killed and started again on the same data.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Longest start.
const START: Duration = Duration::from_secs(60);

/// Where the platform is and who may use it, as `cellspace up --json` says.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Admin listener.
    pub admin: String,
    /// Public listener.
    pub public: String,
    /// Bootstrap client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    child: Child,
    /// Where it is.
    pub endpoints: Endpoints,
}

/// How to start it.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `cellspace` executable.
    pub binary: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// Where its log goes; appended to.
    pub log: PathBuf,
    /// Crash point to arm, as `name:times`.
    pub crash: Option<String>,
    /// Idle time after which agents leave memory.
    pub idle: Duration,
}

impl Launch {
    /// Starts the platform and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends first or takes too long.
    pub async fn start(&self) -> Result<Platform> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.binary);
        command
            .args(["up", "--json", "--port", "0", "--status-list-age", "2s", "--idle-after"])
            .arg(format!("{}ms", self.idle.as_millis()))
            .arg("--data-dir")
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(crash) = &self.crash {
            command.env("CELLSPACE_CRASH", crash);
        }
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", self.binary.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(START, async {
            while let Some(line) = lines.next_line().await? {
                if let Ok(value) = serde_json::from_str::<Value>(&line)
                    && value["admin"].is_string()
                {
                    return Ok(value);
                }
            }
            bail!("the platform ended before it was ready; see {}", self.log.display())
        });
        let ready = ready.await.context("the platform was not ready in time")??;
        // Whoever stops reading would end a child that goes on to print.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let field = |name: &str| ready[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {ready}"));
        let endpoints = Endpoints {
            admin: field("admin")?,
            public: field("public")?,
            client_id: field("clientId")?,
            client_secret: secret(Path::new(&field("clientFile")?))?,
        };
        Ok(Platform { child, endpoints })
    }
}

impl Platform {
    /// Kills the process at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.start_kill().ok();
        self.child.wait().await?;
        Ok(())
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.child.wait().await?)
    }
}

/// The secret in the first client's file: standard output shows it at the first start alone, which a crash may have cut short.
fn secret(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let client: Value = serde_json::from_str(&text)?;
    client["clientSecret"].as_str().map(str::to_owned).with_context(|| format!("no secret in {}", file.display()))
}

/// The executable to test: `CELLSPACE_BINARY`, or `cellspace` beside our own.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CELLSPACE_BINARY") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().map(|folder| folder.join("cellspace")).filter(|path| path.exists());
    beside.context("no cellspace beside this executable: run `cargo build --release -p cellspace`")
}

/// A folder for one run, kept when something goes wrong.
///
/// # Errors
/// When it cannot be made.
pub fn workspace(within: Option<&Path>) -> Result<tempfile::TempDir> {
    Ok(match within {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    })
}
