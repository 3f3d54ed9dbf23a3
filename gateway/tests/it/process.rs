//! The program as its users start it: a process with signals, standard output, files.

use crate::support::{PATIENCE, form_of, ok, text};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Instant,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

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
        Self::of(Path::new(env!("CARGO_BIN_EXE_cellspace")), dir, limit, arguments)
    }

    /// The same of this program.
    pub fn of(program: &Path, dir: &Path, limit: &str, arguments: &[&str]) -> Self {
        let stderr = dir.join("stderr");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
            .arg(program)
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

    /// What the program says with these arguments, or why it does not.
    pub async fn said(dir: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut process = Self::start(dir, arguments);
        let mut said = String::new();
        while let Some(line) = process.line().await {
            said.push_str(&line);
        }
        if process.end().await.success() { Ok(said) } else { Err(process.errors()) }
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

    pub async fn kill(mut self) {
        self.signal("KILL");
        self.end().await;
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

/// A running `cellspace up`, and its first client.
pub struct Up {
    pub process: Process,
    /// What it said at its start.
    pub line: Value,
    pub http: Client,
    token: String,
}

impl Up {
    /// Starts it after the shell's command `limit`. `secret` is that of the first client; `None`: this start makes it.
    pub async fn start(dir: &Path, limit: &str, secret: Option<&str>) -> Self {
        Self::with(dir, limit, secret, &[]).await
    }

    /// The same, with `more` arguments.
    pub async fn with(dir: &Path, limit: &str, secret: Option<&str>, more: &[&str]) -> Self {
        let data = dir.join("data");
        let mut arguments = vec!["up", "--json", "--log", "error", "--data-dir", data.to_str().unwrap()];
        arguments.extend(secret.is_none().then_some(["--port", "0"]).into_iter().flatten());
        arguments.extend(more);
        let until = Instant::now() + PATIENCE;
        let (process, line) = loop {
            let mut process = Process::limited(dir, limit, &arguments);
            match process.json().await {
                Some(line) => break (process, line),
                // Another test has one of its ports, for as long as it lasts.
                None if process.errors().contains("this installation keeps its ports") && Instant::now() < until => {}
                None => panic!("{}", process.errors()),
            }
        };
        let (http, secret) = (Client::new(), secret.map_or_else(|| text(&line, "clientSecret"), str::to_owned));
        let (id, url) = (text(&line, "clientId"), text(&line, "tokenUrl"));
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let token = text(&ok(form_of(http.post(url), &form).send().await.unwrap()).await, "access_token");
        Self { process, line, http, token }
    }

    /// A call of the admin listener.
    pub fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", text(&self.line, "admin"))).bearer_auth(&self.token)
    }

    pub async fn kill(self) {
        self.process.kill().await;
    }
}
