//! A service whose last change has not come to a good end, or is so recent that its tasks must show it. Pure.

use jiff::Timestamp;

use super::ours::{has_new_digest_since, has_other_tasks};
use super::task_history::TaskHistory;
use crate::ledger::LeftBehind;
use crate::options::Ids;
use crate::swarm::{Mode, Service, Task, UpdateState};

/// A service whose last update or rollback has not come to a good end, or is so recent that its tasks must show it.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The service.
    pub service: Service,
    /// What its tasks tell; `None`: the engine did not list them.
    pub tasks: Option<TaskHistory>,
    /// The ids of the networks, configs and secrets that its update options name.
    pub ids: Ids,
    /// Whether an earlier run that died or was stopped may have changed it, so that nothing has judged that change.
    pub is_left_behind: bool,
    /// Whether Gantry gave it its digest in the last hours, so that its tasks may still show a failure.
    pub is_recent: bool,
    /// Whether nothing of it is unfinished, and only its tasks are looked at.
    pub is_over: bool,
}

impl Unfinished {
    /// Keeps a service if something is unfinished about it, or if `was_offered` its digest in the last hours.
    pub fn of(
        service: &Service,
        left_behind: &LeftBehind,
        was_offered: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let is_left_behind = left_behind.has(service);
        let is_unfinished = match service.update.as_ref().map(|status| &status.state) {
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => true,
            // The swarm takes a moment to begin, and never does where there is nothing to start.
            None => service.status.is_some_and(|status| status.desired > 0) && has_other_tasks(service),
            // It calls an update completed whatever its tasks do, and one that crashes every few seconds may just run.
            Some(UpdateState::Completed) => {
                (lacks_tasks(service) || is_left_behind) && has_other_tasks(service)
            }
            Some(state) => state.is_paused(),
        };
        let is_recent = was_offered || has_new_digest_since(service, now);
        ((is_unfinished || is_recent) && service.spec.facts().mode != Mode::Job).then(|| Self {
            service: service.clone(),
            tasks: None,
            ids: Ids::new(),
            is_left_behind,
            is_recent,
            is_over: !is_unfinished,
        })
    }

    /// Whether its tasks tell what the list of services does not.
    pub fn needs_tasks(&self) -> bool {
        let state = self.service.update.as_ref().map(|status| &status.state);
        match state {
            Some(UpdateState::Updating | UpdateState::Paused) => true,
            Some(UpdateState::Completed) => self.is_left_behind || self.is_recent,
            Some(state) if state.is_rollback() => true,
            _ => self.is_recent,
        }
    }

    /// Reads what its own tasks tell. `now` is the engine's clock.
    pub fn take_tasks(&mut self, tasks: &[Task], now: Timestamp) {
        self.tasks = Some(TaskHistory::of(&self.service, tasks, now));
    }

    /// Whether the service has the digest that it should have, and only its tasks are looked at.
    pub fn has_its_digest(&self) -> bool {
        self.is_over && self.tasks.as_ref().is_none_or(|tasks| tasks.failure.is_none())
    }
}

pub(crate) fn lacks_tasks(service: &Service) -> bool {
    service.status.is_some_and(|status| status.running < status.desired)
}
