//! State of an orchestration.

use cellspace_schemas::{
    Timestamp,
    fabric::{
        Activity, ActivityId, Orchestration, OrchestrationManifest, OrchestrationState, OrchestrationStep, OrchestrationType, Properties,
        TemplateRef,
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

impl RunState {
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
