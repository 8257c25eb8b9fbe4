//! Whether a service's tasks are where its specification wants them. Pure.
//!
//! The rules are those of the docker CLI's progress display (`docker/cli`,
//! `service/progress/progress.go`), with one difference: tasks of the present specification are told by
//! image and forced-update counter, which every update of ours changes, so that failed ones stay visible
//! after a rollback too.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::{Cause, words};
use crate::swarm::{Mode, Nodes, Service, Task, TaskState};

/// How far a service is from what its specification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convergence {
    /// All tasks run (healthy, where there is a health check) on nodes that are ready, and no task of
    /// another specification is wanted any more.
    Converged {
        /// The tasks that run; the same set a while later means that none was replaced.
        tasks: BTreeSet<String>,
    },
    /// Not yet.
    Waiting(Waiting),
    /// There is nothing that could run: a job, no replicas, no node that fits.
    Nothing(&'static str),
}

/// What a service that has not converged is waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Tasks of the present specification that run.
    pub running: u64,
    /// Tasks that should.
    pub desired: u64,
    /// What the slowest of the others is doing, in words.
    pub activity: String,
    /// Why, when the swarm gives a reason.
    pub reason: Option<Cause>,
}

/// The tasks that were made from the service's present specification.
pub fn present_tasks<'a>(service: &Service, tasks: &'a [Task]) -> impl Iterator<Item = &'a Task> {
    let facts = service.spec.facts();
    let (image, force) = (facts.image.clone().unwrap_or_default(), facts.force_update);
    tasks.iter().filter(move |task| task.image == image && task.force_update == force)
}

/// Compares a service with its tasks.
pub fn judge(service: &Service, tasks: &[Task], nodes: &Nodes) -> Convergence {
    match service.spec.facts().mode {
        Mode::Job => Convergence::Nothing("jobs run when the swarm runs them"),
        Mode::Replicated(0) => Convergence::Nothing("it has no replicas"),
        Mode::Replicated(replicas) => replicated(service, tasks, nodes, replicas),
        Mode::Global => global(service, tasks, nodes),
    }
}

fn replicated(service: &Service, tasks: &[Task], nodes: &Nodes, replicas: u64) -> Convergence {
    let mut slots: BTreeMap<u64, &Task> = BTreeMap::new();
    for task in running(service, tasks, nodes) {
        slots.entry(task.slot).or_insert(task);
    }
    let count = slots.len() as u64;
    let is_stale = tasks.iter().any(|task| task.is_wanted() && !is_present(service, task));
    if count >= replicas && !is_stale {
        return Convergence::Converged { tasks: slots.values().map(|task| task.id.clone()).collect() };
    }
    Convergence::Waiting(waiting(service, tasks, nodes, count, replicas))
}

/// Nobody tells how many nodes are eligible, but the swarm makes a task for each of them at once: the
/// nodes that have a wanted task, old or new, are the ones to wait for.
fn global(service: &Service, tasks: &[Task], nodes: &Nodes) -> Convergence {
    let eligible: BTreeSet<&str> = tasks
        .iter()
        .filter(|task| task.is_wanted() && nodes.is_ready(&task.node_id))
        .map(|task| task.node_id.as_str())
        .collect();
    if eligible.is_empty() {
        return Convergence::Nothing("no node is eligible");
    }
    let running: BTreeMap<&str, &Task> =
        running(service, tasks, nodes).map(|task| (task.node_id.as_str(), task)).collect();
    let count = eligible.iter().filter(|node| running.contains_key(*node)).count();
    let is_stale = tasks
        .iter()
        .any(|task| task.is_wanted() && nodes.is_ready(&task.node_id) && !is_present(service, task));
    if count == eligible.len() && !is_stale {
        return Convergence::Converged { tasks: running.values().map(|task| task.id.clone()).collect() };
    }
    Convergence::Waiting(waiting(service, tasks, nodes, count as u64, eligible.len() as u64))
}

fn is_present(service: &Service, task: &Task) -> bool {
    let facts = service.spec.facts();
    facts.image.as_deref() == Some(&task.image) && facts.force_update == task.force_update
}

fn running<'a>(service: &'a Service, tasks: &'a [Task], nodes: &'a Nodes) -> impl Iterator<Item = &'a Task> {
    tasks.iter().filter(|task| {
        is_present(service, task)
            && task.state == TaskState::Running
            && task.desired == TaskState::Running
            && nodes.is_ready(&task.node_id)
    })
}

fn waiting(service: &Service, tasks: &[Task], nodes: &Nodes, running: u64, desired: u64) -> Waiting {
    let slowest = present_tasks(service, tasks)
        .filter(|task| task.is_wanted() && task.state < TaskState::Running)
        .min_by_key(|task| task.state);
    Waiting {
        running,
        desired,
        activity: slowest
            .map_or_else(|| format!("{running} of {desired} tasks run"), |task| activity(task, nodes)),
        reason: slowest
            .and_then(|task| Cause::of_task(task, service.spec.facts(), nodes))
            .or_else(|| lost(service, tasks, nodes)),
    }
}

/// A new task that got lost with its node before it ran.
fn lost(service: &Service, tasks: &[Task], nodes: &Nodes) -> Option<Cause> {
    let is_lost = |task: &&Task| {
        let is_placed = !task.node_id.is_empty() && !nodes.is_ready(&task.node_id);
        is_placed && !task.is_wanted() && task.state < TaskState::Running
    };
    let task = present_tasks(service, tasks).find(is_lost)?;
    Some(Cause::NodeDown { node: nodes.name(&task.node_id).to_owned() })
}

/// What a task that does not run yet is doing, in words.
fn activity(task: &Task, nodes: &Nodes) -> String {
    let node = nodes.name(&task.node_id);
    match task.state {
        TaskState::Preparing => format!("pulling the image or preparing on {node}"),
        TaskState::Starting => format!("starting on {node} (not healthy yet, if it has a health check)"),
        state if state < TaskState::Assigned => {
            let reason = words(&task.error);
            if reason.is_empty() {
                "waiting for a node".to_owned()
            } else {
                format!("waiting for a node: {reason}")
            }
        }
        state => format!("{} on {node}", state.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Node;

    fn service() -> Service {
        let json = r#"{ "ID": "s", "Version": { "Index": 1 }, "Spec": { "Name": "s",
            "TaskTemplate": { "ContainerSpec": { "Image": "web:2" } }, "Mode": { "Global": {} } } }"#;
        Service::from_json(json).unwrap()
    }

    fn task(node: &str, image: &str, desired: TaskState, state: TaskState) -> Task {
        Task {
            id: format!("{node}-{image}"),
            service_id: "s".to_owned(),
            slot: 0,
            node_id: node.to_owned(),
            image: image.to_owned(),
            force_update: 0,
            desired,
            state,
            since: None,
            message: String::new(),
            error: String::new(),
            exit_code: None,
            created_at: None,
        }
    }

    #[test]
    fn an_updater_that_waits_for_a_lost_node_is_told_of() {
        use TaskState::{Assigned, Running, Shutdown};
        let node =
            |name: &str, is_ready| Node { id: name.into(), name: name.into(), is_ready, is_active: true };
        let nodes: Nodes = [node("a", true), node("b", false)].into_iter().collect();
        let mut tasks = vec![
            task("a", "web:1", Running, Running),
            task("b", "web:1", Shutdown, Running),
            task("b", "web:2", Shutdown, Assigned),
        ];
        let Convergence::Waiting(waiting) = judge(&service(), &tasks, &nodes) else { panic!("not over yet") };
        assert_eq!(waiting.reason, Some(Cause::NodeDown { node: "b".to_owned() }));

        tasks[0].image = "web:2".to_owned();
        assert!(matches!(judge(&service(), &tasks, &nodes), Convergence::Converged { .. }));
    }
}
