//! How long tasks may take, by their service's own settings. Pure.

use std::time::Duration;

use crate::swarm::Facts;

/// How long tasks may be away after the swarm called an update completed: a task that failed is started
/// again after the restart delay, has to run, and to stay up for the monitor period. Twice that, and ten
/// seconds for a busy node.
pub(crate) fn settling_time(facts: &Facts) -> Duration {
    (facts.restart_delay + facts.monitor()) * 2 + Duration::from_secs(10)
}

/// How long a task of an update has to have lived for it to be sure that the update was through: longer than any part of
/// it, as far as the service's own settings tell, and by so much that the clocks of two nodes may differ.
pub(crate) fn proof_time(facts: &Facts) -> Duration {
    settling_time(facts) + facts.longest_step + Duration::from_secs(60)
}
