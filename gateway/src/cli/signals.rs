//! Signals that end the process.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C and SIGTERM.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes them over.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Makes a write beyond the limit on file sizes fail with an error (`EFBIG`), which the store answers by refusing everything, readiness
/// included. By default the system ends the process with SIGXFSZ before anyone can say why.
pub fn survive_file_size_limit() -> io::Result<()> {
    // The handler stays when the receiver is gone.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// The signal's number, the same on every Unix that this builds for but those on MIPS (POSIX names it without a number).
const SIGXFSZ: i32 = 25;
