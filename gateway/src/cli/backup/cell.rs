//! A cell of several processes: its keyspace in a backup while none of its processes serves it, and back.

use super::{open, restore_into, write};
use crate::{
    cli::cell_file::CellFile,
    node::{Ended, INSTALLATION, StartError},
};
use anyhow::{Context, Result, bail};
use cellspace_cluster::{Clock, SystemClock};
use cellspace_storage::backup::{FORMAT, Header, Reader};
use std::path::Path;

pub async fn back_up(file: &CellFile, to: &Path) -> Result<()> {
    let config = file.settings.config(&file.data)?;
    let keyspace = config.scylla.as_ref().map(|options| options.keyspace.clone());
    let cell = Ended::open(&config).await?;
    let installation = cell.store.meta(INSTALLATION).await?;
    let header = Header { format: FORMAT, installation, keyspace, cell: Some(config.cell.clone()), taken_at: SystemClock.now() };
    let records = write(to, &header, async |out| {
        cell.store.back_up(out).await?;
        Ok(cell.still().await?)
    });
    println!("{} records of the cell {} are in {}; the master key of its vault is not", records.await?, config.cell, to.display());
    Ok(())
}

pub async fn restore(file: &CellFile, of: &str, from: &Path) -> Result<()> {
    let cell = &file.settings.cell;
    if of != cell {
        bail!("{} is of the cell {of}, not of {cell}", from.display());
    }
    let options = file.settings.store.options()?.context(StartError::CellNeeds("a database (cassandra-nodes)"))?;
    let keyspace = options.keyspace.clone();
    restore_into(options, &mut Reader::new(open(from)?)?).await?;
    println!("the cell {cell} is in the keyspace {keyspace}: its processes need the master key of its vault");
    Ok(())
}
