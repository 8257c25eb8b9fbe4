//! The tasks whose end does not count for an update. Pure.

use std::collections::BTreeSet;

use super::sent_update::ServiceView;
use crate::model::task_spec_id::present_tasks;
use crate::swarm::{Service, Task};

/// The tasks whose end does not count, as they belong to an attempt before this update or rollback. Swarm keeps five old
/// tasks of each slot, and only their ids tell them from new ones.
#[derive(Clone, Debug, Default)]
pub struct IgnoredTasks {
    /// The ids of the tasks.
    ids: BTreeSet<String>,
    /// Whether all tasks that the next look shows as ended are to be ignored.
    ignores_next_look: bool,
}

impl IgnoredTasks {
    /// Ignores these tasks.
    pub(super) fn of(ids: impl Iterator<Item = String>) -> Self {
        Self { ids: ids.collect(), ignores_next_look: false }
    }

    /// Takes a look.
    pub(super) fn look(&mut self, service: &Service, seen: &ServiceView<'_>) {
        if std::mem::take(&mut self.ignores_next_look) {
            self.ignore(present_tasks(service, seen.tasks).filter(|task| task.has_ended()));
        }
    }

    /// Ignores these tasks too from now on.
    pub(super) fn ignore<'a>(&mut self, tasks: impl Iterator<Item = &'a Task>) {
        self.ids.extend(tasks.map(|task| task.id.clone()));
    }

    /// Ignores all tasks that the next look shows as ended: nothing tells tasks that had the old account from those that
    /// have the new one.
    pub(super) fn ignore_next_look(&mut self) {
        self.ignores_next_look = true;
    }

    /// Whether a task's end counts.
    pub(crate) fn counts(&self, task: &Task) -> bool {
        !self.ids.contains(&task.id)
    }

    /// Whether a task of the present specification has ended by itself, and its end counts.
    pub(super) fn has_counted_end(&self, service: &Service, seen: &ServiceView<'_>) -> bool {
        !self.ignores_next_look
            && present_tasks(service, seen.tasks).any(|task| task.has_ended() && self.counts(task))
    }
}
