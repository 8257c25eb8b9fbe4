//! Which ends of tasks count. Pure.

use std::collections::BTreeSet;

use super::terms::Seen;
use crate::model::mark::present_tasks;
use crate::swarm::{Service, Task};

/// Which ends of tasks count: those of this update, or of this rollback, and not of any attempt before it. Swarm keeps
/// five old tasks of each slot, and tells them from new ones by nothing but their ids.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The ids of tasks whose end does not count.
    spent: BTreeSet<String>,
    /// Whether all ends that the next look shows belong to the past.
    spends_next_look: bool,
}

impl Ends {
    /// All ends count but those of these tasks.
    pub(super) fn without(spent: impl Iterator<Item = String>) -> Self {
        Self { spent: spent.collect(), spends_next_look: false }
    }

    /// Takes a look.
    pub(super) fn look(&mut self, service: &Service, seen: &Seen<'_>) {
        if std::mem::take(&mut self.spends_next_look) {
            self.spend(present_tasks(service, seen.tasks).filter(|task| task.has_ended()));
        }
    }

    /// The ends of these tasks do not count from now on.
    pub(super) fn spend<'a>(&mut self, tasks: impl Iterator<Item = &'a Task>) {
        self.spent.extend(tasks.map(|task| task.id.clone()));
    }

    /// The ends that the next look shows do not count: nothing tells tasks that had another account from those that
    /// have the new one.
    pub(super) fn spend_next_look(&mut self) {
        self.spends_next_look = true;
    }

    /// Whether a task's end counts.
    pub(crate) fn counts(&self, task: &Task) -> bool {
        !self.spent.contains(&task.id)
    }

    /// Whether a task of the present specification has come to an end by itself.
    pub(super) fn is_any(&self, service: &Service, seen: &Seen<'_>) -> bool {
        !self.spends_next_look
            && present_tasks(service, seen.tasks).any(|task| task.has_ended() && self.counts(task))
    }
}
