//! Activity definitions, orchestration templates and definitions, orchestrations, and the messages about them.

use super::{
    ActivityId, ActivityType, OrchestrationId, OrchestrationType, Properties, TemplateRef, TenantId,
    wire::{blank_as_none, date_time, null_as_default},
};
use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A kind of activity that agents carry out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityDefinition {
    /// Its name.
    #[serde(rename = "type")]
    pub activity_type: ActivityType,
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub description: String,
    /// JSON Schema of what it needs; `required` names what must be there.
    #[serde(default, deserialize_with = "null_as_default")]
    pub input_schema: Properties,
    /// JSON Schema of what it brings; `properties` names what will be there.
    #[serde(default, deserialize_with = "null_as_default")]
    pub output_schema: Properties,
}

/// One activity of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Its id within the definition.
    pub id: ActivityId,
    /// What it does.
    #[serde(rename = "type")]
    pub activity_type: ActivityType,
    /// Which of the type's sides is meant: the orchestration type, filled in when the activity starts.
    #[serde(default, deserialize_with = "blank_as_none", skip_serializing_if = "Option::is_none")]
    pub discriminator: Option<OrchestrationType>,
    /// Activities that must have completed before.
    #[serde(default, deserialize_with = "null_as_default")]
    pub depends_on: Vec<ActivityId>,
}

/// Several definitions that belong together, as posted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrchestrationTemplate {
    /// Its id; made when absent.
    #[serde(default, deserialize_with = "blank_as_none")]
    pub id: Option<TemplateRef>,
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub description: String,
    /// JSON Schema of the payload, kept for clients.
    #[serde(default, deserialize_with = "null_as_default")]
    pub schema: Properties,
    /// Activities by orchestration type.
    pub activities: BTreeMap<OrchestrationType, Vec<Activity>>,
}

/// The one definition of an orchestration type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrchestrationDefinition {
    /// The type.
    pub id: OrchestrationType,
    /// The type again, under the name that clients read.
    #[serde(rename = "type")]
    pub orchestration_type: OrchestrationType,
    /// The template it came with.
    pub template_ref: TemplateRef,
    /// For people.
    pub description: String,
    /// JSON Schema of the payload.
    pub schema: Properties,
    /// Its activities.
    pub activities: Vec<Activity>,
}

/// A request for an orchestration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrchestrationManifest {
    /// Id of the orchestration; a second manifest under the same id is the same request.
    pub id: OrchestrationId,
    /// What it is about, for example a participant profile.
    #[serde(default, deserialize_with = "null_as_default")]
    pub correlation_id: String,
    /// Which definition.
    pub orchestration_type: OrchestrationType,
    /// First content of the processing data.
    #[serde(default, deserialize_with = "null_as_default")]
    pub payload: Properties,
    /// Whose participant profile it is about; absent when a client asked for the orchestration directly.
    #[serde(default, deserialize_with = "blank_as_none", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
}

/// State of an orchestration; a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrchestrationState {
    /// Known, nothing started.
    Initialized,
    /// Activities run.
    Running,
    /// All activities completed.
    Completed,
    /// An activity failed for good.
    Errored,
}

impl OrchestrationState {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Initialized => 0,
            Self::Running => 1,
            Self::Completed => 2,
            Self::Errored => 3,
        }
    }
}

impl Serialize for OrchestrationState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl<'de> Deserialize<'de> for OrchestrationState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = u8::deserialize(deserializer)?;
        let states = [Self::Initialized, Self::Running, Self::Completed, Self::Errored];
        states.into_iter().find(|s| s.code() == code).ok_or_else(|| serde::de::Error::custom(format!("no orchestration state {code}")))
    }
}

/// Activities that run at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestrationStep {
    /// The activities.
    pub activities: Vec<Activity>,
}

/// An orchestration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orchestration {
    /// Its id.
    pub id: OrchestrationId,
    /// What it is about.
    pub correlation_id: String,
    /// Its definition.
    pub definition_id: OrchestrationType,
    /// The definition again, under the name that clients read.
    pub orchestration_type: OrchestrationType,
    /// How far it is.
    pub state: OrchestrationState,
    /// Since when.
    #[serde(with = "date_time")]
    pub state_timestamp: Timestamp,
    /// When it was asked for.
    #[serde(with = "date_time")]
    pub created_timestamp: Timestamp,
    /// Why it errored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// Its levels, one after the other.
    #[serde(default)]
    pub steps: Vec<OrchestrationStep>,
    /// Payload and outputs so far, shared by all activities.
    #[serde(default)]
    pub processing_data: Properties,
    /// Outputs of completed activities.
    #[serde(default)]
    pub output_data: Properties,
    /// Completed activities.
    #[serde(default)]
    pub completed: BTreeMap<ActivityId, Properties>,
}

/// Asks an activity agent for work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityMessage {
    /// For which orchestration.
    #[serde(rename = "orchestrationID")]
    pub orchestration_id: OrchestrationId,
    /// Which activity.
    pub activity: Activity,
    /// 1 for the first attempt; the answer must name it.
    pub attempt: u32,
    /// Payload and outputs so far.
    #[serde(default)]
    pub processing_data: Properties,
}

/// How an orchestration ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrchestrationResponse {
    /// The orchestration.
    pub id: OrchestrationId,
    /// The manifest that asked for it.
    pub manifest_id: OrchestrationId,
    /// What it was about.
    pub correlation_id: String,
    /// Its definition.
    pub orchestration_type: OrchestrationType,
    /// Whether all activities completed.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// Outputs of its activities.
    #[serde(default, deserialize_with = "null_as_default")]
    pub properties: Properties,
    /// Whose participant profile it was about.
    #[serde(default, deserialize_with = "blank_as_none", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn states_are_numbers() {
        for (state, code) in [
            (OrchestrationState::Initialized, 0),
            (OrchestrationState::Running, 1),
            (OrchestrationState::Completed, 2),
            (OrchestrationState::Errored, 3),
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), json!(code));
            assert_eq!(serde_json::from_value::<OrchestrationState>(json!(code)).unwrap(), state);
        }
        assert!(serde_json::from_value::<OrchestrationState>(json!(4)).is_err());
    }

    #[test]
    fn templates_as_clients_post_them() {
        let template: OrchestrationTemplate =
            serde_json::from_value(json!({"id": "tpl-1", "description": "member lifecycle", "schema": {},
            "activities": {"cfm.orchestration.vpa.deploy": [{"id": "token", "type": "jwtlet-activity"},
                {"id": "ih", "type": "identityhub-activity", "dependsOn": ["token"]}]}}))
            .unwrap();
        let deploy = template.activities.values().next().unwrap();
        assert!(deploy[0].depends_on.is_empty());
        assert_eq!(deploy[1].depends_on, vec![ActivityId::new("token").unwrap()]);
    }
}
