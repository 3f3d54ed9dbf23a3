//! Cells as registered with the tenant manager.

use super::{
    CellId, DeploymentState, Properties,
    wire::{blank_as_none, date_time, null_as_default},
};
use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// A registered cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Its id.
    pub id: CellId,
    /// Raised by every change.
    pub version: i64,
    /// The running cell that it stands for.
    pub external_id: String,
    /// Only an active cell takes participants.
    pub state: DeploymentState,
    /// Since when.
    #[serde(with = "date_time")]
    pub state_timestamp: Timestamp,
    /// Free properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}

/// A cell to register. A `stateTimestamp` that clients send is ignored: the registry knows when it happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewCell {
    /// The running cell; absent means the only one.
    #[serde(default, deserialize_with = "blank_as_none")]
    pub external_id: Option<String>,
    /// Its state; active unless said otherwise.
    #[serde(default)]
    pub state: Option<DeploymentState>,
    /// Free properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
}
