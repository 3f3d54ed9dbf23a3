//! Registered cells.
//!
//! Deleting takes two steps, so that no participant profile slips into a cell that goes away: first the cell stops taking profiles
//! (`disposing`), then the directory is asked for profiles in it, reserved ones included. A profile reserves its row *before* it reads the
//! cell's state; so either the profile sees the cell disposing, or the deletion sees the profile. The second step is an outbox row, so that a
//! deletion comes to its end whatever happens in between.

use super::{
    RegistryState,
    agent::{Decided, Effect, Event, Reply},
    state::CellRecord,
};
use crate::fabric::{Refusal, limits};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    Timestamp,
    fabric::{Cell, CellId, DeploymentState, NewCell},
};
use std::sync::Arc;
use uuid::Uuid;

fn moved(cell: &Cell, to: DeploymentState, before: Option<DeploymentState>, now: Timestamp) -> Event {
    let cell = Cell { state: to, state_timestamp: now, version: cell.version + 1, ..cell.clone() };
    Event::Cell(Arc::new(CellRecord { cell, before }))
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
    let event = Event::Cell(Arc::new(CellRecord { cell: cell.clone(), before: None }));
    Ok(Decision::action("cell.created").event(event).replying(Reply::Cell(cell)))
}

/// Stops taking participant profiles, and looks whether any are there. Repeatable.
pub fn delete(state: &RegistryState, id: &CellId, now: Timestamp) -> Decided {
    let record = state.cells.get(id).ok_or_else(|| Refusal::NotFound(format!("the cell {id} does not exist")))?;
    if record.before.is_some() {
        return Ok(Decision::nothing());
    }
    // any state -> disposing
    let event = moved(&record.cell, DeploymentState::Disposing, Some(record.cell.state), now);
    Ok(Decision::action("cell.retired").event(event).effect(format!("cell-deletion/{id}"), Effect::Vacate(id.clone())))
}

/// What the directory said about participant profiles in the cell.
pub fn looked(state: &RegistryState, id: &CellId, in_use: bool, now: Timestamp) -> Decided {
    let retired = state.cells.get(id).and_then(|record| Some((record, record.before?)));
    Ok(match (retired, in_use) {
        (None, _) => Decision::nothing(),
        // disposing -> the state before
        (Some((record, before)), true) => Decision::action("cell.restored").event(moved(&record.cell, before, None, now)),
        // disposing -> (none)
        (Some(_), false) => Decision::action("cell.deleted").event(Event::CellRemoved(id.clone())),
    })
}
