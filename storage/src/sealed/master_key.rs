//! The master key: 32 bytes without which nothing of the vault can be read. Where it lies is the operator's choice; a file beside the vault
//! protects a copy of the vault alone, and not one of the whole data directory.

use crate::embedded::{OpenError, unwritable};
use base64::{Engine, engine::general_purpose};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    env, fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use zeroize::Zeroizing;

/// Length of a master key, in bytes.
pub const MASTER_KEY_BYTES: usize = 32;

/// The key's bytes; zeroised on drop.
pub(crate) type KeyBytes = Zeroizing<[u8; MASTER_KEY_BYTES]>;

/// Where the master key comes from. As text it is 32 bytes in base64 or in hexadecimal digits.
#[derive(Clone)]
pub enum MasterKey {
    /// A file; made with fresh random bytes and mode 0600 when the vault is made.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// What a command of the shell writes to its standard output.
    Command(String),
    /// The bytes themselves.
    Bytes(Zeroizing<[u8; MASTER_KEY_BYTES]>),
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            // Its arguments may be nobody's business.
            Self::Command(_) => f.write_str("Command"),
            Self::Bytes(_) => f.write_str("Bytes"),
        }
    }
}

impl MasterKey {
    /// The key for a vault that several nodes have: somebody has put it where it comes from, and nothing is made.
    #[cfg(feature = "scylla")]
    pub(crate) fn bring(&self) -> Result<KeyBytes, OpenError> {
        if let Self::File(path) = self
            && !path.exists()
        {
            let reason =
                format!("the file {} is missing: all nodes of a cell have the same key, which is made once by hand", path.display());
            return Err(OpenError::BadMasterKey(reason));
        }
        self.load(Path::new("."), true)
    }

    /// The key for the vault in `dir`. A key file is only made together with the vault: a new key would not open an old one.
    pub(crate) fn load(&self, dir: &Path, vault_exists: bool) -> Result<KeyBytes, OpenError> {
        let bad = |reason: String| OpenError::BadMasterKey(reason);
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Environment(name) => {
                let text = env::var(name).map(Zeroizing::new).map_err(|_| bad(format!("the environment variable {name} is not set")))?;
                parse(&text).ok_or_else(|| bad(format!("the environment variable {name} holds no {WANTED}")))
            }
            Self::Command(command) => {
                let text = run(command, COMMAND_TIME).map_err(|error| bad(format!("the command for the master key failed: {error}")))?;
                parse(&text).ok_or_else(|| bad(format!("the command for the master key writes no {WANTED}")))
            }
            Self::File(path) => match read_file(path) {
                Ok(text) => parse(&text).ok_or_else(|| bad(format!("the file {} holds no {WANTED}", path.display()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound && vault_exists => {
                    Err(bad(format!("the file {} is missing but the vault is there: bring the file back", path.display())))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_file(path).map_err(|source| unwritable(dir, source)),
                Err(error) => Err(bad(format!("cannot read {}: {error}", path.display()))),
            },
        }
    }
}

/// How long a command may take.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// Longest text of a command that is looked at, in bytes.
const MAX_TEXT: u64 = 4 << 10;

/// What the command writes; it is ended with all that it has started when it takes too long.
fn run(command: &str, time: Duration) -> io::Result<Zeroizing<String>> {
    let mut child = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?;
    let mut out = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?.take(MAX_TEXT);
    let group = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = out.read_to_string(&mut text);
        // Who writes on must not wait for a reader.
        drop(out);
        let status = child.wait();
        // Nobody listens when the time was over.
        let _ = sender.send(read.and(status).and_then(
            |status| {
                if status.success() { Ok(text) } else { Err(io::Error::other(status.to_string())) }
            },
        ));
    });
    ended.recv_timeout(time).unwrap_or_else(|_| {
        // It may have ended just now.
        let _ = kill_process_group(group, Signal::KILL);
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", time.as_secs())))
    })
}

const WANTED: &str = "master key (32 bytes in base64 or hexadecimal)";

fn parse(text: &str) -> Option<KeyBytes> {
    let text = text.trim();
    let bytes = Zeroizing::new(if text.len() == 2 * MASTER_KEY_BYTES {
        let digits = text.as_bytes().as_chunks::<2>().0.iter();
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect::<Option<Vec<u8>>>()?
    } else {
        let decode = |engine: &general_purpose::GeneralPurpose| engine.decode(text.trim_end_matches('=')).ok();
        decode(&general_purpose::STANDARD_NO_PAD).or_else(|| decode(&general_purpose::URL_SAFE_NO_PAD))?
    });
    Some(Zeroizing::new(<[u8; MASTER_KEY_BYTES]>::try_from(bytes.as_slice()).ok()?))
}

fn read_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(path)?);
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(category = "app", action = "vault.master_key", path = %path.display(), "the master key is readable by other users");
    }
    Ok(text)
}

/// Makes the file whole or not at all: it appears under its name only when it is on disk.
fn make_file(path: &Path) -> io::Result<KeyBytes> {
    let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
    aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| io::Error::other("no randomness"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut made = path.as_os_str().to_owned();
    made.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&made)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let text = Zeroizing::new(format!("{}\n", general_purpose::STANDARD.encode(*key)));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&made, path)?;
    File::open(parent)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n).unwrap().wrapping_mul(37) ^ 0xfb);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let standard = general_purpose::STANDARD.encode(bytes);
        let url = general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        for text in [&hex, &hex.to_uppercase(), &standard, &url, &format!(" {standard}\n")] {
            assert_eq!(parse(text).as_deref(), Some(&bytes), "{text}");
        }
        for text in ["", "x", &standard[..40], &format!("{standard}AA"), &hex[..62], &"g".repeat(64), &"+é".repeat(21)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_command_writes_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let of = |command: &str| MasterKey::Command(command.to_owned()).load(dir.path(), true);
        let hex = "07".repeat(32);
        assert_eq!(*of(&format!("echo {hex}")).unwrap(), [7; 32]);
        for bad in ["false", "true", "echo x", &format!("echo {hex}; exit 3"), "no-such-program-anywhere 2>/dev/null"] {
            assert!(matches!(of(bad), Err(OpenError::BadMasterKey(_))), "{bad}");
        }
        let slow = run("exec sleep 60", Duration::from_millis(1)).unwrap_err();
        assert_eq!(slow.kind(), io::ErrorKind::TimedOut);
        let closed = run("exec >&-; exec sleep 60", Duration::from_millis(1)).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::TimedOut, "one that ends its output and goes on");
        assert!(run("yes", COMMAND_TIME).is_err(), "one that writes without end");
        assert_eq!(format!("{:?}", MasterKey::Command("secret".into())), "Command");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let command = format!("exec 2>'{}'; sleep 60 & sleep 60", pipe.display());
        let (sender, ended) = mpsc::channel();
        // Reads until nobody has it open any more.
        thread::spawn(move || sender.send(fs::read(pipe).map(|_| ())));
        assert_eq!(run(&command, Duration::from_secs(1)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        ended.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }

    #[test]
    fn the_file_is_made_once_and_only_with_the_vault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys").join("master.key");
        let source = MasterKey::File(path.clone());
        let missing = source.load(dir.path(), true).unwrap_err();
        assert!(missing.to_string().contains("bring the file back"), "{missing}");
        assert!(!path.exists());
        let made = source.load(dir.path(), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*source.load(dir.path(), true).unwrap(), *made);
        fs::write(&path, "rubbish").unwrap();
        assert!(matches!(source.load(dir.path(), true), Err(OpenError::BadMasterKey(_))));
        let unset = MasterKey::Environment("CELLSPACE_TEST_UNSET_MASTER_KEY".into());
        assert!(matches!(unset.load(dir.path(), true), Err(OpenError::BadMasterKey(_))));
    }
}
