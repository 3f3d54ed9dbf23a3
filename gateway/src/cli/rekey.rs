//! `cellspace rekey`: another master key for the vault.

use super::args::RekeyArgs;
use crate::node::NodeConfig;
use anyhow::{Context, Result};
use cellspace_storage::EmbeddedVault;

pub fn run(args: &RekeyArgs) -> Result<()> {
    let config = NodeConfig { master_key: args.master_key.source(), ..NodeConfig::new(&args.data.data_dir) };
    let new = args.new.source().context("the new master key comes from nowhere")?;
    EmbeddedVault::rekey(&config.data_dir, &config.master_key(), &new)?;
    println!("the vault in {} has the new master key; the next start needs it", config.data_dir.display());
    Ok(())
}
