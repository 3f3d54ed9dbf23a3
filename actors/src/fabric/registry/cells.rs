//! Registered cells.
//!
//! Deleting takes two steps, so that no participant profile slips into a cell that goes away: first the cell stops taking profiles
//! (`disposing`), then the directory is asked for profiles in it, reserved ones included. A profile reserves its row *before* it reads the
//! cell's state; so either the profile sees the cell disposing, or the deletion sees the profile.

use super::{
    RegistryState,
    agent::{Decided, Event, Refusal, Reply},
};
use crate::fabric::limits;
use cellspace_cluster::Decision;
use cellspace_schemas::{
    Timestamp,
    fabric::{Cell, CellId, DeploymentState, NewCell},
};
use std::sync::Arc;
use uuid::Uuid;

fn cell<'a>(state: &'a RegistryState, id: &CellId) -> Result<&'a Arc<Cell>, Refusal> {
    state.cells.get(id).ok_or_else(|| Refusal::NotFound(format!("the cell {id} does not exist")))
}

fn moved(cell: &Cell, to: DeploymentState, now: Timestamp) -> Event {
    Event::Cell(Arc::new(Cell { state: to, state_timestamp: now, version: cell.version + 1, ..cell.clone() }))
}

/// Registers a cell; `running` is the name of the cell that runs.
pub fn create(state: &RegistryState, new: &NewCell, running: &str, fresh: Uuid, now: Timestamp) -> Decided {
    if state.cells.size() >= limits::MAX_REGISTERED {
        return Err(Refusal::Invalid(format!("at most {} cells can be registered", limits::MAX_REGISTERED)).into());
    }
    if let Some(unknown) = new.external_id.as_deref().filter(|id| *id != running) {
        return Err(Refusal::Invalid(format!("no cell runs under the externalId {unknown:?}")).into());
    }
    limits::properties("properties of a cell", &new.properties).map_err(Refusal::Invalid)?;
    let cell = Cell {
        id: CellId::from_uuid(fresh),
        version: 0,
        external_id: running.to_owned(),
        state: new.state.unwrap_or(DeploymentState::Active),
        state_timestamp: now,
        properties: new.properties.clone(),
    };
    Ok(Decision::action("cell.created").event(Event::Cell(Arc::new(cell.clone()))).replying(Reply::Cell(cell)))
}

/// Stops taking participant profiles, before the cell is removed. Repeatable.
pub fn retire(state: &RegistryState, id: &CellId, now: Timestamp) -> Decided {
    let cell = cell(state, id)?;
    Ok(match cell.state {
        DeploymentState::Disposing => Decision::nothing(),
        // any other state -> disposing
        DeploymentState::Initial
        | DeploymentState::Pending
        | DeploymentState::Active
        | DeploymentState::Disposed
        | DeploymentState::Locked
        | DeploymentState::Offline
        | DeploymentState::Error => Decision::action("cell.retired").event(moved(cell, DeploymentState::Disposing, now)),
    })
}

/// Takes participant profiles again, since there are some in it.
pub fn restore(state: &RegistryState, id: &CellId, now: Timestamp) -> Decided {
    let cell = cell(state, id)?;
    Ok(if cell.state == DeploymentState::Disposing {
        // disposing -> active
        Decision::action("cell.restored").event(moved(cell, DeploymentState::Active, now))
    } else {
        Decision::nothing()
    })
}

/// Removes a retired cell.
pub fn remove(state: &RegistryState, id: &CellId) -> Decided {
    if cell(state, id)?.state == DeploymentState::Disposing {
        // disposing -> (none)
        Ok(Decision::action("cell.deleted").event(Event::CellRemoved(id.clone())))
    } else {
        Err(Refusal::Conflict(format!("the cell {id} takes participants again")).into())
    }
}
