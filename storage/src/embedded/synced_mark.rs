//! What is known to be on disk: a small file beside the database, so that lost data is an error and never silence.
//!
//! On recovery fjall cuts a journal at the first thing that it cannot read. That is right for a torn tail and wrong for damage in the
//! middle, and it cannot tell them apart. After every completed sync this file gets the number of the group just synced (the group's own
//! batch carries the number too) and the lengths of the journals that are sealed. If after recovery the database knows less than the
//! file, synced data is gone. The file itself needs no sync: an older mark only claims less.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"cellsync";
/// One disk sector, so that a write of it is not torn.
const BYTES: usize = 512;
/// What fits in between the header (magic, group, count) and the checksum, 16 bytes each.
const MAX_SEALED: usize = (BYTES - 32) / 16;

/// What a mark says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Synced {
    /// Number of the last synced group of commits.
    pub(super) group: u64,
    /// Length in bytes of each sealed journal, by its number.
    pub(super) sealed: BTreeMap<u64, u64>,
}

impl Synced {
    fn encode(&self) -> [u8; BYTES] {
        let mut text = Vec::with_capacity(BYTES);
        text.extend_from_slice(&MAGIC);
        text.extend_from_slice(&self.group.to_be_bytes());
        let sealed: Vec<_> = self.sealed.iter().take(MAX_SEALED).collect();
        text.extend_from_slice(&(sealed.len() as u64).to_be_bytes());
        for (journal, length) in sealed {
            text.extend_from_slice(&journal.to_be_bytes());
            text.extend_from_slice(&length.to_be_bytes());
        }
        text.resize(BYTES - 8, 0);
        let sum = checksum(&text);
        text.extend_from_slice(&sum.to_be_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&text);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if bytes.len() != BYTES || u64::from_be_bytes(*sum) != checksum(body) {
            return None;
        }
        let mut numbers = body.strip_prefix(&MAGIC)?.as_chunks::<8>().0.iter().map(|n| u64::from_be_bytes(*n));
        let group = numbers.next()?;
        let count = usize::try_from(numbers.next()?).ok()?;
        let mut sealed = BTreeMap::new();
        for _ in 0..count {
            sealed.insert(numbers.next()?, numbers.next()?);
        }
        Some(Self { group, sealed })
    }
}

/// FNV-1a: the file is guarded against damage, not against forgery.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Reads the mark; `None` when there is no file.
///
/// # Errors
/// `InvalidData` when the file is damaged, otherwise what reading it gave.
pub(super) fn read(path: &Path) -> io::Result<Option<Synced>> {
    match fs::read(path) {
        Ok(bytes) => Synced::decode(&bytes).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "damaged")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The open file, written after each sync.
#[derive(Debug)]
pub(super) struct SyncedMark {
    file: File,
    store: PathBuf,
    last: Synced,
}

impl SyncedMark {
    /// Opens the file at `path` for the database in `store`, and makes it durable when it is new, so that later writes stay in place.
    pub(super) fn open(path: &Path, store: &Path, last: Synced) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.write_all_at(&last.encode(), 0)?;
        file.sync_all()?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { file, store: store.to_owned(), last })
    }

    /// Notes that everything up to `group` is synced. `journals` is the database's count: above one, some are sealed.
    pub(super) fn advance(&mut self, group: u64, journals: usize) -> io::Result<()> {
        self.last.group = group;
        if journals > 1 {
            let known = std::mem::take(&mut self.last.sealed);
            for (journal, path) in sealed_journals(&self.store)? {
                let length = match known.get(&journal) {
                    Some(length) => Some(*length),
                    // It may have been flushed and removed since it was listed.
                    None => ignore_missing(File::open(path).and_then(|mut file| data_end(&mut file)))?,
                };
                self.last.sealed.extend(length.map(|length| (journal, length)));
            }
        } else {
            self.last.sealed.clear();
        }
        self.file.write_all_at(&self.last.encode(), 0)
    }
}

fn ignore_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Numbers and paths of the journals in `store` but the newest, which is the active one.
fn sealed_journals(store: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut journals = BTreeMap::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number: u64| (number, entry.path())));
    }
    journals.pop_last();
    Ok(journals)
}

/// Where a journal's data ends. Journals are made longer than their data, with zeros; an entry never ends with one.
pub(super) fn data_end(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The sealed journals that a mark names, held open across recovery.
#[derive(Debug)]
pub(super) struct SealedJournals(Vec<(u64, u64, File)>);

impl SealedJournals {
    /// Opens those that are still there, and checks that none is shorter than it was.
    ///
    /// # Errors
    /// The text says which journal lost data.
    pub(super) fn check_before(store: &Path, synced: &Synced) -> Result<Self, String> {
        let mut held = Vec::new();
        for (journal, length) in &synced.sealed {
            let opened = ignore_missing(File::open(store.join(format!("{journal}.jnl")))).map_err(|e| e.to_string())?;
            // A missing one was flushed to its tables and removed after the mark was written.
            let Some(mut file) = opened else { continue };
            let found = data_end(&mut file).map_err(|e| e.to_string())?;
            if found < *length {
                return Err(format!("journal {journal} has {found} bytes of {length} that were synced"));
            }
            held.push((*journal, *length, file));
        }
        Ok(Self(held))
    }

    /// Checks that recovery did not cut any.
    pub(super) fn check_after(self) -> Result<(), String> {
        for (journal, length, file) in self.0 {
            let found = file.metadata().map_err(|e| e.to_string())?.len();
            if found < length {
                return Err(format!("journal {journal} is readable only up to byte {found} of {length} that were synced"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn marks_come_back_and_damage_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("synced");
        assert_eq!(read(&path).unwrap(), None);
        let synced = Synced { group: 7, sealed: (0..MAX_SEALED as u64).map(|n| (n, n * 3)).collect() };
        drop(SyncedMark::open(&path, dir.path(), synced.clone()).unwrap());
        assert_eq!(read(&path).unwrap(), Some(synced));
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "{at}");
        }
        fs::write(&path, &good[..100]).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn sealed_journals_are_measured_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let journal = |name: &str, data: &[u8], length: u64| {
            let mut file = File::create(dir.path().join(name)).unwrap();
            file.write_all(data).unwrap();
            file.set_len(length).unwrap();
        };
        journal("3.jnl", b"abc", 200_000);
        journal("4.jnl", &[b'x'; 100_000], 100_000);
        journal("10.jnl", b"active", 100);
        let path = dir.path().join("synced");
        let mut mark = SyncedMark::open(&path, dir.path(), Synced::default()).unwrap();
        mark.advance(1, 3).unwrap();
        let synced = read(&path).unwrap().unwrap();
        assert_eq!(synced, Synced { group: 1, sealed: [(3, 3), (4, 100_000)].into() });

        let held = SealedJournals::check_before(dir.path(), &synced).unwrap();
        held.check_after().unwrap();
        // Cut during recovery, even if the file is removed afterwards.
        let held = SealedJournals::check_before(dir.path(), &synced).unwrap();
        OpenOptions::new().write(true).open(dir.path().join("4.jnl")).unwrap().set_len(50_000).unwrap();
        let lost = SealedJournals::check_before(dir.path(), &synced).unwrap_err();
        assert!(lost.contains("journal 4"), "{lost}");
        fs::remove_file(dir.path().join("4.jnl")).unwrap();
        assert!(held.check_after().is_err());

        mark.advance(2, 1).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Synced { group: 2, sealed: BTreeMap::new() }));
    }
}
