//! A process between two parties: each of them has an id of its own for it, and every message names both.

use super::Role;
use cellspace_schemas::{Pid, dsp::reasons::Reasons};

/// A message or an answer names other processes than those it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message names another process")]
pub struct OtherProcess;

/// Both parties' ids of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pids {
    role: Role,
    own: Pid,
    theirs: Option<Pid>,
}

impl Pids {
    /// Ours as `role`, and the counterparty's as soon as it is known.
    pub fn new(role: Role, own: impl Into<Pid>, theirs: Option<&Pid>) -> Self {
        Self { role, own: own.into(), theirs: theirs.cloned() }
    }

    /// Whether the counterparty has not said yet what it calls the process.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.theirs.is_none()
    }

    /// `(consumerPid, providerPid)` as the counterparty is shown them: as long as its own is not known, ours stands in its place.
    #[must_use]
    pub fn shown(self) -> (Pid, Pid) {
        let theirs = self.theirs.unwrap_or_else(|| self.own.clone());
        match self.role {
            Role::Consumer => (self.own, theirs),
            Role::Provider => (theirs, self.own),
        }
    }

    /// The counterparty's process in a message or an answer with this `consumerPid` and `providerPid`.
    ///
    /// # Errors
    /// [`OtherProcess`] when they are not ours and the one that is known of the counterparty.
    pub fn of_sender(&self, consumer: Option<&Pid>, provider: Option<&Pid>) -> Result<Pid, OtherProcess> {
        let (own, theirs) = match self.role {
            Role::Consumer => (consumer, provider),
            Role::Provider => (provider, consumer),
        };
        let theirs = theirs.filter(|theirs| self.theirs.as_ref().is_none_or(|known| known == *theirs));
        theirs.filter(|_| own == Some(&self.own)).cloned().ok_or(OtherProcess)
    }
}

/// What a counterparty says about an end or a pause, in one text.
#[must_use]
pub fn told(code: Option<&str>, reason: &Reasons) -> Option<String> {
    match (code, reason.text()) {
        (Some(code), Some(reason)) => Some(format!("{reason} (code {code})")),
        (Some(code), None) => Some(format!("code {code}")),
        (None, reason) => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(text: &str) -> Pid {
        Pid::new(text).unwrap()
    }

    #[test]
    fn who_is_who() {
        let (own, theirs, other) = (pid("own"), pid("theirs"), pid("other"));
        for (role, swap) in [(Role::Consumer, false), (Role::Provider, true)] {
            let order = |own: Pid, theirs: Pid| if swap { (theirs, own) } else { (own, theirs) };
            let (unknown, known) = (Pids::new(role, own.clone(), None), Pids::new(role, own.clone(), Some(&theirs)));
            assert_eq!(known.clone().shown(), order(own.clone(), theirs.clone()));
            assert_eq!(unknown.clone().shown(), (own.clone(), own.clone()));
            let read = |pids: &Pids, own: &Pid, theirs: &Pid| {
                let (consumer, provider) = order(own.clone(), theirs.clone());
                pids.of_sender(Some(&consumer), Some(&provider))
            };
            assert_eq!((read(&unknown, &own, &other), read(&known, &own, &theirs)), (Ok(other.clone()), Ok(theirs.clone())));
            assert_eq!((read(&unknown, &other, &theirs), read(&known, &other, &theirs)), (Err(OtherProcess), Err(OtherProcess)));
            assert_eq!(read(&known, &own, &other), Err(OtherProcess));
            assert!(known.of_sender(Some(&own), None).is_err() && known.of_sender(None, Some(&own)).is_err());
        }
    }

    #[test]
    fn codes_and_reasons() {
        let why = Reasons::of("why");
        assert_eq!(told(Some("4"), &why).as_deref(), Some("why (code 4)"));
        assert_eq!((told(Some("4"), &Reasons::default()).as_deref(), told(None, &Reasons::default())), (Some("code 4"), None));
    }
}
