//! The story as it happens: a line a step on standard error or output, or one JSON object a step.

use anyhow::Result;
use serde_json::json;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Prints steps in order.
#[derive(Debug)]
pub struct Timeline {
    started: Instant,
    json: bool,
    colour: bool,
    steps: usize,
}

impl Timeline {
    /// Starts the clock.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { started: Instant::now(), json, colour: !json && std::io::stdout().is_terminal(), steps: 0 }
    }

    /// A new part of the story.
    pub fn chapter(&self, title: &str) {
        if !self.json {
            let (bold, plain) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            println!("\n{bold}{title}{plain}");
        }
    }

    /// A finished step: who did what over which hop, and how long it took.
    pub fn step(&mut self, who: &str, what: &str, hop: &str, took: Duration) {
        self.steps += 1;
        if self.json {
            let line = json!({ "step": self.steps, "who": who, "what": what, "hop": hop, "ms": millis(took), "at_ms": millis(self.started.elapsed()) });
            println!("{line}");
        } else {
            let (dim, plain) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
            println!("  {:>8.1} ms  {who:<9} {what}  {dim}{hop}{plain}", millis(took));
        }
        // A pipe that nobody reads any more is no reason to stop the story.
        let _ = std::io::stdout().flush();
    }

    /// Says that a wait goes on; only for people.
    pub fn waiting(&self, what: &str) {
        if !self.json {
            eprintln!("              ... {what}");
        }
    }

    /// The last line.
    pub fn finish(&self) {
        let total = self.started.elapsed();
        if self.json {
            println!("{}", json!({ "steps": self.steps, "result": "passed", "ms": millis(total) }));
        } else {
            println!("\nall {} steps passed in {:.1} s", self.steps, total.as_secs_f64());
        }
    }

    /// The last line of a story that broke off.
    pub fn broken(&self, reason: &anyhow::Error) {
        if self.json {
            println!("{}", json!({ "steps": self.steps, "result": "failed", "reason": format!("{reason:#}") }));
        } else {
            eprintln!("\nfailed after {} steps: {reason:#}", self.steps);
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Fails the story unless the condition holds.
///
/// # Errors
/// With the message, when it does not.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(anyhow::anyhow!(otherwise())) }
}
