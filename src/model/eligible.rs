//! Which services may get a new image, and whether a registry is asked for them. Pure.

use super::candidate::Candidate;
use super::decision::Reason;
use super::task_lifecycle::TaskLifecycle;
use super::update::Start;
use crate::config::{LookupMethod, ServicePolicy};
use crate::swarm::Mode;

/// What an update of this service would start, or why it must not be updated.
pub(crate) fn start(candidate: &Candidate, policy: &ServicePolicy) -> Result<Start, Reason> {
    let is_replicated = matches!(candidate.mode, Mode::Replicated(_));
    match candidate.lifecycle {
        _ if candidate.mode == Mode::Job && !policy.update_jobs => Err(Reason::Job),
        TaskLifecycle::UnderWay | TaskLifecycle::WithoutNode if policy.cronjob => Err(Reason::CronjobRuns),
        TaskLifecycle::RunsOn | TaskLifecycle::UnderWay => Ok(Start::Replaced),
        TaskLifecycle::WithoutNode => Ok(Start::WithoutNode),
        TaskLifecycle::Ended if policy.cronjob && is_replicated => {
            Ok(Start::LeftToCronjob { version: candidate.version })
        }
        TaskLifecycle::Ended if candidate.mode == Mode::Replicated(0) => Ok(Start::Replaced),
        TaskLifecycle::Ended if policy.update_jobs => Ok(Start::Again),
        TaskLifecycle::Ended => Err(Reason::Ended),
    }
}

/// Whether a registry has to be asked before this service can be decided on.
pub fn needs_answer(candidate: &Candidate) -> bool {
    may_be_updated(candidate)
        && candidate.policy.as_ref().is_ok_and(|policy| asks_registry(candidate, policy))
}

/// Whether this service gets a new image, if there is one.
pub fn may_be_updated(candidate: &Candidate) -> bool {
    !candidate.is_excluded
        && candidate.image().is_some_and(|image| image.tag().is_some())
        && candidate
            .policy
            .as_ref()
            .is_ok_and(|policy| !policy.excluded && !policy.stack_pin && start(candidate, policy).is_ok())
}

/// Whether this service's registry is asked. Ours always is: a forced update of ourselves would never end.
pub(crate) fn asks_registry(candidate: &Candidate, policy: &ServicePolicy) -> bool {
    policy.lookup == LookupMethod::Registry || candidate.is_itself
}
