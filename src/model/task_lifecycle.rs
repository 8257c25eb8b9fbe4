//! Whether the tasks of a service run on, end, or have no node. Pure.
//!
//! An update of a service whose tasks have ended runs them again, whatever its restart condition says: the swarm
//! fills its slots anew, and calls the update paused when the new tasks end as soon as the old ones did (tried
//! on 20.10 and 28.5). So whether they have ended must be known before anything is sent. And where no node took a
//! task of the old image, none will take one of the new image: there is nothing to wait for.

use std::collections::BTreeMap;

use crate::swarm::{Facts, Mode, RestartCondition, Service, Task, TaskState, is_about_platforms};

/// What happens to the tasks of a service without any update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskLifecycle {
    /// The tasks are to run on, or the service is a job, which Swarm takes care of.
    #[default]
    RunsOn,
    /// The swarm has found no node for any of them.
    WithoutNode,
    /// They are not started again once they have ended, and at least one has not ended yet.
    UnderWay,
    /// They have ended and are not started again, or there are to be none.
    Ended,
}

impl TaskLifecycle {
    /// The task lifecycle of a service from a list of services; `None`: its tasks must be read. The list counts a task on a
    /// lost node as running (a contract rule).
    pub fn listed(service: &Service) -> Option<Self> {
        let (may_end, status) = (comes_to_an_end(service.spec.facts()), service.status.unwrap_or_default());
        match status.running {
            0 if may_end || (status.desired > 0 && service.spec.facts().mode != Mode::Job) => None,
            _ if may_end => Some(Self::UnderWay),
            _ => Some(Self::RunsOn),
        }
    }

    /// Whether none of a service's tasks has a node, or is about to have one.
    pub fn lacks_node(tasks: &[&Task]) -> bool {
        tasks.iter().filter(|task| is_under_way(task)).all(|task| is_refused(task))
    }

    /// The task lifecycle of a service with these tasks.
    pub fn of(facts: &Facts, tasks: &[Task]) -> Self {
        let under_way = || tasks.iter().filter(|task| is_under_way(task));
        if facts.mode != Mode::Job && under_way().next().is_some() && under_way().all(is_refused) {
            return Self::WithoutNode;
        }
        if !comes_to_an_end(facts) {
            return Self::RunsOn;
        }
        if under_way().next().is_some() {
            return Self::UnderWay;
        }
        if facts.mode == Mode::Replicated(0) {
            return Self::Ended;
        }
        // The last task of each slot, of each node in a global service.
        let mut last: BTreeMap<(u64, &str), &Task> = BTreeMap::new();
        for task in tasks {
            let node = if facts.mode == Mode::Global { task.node_id.as_str() } else { "" };
            let latest = last.entry((task.slot, node)).or_insert(task);
            if task.created_at >= latest.created_at {
                *latest = task;
            }
        }
        // One that has failed although it was to be started again is what a new image may mend.
        let is_done = |task: &&Task| {
            task.state == TaskState::Complete
                || (task.has_failed() && facts.restart_condition == RestartCondition::None)
        };
        if last.into_values().any(|task| is_done(&task)) { Self::Ended } else { Self::UnderWay }
    }
}

fn is_under_way(task: &Task) -> bool {
    task.is_wanted() && task.state <= TaskState::Running
}

/// Whether the scheduler says that it finds no node. A task that was only just made has no such words. Another image may
/// have the platform that this one lacks.
fn is_refused(task: &Task) -> bool {
    task.state < TaskState::Assigned && !task.error.is_empty() && !is_about_platforms(&task.error)
}

/// Whether a service's tasks may come to an end and stay there.
pub fn comes_to_an_end(facts: &Facts) -> bool {
    facts.restart_condition != RestartCondition::Any && facts.mode != Mode::Job
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(condition: RestartCondition, mode: Mode) -> Facts {
        Facts { restart_condition: condition, mode, ..Facts::default() }
    }

    /// Tasks as `slot state`, the older first; those that have ended are not wanted any more.
    fn tasks(written: &[&str]) -> Vec<Task> {
        let mut created = jiff::Timestamp::UNIX_EPOCH;
        let task = |written: &&str| {
            let (slot, state) = written.split_once(' ').unwrap();
            let (state, error) = state.split_once(": ").unwrap_or((state, ""));
            let state = TaskState::from_name(state);
            created += jiff::SignedDuration::from_secs(1);
            Task {
                id: (*written).to_owned(),
                service_id: "id".to_owned(),
                slot: slot.parse().unwrap(),
                node_id: format!("node{slot}"),
                image: String::new(),
                force_update: 0,
                desired: if state > TaskState::Running { TaskState::Shutdown } else { TaskState::Running },
                state,
                since: None,
                message: String::new(),
                error: error.to_owned(),
                exit_code: None,
                created_at: Some(created),
                reserved: crate::swarm::claims::Resources::default(),
            }
        };
        written.iter().map(task).collect()
    }

    #[test]
    fn a_service_has_ended_when_nothing_of_it_is_under_way_or_is_started_again() {
        use RestartCondition::{Any, None, OnFailure};
        use TaskLifecycle::{Ended, RunsOn, UnderWay, WithoutNode};
        let two = Mode::Replicated(2);
        for (condition, mode, written, lifecycle) in [
            (Any, two, &["1 complete", "2 complete"][..], RunsOn),
            (None, Mode::Job, &["1 complete"], RunsOn),
            (None, two, &["1 complete", "2 complete"], Ended),
            (OnFailure, two, &["1 complete", "2 complete"], Ended),
            (None, Mode::Global, &["0 complete"], Ended),
            // Something is still at work, or about to be.
            (None, two, &["1 complete", "2 running"], UnderWay),
            (None, two, &["1 complete", "2 pending"], UnderWay),
            (None, two, &["1 complete", "2 complete", "2 starting"], UnderWay),
            (Any, two, &["1 pending: no suitable node", "2 running"], RunsOn),
            (Any, two, &["1 pending: no suitable node", "2 pending"], RunsOn),
            (Any, two, &["1 pending: no suitable node", "2 pending: no suitable node"], WithoutNode),
            (Any, two, &["1 pending: no suitable node (unsupported platform on 3 nodes)"], RunsOn),
            (
                Any,
                two,
                &["1 pending: (insufficient resources on 2 nodes; unsupported platform on 1)"],
                WithoutNode,
            ),
            (None, two, &["1 complete", "2 pending: no suitable node"], WithoutNode),
            (Any, Mode::Global, &["0 pending: insufficient resources on 1 node"], WithoutNode),
            (None, Mode::Job, &["1 pending: no suitable node"], RunsOn),
            (Any, two, &[], RunsOn),
            (Any, two, &["1 failed", "2 rejected: No such image"], RunsOn),
            // Not begun yet, or no node fits.
            (None, two, &[], UnderWay),
            (None, Mode::Global, &[], UnderWay),
            // One that is never to be started again has ended when it failed; one that was, has given up, and a
            // new image may be what helps.
            (None, two, &["1 failed", "2 rejected"], Ended),
            (OnFailure, two, &["1 failed", "2 failed"], UnderWay),
            (OnFailure, two, &["1 complete", "2 failed"], Ended),
            (OnFailure, two, &["1 failed", "1 complete", "2 shutdown"], Ended),
            // Older tasks of a slot tell nothing.
            (OnFailure, two, &["1 complete", "1 failed", "2 failed"], UnderWay),
            (None, two, &["1 complete", "1 shutdown"], UnderWay),
            // There are to be none.
            (None, Mode::Replicated(0), &[], Ended),
            (None, Mode::Replicated(0), &["1 shutdown"], Ended),
            (None, Mode::Replicated(0), &["1 running"], UnderWay),
        ] {
            let found = TaskLifecycle::of(&facts(condition, mode), &tasks(written));
            assert_eq!(found, lifecycle, "{condition:?} {mode:?} {written:?}");
        }
    }
}
