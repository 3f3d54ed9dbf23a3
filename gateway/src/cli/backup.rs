//! `cellspace admin backup` and `restore`: everything of an installation that is down, in one file and back.

use super::args::{BackupArgs, RestoreArgs, StoreArgs};
use crate::node::{INSTALLATION, PLACE, keyspace_of};
use anyhow::{Context, Result, bail};
use cellspace_cluster::{Clock, SystemClock};
#[cfg(not(feature = "scylla"))]
use cellspace_storage::ScyllaError;
#[cfg(feature = "scylla")]
use cellspace_storage::ScyllaStore;
use cellspace_storage::{
    ScyllaOptions,
    backup::{FORMAT, Header, Reader, Record, Writer, verify},
    embedded::{DataDirectory, Restoring},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

type Out = Writer<BufWriter<File>>;

pub async fn back_up(args: &BackupArgs) -> Result<()> {
    let (dir, file) = (&args.data.data_dir, &args.to);
    let data = DataDirectory::open(dir)?;
    let keyspace = keyspace(&args.store, keyspace_of(data.setting(PLACE)?.as_deref())?.as_deref())?;
    if file.exists() {
        bail!("{} is there already", file.display());
    }
    let name = keyspace.as_ref().map(|options| options.keyspace.clone());
    let header = Header { format: FORMAT, installation: data.setting(INSTALLATION)?, keyspace: name, taken_at: SystemClock.now() };
    // Under its name it is whole.
    let part = PathBuf::from(format!("{}.part", file.display()));
    let written = async {
        let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let mut writer = Writer::new(BufWriter::new(out), &header)?;
        data.write(&mut writer)?;
        if let Some(options) = keyspace {
            back_up_keyspace(options, header.installation.as_deref(), &mut writer).await?;
        }
        let (records, out) = writer.finish()?;
        out.into_inner()?.sync_all()?;
        fs::rename(&part, file)?;
        anyhow::Ok(records)
    };
    let records =
        written.await.with_context(|| format!("no backup is in {}", file.display())).inspect_err(|_| drop(fs::remove_file(&part)))?;
    println!("{records} records of {} are in {}; the master key of the vault is not", dir.display(), file.display());
    Ok(())
}

pub async fn restore(args: &RestoreArgs) -> Result<()> {
    let (dir, file) = (&args.data.data_dir, &args.from);
    // All of it is read before anything is written.
    let (header, records) = verify(open(file)?)?;
    let keyspace = keyspace(&args.store, header.keyspace.as_deref())?;
    let mut reader = Reader::new(open(file)?)?;
    let mut restoring = Restoring::begin(dir)?;
    loop {
        match reader.record()? {
            Some(Record::Keyspace) => {
                restore_keyspace(keyspace.context("a keyspace in a backup that names none")?, &mut reader).await?;
                break;
            }
            Some(record) => restoring.take(record)?,
            None => break,
        }
    }
    restoring.finish()?;
    println!("{records} records are in {}: bring the vault's master key there before the start", dir.display());
    Ok(())
}

fn open(file: &Path) -> Result<BufReader<File>> {
    File::open(file).map(BufReader::new).with_context(|| format!("{} cannot be read", file.display()))
}

/// The keyspace, which must be the one that the data is of.
fn keyspace(args: &StoreArgs, expected: Option<&str>) -> Result<Option<ScyllaOptions>> {
    let named = args.options()?;
    match (expected, &named) {
        (None, None) => Ok(None),
        (Some(expected), Some(options)) if options.keyspace == expected => Ok(named),
        (Some(expected), _) => bail!("the agents are in the keyspace {expected}: name it with --cassandra and --cassandra-keyspace"),
        (None, Some(_)) => bail!("the agents are in the data directory: leave --cassandra out"),
    }
}

#[cfg(feature = "scylla")]
async fn back_up_keyspace(options: ScyllaOptions, installation: Option<&str>, out: &mut Out) -> Result<()> {
    let store = ScyllaStore::open(options).await?;
    if store.meta(INSTALLATION).await?.as_deref() != installation {
        bail!("the keyspace belongs to another data directory");
    }
    Ok(store.back_up(out).await?)
}

#[cfg(not(feature = "scylla"))]
async fn back_up_keyspace(_: ScyllaOptions, _: Option<&str>, _: &mut Out) -> Result<()> {
    Err(ScyllaError::NotBuilt.into())
}

#[cfg(feature = "scylla")]
async fn restore_keyspace(options: ScyllaOptions, reader: &mut Reader<BufReader<File>>) -> Result<()> {
    let mut restoring = ScyllaStore::open(options).await?.begin_restoring().await?;
    while let Some(record) = reader.record()? {
        restoring.take(record).await?;
    }
    Ok(restoring.finish().await?)
}

#[cfg(not(feature = "scylla"))]
async fn restore_keyspace(_: ScyllaOptions, _: &mut Reader<BufReader<File>>) -> Result<()> {
    Err(ScyllaError::NotBuilt.into())
}
