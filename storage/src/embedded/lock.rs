//! The exclusive lock on a data directory: the fence between processes.

use super::{OpenError, durable};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Seek, Write},
    path::Path,
    thread,
    time::Duration,
};

/// Tries to get the lock, and the pause between them: what a process that ends has begun to run holds its files until it is under way.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as the directory is in use; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes the directory when it is not there, and takes the lock file `name` in it; a lock that is held is waited for only for a moment. Blocks.
    pub(super) fn acquire(dir: &Path, name: &str) -> Result<Self, OpenError> {
        let unwritable = |source| durable::unwritable(dir, source);
        fs::create_dir_all(dir).map_err(unwritable)?;
        let path = dir.join(format!("{name}.lock"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unwritable)?;
        let mut tried = file.try_lock();
        for _ in 1..TRIES {
            if !matches!(tried, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(PAUSE);
            tried = file.try_lock();
        }
        match tried {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                let holder = match pid.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(OpenError::Locked { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        // The holder's number is for people alone, but a directory that does not take these bytes takes no others either.
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
        Ok(Self { _file: file })
    }
}
