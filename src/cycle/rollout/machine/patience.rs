//! How long what may take before it has failed. Pure.

use std::time::Duration;

use crate::cycle::rollout::cause::Cause;
use crate::swarm::Facts;

/// How long tasks may be away after the swarm called an update completed: a task that failed is started
/// again after the restart delay, has to run, and to stay up for the monitor period. Twice that, and ten
/// seconds for a busy node.
pub(super) fn settling_time(facts: &Facts) -> Duration {
    (facts.restart_delay + facts.monitor()) * 2 + Duration::from_secs(10)
}

/// How long a task of an update has to have lived for it to be sure that the update was through: longer than any part of
/// it, as far as the service's own settings tell, and by so much that the clocks of two nodes may differ.
pub(in crate::cycle) fn proof_time(facts: &Facts) -> Duration {
    settling_time(facts) + facts.longest_step + Duration::from_secs(60)
}

/// How long an update without a time limit may make no progress at all: no more tasks run than before, and the
/// slowest of the others does the same for the same reason. Without an end to that, one service that cannot come up
/// would hold up its image's rollout, and the next cycle, for ever.
const STALL: Duration = Duration::from_secs(3_600);

/// [`STALL`], or twice the longest step that the service itself asks for.
pub(super) fn stall_limit(facts: &Facts) -> Duration {
    STALL.max((facts.longest_step + facts.monitor()) * 2)
}

/// A time-out that nobody has set.
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
