//! The program as its users start it: a process with signals, standard output, files.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Longest time for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `cellspace`.
pub struct Process {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    pub stderr: PathBuf,
}

impl Process {
    /// Starts it with these arguments; standard error goes to a file in `dir`.
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::limited(dir, "", arguments)
    }

    /// The same after a command of the shell, such as `ulimit -f 1024;`.
    pub fn limited(dir: &Path, limit: &str, arguments: &[&str]) -> Self {
        let stderr = dir.join("stderr");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limit} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_cellspace")])
            .args(arguments)
            .env_remove("CELLSPACE_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, lines, stderr }
    }

    /// The next line of standard output; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.as_mut().unwrap().next_line()).await;
        line.unwrap_or_else(|_| panic!("nothing said; standard error: {}", self.errors())).unwrap()
    }

    /// The next line, which must be JSON.
    pub async fn json(&mut self) -> Option<Value> {
        let line = self.line().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}; standard error: {}", self.errors())))
    }

    /// Stops reading standard output.
    pub fn hang_up(&mut self) {
        self.lines = None;
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
    }

    pub async fn end(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the process ends").unwrap()
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }
}
