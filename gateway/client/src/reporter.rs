//! Who hears of the steps.

use anyhow::Result;
use std::{fmt::Debug, time::Duration};

/// Told of every step as it ends.
pub trait Reporter: Debug + Send + Sync {
    /// A new part of the story.
    fn chapter(&mut self, title: &str);
    /// A finished step: who did what over which hop, and how long it took.
    fn step(&mut self, who: &str, what: &str, hop: &str, took: Duration);
    /// A wait goes on.
    fn waiting(&mut self, what: &str);
    /// The story is over and everything held.
    fn finished(&mut self) {}
    /// The story broke off.
    fn broken(&mut self, _reason: &anyhow::Error) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn chapter(&mut self, _: &str) {}
    fn step(&mut self, _: &str, _: &str, _: &str, _: Duration) {}
    fn waiting(&mut self, _: &str) {}
}

/// Fails the story unless the condition holds.
///
/// # Errors
/// With the message, when it does not.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(anyhow::anyhow!(otherwise())) }
}
