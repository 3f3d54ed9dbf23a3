//! Identifiers of the fabric.

use crate::ids::{IdError, Owner, id};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

id!(
    /// A tenant of the operator.
    TenantId
);
id!(
    /// A participant profile of a tenant. Not the participant context id: that one is born in an activity.
    ParticipantProfileId
);
id!(
    /// A cell as registered with the tenant manager; its `externalId` names the running cell.
    CellId
);
id!(
    /// A dataspace profile of the tenant manager.
    DataspaceProfileId
);
id!(
    /// A deployment of a dataspace profile to a cell.
    DeploymentId
);
id!(
    /// A virtual participant agent of a participant profile.
    VpaId
);
id!(
    /// An orchestration; equal to the id of the manifest that asked for it.
    OrchestrationId
);
id!(
    /// Kind of orchestration, also the id of its one definition, for example `cfm.orchestration.vpa.deploy`.
    OrchestrationType
);
id!(
    /// A template that orchestration definitions came with.
    TemplateRef
);
id!(
    /// An activity within its definition.
    ActivityId
);
id!(
    /// Kind of activity, for example `edcv-activity`: see [`ActivityType::checked`] for what a definition may be called.
    ActivityType
);

macro_rules! owners {
    ($($name:ident),+) => {$(
        impl From<&$name> for Owner {
            fn from(id: &$name) -> Self {
                Self::of_checked(id.as_str())
            }
        }
    )+};
}

owners!(TenantId, OrchestrationId);

/// Longest activity type of a definition: the names of its topics, with what is before and behind it, have 249 characters at most (Kafka's limit).
const LONGEST_TYPE: usize = 128;

impl ActivityType {
    /// Whether the text may name a definition (and a topic): at most 128 letters, digits, dots, underscores and hyphens, and no `.dead` at its end, which
    /// topics of dead letters have.
    #[must_use]
    pub fn checked(&self) -> bool {
        let plain = self.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        plain && self.as_str().len() <= LONGEST_TYPE && !self.as_str().ends_with(".dead")
    }

    /// Whether the topics of both cannot be side by side: Kafka takes a dot and an underscore for the same there.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let same = |a: u8, b: u8| a == b || matches!((a, b), (b'.', b'_') | (b'_', b'.'));
        let (one, other) = (self.as_str().as_bytes(), other.as_str().as_bytes());
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(*a, *b))
    }
}

impl OrchestrationType {
    /// The type that undoes this one: `….dispose` for `….deploy`.
    #[must_use]
    pub fn disposal(&self) -> Option<Self> {
        let stem = self.as_str().strip_suffix(".deploy")?;
        Self::new(format!("{stem}.dispose")).ok()
    }

    /// Whether activities of this orchestration take away what others made.
    #[must_use]
    pub fn disposes(&self) -> bool {
        self.as_str().ends_with(".dispose")
    }
}

impl OrchestrationId {
    /// Id of the orchestration that undoes this one after it failed.
    #[must_use]
    pub fn compensation(&self) -> Option<Self> {
        Self::new(format!("{self}.compensation")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deploy_has_a_disposal() {
        let deploy = OrchestrationType::new("cfm.orchestration.vpa.deploy").unwrap();
        assert_eq!(deploy.disposal(), Some(OrchestrationType::new("cfm.orchestration.vpa.dispose").unwrap()));
        assert!(!deploy.disposes());
        assert_eq!(deploy.disposal().and_then(|d| d.disposal()), None);
        assert_eq!(OrchestrationType::new("audit").unwrap().disposal(), None);
    }

    #[test]
    fn activity_types_are_topic_names() {
        let (fits, long) = ("x".repeat(128), "x".repeat(129));
        for (text, ok) in [
            ("edcv-activity", true),
            ("a.b_c-1", true),
            (&fits, true),
            ("dead", true),
            (&long, false),
            ("a.dead", false),
            ("a/b", false),
            ("ä", false),
            ("a*", false),
        ] {
            assert_eq!(ActivityType::new(text).unwrap().checked(), ok, "{text}");
        }
        let collide = |a: &str, b: &str| ActivityType::new(a).unwrap().collides(&ActivityType::new(b).unwrap());
        assert!(collide("a.b_c", "a_b.c") && collide("a", "a"));
        assert!(!collide("a.b", "a-b") && !collide("a.b", "a.bc"));
    }
}
