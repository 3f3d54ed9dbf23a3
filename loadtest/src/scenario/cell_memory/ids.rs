//! Requests that are routed: for participants that are there, and for ids that nobody has.

use super::PROCESSES;
use crate::{
    cell::Cell,
    drive::{Pace, Verdict, Worker, drive},
    http::{Call, Connection},
    scenario::catalog::Dataspace,
};
use anyhow::{Result, ensure};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// Connections to each process.
const CONNECTIONS: usize = 4;
/// Longest time for all.
const LONGEST: Duration = Duration::from_secs(1_800);

/// Asks for ids, each of them once, all by way of one process.
struct Asker {
    connection: Connection,
    token: String,
    /// What ids begin with; their numbers follow.
    name: String,
    next: Arc<AtomicUsize>,
    end: usize,
}

impl Worker for Asker {
    async fn operate(&mut self) -> Verdict {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.end {
            return Verdict::Done;
        }
        // Nobody has such an asset, whether the participant is there or not.
        let call = Call::get(Dataspace::path(&format!("{}-{number}", self.name), "assets/none"), &self.token);
        loop {
            match self.connection.send(call.clone()).await {
                Ok(answer) if answer.is_shed() => sleep(answer.come_again()).await,
                Ok(answer) if answer.status == 404 => return Verdict::Good,
                Ok(answer) => return Verdict::Wrong(format!("{} {number} was answered {}", self.name, answer.told())),
                Err(error) => return Verdict::Wrong(format!("{error:#}")),
            }
        }
    }
}

/// Asks for all of these ids, which `name` and their numbers make; each by way of whichever process comes first.
///
/// # Errors
/// When one is not answered.
pub async fn ask(cell: &Cell, token: &str, name: &str, numbers: Range<usize>) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut askers = Vec::new();
    for process in PROCESSES.iter().flat_map(|process| [*process; CONNECTIONS]) {
        let connection = Connection::new(&cell.admin(process), None)?;
        askers.push(Asker { connection, token: token.to_owned(), name: name.to_owned(), next: next.clone(), end: numbers.end });
    }
    let (_, outcome) = drive(askers, Pace { rate: None, time: LONGEST }).await?;
    ensure!(outcome.good == numbers.len() as u64, "only {} of {} were answered: {:?}", outcome.good, numbers.len(), outcome.told);
    Ok(())
}
