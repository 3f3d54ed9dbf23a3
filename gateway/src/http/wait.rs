//! Waiting without polling: `?wait=FINALIZED&timeout=10s` on the GET of something that has a state.
//!
//! The answer is the thing as it is when the wanted state, any final state or the time-out is reached; the status is 200 in all three cases.

use super::{ApiError, Request};
use cellspace_cluster::{Address, Agent, AskError, Cluster};
use std::time::Duration;

/// Longest wait; a longer time-out is cut to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// Wait without a `timeout` parameter.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// Longest accepted state name, in bytes.
const MAX_STATE_BYTES: usize = 64;

/// What a client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The wanted state, as the client spelled it.
    pub state: String,
    /// How long, at most [`MAX_WAIT`].
    pub timeout: Duration,
}

impl Wait {
    /// Reads `wait` and `timeout` of the query; `None` without `wait`. Of the time goes what the client has waited already.
    ///
    /// # Errors
    /// Invalid request when a value is malformed, or `timeout` stands alone.
    pub fn of(request: &Request) -> Result<Option<Self>, ApiError> {
        let wait = Self::parse(request.query.get("wait").map(String::as_str), request.query.get("timeout").map(String::as_str))?;
        Ok(wait.map(|wait| wait.after(request.waited)))
    }

    /// What is left of it.
    fn after(self, waited: Duration) -> Self {
        Self { timeout: self.timeout.saturating_sub(waited), ..self }
    }

    fn parse(state: Option<&str>, timeout: Option<&str>) -> Result<Option<Self>, ApiError> {
        let Some(state) = state else {
            return if timeout.is_none() { Ok(None) } else { Err(ApiError::invalid("timeout needs wait=<state>")) };
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if state.is_empty() || state.len() > MAX_STATE_BYTES || !state.bytes().all(word) {
            return Err(ApiError::invalid("wait must be the name of a state"));
        }
        let timeout = timeout
            .map_or(Ok(DEFAULT_WAIT), |text| parse_duration(text).ok_or_else(|| ApiError::invalid(format!("timeout: {DURATION}"))))?;
        Ok(Some(Self { state: state.to_owned(), timeout: timeout.min(MAX_WAIT) }))
    }

    /// Whether `state` is the wanted one; letter case does not matter, since peers spell some states in lower case.
    #[must_use]
    pub fn wants(&self, state: &str) -> bool {
        self.state.eq_ignore_ascii_case(state)
    }
}

/// What durations are, for those who give something else.
pub const DURATION: &str = "expected a number of seconds, or one with the unit ms, s or m, for example 10s";

/// `10s`, `500ms`, `1m`, or whole seconds without a unit.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

/// How far a thing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its state.
    pub state: &'a str,
    /// Whether no other state can follow.
    pub is_final: bool,
}

/// Reads a thing of an agent's snapshot with `view`; with a [`Wait`], as it is when the wait is over. `None` when the thing does not exist.
///
/// # Errors
/// [`AskError`] of the agent.
pub async fn read_when<A: Agent, T: Send>(
    cluster: &Cluster,
    address: &Address,
    wait: Option<&Wait>,
    view: impl Fn(&A::State) -> Option<T> + Send + Sync,
    progress: impl Fn(&T) -> Progress<'_> + Send + Sync,
) -> Result<Option<T>, AskError<A::Refusal>> {
    if let Some(wait) = wait {
        // The outer option ends the wait: on a thing that came far enough, and at once on one that does not exist.
        let over = |state: &A::State| match view(state) {
            None => Some(None),
            Some(thing) => {
                let Progress { state, is_final } = progress(&thing);
                (is_final || wait.wants(state)).then_some(Some(thing))
            }
        };
        if let Some(found) = cluster.wait::<A, _>(address, wait.timeout, over).await? {
            return Ok(found);
        }
    }
    cluster.read::<A, _>(address, &view).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("10s", 10_000), ("250ms", 250), ("1m", 60_000), ("7", 7_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(expected)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "10h", "99999999999999999999s", "1 s"] {
            assert_eq!(parse_duration(bad).filter(|_| !bad.is_empty()), None, "{bad}");
        }
    }

    #[test]
    fn queries() {
        assert_eq!(Wait::parse(None, None).unwrap(), None);
        let wait = Wait::parse(Some("FINALIZED"), None).unwrap().unwrap();
        assert_eq!(wait.timeout, DEFAULT_WAIT);
        assert!(wait.wants("FINALIZED") && wait.wants("finalized") && !wait.wants("AGREED"));
        assert_eq!(Wait::parse(Some("active"), Some("500s")).unwrap().unwrap().timeout, MAX_WAIT);
        for (state, timeout) in
            [(None, Some("1s")), (Some(""), None), (Some("A B"), None), (Some("A"), Some("soon")), (Some("A"), Some(""))]
        {
            assert!(Wait::parse(state, timeout).is_err(), "{state:?} {timeout:?}");
        }
        // What its client has waited at other nodes counts.
        let left = |waited| wait.clone().after(Duration::from_secs(waited)).timeout.as_secs();
        assert_eq!((left(0), left(7), left(11)), (10, 3, 0));
    }
}
