//! Activities as a directed acyclic graph: checks, and the levels that run one after the other. Pure.

use cellspace_schemas::fabric::{Activity, ActivityDefinition, ActivityId, ActivityType, OrchestrationStep, OrchestrationType, keys};
use std::collections::{BTreeMap, BTreeSet};

/// Activities of one definition at most.
pub const MAX_ACTIVITIES: usize = 64;

/// Why activities make no definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// More than [`MAX_ACTIVITIES`].
    #[error("a definition has at most {MAX_ACTIVITIES} activities")]
    TooMany,
    /// Two activities of one id.
    #[error("the activity {0} is there twice")]
    Twice(ActivityId),
    /// A type without a definition.
    #[error("the activity {0} is of the type {1}, which has no definition")]
    UnknownType(ActivityId, ActivityType),
    /// A dependency that is not there.
    #[error("the activity {0} depends on {1}, which is not there")]
    UnknownDependency(ActivityId, ActivityId),
    /// Activities that wait for each other.
    #[error("the activities {} depend on each other", .0.iter().map(ActivityId::as_str).collect::<Vec<_>>().join(", "))]
    Cycle(Vec<ActivityId>),
    /// An input that nothing brings.
    #[error("the activity {0} needs {1:?}, which neither the request nor an activity before it brings")]
    MissingInput(ActivityId, String),
}

/// Puts activities into levels: an activity stands in the first level after all that it depends on. Order within a level is that of the input.
///
/// # Errors
/// [`DagError`] when ids repeat, dependencies are unknown, or there is a cycle.
pub fn levels(activities: &[Activity]) -> Result<Vec<OrchestrationStep>, DagError> {
    if activities.len() > MAX_ACTIVITIES {
        return Err(DagError::TooMany);
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = activities.iter().find(|a| !ids.insert(&a.id)) {
        return Err(DagError::Twice(twice.id.clone()));
    }
    for activity in activities {
        if let Some(unknown) = activity.depends_on.iter().find(|d| !ids.contains(d)) {
            return Err(DagError::UnknownDependency(activity.id.clone(), unknown.clone()));
        }
    }
    let mut done: BTreeSet<&ActivityId> = BTreeSet::new();
    let mut left: Vec<&Activity> = activities.iter().collect();
    let mut steps = Vec::new();
    while !left.is_empty() {
        let (ready, blocked): (Vec<_>, Vec<_>) = left.into_iter().partition(|a| a.depends_on.iter().all(|d| done.contains(d)));
        if ready.is_empty() {
            return Err(DagError::Cycle(blocked.iter().map(|a| a.id.clone()).collect()));
        }
        done.extend(ready.iter().map(|a| &a.id));
        steps.push(OrchestrationStep { activities: ready.into_iter().cloned().collect() });
        left = blocked;
    }
    Ok(steps)
}

/// Checks activities against the known types; for deployments also that every required input is given or brought by an activity before.
///
/// # Errors
/// [`DagError`] names the first mistake.
pub fn check(
    orchestration: &OrchestrationType,
    activities: &[Activity],
    definition: impl Fn(&ActivityType) -> Option<ActivityDefinition>,
) -> Result<(), DagError> {
    let steps = levels(activities)?;
    let mut types: BTreeMap<&ActivityId, ActivityDefinition> = BTreeMap::new();
    for activity in activities {
        let known = definition(&activity.activity_type);
        let known = known.ok_or_else(|| DagError::UnknownType(activity.id.clone(), activity.activity_type.clone()))?;
        types.insert(&activity.id, known);
    }
    if orchestration.as_str() != keys::DEPLOY {
        return Ok(());
    }
    let given = [keys::PARTICIPANT_ID, keys::VPA_DATA, keys::VPA_CREDENTIALS, keys::PROFILES].map(str::to_owned);
    // What each activity has at hand: all that came with the request or from the activities it depends on, directly or not.
    let mut at_hand: BTreeMap<&ActivityId, BTreeSet<String>> = BTreeMap::new();
    for activity in steps.iter().flat_map(|step| &step.activities) {
        let mut inputs: BTreeSet<String> = given.iter().cloned().collect();
        for dependency in &activity.depends_on {
            inputs.extend(at_hand.get(dependency).into_iter().flatten().cloned());
            let output = types.get(dependency).and_then(|t| t.output_schema.get("properties"));
            inputs.extend(output.and_then(|p| p.as_object()).into_iter().flat_map(|p| p.keys().cloned()));
        }
        let required = types.get(&activity.id).and_then(|t| t.input_schema.get("required")).and_then(|r| r.as_array());
        let mut required = required.into_iter().flatten().filter_map(|r| r.as_str());
        if let Some(missing) = required.find(|name| !inputs.contains(*name)) {
            return Err(DagError::MissingInput(activity.id.clone(), missing.to_owned()));
        }
        at_hand.insert(&activity.id, inputs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn activity(id: &str, depends_on: &[&str]) -> Activity {
        let depends_on: Vec<String> = depends_on.iter().map(|d| (*d).to_owned()).collect();
        serde_json::from_value(json!({"id": id, "type": format!("{id}-activity"), "dependsOn": depends_on})).unwrap()
    }

    fn ids(steps: &[OrchestrationStep]) -> Vec<Vec<&str>> {
        steps.iter().map(|s| s.activities.iter().map(|a| a.id.as_str()).collect()).collect()
    }

    #[test]
    fn levels_of_a_deployment() {
        let activities = [
            activity("token", &[]),
            activity("reg", &["token"]),
            activity("ih", &["token"]),
            activity("cp", &["token", "ih"]),
            activity("creds", &["token", "cp", "ih", "reg"]),
        ];
        assert_eq!(ids(&levels(&activities).unwrap()), vec![vec!["token"], vec!["reg", "ih"], vec!["cp"], vec!["creds"]]);
        assert_eq!(levels(&[]), Ok(Vec::new()));
    }

    #[test]
    fn mistakes() {
        let id = |text: &str| ActivityId::new(text).unwrap();
        assert_eq!(levels(&[activity("a", &[]), activity("a", &[])]), Err(DagError::Twice(id("a"))));
        assert_eq!(levels(&[activity("a", &["b"])]), Err(DagError::UnknownDependency(id("a"), id("b"))));
        assert_eq!(levels(&[activity("a", &["a"])]), Err(DagError::Cycle(vec![id("a")])));
        let cycle = [activity("x", &[]), activity("a", &["b", "x"]), activity("b", &["c"]), activity("c", &["a"])];
        assert_eq!(levels(&cycle), Err(DagError::Cycle(vec![id("a"), id("b"), id("c")])));
        let many: Vec<_> = (0..=MAX_ACTIVITIES).map(|n| activity(&format!("a{n}"), &[])).collect();
        assert_eq!(levels(&many), Err(DagError::TooMany));
    }

    #[test]
    fn types_and_inputs_are_checked() {
        let definition = |text: &ActivityType| {
            let (input, output) = match text.as_str() {
                "token-activity" => (json!({"required": [keys::PARTICIPANT_ID]}), json!({"properties": {"participantContextId": {}}})),
                "ih-activity" => (json!({"required": ["participantContextId"]}), json!({})),
                "cp-activity" => (json!({"required": ["participantContextId", "dns"]}), json!({})),
                _ => return None,
            };
            Some(serde_json::from_value(json!({"type": text, "inputSchema": input, "outputSchema": output})).unwrap())
        };
        let deploy = OrchestrationType::new(keys::DEPLOY).unwrap();
        let check = |kind: &OrchestrationType, activities: &[Activity]| check(kind, activities, definition);
        assert_eq!(check(&deploy, &[activity("token", &[]), activity("ih", &["token"])]), Ok(()));
        assert!(matches!(check(&deploy, &[activity("other", &[])]), Err(DagError::UnknownType(..))));
        let unordered = [activity("token", &[]), activity("ih", &[])];
        assert!(matches!(check(&deploy, &unordered), Err(DagError::MissingInput(_, name)) if name == "participantContextId"));
        // Only what deployments need is known beforehand.
        assert_eq!(check(&OrchestrationType::new(keys::DISPOSE).unwrap(), &unordered), Ok(()));
        let far = [activity("token", &[]), activity("ih", &["token"]), activity("cp", &["ih"])];
        assert!(matches!(check(&deploy, &far), Err(DagError::MissingInput(_, name)) if name == "dns"));
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        /// In any acyclic graph every activity stands exactly once, and after everything it depends on.
        #[test]
        fn levels_respect_dependencies(edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let name = |n: usize| format!("a{n}");
            let activities: Vec<Activity> = (0..12)
                .map(|n| {
                    let before: Vec<String> = edges.iter().filter(|(a, b)| a.max(b) == &n && a != b).map(|(a, b)| name(*a.min(b))).collect();
                    activity(&name(n), &before.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .collect();
            let steps = levels(&activities).unwrap();
            let mut seen = BTreeSet::new();
            for step in &steps {
                prop_assert!(!step.activities.is_empty());
                for activity in &step.activities {
                    prop_assert!(activity.depends_on.iter().all(|d| seen.contains(d)));
                }
                seen.extend(step.activities.iter().map(|a| a.id.clone()));
            }
            prop_assert_eq!(seen.len(), activities.len());
        }
    }
}
