//! `cellspace admin backup` and `restore`: everything of an installation that is down, in one file and back.

#[cfg(all(feature = "scylla", feature = "kafka"))]
mod cell;

use super::{
    args::{BackupArgs, RestoreArgs, StoreArgs},
    cell_file::CellFile,
};
#[cfg(not(all(feature = "scylla", feature = "kafka")))]
use crate::node::StartError;
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
    io::{self, BufReader, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

type Out = Writer<BufWriter<File>>;

pub async fn back_up(args: &BackupArgs) -> Result<()> {
    if let Some(config) = &args.kept.config {
        return cell::back_up(&CellFile::read(config)?, &args.to).await;
    }
    let (dir, file) = (&args.kept.data.data_dir, &args.to);
    let data = DataDirectory::open(dir)?;
    let keyspace = keyspace(&args.kept.store, keyspace_of(data.setting(PLACE)?.as_deref())?.as_deref())?;
    let (name, installation) = (keyspace.as_ref().map(|options| options.keyspace.clone()), data.setting(INSTALLATION)?);
    let header = Header { format: FORMAT, installation, keyspace: name, cell: None, taken_at: SystemClock.now() };
    let records = write(file, &header, async |out| {
        data.write(out)?;
        match keyspace {
            Some(options) => back_up_keyspace(options, header.installation.as_deref(), out).await,
            None => Ok(()),
        }
    });
    println!("{} records of {} are in {}; the master key of the vault is not", records.await?, dir.display(), file.display());
    Ok(())
}

/// Writes a backup, which is under its name when it is whole; how many records it has.
async fn write(file: &Path, header: &Header, fill: impl AsyncFnOnce(&mut Out) -> Result<()>) -> Result<u64> {
    if file.exists() {
        bail!("{} is there already", file.display());
    }
    let part = PathBuf::from(format!("{}.part", file.display()));
    let written = async {
        // One that was left half done may be of any mode, and anybody's.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let mut writer = Writer::new(BufWriter::new(out), header)?;
        fill(&mut writer).await?;
        let (records, out) = writer.finish()?;
        out.into_inner()?.sync_all()?;
        fs::rename(&part, file)?;
        File::open(file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()?;
        anyhow::Ok(records)
    };
    written.await.with_context(|| format!("no backup is in {}", file.display())).inspect_err(|_| drop(fs::remove_file(&part)))
}

pub async fn restore(args: &RestoreArgs) -> Result<()> {
    let (dir, file) = (&args.kept.data.data_dir, &args.from);
    // All of it is read before anything is written.
    let (header, records) = verify(open(file)?)?;
    match (&args.kept.config, &header.cell) {
        (Some(config), Some(of)) => return cell::restore(&CellFile::read(config)?, of, file).await,
        (Some(_), None) => bail!("{} is of a data directory: leave --config out", file.display()),
        (None, Some(of)) => bail!("{} is of the cell {of}: name the file of one of its processes with --config", file.display()),
        (None, None) => {}
    }
    let keyspace = keyspace(&args.kept.store, header.keyspace.as_deref())?;
    let mut reader = Reader::new(open(file)?)?;
    let mut restoring = Restoring::begin(dir)?;
    loop {
        match reader.record()? {
            Some(Record::Keyspace) => {
                restore_into(keyspace.context("a keyspace in a backup that names none")?, &mut reader).await?;
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

/// Puts what is left to read into the keyspace.
#[cfg(feature = "scylla")]
async fn restore_into(options: ScyllaOptions, reader: &mut Reader<BufReader<File>>) -> Result<()> {
    let mut restoring = ScyllaStore::open(options).await?.begin_restoring().await?;
    while let Some(record) = reader.record()? {
        restoring.take(record).await?;
    }
    Ok(restoring.finish().await?)
}

#[cfg(not(feature = "scylla"))]
async fn restore_into(_: ScyllaOptions, _: &mut Reader<BufReader<File>>) -> Result<()> {
    Err(ScyllaError::NotBuilt.into())
}

/// Cells are in builds that have both.
#[cfg(not(all(feature = "scylla", feature = "kafka")))]
mod cell {
    use super::*;

    const NEEDS: StartError = StartError::CellNeeds("a build with --features scylla,kafka");

    pub async fn back_up(_: &CellFile, _: &Path) -> Result<()> {
        Err(NEEDS.into())
    }

    pub async fn restore(_: &CellFile, _: &str, _: &Path) -> Result<()> {
        Err(NEEDS.into())
    }
}
