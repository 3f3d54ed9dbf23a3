//! State of an orchestration.

use cellspace_schemas::{
    Timestamp,
    fabric::{
        Activity, ActivityId, Orchestration, OrchestrationManifest, OrchestrationResponse, OrchestrationState, OrchestrationStep,
        OrchestrationType, Properties, TemplateRef, TenantId,
    },
};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whether and how a failed run is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Undo {
    /// The template has nothing that undoes it.
    Never,
    /// By this orchestration, once no activity is under way any more.
    By(OrchestrationType),
    /// Asked for.
    Requested,
}

/// The run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was asked for.
    pub manifest: OrchestrationManifest,
    /// The template of its definition; `None` when there was no definition.
    pub template: Option<TemplateRef>,
    /// Its levels.
    pub steps: Vec<OrchestrationStep>,
    /// The level that runs, counted from 0.
    pub level: usize,
    /// Its state.
    pub state: OrchestrationState,
    /// Since when.
    pub state_timestamp: Timestamp,
    /// When it was asked for.
    pub created: Timestamp,
    /// Raised by every change.
    pub version: i64,
    /// Payload and outputs so far.
    pub processing_data: Properties,
    /// Outputs so far.
    pub output_data: Properties,
    /// Why it is `Errored`.
    pub error_detail: Option<String>,
    /// What undoes it.
    pub undo: Undo,
}

impl Run {
    /// The response that says how it ended.
    #[must_use]
    pub fn response(&self, success: bool) -> OrchestrationResponse {
        let OrchestrationManifest { id, correlation_id, orchestration_type, tenant_id, .. } = self.manifest.clone();
        OrchestrationResponse {
            manifest_id: id.clone(),
            id,
            correlation_id,
            orchestration_type,
            success,
            error_detail: self.error_detail.clone(),
            properties: self.output_data.clone(),
            tenant_id,
        }
    }
}

/// How far an activity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityState {
    /// An agent has been asked.
    Started,
    /// An attempt failed; the next one starts at the deadline.
    Retrying,
    /// Done.
    Completed,
    /// Given up.
    Failed,
}

/// An activity that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivityRun {
    /// The activity.
    pub activity: Activity,
    /// How far it is.
    pub state: ActivityState,
    /// The attempt that runs or ran last; the first one has 1.
    pub attempt: u32,
    /// Its outputs, once completed.
    pub outputs: Properties,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// When the attempt is given up, or the next one starts.
    pub due: Option<Timestamp>,
}

/// Everything one orchestration knows.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    /// The run; `None` before it was started.
    pub run: Option<Arc<Run>>,
    /// Activities that were started.
    pub activities: RedBlackTreeMapSync<ActivityId, Arc<ActivityRun>>,
}

/// An attempt at an activity that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it is given up.
    pub due: Timestamp,
    /// Whose participant profile it is about.
    pub tenant: Option<TenantId>,
}

impl RunState {
    /// The activity, when this attempt at it is under way: no other one counts.
    #[must_use]
    pub fn under_way(&self, id: &ActivityId, attempt: u32) -> Option<&Arc<ActivityRun>> {
        self.activities.get(id).filter(|a| a.state == ActivityState::Started && a.attempt == attempt)
    }

    /// The attempt, when it is under way.
    #[must_use]
    pub fn attempt(&self, id: &ActivityId, attempt: u32) -> Option<Attempt> {
        let (run, activity) = (self.run.as_ref()?, self.under_way(id, attempt)?);
        Some(Attempt { due: activity.due?, tenant: run.manifest.tenant_id.clone() })
    }

    /// How the run ended, as whoever asked for it is told; `None` before it has.
    #[must_use]
    pub fn response(&self) -> Option<OrchestrationResponse> {
        let run = self.run.as_ref()?;
        let success = match run.state {
            OrchestrationState::Completed => true,
            OrchestrationState::Errored => false,
            OrchestrationState::Initialized | OrchestrationState::Running => return None,
        };
        Some(run.response(success))
    }

    /// The orchestration as the API shows it.
    #[must_use]
    pub fn view(&self) -> Option<Orchestration> {
        let run = self.run.as_ref()?;
        let completed = self.activities.iter().filter(|(_, a)| a.state == ActivityState::Completed);
        Some(Orchestration {
            id: run.manifest.id.clone(),
            correlation_id: run.manifest.correlation_id.clone(),
            definition_id: run.manifest.orchestration_type.clone(),
            orchestration_type: run.manifest.orchestration_type.clone(),
            state: run.state,
            state_timestamp: run.state_timestamp,
            created_timestamp: run.created,
            error_detail: run.error_detail.clone(),
            steps: run.steps.clone(),
            processing_data: run.processing_data.clone(),
            output_data: run.output_data.clone(),
            completed: completed.map(|(id, a)| (id.clone(), a.outputs.clone())).collect(),
        })
    }
}
