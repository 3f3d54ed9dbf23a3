//! The platform as a child process that can be killed and started again on the same data.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

/// Longest start.
const START: Duration = Duration::from_secs(60);
/// So much of a log is told, in bytes.
const TOLD: usize = 2_000;
/// Longest time until a crash point is armed.
const ARM: Duration = Duration::from_secs(10);
/// Longest time that a killed process takes to be gone, and between two looks.
const DEATH: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);
/// Signals, as their numbers are on every Unix.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Where the platform is and who may use it, as `cellspace up --json` says.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Admin listener.
    pub admin: String,
    /// Public listener.
    pub public: String,
    /// Operations listener.
    pub ops: String,
    /// Bootstrap client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

/// A process that is gone when this is: nothing is written to its folder any more once that is removed.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Without the runtime's help, since that may be ending too.
        let _ = self.0.start_kill();
        let since = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && since.elapsed() < DEATH {
            std::thread::sleep(LOOK);
        }
    }
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    child: Process,
    orders: ChildStdin,
    said: mpsc::UnboundedReceiver<Value>,
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
    /// Crash point to arm from the start on, as `name:times`.
    pub crash: Option<String>,
    /// Further arguments of `cellspace up`.
    pub arguments: Vec<String>,
}

/// How a start went.
#[derive(Debug)]
pub enum Start {
    /// It is ready.
    Ready(Platform),
    /// It ended first.
    Died {
        /// How.
        status: ExitStatus,
        /// What its log ends with.
        told: String,
    },
}

impl Start {
    /// The platform.
    ///
    /// # Errors
    /// When it died.
    pub fn ready(self) -> Result<Platform> {
        match self {
            Self::Ready(platform) => Ok(platform),
            Self::Died { status, told } => bail!("the platform ended with {status} before it was ready; its log ends with\n{told}"),
        }
    }
}

/// What the log ends with, since it may go with its folder.
pub(crate) fn told(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(TOLD)..]).trim().to_owned()
}

/// Starts a process whose log is appended to this file: the process, what takes its orders, and the objects that it prints.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<(Process, ChildStdin, mpsc::UnboundedReceiver<Value>)> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let mut child = Process(command.spawn().with_context(|| format!("{:?} cannot be started", command.as_std().get_program()))?);
    let stdout = child.0.stdout.take().context("no standard output")?;
    let orders = child.0.stdin.take().context("no standard input")?;
    let (hears, said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        // Also when nobody listens any more: whoever stops reading would end a child that goes on to print.
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(value) = serde_json::from_str::<Value>(&line) {
                let _ = hears.send(value);
            }
        }
    });
    Ok((child, orders, said))
}

impl Launch {
    /// Starts the platform and waits until it says that it is ready, or ends.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn start(&self) -> Result<Start> {
        let mut command = Command::new(&self.binary);
        command.args(["up", "--json", "--port", "0", "--data-dir"]).arg(&self.data).args(&self.arguments);
        if let Some(crash) = &self.crash {
            command.env("CELLSPACE_CRASH", crash);
        }
        let (mut child, orders, mut said) = spawn(command, &self.log)?;
        let ready = tokio::time::timeout(START, said.recv()).await;
        let ready = ready.with_context(|| format!("the platform was not ready in time; its log ends with\n{}", told(&self.log)))?;
        let Some(ready) = ready else { return Ok(Start::Died { status: child.0.wait().await?, told: told(&self.log) }) };
        let field = |name: &str| ready[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {ready}"));
        let endpoints = Endpoints {
            admin: field("admin")?,
            public: field("public")?,
            ops: field("ops")?,
            client_id: field("clientId")?,
            client_secret: secret(Path::new(&field("clientFile")?))?,
        };
        Ok(Start::Ready(Platform { child, orders, said, endpoints }))
    }
}

impl Platform {
    /// Its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.0.id().context("the platform has ended")
    }

    /// Arms a crash point, as `name:times`.
    ///
    /// # Errors
    /// When the platform does not say that it is armed.
    pub async fn arm(&mut self, point: &str) -> Result<()> {
        self.orders.write_all(format!("{point}\n").as_bytes()).await.context("the platform takes no orders")?;
        match tokio::time::timeout(ARM, self.said.recv()).await {
            Ok(Some(said)) if said["armed"] == point => Ok(()),
            // It reached the point before it could say so; whoever waits for its end sees of what it died.
            Ok(None) => Ok(()),
            other => bail!("the platform has no crash points ({other:?}): build it with `cargo build -p cellspace --features failpoints`"),
        }
    }

    /// Kills the process at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.child.0.start_kill().ok();
        Ok(self.child.0.wait().await?)
    }

    /// Ends the process in order (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it takes too long or does not end in order.
    pub async fn end(&mut self) -> Result<()> {
        signal(self.pid()?, "TERM").await?;
        let status = tokio::time::timeout(START, self.child.0.wait()).await.context("the platform did not end in time")??;
        if status.success() { Ok(()) } else { bail!("the platform ended with {status}") }
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.0.wait().await?)
    }
}

/// Sends a process a signal, named as `kill` names it.
pub(crate) async fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await.context("kill cannot be started")?;
    ensure!(status.success(), "process {pid} takes no {name}");
    Ok(())
}

/// Whether a process ended at a crash point.
#[must_use]
pub fn aborted(status: ExitStatus) -> bool {
    status.signal() == Some(SIGABRT)
}

/// Whether a process was killed.
#[must_use]
pub fn killed(status: ExitStatus) -> bool {
    status.signal() == Some(SIGKILL)
}

/// The secret in the first client's file: standard output shows it at the first start alone, which a crash may have cut short.
///
/// # Errors
/// When the file cannot be read.
pub fn secret(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let client: Value = serde_json::from_str(&text)?;
    client["clientSecret"].as_str().map(str::to_owned).with_context(|| format!("no secret in {}", file.display()))
}

/// The executable to test: the one that `CELLSPACE_BINARY` names, else `cellspace` beside our own, as cargo builds it now.
///
/// # Errors
/// When it cannot be built.
pub async fn binary() -> Result<PathBuf> {
    match named() {
        Some(path) => Ok(path),
        None => built("cellspace").await,
    }
}

/// The executable with crash points: the one that `CELLSPACE_BINARY` names, else one that cargo builds into a folder of its own, so that it is never measured.
///
/// # Errors
/// When it cannot be built.
pub async fn binary_with_crash_points() -> Result<PathBuf> {
    if let Some(path) = named() {
        return Ok(path);
    }
    let own =
        Output::own()?.context("no folder of cargo's to build crash points in: name a cellspace that has them by CELLSPACE_BINARY")?;
    own.within("failpoints").build("cellspace", &["--features", "failpoints"]).await
}

fn named() -> Option<PathBuf> {
    std::env::var_os("CELLSPACE_BINARY").map(Into::into)
}

/// The executable of this package beside our own. Where that lies in a folder of cargo's it is built first, so that it is what the sources are; that takes a
/// moment when nothing has changed. Elsewhere they were laid together by somebody who knows which belong to each other.
///
/// # Errors
/// When there is none, or it cannot be built.
pub async fn built(package: &str) -> Result<PathBuf> {
    built_with(package, &[]).await
}

/// The executable to test with what processes of a cell share: the one that `CELLSPACE_BINARY` names, else as [`binary`].
///
/// # Errors
/// When it cannot be built.
pub async fn binary_for_cells() -> Result<PathBuf> {
    match named() {
        Some(path) => Ok(path),
        None => built_with("cellspace", &["--features", "scylla,kafka"]).await,
    }
}

/// As [`built`], with further arguments for cargo.
///
/// # Errors
/// When there is none, or it cannot be built.
pub async fn built_with(package: &str, arguments: &[&str]) -> Result<PathBuf> {
    if let Some(own) = Output::own()? {
        return own.build(package, arguments).await;
    }
    let beside = folder()?.join(package);
    ensure!(beside.exists(), "no {package} beside this executable");
    Ok(beside)
}

/// The folder of our own executable.
fn folder() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("no folder of this executable")?.to_owned())
}

/// Where cargo puts what it builds.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    target: PathBuf,
    /// Name of the profile's folder.
    profile: String,
}

impl Output {
    /// Where our own executable was built; `None` when it lies elsewhere.
    fn own() -> Result<Option<Self>> {
        let folder = folder()?;
        // Cargo keeps its lock there.
        Ok(if folder.join(".cargo-lock").exists() { Self::of(&folder) } else { None })
    }

    fn of(folder: &Path) -> Option<Self> {
        Some(Self { target: folder.parent()?.to_owned(), profile: folder.file_name()?.to_str()?.to_owned() })
    }

    fn within(self, name: &str) -> Self {
        Self { target: self.target.join(name), ..self }
    }

    async fn build(&self, package: &str, arguments: &[&str]) -> Result<PathBuf> {
        let profile = if self.profile == "debug" { "dev" } else { &self.profile };
        let mut build = Command::new("cargo");
        build.args(["build", "--package", package, "--profile", profile, "--target-dir"]).arg(&self.target).args(arguments);
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null()).kill_on_drop(true);
        let status = build.status().await.context("cargo cannot be started")?;
        ensure!(status.success(), "{package} cannot be built: cargo ended with {status}");
        Ok(self.target.join(&self.profile).join(package))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_goes_beside_our_own_or_to_a_folder_of_its_own() {
        let own = Output::of(Path::new("/build/target/release")).unwrap();
        assert_eq!((own.target.as_path(), own.profile.as_str()), (Path::new("/build/target"), "release"));
        assert_eq!(own.within("failpoints").target, Path::new("/build/target/failpoints"));
        assert_eq!(Output::of(Path::new("/")), None);
    }
}
