//! State of the registry.

use crate::fabric::Refusal;
use cellspace_schemas::{
    ProfileId,
    fabric::{
        Activity, ActivityDefinition, ActivityType, Cell, CellId, CredentialSpec, DataspaceProfile, DataspaceProfileId, DeploymentState,
        OrchestrationDefinition, OrchestrationTemplate, OrchestrationType, TemplateRef,
    },
};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A registered cell and what the API does not show of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// What the API shows.
    #[serde(flatten)]
    pub cell: Cell,
    /// While it is being deleted: the state to go back to when participant profiles turn out to be in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<DeploymentState>,
}

/// All that is registered.
#[derive(Debug, Clone, Default)]
pub struct RegistryState {
    /// Cells by id.
    pub cells: RedBlackTreeMapSync<CellId, Arc<CellRecord>>,
    /// Dataspace profiles by id.
    pub profiles: RedBlackTreeMapSync<DataspaceProfileId, Arc<DataspaceProfile>>,
    /// Activity definitions by type.
    pub activities: RedBlackTreeMapSync<ActivityType, Arc<ActivityDefinition>>,
    /// Orchestration templates by id.
    pub templates: RedBlackTreeMapSync<TemplateRef, Arc<OrchestrationTemplate>>,
}

/// A definition as an orchestration needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The template it came with.
    pub template: TemplateRef,
    /// Its activities.
    pub activities: Vec<Activity>,
}

impl RegistryState {
    /// The active cell under this id, or the only active one.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] says why no cell is meant.
    pub fn cell_for(&self, wanted: Option<&CellId>) -> Result<&Cell, Refusal> {
        let invalid = |message: String| Err(Refusal::Invalid(message));
        let mut active = self.cells.values().map(|record| &record.cell).filter(|cell| cell.state == DeploymentState::Active);
        match wanted {
            Some(id) => match self.cells.get(id).map(|record| &record.cell) {
                Some(cell) if cell.state == DeploymentState::Active => Ok(cell),
                Some(cell) => invalid(format!("the cell {id} is {}, not active", cell.state)),
                None => invalid(format!("the cell {id} does not exist")),
            },
            None => match (active.next(), active.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => invalid("no active cell is registered".to_owned()),
                (Some(_), Some(_)) => invalid("there are several cells: name one as cellId".to_owned()),
            },
        }
    }

    /// The named dataspace profiles, or all that are active in the cell when none is named.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when one does not exist or is not active in the cell, or none is.
    pub fn profiles_for(&self, cell: &Cell, wanted: &[DataspaceProfileId]) -> Result<Vec<Arc<DataspaceProfile>>, Refusal> {
        let invalid = |message: String| Err(Refusal::Invalid(message));
        let active =
            |profile: &DataspaceProfile| profile.deployments.iter().any(|d| d.cell_id == cell.id && d.state == DeploymentState::Active);
        for id in wanted {
            match self.profiles.get(id) {
                None => return invalid(format!("the dataspace profile {id} does not exist")),
                Some(profile) if !active(profile) => {
                    return invalid(format!("the dataspace profile {id} is not active in the cell {}: deploy it first", cell.id));
                }
                Some(_) => {}
            }
        }
        let meant = |p: &&Arc<DataspaceProfile>| if wanted.is_empty() { active(p) } else { wanted.contains(&p.id) };
        let found: Vec<_> = self.profiles.values().filter(meant).cloned().collect();
        if found.is_empty() { invalid(format!("no dataspace profile is active in the cell {}", cell.id)) } else { Ok(found) }
    }

    /// The one definition of an orchestration type.
    #[must_use]
    pub fn definition(&self, orchestration: &OrchestrationType) -> Option<Definition> {
        let defines = |(template, body): (&TemplateRef, &Arc<OrchestrationTemplate>)| {
            let activities = body.activities.get(orchestration)?.clone();
            Some(Definition { template: template.clone(), activities })
        };
        self.templates.iter().find_map(defines)
    }

    /// Definitions of one template, or of all.
    #[must_use]
    pub fn definitions(&self, template: Option<&TemplateRef>) -> Vec<OrchestrationDefinition> {
        let of = |(id, body): (&TemplateRef, &Arc<OrchestrationTemplate>)| {
            let definition = |(kind, activities): (&OrchestrationType, &Vec<Activity>)| OrchestrationDefinition {
                id: kind.clone(),
                orchestration_type: kind.clone(),
                template_ref: id.clone(),
                description: body.description.clone(),
                schema: body.schema.clone(),
                activities: activities.clone(),
            };
            body.activities.iter().map(definition).collect::<Vec<_>>()
        };
        self.templates.iter().filter(|(id, _)| template.is_none_or(|t| t == *id)).flat_map(of).collect()
    }
}

/// Credentials that a participant in these roles gets: those without a role, and those of its roles in that profile. Each one once.
#[must_use]
pub fn credentials(profiles: &[Arc<DataspaceProfile>], roles: &BTreeMap<String, Vec<String>>) -> Vec<CredentialSpec> {
    let mut found: Vec<CredentialSpec> = Vec::new();
    for profile in profiles {
        let mine = roles.get(profile.id.as_str());
        for spec in &profile.dataspace_spec.credential_specs {
            let due = spec.role.as_ref().is_none_or(|role| mine.is_some_and(|mine| mine.contains(role)));
            if due && !found.iter().any(|f| f.id == spec.id && f.issuer == spec.issuer) {
                found.push(spec.clone());
            }
        }
    }
    found
}

/// Names of the profiles within cells, each one once.
///
/// # Errors
/// [`Refusal::Invalid`] when a stored name is none.
pub fn profile_names(profiles: &[Arc<DataspaceProfile>]) -> Result<Vec<ProfileId>, Refusal> {
    let mut names = Vec::new();
    for profile in profiles {
        let name = super::settings::profile_name(&profile.properties)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
