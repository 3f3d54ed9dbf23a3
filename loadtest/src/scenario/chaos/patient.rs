//! A client that comes back when it is told to.

use crate::{
    http::{Answer, Call, Connection},
    transcript::Tape,
};
use anyhow::Result;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long something is asked for again that was answered with 503 or 429 and `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honours {
    /// Once, and for nothing else.
    Once,
    /// For so long, also when the connection broke.
    For(Duration),
}

/// The client.
pub struct Patient {
    connection: Connection,
    honours: Honours,
}

impl Patient {
    /// Of the listener at `base`; `tape` takes samples of what passes.
    ///
    /// # Errors
    /// When that is no http URL.
    pub fn new(base: &str, honours: Honours, tape: Option<Arc<Tape>>) -> Result<Self> {
        Ok(Self { connection: Connection::new(base, tape)?, honours })
    }

    /// The last answer. A change has a key, so that it is done once, however often it is sent.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&mut self, call: Call) -> Result<Answer> {
        let (began, mut tries) = (Instant::now(), 0);
        loop {
            let answer = self.connection.send(call.clone()).await;
            tries += 1;
            let pause = match &answer {
                Ok(answer) if answer.is_shed() => Some(answer.come_again()),
                Ok(_) => None,
                // Nobody said when to come back.
                Err(_) if self.honours == Honours::Once => None,
                Err(_) => Some(Duration::from_millis(100)),
            };
            let again = match self.honours {
                Honours::Once => tries < 2,
                Honours::For(limit) => began.elapsed() < limit,
            };
            match pause.filter(|_| again) {
                Some(pause) => sleep(pause).await,
                None => return answer,
            }
        }
    }

    /// How long it comes back.
    pub const fn honours(&self) -> Honours {
        self.honours
    }
}
