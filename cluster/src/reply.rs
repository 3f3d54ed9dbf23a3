//! The way back to a command's caller. Whatever becomes of a turn, each caller hears one of the three.

use crate::Agent;
use cellspace_storage::Seq;
use tokio::sync::oneshot;

/// What a command's caller hears.
pub(crate) enum Answer<A: Agent> {
    Done(A::Reply),
    Refused(A::Refusal),
    KeyReused,
    /// `prepare` must run once more.
    Stale,
    /// Nothing was executed; it may be tried again at once.
    NotExecuted(String),
    /// Nothing was executed, and this command may be why: its caller is told, and it is not tried again.
    Failed(String),
    /// It may be part of this commit, whose outcome is not known.
    InDoubt(Seq, String),
}

/// What the caller is told when the activation ends before it has an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Otherwise {
    NotExecuted,
    Failed,
    InDoubt(Seq),
}

/// Answers exactly once, also when it is dropped by a panic.
pub(crate) struct ReplyTo<A: Agent> {
    caller: Option<oneshot::Sender<Answer<A>>>,
    otherwise: Otherwise,
}

impl<A: Agent> ReplyTo<A> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Answer<A>>) {
        let (caller, answer) = oneshot::channel();
        (Self { caller: Some(caller), otherwise: Otherwise::NotExecuted }, answer)
    }

    pub(crate) fn otherwise(&mut self, otherwise: Otherwise) {
        self.otherwise = otherwise;
    }

    /// Who no longer waits does not mind.
    pub(crate) fn send(mut self, answer: Answer<A>) {
        self.tell(answer);
    }

    /// The activation has ended.
    pub(crate) fn give_up(mut self, reason: &str) {
        self.tell_otherwise(reason);
    }

    fn tell_otherwise(&mut self, reason: &str) {
        let reason = reason.to_owned();
        self.tell(match self.otherwise {
            Otherwise::NotExecuted => Answer::NotExecuted(reason),
            Otherwise::Failed => Answer::Failed(reason),
            Otherwise::InDoubt(seq) => Answer::InDoubt(seq, reason),
        });
    }

    fn tell(&mut self, answer: Answer<A>) {
        if let Some(caller) = self.caller.take() {
            let _ = caller.send(answer);
        }
    }
}

impl<A: Agent> Drop for ReplyTo<A> {
    fn drop(&mut self) {
        if self.caller.is_some() {
            self.tell_otherwise("the agent failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Idle;

    #[test]
    fn whoever_drops_it_answers() {
        let dropped = |otherwise: Otherwise| {
            let (mut reply, mut answer) = ReplyTo::<Idle>::new();
            reply.otherwise(otherwise);
            drop(reply);
            answer.try_recv().unwrap()
        };
        assert!(matches!(dropped(Otherwise::NotExecuted), Answer::NotExecuted(_)));
        assert!(matches!(dropped(Otherwise::Failed), Answer::Failed(_)));
        assert!(matches!(dropped(Otherwise::InDoubt(Seq(7))), Answer::InDoubt(Seq(7), _)));
    }
}
