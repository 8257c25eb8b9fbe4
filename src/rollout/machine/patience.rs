//! How long what may take before it has failed. Pure.

use std::time::Duration;

use crate::model::cause::Cause;
use crate::model::timing::settling_time;
use crate::swarm::Facts;

/// How long an update without a time limit may make no progress at all: no more tasks run than before, and the
/// slowest of the others does the same for the same reason. Without an end to that, one service that cannot come up
/// would hold up its image's rollout, and the next cycle, for ever.
const STALL: Duration = Duration::from_secs(3_600);

/// [`STALL`], or twice the longest step that the service itself asks for.
pub(super) fn stall_limit(facts: &Facts) -> Duration {
    STALL.max((facts.longest_step + facts.monitor()) * 2)
}

/// A time-out that no setting asks for.
pub(super) fn stalled(cause: Cause) -> Cause {
    match cause {
        Cause::TimedOut { after, waiting, blames_image } => {
            Cause::TimedOut { after, waiting: format!("making no progress: {waiting}"), blames_image }
        }
        cause => cause,
    }
}

/// How long the tasks of a rollback may fail again and again before it has failed: Swarm starts each again, and what keeps
/// the old image down may pass. A lock that the new image held is free when its task has ended, or its lease has run out.
pub(super) fn recovery_time(facts: &Facts) -> Duration {
    settling_time(facts) + facts.longest_step * 2 + Duration::from_secs(60)
}
