//! Flags that all scenarios share.

use crate::drive::Pace;
use anyhow::{Context, Result, ensure};
use clap::{Args, builder::RangedU64ValueParser};
use std::{path::PathBuf, time::Duration};
use url::Url;

/// Length of a window of which nothing is said.
const SECONDS: f64 = 10.0;

/// How much load, on what, and how it is told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Operations at once; each worker begins the next one when its last one has ended.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub concurrency: Option<usize>,
    /// Operations a second, begun on schedule whatever the platform does: an operation that had to wait for a free worker counts from when it was due.
    #[arg(long, value_name = "R", value_parser = positive, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Length of the measured window; 10 where nothing is said.
    #[arg(long, value_name = "S", value_parser = positive)]
    pub seconds: Option<f64>,
    /// Admin listener of a platform that runs already (public and operations listeners are taken to be at the ports before and after it). Without it a
    /// platform is started, on free ports and in a temporary directory: the `cellspace` beside this executable, which cargo builds as the sources are now, or the one
    /// that CELLSPACE_BINARY names.
    #[arg(long, value_name = "URL")]
    pub against: Option<Url>,
    /// File with the first client of that platform, `bootstrap-client.json` in its data directory.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub client_file: Option<PathBuf>,
    /// Let the platform keep its agents in a Cassandra: the one at these HOSTS, or the one that CELLSPACE_TEST_CASSANDRA names (as `deploy/dev/cassandra env` says it), or
    /// one that deploy/dev starts (Java, Maven) and that ends with this.
    #[arg(long, value_name = "HOSTS", num_args = 0..=1, default_missing_value = "", conflicts_with = "against")]
    pub cassandra: Option<String>,
    /// Seed of everything random; a fresh one is taken and told without it.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one line with the result as a JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// Write 1,000 sampled exchanges, byte for byte, to this file.
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<PathBuf>,
}

/// Reads a number of things of which there must be some.
#[must_use]
pub fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Reads a number above 0.
///
/// # Errors
/// When it is none.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

/// How commands are told that choose load and platform themselves.
#[derive(Debug, Clone, Args)]
pub struct Told {
    /// Seed of the random moments; a fresh one is taken and told without it.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one line with the result as a JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// Write 1,000 sampled exchanges with the admin listeners, byte for byte, to this file.
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<PathBuf>,
    /// As in the scenarios; refused.
    #[arg(long, value_name = "URL", hide = true)]
    pub against: Option<String>,
}

impl Told {
    /// Begins the command of this name: the seed, taken afresh when none was given, which is told.
    ///
    /// # Errors
    /// When another platform was named than one of our own.
    pub fn begin(&self, name: &str) -> Result<u64> {
        ensure!(self.against.is_none(), "{name} starts and disturbs platforms of its own, and none that runs already: leave --against out");
        let seed = self.seed.unwrap_or_else(rand::random);
        eprintln!("seed {seed}");
        Ok(seed)
    }
}

impl Common {
    /// How many operate at once: as asked for, else `usual`. In an open loop enough that no worker is waited for.
    #[must_use]
    pub fn workers(&self, usual: usize) -> usize {
        match (self.concurrency, self.rate) {
            (Some(given), _) => given,
            (None, Some(_)) => usual.max(256),
            (None, None) => usual,
        }
    }

    /// The measured window.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { rate: self.rate, time: Duration::from_secs_f64(self.seconds.unwrap_or(SECONDS).clamp(0.1, 86_400.0)) }
    }

    /// For scenarios that need a platform of their own.
    ///
    /// # Errors
    /// When another one was named; says why it cannot be that one.
    pub fn own(&self, why: &str) -> Result<()> {
        ensure!(self.against.is_none(), "this scenario needs a platform of its own, since {why}: leave --against out");
        Ok(())
    }

    /// For scenarios that choose the load themselves.
    ///
    /// # Errors
    /// When a rate was asked for; says what is done in its place.
    pub fn no_rate(&self, instead: &str) -> Result<()> {
        ensure!(self.rate.is_none(), "this scenario takes no --rate: {instead}");
        Ok(())
    }

    /// For scenarios that measure no window: tells that its length means nothing, and why.
    pub fn no_window(&self, why: &str) {
        if self.seconds.is_some() {
            eprintln!("--seconds means nothing here: {why}");
        }
    }

    /// For scenarios that choose who operates.
    ///
    /// # Errors
    /// When a number was asked for; says what is done in its place.
    pub fn no_concurrency(&self, instead: &str) -> Result<()> {
        ensure!(self.concurrency.is_none(), "this scenario takes no --concurrency: {instead}");
        Ok(())
    }

    /// The seed, taken afresh when none was given.
    pub fn seed(&mut self) -> u64 {
        *self.seed.get_or_insert_with(rand::random)
    }

    /// Id and secret of the first client of a platform that runs already.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn credentials(&self) -> Result<(String, String)> {
        let file = self.client_file.as_ref().context("--against needs --client-file, for example DATA_DIR/bootstrap-client.json")?;
        let client: serde_json::Value = serde_json::from_slice(&std::fs::read(file).with_context(|| file.display().to_string())?)?;
        let field = |name: &str| client[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {}", file.display()));
        Ok((field("clientId")?, field("clientSecret")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Kill {
        #[command(flatten)]
        told: Told,
    }

    #[test]
    fn kill_takes_no_other_platform() {
        let told = |arguments: &[&str]| Kill::try_parse_from(["kill"].iter().chain(arguments)).unwrap().told;
        assert_eq!(told(&["--seed", "1", "--json", "--transcript", "t"]).begin("kill").unwrap(), 1);
        let refused = told(&["--against", "http://localhost:7071"]).begin("kill").unwrap_err();
        assert!(refused.to_string().contains("leave --against out"), "{refused}");
    }
}
