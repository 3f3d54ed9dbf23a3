//! The end of many processes: in turns that are bounded.

use super::{
    ControlPlane,
    agent::{Decided, Refusal},
};
use cellspace_cluster::{Decision, Rejection};
use cellspace_schemas::Timestamp;
use std::time::Duration;

/// Processes that one turn ends.
const AT_ONCE: usize = 256;

/// Adds the ends of processes to a decision, as many as one turn takes; when the rest is to be ended in a turn of its own, if there is any.
///
/// # Errors
/// Of the first end that is refused.
pub(super) fn ended(
    mut decision: Decision<ControlPlane>,
    mut ends: impl Iterator<Item = Decided>,
    now: Timestamp,
) -> Result<(Decision<ControlPlane>, Option<Timestamp>), Rejection<Refusal>> {
    for end in ends.by_ref().take(AT_ONCE) {
        decision = decision.and(end?);
    }
    Ok((decision, ends.next().map(|_| now.plus(Duration::from_millis(1)))))
}
