//! Activity definitions and orchestration templates.

use super::{
    RegistryState,
    agent::{Decided, Event, Reply},
    dag,
};
use crate::fabric::{Refusal, limits};
use cellspace_cluster::Decision;
use cellspace_schemas::fabric::{ActivityDefinition, ActivityType, OrchestrationTemplate, TemplateRef};
use std::sync::Arc;
use uuid::Uuid;

fn bounded(what: &str, count: usize) -> Result<(), Refusal> {
    if count < limits::MAX_REGISTERED { Ok(()) } else { Err(Refusal::Invalid(format!("at most {} {what}", limits::MAX_REGISTERED))) }
}

/// Makes an activity type known.
pub fn define_activity(state: &RegistryState, definition: &ActivityDefinition) -> Decided {
    let name = &definition.activity_type;
    if !name.checked() {
        let rule = "may have at most 128 letters, digits, '.', '_' and '-', and not end with '.dead'";
        return Err(Refusal::Invalid(format!("the type {name:?} {rule}")).into());
    }
    if state.activities.contains_key(name) {
        return Err(Refusal::Conflict(format!("the activity definition {name} exists")).into());
    }
    if let Some(other) = state.activities.keys().find(|other| other.collides(name)) {
        return Err(Refusal::Conflict(format!("the topics of {name} and {other} collide: '.' and '_' are the same there")).into());
    }
    bounded("activity definitions", state.activities.size())?;
    limits::words("description", [&definition.description]).map_err(Refusal::Invalid)?;
    limits::properties("inputSchema", &definition.input_schema).map_err(Refusal::Invalid)?;
    limits::properties("outputSchema", &definition.output_schema).map_err(Refusal::Invalid)?;
    Ok(Decision::action("activity-definition.created").event(Event::Activity(Arc::new(definition.clone()))))
}

/// Forgets an activity type that no template uses.
pub fn remove_activity(state: &RegistryState, name: &ActivityType) -> Decided {
    if !state.activities.contains_key(name) {
        return Err(Refusal::NotFound(format!("the activity definition {name} does not exist")).into());
    }
    let uses = |t: &&Arc<OrchestrationTemplate>| t.activities.values().flatten().any(|a| a.activity_type == *name);
    if state.templates.values().any(|template| uses(&template)) {
        return Err(Refusal::Invalid(format!("the activity definition {name} is used by an orchestration definition")).into());
    }
    Ok(Decision::action("activity-definition.deleted").event(Event::ActivityRemoved(name.clone())))
}

/// Makes the orchestration types of a template known.
pub fn define(state: &RegistryState, template: &OrchestrationTemplate, fresh: Uuid) -> Decided {
    let id = template.id.clone().unwrap_or_else(|| TemplateRef::from_uuid(fresh));
    if state.templates.contains_key(&id) {
        return Err(Refusal::Conflict(format!("the orchestration template {id} exists")).into());
    }
    if template.activities.is_empty() {
        return Err(Refusal::Invalid("a template needs at least one orchestration type under activities".to_owned()).into());
    }
    bounded("orchestration types of a template", template.activities.len())?;
    bounded("orchestration templates", state.templates.size())?;
    limits::words("description", [&template.description]).map_err(Refusal::Invalid)?;
    limits::properties("schema", &template.schema).map_err(Refusal::Invalid)?;
    if let Some(taken) = template.activities.keys().find(|kind| state.definition(kind).is_some()) {
        return Err(Refusal::Conflict(format!("the orchestration type {taken} has a definition")).into());
    }
    let known = |name: &ActivityType| state.activities.get(name).map(|d| d.as_ref().clone());
    for (kind, activities) in &template.activities {
        dag::check(kind, activities, known).map_err(|e| Refusal::Invalid(format!("{kind}: {e}")))?;
    }
    let template = OrchestrationTemplate { id: Some(id.clone()), ..template.clone() };
    Ok(Decision::action("orchestration-definition.created").event(Event::Template(Arc::new(template))).replying(Reply::Template(id)))
}

/// Forgets a template; whether orchestrations refer to it was asked before.
pub fn remove(state: &RegistryState, id: &TemplateRef, in_use: bool) -> Decided {
    if !state.templates.contains_key(id) {
        return Err(Refusal::NotFound(format!("the orchestration template {id} does not exist")).into());
    }
    if in_use {
        return Err(Refusal::Invalid(format!("orchestrations refer to the template {id}")).into());
    }
    Ok(Decision::action("orchestration-definition.deleted").event(Event::TemplateRemoved(id.clone())))
}
