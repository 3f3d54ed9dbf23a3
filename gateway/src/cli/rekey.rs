//! `cellspace rekey`: another master key for the vault.

use super::{args::RekeyArgs, cell_file::CellFile};
use crate::node::NodeConfig;
use anyhow::{Context, Result};
use cellspace_storage::{EmbeddedVault, MasterKey};
use std::path::Path;

pub async fn run(args: &RekeyArgs) -> Result<()> {
    let new = args.new.source().context("the new master key comes from nowhere")?;
    if let Some(config) = &args.config {
        return of_a_cell(config, &new).await;
    }
    let config = NodeConfig { master_key: args.master_key.source(), ..NodeConfig::new(&args.data.data_dir) };
    EmbeddedVault::rekey(&config.data_dir, &config.master_key(), &new)?;
    println!("the vault in {} has the new master key; the next start needs it", config.data_dir.display());
    Ok(())
}

#[cfg(all(feature = "scylla", feature = "kafka"))]
async fn of_a_cell(config: &Path, new: &MasterKey) -> Result<()> {
    let file = CellFile::read(config)?;
    let keyspace = file.cell().rekey(&file.settings.config(&file.data)?, new).await?;
    println!("the vault in the keyspace {keyspace} has the new master key; all processes need it when they start again");
    Ok(())
}

#[cfg(not(all(feature = "scylla", feature = "kafka")))]
async fn of_a_cell(config: &Path, _: &MasterKey) -> Result<()> {
    CellFile::read(config)?;
    anyhow::bail!("this build runs no cells: it needs the features scylla and kafka")
}
