//! The file: lines, their number and their digest.

use super::{BackupError, FORMAT, Header, Record};
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read, Write};

/// Longest line: more than any row has.
const LINE_BYTES: u64 = 64 << 20;

/// The first line, by what it says that the file is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct First<T> {
    cellspace_backup: T,
}

/// As much of the header as every format has.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct Last {
    end: End,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct End {
    records: u64,
    sha256: String,
}

/// Counts and digests what goes by.
struct Digest {
    records: u64,
    context: Context,
}

impl Digest {
    fn new() -> Self {
        Self { records: 0, context: Context::new(&SHA256) }
    }

    fn end(&self) -> End {
        End { records: self.records, sha256: STANDARD.encode(self.context.clone().finish()) }
    }
}

/// Writes a backup.
pub struct Writer<W: Write> {
    out: W,
    digest: Digest,
}

impl<W: Write> Writer<W> {
    /// Begins it.
    ///
    /// # Errors
    /// [`BackupError::File`]
    pub fn new(out: W, header: &Header) -> Result<Self, BackupError> {
        let mut writer = Self { out, digest: Digest::new() };
        writer.line(&First { cellspace_backup: header })?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`BackupError::File`]
    pub fn put(&mut self, record: &Record) -> Result<(), BackupError> {
        self.digest.records += 1;
        self.line(record)
    }

    /// Ends it: how many records it has, and what it was written to.
    ///
    /// # Errors
    /// [`BackupError::File`]
    pub fn finish(mut self) -> Result<(u64, W), BackupError> {
        let end = self.digest.end();
        self.line(&Last { end })?;
        self.out.flush()?;
        Ok((self.digest.records, self.out))
    }

    fn line(&mut self, content: &impl Serialize) -> Result<(), BackupError> {
        let mut line = serde_json::to_vec(content).map_err(std::io::Error::from)?;
        line.push(b'\n');
        if line.len() as u64 > LINE_BYTES {
            return Err(std::io::Error::other("a record is longer than a backup can have").into());
        }
        self.digest.context.update(&line);
        Ok(self.out.write_all(&line)?)
    }
}

/// Reads a backup, record by record. Only after the last one is it known that all were as they were written.
pub struct Reader<R: BufRead> {
    from: R,
    digest: Digest,
    line: Vec<u8>,
    /// What the backup says of itself.
    pub header: Header,
}

impl<R: BufRead> Reader<R> {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`BackupError`] when it is no backup, or one that this build does not read.
    pub fn new(mut from: R) -> Result<Self, BackupError> {
        let mut line = Vec::new();
        if !next(&mut from, &mut line)? {
            return Err(damaged("it is empty"));
        }
        let First { cellspace_backup: Format { format } } =
            serde_json::from_slice(&line).map_err(|_| damaged("it does not begin as one"))?;
        if format > u64::from(FORMAT) {
            return Err(BackupError::NewerFormat { found: format });
        }
        let First { cellspace_backup: header } = serde_json::from_slice(&line).map_err(|_| damaged("its header cannot be read"))?;
        let mut digest = Digest::new();
        digest.context.update(&line);
        Ok(Self { from, digest, line, header })
    }

    /// The next record; `None` after the last one, when nothing is missing or changed.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when something is.
    pub fn record(&mut self) -> Result<Option<Record>, BackupError> {
        if !next(&mut self.from, &mut self.line)? {
            return Err(damaged("its end is missing"));
        }
        if self.line.starts_with(b"{\"end\":") {
            let Last { end } = serde_json::from_slice(&self.line).map_err(|_| damaged("its end cannot be read"))?;
            if end != self.digest.end() {
                return Err(damaged("what it holds is not what was written"));
            }
            return if next(&mut self.from, &mut self.line)? { Err(damaged("something follows its end")) } else { Ok(None) };
        }
        self.digest.records += 1;
        self.digest.context.update(&self.line);
        serde_json::from_slice(&self.line).map(Some).map_err(|_| damaged(&format!("record {} cannot be read", self.digest.records)))
    }
}

/// Reads a backup to its end; how many records it has.
///
/// # Errors
/// [`BackupError`] when it is not whole.
pub fn verify(from: impl BufRead) -> Result<(Header, u64), BackupError> {
    let mut reader = Reader::new(from)?;
    while reader.record()?.is_some() {}
    Ok((reader.header, reader.digest.records))
}

/// Reads a line, with its end; whether there was one.
fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, BackupError> {
    line.clear();
    from.take(LINE_BYTES).read_until(b'\n', line)?;
    match line.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) => Err(damaged("a line of it is cut off, or too long")),
    }
}

pub(crate) fn damaged(what: &str) -> BackupError {
    BackupError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CellName, backup::Blob};
    use cellspace_schemas::{Owner, Timestamp};
    use std::num::NonZeroU64;

    fn records() -> Vec<Record> {
        let setting = Record::Setting { name: "public-url".to_owned(), value: "http://localhost:1".to_owned() };
        let row = |value: &[u8]| Record::Row { key: Blob(b"t\0id".to_vec()), value: value.into() };
        let (owner, cell) = (Owner::new("p/1").unwrap(), CellName("b".to_owned()));
        let home = Record::Home { owner, cell, version: NonZeroU64::MIN, came: None };
        vec![setting, Record::Boot(7), home, row(b"{}"), row(&[0, 255, b'\n'])]
    }

    fn backup(format: u32) -> Vec<u8> {
        let header = Header { format, installation: Some("i".to_owned()), keyspace: None, cell: None, taken_at: Timestamp(5) };
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        for record in records() {
            writer.put(&record).unwrap();
        }
        writer.finish().unwrap().1
    }

    #[test]
    fn what_is_written_comes_back() {
        let bytes = backup(FORMAT);
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        assert_eq!((reader.header.installation.as_deref(), reader.header.taken_at), (Some("i"), Timestamp(5)));
        let read: Vec<_> = std::iter::from_fn(|| reader.record().unwrap()).collect();
        assert_eq!(read, records());
        assert_eq!(verify(bytes.as_slice()).unwrap().1, 5);
    }

    #[test]
    fn a_changed_or_shortened_file_is_refused() {
        let whole = backup(FORMAT);
        for at in 0..whole.len() {
            assert!(verify(&whole[..at]).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(verify(changed.as_slice()).is_err(), "changed at {at}");
        }
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let without: Vec<u8> = lines.iter().enumerate().filter(|(n, _)| *n != 2).flat_map(|(_, line)| line.iter().copied()).collect();
        assert!(matches!(verify(without.as_slice()), Err(BackupError::Damaged(_))));
        let more = [whole.as_slice(), lines[1]].concat();
        assert!(matches!(verify(more.as_slice()), Err(BackupError::Damaged(_))));
    }

    #[test]
    fn an_older_format_is_read_and_a_newer_one_refused_by_name() {
        for format in 1..=FORMAT {
            assert_eq!(verify(backup(format).as_slice()).unwrap().0.format, format);
        }
        let newer = u64::from(FORMAT) + 1;
        assert!(matches!(verify(backup(FORMAT + 1).as_slice()), Err(BackupError::NewerFormat { found }) if found == newer));
        assert!(matches!(verify(&b"{}\n"[..]), Err(BackupError::Damaged(_))));
    }
}
