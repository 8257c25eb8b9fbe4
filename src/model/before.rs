//! What a service's tasks did right before its update. Pure.
//!
//! An update owes no more than what ran before it. Tasks that the scheduler could not place stay without a node, and
//! what failed before fails again: neither is the new image's fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::cause::{Cause, scheduler_words};
use crate::model::task_spec_id::present_tasks;
use crate::swarm::{Mode, Nodes, Service, Task, TaskState, is_about_platforms};

/// How long ago a task may have failed for its service to be in trouble still. Swarm keeps the failed tasks of a slot for
/// ever if the next one runs well.
pub(crate) const RECENT: Duration = Duration::from_secs(600);

/// What a service's tasks did right before its update.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// `None`: no look was taken before the update.
    tasks: Option<TasksBefore>,
}

/// The tasks of a service right before its update.
#[derive(Clone, Debug, Default)]
struct TasksBefore {
    /// Slots, or nodes of a global service, whose task ran and had not failed lately.
    ran: u64,
    /// Why the scheduler found no node for tasks, each reason without its numbers.
    reasons: BTreeSet<String>,
    /// The ids of the tasks that had come to an end.
    ended: BTreeSet<String>,
    /// How tasks had failed lately.
    failures: Vec<Cause>,
}

impl Before {
    /// What these tasks of a service do. `now` is the engine's clock.
    pub fn of(service: &Service, tasks: &[Task], now: Timestamp) -> Self {
        let is_global = service.spec.facts().mode == Mode::Global;
        let mut ran: BTreeMap<(u64, &str), bool> = BTreeMap::new();
        let mut failures: Vec<Cause> = Vec::new();
        for task in present_tasks(service, tasks) {
            let place = (task.slot, if is_global { task.node_id.as_str() } else { "" });
            if task.is_wanted() && task.state == TaskState::Running {
                ran.entry(place).or_insert(true);
            }
            if task.has_ended() && is_recent(task, now) {
                ran.insert(place, false);
                let cause = Cause::of_task(task, service.spec.facts(), &Nodes::default());
                failures.extend(cause.filter(|cause| !failures.iter().any(|failure| failure.is_like(cause))));
            }
        }
        let reasons = present_tasks(service, tasks).filter_map(unplaced).flat_map(kinds_of_reason).collect();
        let ended = tasks.iter().filter(|task| task.has_ended()).map(|task| task.id.clone()).collect();
        let ran = ran.into_values().filter(|ran| *ran).count() as u64;
        Self { tasks: Some(TasksBefore { ran, reasons, ended, failures }) }
    }

    /// How many tasks ran, if that is known.
    pub(crate) fn ran(&self) -> Option<u64> {
        self.tasks.as_ref().map(|tasks| tasks.ran)
    }

    /// The ids of the tasks that had come to an end before the update.
    pub(crate) fn ended(&self) -> impl Iterator<Item = String> + use<> {
        self.tasks.clone().unwrap_or_default().ended.into_iter()
    }

    /// Whether a task had failed in the same way before the update.
    pub(crate) fn had_failed_like(&self, cause: &Cause) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.failures.iter().any(|failure| failure.is_like(cause)))
    }

    /// Whether tasks had failed lately.
    pub(crate) fn was_in_trouble(&self) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| !tasks.failures.is_empty())
    }

    /// Whether the scheduler's reason for this task is no news, and not the image's fault. Where no look was taken before
    /// the update, any reason that is not about the image counts as none.
    pub(crate) fn excuses(&self, task: &Task) -> bool {
        let Some(reason) = unplaced(task).filter(|reason| !is_about_platforms(reason)) else { return false };
        self.tasks
            .as_ref()
            .is_none_or(|tasks| kinds_of_reason(reason).into_iter().any(|kind| tasks.reasons.contains(&kind)))
    }
}

impl Cause {
    /// The same failure, or what is true instead when the old image's tasks had failed in the same way.
    pub(crate) fn against(self, before: &Before) -> Self {
        if before.had_failed_like(&self) { Self::AsBefore { end: self.to_string() } } else { self }
    }
}

fn is_recent(task: &Task, now: Timestamp) -> bool {
    let age = task.since.map(|since| now.duration_since(since));
    age.is_none_or(|age| Duration::try_from(age).unwrap_or_default() < RECENT)
}

/// Why the scheduler finds no node for a task that waits for one.
fn unplaced(task: &Task) -> Option<&str> {
    let waits = task.is_wanted() && task.state < TaskState::Assigned && !task.error.is_empty();
    waits.then_some(task.error.as_str())
}

/// The parts of a reason without their numbers: `insufficient resources on 2 nodes` is the same as on 3, and a node that
/// was paused meanwhile is another part.
fn kinds_of_reason(reason: &str) -> Vec<String> {
    let letters = scheduler_words(reason).chars().filter(|c| !c.is_ascii_digit());
    let kinds = letters.collect::<String>().replace("nodes", "node");
    kinds.split(';').map(|kind| kind.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests;
