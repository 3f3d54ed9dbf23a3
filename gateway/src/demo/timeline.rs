//! The story as it happens, on standard output: a line a step, or one JSON object a line.

use anyhow::Error;
use cellspace_client::Reporter;
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Prints steps in order.
#[derive(Debug)]
pub struct Timeline {
    started: Instant,
    json: bool,
    colour: bool,
    steps: usize,
    /// Where more can be read, when the platform is the demo's own.
    log: Option<PathBuf>,
    unheard: CancellationToken,
}

impl Timeline {
    /// Starts the clock; `log` is where more can be read.
    #[must_use]
    pub fn new(json: bool, log: Option<PathBuf>) -> Self {
        let colour = !json && io::stdout().is_terminal();
        Self { started: Instant::now(), json, colour, steps: 0, log, unheard: CancellationToken::new() }
    }

    /// Cancelled when nobody reads any more.
    #[must_use]
    pub fn unheard(&self) -> CancellationToken {
        self.unheard.clone()
    }

    fn line(&self, line: impl std::fmt::Display) {
        let mut out = io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            self.unheard.cancel();
        }
    }

    fn styled<'a>(&self, style: &'a str) -> (&'a str, &'static str) {
        if self.colour { (style, "\x1b[0m") } else { ("", "") }
    }

    /// The platform is up.
    pub fn begun(&self, public: &str) {
        if self.json {
            self.line(json!({ "begun": { "public": public, "log": self.log } }));
        } else {
            self.line(format_args!("a platform of its own is up at {public}, its log is {}", self.log()));
        }
    }

    /// The platform was up before.
    pub fn found(&self, public: &str) {
        if self.json {
            self.line(json!({ "begun": { "public": public, "log": null } }));
        } else {
            self.line(format_args!("the platform at {public} is played on"));
        }
    }

    fn log(&self) -> String {
        self.log.as_ref().map_or_else(|| "the platform's".to_owned(), |log| log.display().to_string())
    }

    /// How to reach a platform that stays: an object with `public`, `admin`, `ops`, `client`, `tokens`, `curl`.
    pub fn kept(&self, ways: &Value) {
        if self.json {
            return self.line(json!({ "kept": ways }));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut lines = vec!["\nthe platform keeps running; Ctrl-C ends it".to_owned()];
        lines.extend(["public", "admin", "ops"].map(|name| format!("  {name:<7} {}", text(&ways[name]))));
        lines.push(format!("  client  {} with secret {}", text(&ways["client"]["id"]), text(&ways["client"]["secret"])));
        lines.push("  tokens, valid for an hour:".to_owned());
        for token in ways["tokens"].as_array().into_iter().flatten() {
            let context = token["context"].as_str().map(|context| format!("  (context {context})")).unwrap_or_default();
            lines.push(format!("    {:<9} {}{context}", text(&token["name"]), text(&token["token"])));
        }
        lines.push("  for example:".to_owned());
        lines.extend(ways["curl"].as_array().into_iter().flatten().map(|curl| format!("    {}", text(curl))));
        self.line(lines.join("\n"));
    }
}

impl Reporter for Timeline {
    fn chapter(&mut self, title: &str) {
        if !self.json {
            let (bold, plain) = self.styled("\x1b[1m");
            self.line(format_args!("\n{bold}{title}{plain}"));
        }
    }

    fn step(&mut self, who: &str, what: &str, hop: &str, took: Duration) {
        self.steps += 1;
        if self.json {
            let (ms, at) = (millis(took), millis(self.started.elapsed()));
            self.line(json!({ "step": self.steps, "who": who, "what": what, "hop": hop, "ms": ms, "at_ms": at }));
        } else {
            let (dim, plain) = self.styled("\x1b[2m");
            self.line(format_args!("  {:>8.1} ms  {who:<9} {what}  {dim}{hop}{plain}", millis(took)));
        }
    }

    fn waiting(&mut self, what: &str) {
        if self.json {
            self.line(json!({ "waiting": what, "at_ms": millis(self.started.elapsed()) }));
        } else {
            let (dim, plain) = self.styled("\x1b[2m");
            self.line(format_args!("              ... {dim}{what}{plain}"));
        }
    }

    fn finished(&mut self) {
        let total = self.started.elapsed();
        if self.json {
            self.line(json!({ "steps": self.steps, "result": "passed", "ms": millis(total) }));
        } else {
            self.line(format_args!("\nall {} steps passed in {:.1} s", self.steps, total.as_secs_f64()));
        }
    }

    fn broken(&mut self, reason: &Error) {
        if self.json {
            self.line(json!({ "steps": self.steps, "result": "failed", "reason": format!("{reason:#}"), "log": self.log }));
        } else {
            self.line(format_args!("\nfailed after {} steps: {reason:#}\nthe log is {}", self.steps, self.log()));
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
