//! Who gets a new image first. Pure.
//!
//! The first services of a rollout are its canaries: what they show decides whether the others follow. So
//! those come first that show the most and lose the least. A health check tells a program that works from
//! one that merely runs; several replicas go on working when one of them does not. What does not run as it is
//! would blame the new image for its own trouble.

use super::task_lifecycle::TaskLifecycle;
use crate::swarm::{Facts, Mode, ServiceStatus};

/// The place of a service in the rollout of its image; the first to be updated is the least.
///
/// Only the specification and the number of tasks that run are looked at. A health check that comes with the image is not
/// known before the image is pulled, which nothing here does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Chosen by the label `gantry.rollout.canary`.
    Canary,
    /// A health check and several tasks.
    CheckedReplicas,
    /// A health check and one task.
    Checked,
    /// Several tasks.
    Replicas,
    /// One task: a bad image may go unnoticed, and where it is noticed the service is down.
    Single,
    /// Not all of its tasks run before the update: if those of the new image do not either, that says little of it.
    Ailing,
    /// No task to watch (no replicas, a job, or tasks that have ended): it shows nothing, so it comes when the others have
    /// shown what there is to see, also with the label.
    NothingToWatch,
    /// No node takes its tasks. They will start when a node does, and Gantry will not watch then.
    WithoutNode,
}

/// What an update can show of its image, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Tasks that run, or do not.
    Tasks,
    /// Tasks that may not run for the same reason as before the update.
    AilingTasks,
    /// Nothing.
    Nothing,
    /// Nothing yet: its tasks cannot start before the rollout ends.
    NothingYet,
}

impl Rank {
    /// The rank of a service with this specification and task lifecycle. `is_canary`: the label of the service asks for it.
    pub fn of(
        facts: &Facts,
        lifecycle: TaskLifecycle,
        tasks: Option<ServiceStatus>,
        is_canary: bool,
    ) -> Self {
        let has_several = match facts.mode {
            Mode::Job | Mode::Replicated(0) => return Self::NothingToWatch,
            Mode::Global => true,
            Mode::Replicated(replicas) => replicas > 1,
        };
        match lifecycle {
            TaskLifecycle::Ended => return Self::NothingToWatch,
            TaskLifecycle::WithoutNode => return Self::WithoutNode,
            TaskLifecycle::RunsOn | TaskLifecycle::UnderWay => {}
        }
        match tasks {
            // A global service for which no node is eligible.
            Some(ServiceStatus { desired: 0, .. }) if facts.mode == Mode::Global => return Self::WithoutNode,
            // Where tasks may have come to their end, there is nothing ailing about it.
            Some(tasks) if lifecycle == TaskLifecycle::RunsOn && tasks.running < tasks.desired => {
                return Self::Ailing;
            }
            _ => {}
        }
        match (is_canary, facts.has_health_check, has_several) {
            (true, _, _) => Self::Canary,
            (false, true, true) => Self::CheckedReplicas,
            (false, true, false) => Self::Checked,
            (false, false, true) => Self::Replicas,
            (false, false, false) => Self::Single,
        }
    }

    /// What an update of a service of this rank can show of its image.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::Ailing => Evidence::AilingTasks,
            Self::NothingToWatch => Evidence::Nothing,
            Self::WithoutNode => Evidence::NothingYet,
            _ => Evidence::Tasks,
        }
    }
}

impl Evidence {
    /// Whether there will be tasks that show how the image does.
    pub fn has_tasks(self) -> bool {
        matches!(self, Self::Tasks | Self::AilingTasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(mode: Mode, has_health_check: bool, is_canary: bool) -> Rank {
        Rank::of(
            &Facts { mode, has_health_check, ..Facts::default() },
            TaskLifecycle::RunsOn,
            None,
            is_canary,
        )
    }

    #[test]
    fn the_label_comes_first_then_health_checks_then_several_replicas_then_what_does_not_run() {
        let of_tasks = |lifecycle, running, desired, mode| {
            let tasks = Some(ServiceStatus { running, desired });
            Rank::of(&Facts { mode, has_health_check: true, ..Facts::default() }, lifecycle, tasks, true)
        };
        let mut ranks = [
            ("job", rank(Mode::Job, true, true)),
            ("unplaced", of_tasks(TaskLifecycle::WithoutNode, 0, 1, Mode::Replicated(1))),
            ("nowhere", of_tasks(TaskLifecycle::RunsOn, 0, 0, Mode::Global)),
            ("ended", of_tasks(TaskLifecycle::Ended, 0, 1, Mode::Replicated(1))),
            ("ailing", of_tasks(TaskLifecycle::RunsOn, 1, 2, Mode::Replicated(2))),
            ("ending", of_tasks(TaskLifecycle::UnderWay, 1, 2, Mode::Replicated(2))),
            ("one", rank(Mode::Replicated(1), false, false)),
            ("one checked", rank(Mode::Replicated(1), true, false)),
            ("three", rank(Mode::Replicated(3), false, false)),
            ("none", rank(Mode::Replicated(0), true, true)),
            ("global", rank(Mode::Global, false, false)),
            ("three checked", rank(Mode::Replicated(3), true, false)),
            ("canary", of_tasks(TaskLifecycle::RunsOn, 1, 1, Mode::Replicated(1))),
        ];
        ranks.sort_by_key(|(_, rank)| *rank);
        let names = ranks.map(|(name, _)| name);
        let expected = [
            "ending",
            "canary",
            "three checked",
            "one checked",
            "three",
            "global",
            "one",
            "ailing",
            "job",
            "ended",
            "none",
            "unplaced",
            "nowhere",
        ];
        assert_eq!(names, expected);
    }
}
