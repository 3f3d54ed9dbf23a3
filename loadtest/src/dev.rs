//! Servers of our own, as `deploy/dev` starts them; each ends with what holds it.

use anyhow::{Context, Result, ensure};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
};
use tokio::process::Command;

const DEV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev");
/// Where ports are looked for: below those that the system gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 21_000..31_000;
/// Where servers of one node are.
pub const HOST: &str = "127.0.0.1";

/// What a script's environment is to say beside where the server keeps what it has.
pub type Environment = &'static [(&'static str, &'static str)];

/// One of them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    state: PathBuf,
    environment: Environment,
}

impl Server {
    /// Starts the server of this script, with everything it keeps in this folder, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start; nothing stays.
    pub async fn start(name: &'static str, folder: &Path, environment: Environment, arguments: &[String]) -> Result<Self> {
        let server = Self { name, state: folder.join("services"), environment };
        std::fs::create_dir_all(&server.state)?;
        eprintln!("starting {name}");
        let arguments: Vec<&str> = std::iter::once("start").chain(arguments.iter().map(String::as_str)).collect();
        server.script(&arguments).await?;
        Ok(server)
    }

    /// Runs its script.
    ///
    /// # Errors
    /// When that fails.
    pub async fn script(&self, arguments: &[&str]) -> Result<()> {
        let mut script = Command::new(format!("{DEV}/{}", self.name));
        script.args(arguments).env("CELLSPACE_DEV_STATE", &self.state).envs(self.environment.iter().copied());
        let output = script.stdin(Stdio::null()).kill_on_drop(true).output().await.with_context(|| format!("{DEV}/{}", self.name))?;
        ensure!(output.status.success(), "deploy/dev/{} {arguments:?}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut script = Blocking::new(format!("{DEV}/{}", self.name));
        script.arg("reset").env("CELLSPACE_DEV_STATE", &self.state);
        let ended = script.stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{} did not end; what it keeps is in {}", self.name, self.state.display());
        }
    }
}

/// The first of so many ports one after the other that are free on all these addresses.
///
/// # Errors
/// When there are none.
pub fn free_ports(addresses: &[impl AsRef<str>], count: u16) -> Result<u16> {
    let is_free = |port: u16| addresses.iter().all(|address| TcpListener::bind((address.as_ref(), port)).is_ok());
    // From a random one on: whoever looks at the same time finds others.
    let first = rand::random_range(PORTS);
    let mut bases = (first..PORTS.end).chain(PORTS.start..first).step_by(usize::from(count));
    bases.find(|base| (0..count).all(|n| is_free(base + n))).context("no free ports")
}
