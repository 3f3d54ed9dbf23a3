//! The story as it happens: a line a step on standard error or output, or one JSON object a step.

use cellspace_client::Reporter;
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
}

impl Reporter for Timeline {
    fn chapter(&mut self, title: &str) {
        if !self.json {
            let (bold, plain) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            println!("\n{bold}{title}{plain}");
        }
    }

    fn step(&mut self, who: &str, what: &str, hop: &str, took: Duration) {
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

    fn waiting(&mut self, what: &str) {
        if !self.json {
            eprintln!("              ... {what}");
        }
    }

    fn finished(&mut self) {
        let total = self.started.elapsed();
        if self.json {
            println!("{}", json!({ "steps": self.steps, "result": "passed", "ms": millis(total) }));
        } else {
            println!("\nall {} steps passed in {:.1} s", self.steps, total.as_secs_f64());
        }
    }

    fn broken(&mut self, reason: &anyhow::Error) {
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
