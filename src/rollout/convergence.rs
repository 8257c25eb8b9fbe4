//! Whether a service's tasks are where its specification wants them. Pure.
//!
//! The rules are those of the docker CLI's progress display (`docker/cli`,
//! `service/progress/progress.go`), with one difference: tasks of the present specification are told by
//! image and forced-update counter, which every update of ours changes, so that failed ones stay visible
//! after a rollback too.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::before::Before;
use crate::model::cause::{Cause, scheduler_words, words};
use crate::model::task_spec_id::present_tasks;
use crate::swarm::{Mode, Nodes, Service, Task, TaskState};

/// How far a service is from what its specification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convergence {
    /// All tasks run (healthy, where there is a health check) on nodes that are ready, and no task of
    /// another specification is wanted any more.
    Converged {
        /// The tasks that run; the same set a while later means that none was replaced.
        tasks: BTreeSet<String>,
        /// What is left out, because Swarm has said that it will not do it.
        but: Vec<Exception>,
    },
    /// Not yet.
    Waiting(Unconverged),
    /// There is nothing that could run: a job, no replicas, no node that fits.
    Nothing(&'static str),
}

/// What Swarm does not do, and what is not waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Nodes that are paused or drained keep the tasks of a global service as they are.
    SetAside {
        /// Their names.
        nodes: Vec<String>,
    },
    /// Tasks find no node, as before the update.
    Unplaced {
        /// Tasks that run.
        running: u64,
        /// Tasks that should.
        desired: u64,
        /// The scheduler's reason.
        reason: String,
    },
}

impl Exception {
    /// In words, after an update.
    pub(super) fn after_update(&self) -> String {
        self.keeping("the old image")
    }

    /// In words, after a rollback.
    pub(super) fn after_rollback(&self) -> String {
        self.keeping("the new image")
    }

    fn keeping(&self, what: &str) -> String {
        match self {
            Self::SetAside { nodes } if nodes.len() == 1 => {
                format!("{} is paused and keeps {what} until it is active", nodes[0])
            }
            Self::SetAside { nodes } => {
                format!("{} are paused and keep {what} until they are active", nodes.join(", "))
            }
            Self::Unplaced { running, desired, reason } => {
                format!(
                    "{running} of {desired} tasks run, as before: no suitable node for the others ({reason})"
                )
            }
        }
    }
}

/// What a service that has not converged is waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Unconverged {
    /// Tasks of the present specification that run.
    pub running: u64,
    /// Tasks that should.
    pub desired: u64,
    /// What the slowest of the others is doing, in words.
    pub activity: String,
    /// Why, when the swarm gives a reason.
    pub reason: Option<Cause>,
    /// Whether the slowest has a node and the image there: the rest is up to the image.
    pub has_image: bool,
    /// Whether all that is missing waits for a node for the same reason as before the update.
    pub is_excused: bool,
}

/// Compares a service with its tasks, and with what they did before its update.
pub fn judge(service: &Service, tasks: &[Task], nodes: &Nodes, before: &Before) -> Convergence {
    match service.spec.facts().mode {
        Mode::Job => Convergence::Nothing("jobs run when the swarm runs them"),
        Mode::Replicated(0) => Convergence::Nothing("it has no replicas"),
        Mode::Replicated(replicas) => replicated(service, (tasks, nodes), before, replicas),
        Mode::Global => global(service, tasks, nodes, before),
    }
}

fn replicated(
    service: &Service,
    (tasks, nodes): (&[Task], &Nodes),
    before: &Before,
    replicas: u64,
) -> Convergence {
    let mut slots: BTreeMap<u64, &Task> = BTreeMap::new();
    for task in running(service, tasks, nodes) {
        slots.entry(task.slot).or_insert(task);
    }
    let count = slots.len() as u64;
    let ids = || slots.values().map(|task| task.id.clone()).collect();
    let is_stale = tasks.iter().any(|task| task.is_wanted() && !is_present(service, task));
    if count >= replicas && !is_stale {
        return Convergence::Converged { tasks: ids(), but: Vec::new() };
    }
    let waiting = Unconverged {
        is_excused: is_excused(service, tasks, before),
        ..waiting(service, tasks, nodes, count, replicas)
    };
    let is_enough = before.ran().is_none_or(|ran| count >= ran.min(replicas));
    match &waiting.reason {
        Some(Cause::NoSuitableNode { reason }) if waiting.is_excused && is_enough && !is_stale => {
            if count == 0 {
                return match before.ran() {
                    Some(_) => Convergence::Nothing("no node takes its tasks, as before"),
                    None => Convergence::Waiting(waiting),
                };
            }
            let reason = scheduler_words(reason).to_owned();
            let but = Exception::Unplaced { running: count, desired: replicas, reason };
            Convergence::Converged { tasks: ids(), but: vec![but] }
        }
        _ => Convergence::Waiting(waiting),
    }
}

/// Whether all tasks that do not run yet wait for a node, as some did before the update.
fn is_excused(service: &Service, tasks: &[Task], before: &Before) -> bool {
    let is_unready = |task: &&Task| task.is_wanted() && task.state < TaskState::Running;
    let unready: Vec<&Task> = present_tasks(service, tasks).filter(is_unready).collect();
    !unready.is_empty() && unready.iter().all(|task| before.excuses(task))
}

/// The engine does not tell how many nodes are eligible, but the swarm makes a task for each of them at once and takes
/// it back from one that is down or drained. So the nodes to wait for are those with a wanted task, old or
/// new, whether or not the swarm hears from them at the moment (after a change of its leader it hears from
/// none), and those whose last task ended by itself and is not started again.
///
/// A paused node keeps its old task, and the swarm calls the update completed (tried on 20.10): it is left out.
fn global(service: &Service, tasks: &[Task], nodes: &Nodes, before: &Before) -> Convergence {
    let is_kept = |task: &Task| !is_present(service, task) && nodes.is_set_aside(&task.node_id);
    let wanted = || tasks.iter().filter(|task| task.is_wanted());
    let kept: BTreeSet<&str> = wanted().filter(|t| is_kept(t)).map(|task| task.node_id.as_str()).collect();
    let eligible = wanted().map(|task| task.node_id.as_str()).chain(given_up(service, tasks, nodes));
    let eligible: BTreeSet<&str> = eligible.filter(|node| !kept.contains(node)).collect();
    let mut but: Vec<Exception> = if kept.is_empty() {
        Vec::new()
    } else {
        let mut names: Vec<String> = kept.iter().map(|node| nodes.name(node).to_owned()).collect();
        names.sort();
        vec![Exception::SetAside { nodes: names }]
    };
    if eligible.is_empty() {
        return Convergence::Nothing(if kept.is_empty() {
            "no node is eligible"
        } else {
            "all its nodes are paused and keep what they run until they are active"
        });
    }
    let running: BTreeMap<&str, &Task> = running(service, tasks, nodes)
        .filter(|task| !kept.contains(task.node_id.as_str()))
        .map(|task| (task.node_id.as_str(), task))
        .collect();
    let is_stale = wanted().any(|task| !is_present(service, task) && !is_kept(task));
    let (count, desired) = (running.len() as u64, eligible.len() as u64);
    let ids = || running.values().map(|task| task.id.clone()).collect();
    if count == desired && !is_stale {
        return Convergence::Converged { tasks: ids(), but };
    }
    let waiting = Unconverged {
        is_excused: is_excused(service, tasks, before),
        ..waiting(service, tasks, nodes, count, desired)
    };
    let is_enough = count > 0 && before.ran().is_none_or(|ran| count >= ran.min(desired));
    match &waiting.reason {
        Some(Cause::NoSuitableNode { reason }) if waiting.is_excused && is_enough && !is_stale => {
            let reason = scheduler_words(reason).to_owned();
            but.push(Exception::Unplaced { running: count, desired, reason });
            Convergence::Converged { tasks: ids(), but }
        }
        _ => Convergence::Waiting(waiting),
    }
}

/// Nodes that could run a task and whose last one is of the present specification and ended by itself.
fn given_up<'a>(service: &Service, tasks: &'a [Task], nodes: &Nodes) -> BTreeSet<&'a str> {
    let mut last: BTreeMap<&str, &Task> = BTreeMap::new();
    for task in tasks {
        let latest = last.entry(&task.node_id).or_insert(task);
        if task.created_at >= latest.created_at {
            *latest = task;
        }
    }
    let has_given_up =
        |task: &Task| nodes.takes_tasks(&task.node_id) && is_present(service, task) && task.has_ended();
    last.into_iter().filter(|(_, task)| has_given_up(task)).map(|(node, _)| node).collect()
}

fn is_present(service: &Service, task: &Task) -> bool {
    let facts = service.spec.facts();
    facts.image.as_deref() == Some(&task.image) && facts.force_update == task.force_update
}

/// The tasks of the present specification that run as wanted.
pub(super) fn running<'a>(
    service: &'a Service,
    tasks: &'a [Task],
    nodes: &'a Nodes,
) -> impl Iterator<Item = &'a Task> {
    tasks.iter().filter(|task| {
        is_present(service, task)
            && task.state == TaskState::Running
            && task.desired == TaskState::Running
            && nodes.is_ready(&task.node_id)
    })
}

fn waiting(service: &Service, tasks: &[Task], nodes: &Nodes, running: u64, desired: u64) -> Unconverged {
    let slowest = present_tasks(service, tasks)
        .filter(|task| task.is_wanted() && task.state < TaskState::Running)
        .min_by_key(|task| task.state);
    Unconverged {
        running,
        desired,
        activity: slowest
            .map_or_else(|| format!("{running} of {desired} tasks run"), |task| activity(task, nodes)),
        reason: slowest
            .and_then(|task| Cause::of_task(task, service.spec.facts(), nodes))
            .or_else(|| lost(service, tasks, nodes)),
        has_image: slowest.is_some_and(|task| task.state >= TaskState::Ready),
        is_excused: false,
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
                format!("waiting for a node: {}", scheduler_words(&reason))
            }
        }
        state => format!("{} on {node}", state.name()),
    }
}

#[cfg(test)]
mod tests;
