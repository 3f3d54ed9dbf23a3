//! Topics of the event log that the fabric uses, and the types of its events.

use super::activity;
use cellspace_schemas::fabric::ActivityType;

/// Manifests of orchestrations to start.
pub const REQUESTS: &str = "provisioning.requests";
/// How orchestrations ended.
pub const RESULTS: &str = "provisioning.results";
/// States of virtual participant agents, for whoever is interested.
pub const LIFECYCLE: &str = "vpa.lifecycle";
/// What happened to agreements, transfers and credentials, for whoever is interested.
pub const FACTS: &str = "runtime.facts";
/// Facts to bill by.
pub const USAGE: &str = "usage";

/// Event on [`REQUESTS`]; data: `OrchestrationManifest`.
pub const ORCHESTRATION_REQUESTED: &str = "org.cellspace.orchestration.requested";
/// Event on [`RESULTS`]; data: `OrchestrationResponse`.
pub const ORCHESTRATION_ENDED: &str = "org.cellspace.orchestration.ended";
/// Event on [`activities`]; data: `ActivityMessage`.
pub const ACTIVITY_REQUESTED: &str = "org.cellspace.activity.requested";
/// Event on [`LIFECYCLE`].
pub const PROFILE_CHANGED: &str = "org.cellspace.participant-profile.changed";
/// Event on [`USAGE`]: a participant can be used from now on.
pub const PARTICIPANT_ACTIVE: &str = "org.cellspace.usage.participant-active";
/// Event on [`USAGE`]: a participant is gone.
pub const PARTICIPANT_DISPOSED: &str = "org.cellspace.usage.participant-disposed";

/// Topics that are told without promises: nothing in the platform follows from what is on them.
#[must_use]
pub fn facts() -> [&'static str; 3] {
    [FACTS, USAGE, LIFECYCLE]
}

/// Whether provisioning goes by the topic.
#[must_use]
pub fn is_provisioning(topic: &str) -> bool {
    topic.starts_with("provisioning.")
}

/// Topic on which agents of an activity type are asked for work.
#[must_use]
pub fn activities(activity_type: &ActivityType) -> String {
    format!("provisioning.activities.{activity_type}")
}

/// The topics that the platform itself writes to or reads, those of activities that others carry out aside.
#[must_use]
pub fn all() -> Vec<String> {
    let own = activity::TYPES.into_iter().filter_map(|name| ActivityType::new(name).ok()).map(|name| activities(&name));
    [REQUESTS, RESULTS, LIFECYCLE, FACTS, USAGE].into_iter().map(str::to_owned).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `admin topics --create` makes what is in the list, and nothing else.
    #[test]
    fn the_platforms_topics_are_those_that_it_publishes_to() {
        let all = all();
        for topic in ["provisioning.requests", "provisioning.results", "vpa.lifecycle", "runtime.facts", "usage"] {
            assert!(all.iter().any(|name| name == topic), "{topic}");
        }
        assert!(all.iter().any(|name| name.starts_with("provisioning.activities.")));
    }
}
