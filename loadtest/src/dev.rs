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

/// One of them.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    state: PathBuf,
}

impl Server {
    /// Starts the server of this script, with everything it keeps in this folder, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start; nothing stays.
    pub async fn start(name: &'static str, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let server = Self { name, state: folder.join("services") };
        std::fs::create_dir_all(&server.state)?;
        eprintln!("starting {name}");
        let mut script = Command::new(format!("{DEV}/{name}"));
        script.arg("start").args(arguments).env("CELLSPACE_DEV_STATE", &server.state).stdin(Stdio::null()).kill_on_drop(true);
        let output = script.output().await.with_context(|| format!("{DEV}/{name}"))?;
        ensure!(output.status.success(), "deploy/dev/{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(server)
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

/// The first of so many ports one after the other that are free on loopback.
///
/// # Errors
/// When there are none.
pub fn free_ports(count: u16) -> Result<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // From a random one on: whoever looks at the same time finds others.
    let first = rand::random_range(PORTS);
    let mut bases = (first..PORTS.end).chain(PORTS.start..first).step_by(usize::from(count));
    bases.find(|base| (0..count).all(|n| is_free(base + n))).context("no free ports")
}
