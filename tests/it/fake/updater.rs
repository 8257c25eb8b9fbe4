//! The swarm's updater: replaces the tasks of a service slot by slot and judges what becomes of them
//! (swarmkit `manager/orchestrator/update/updater.go`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use gantry::swarm::{FailureAction, TaskState, UpdateState};

use super::plan::{Config, Plan};
use super::world::{At, Due, FakeTask, Slot, World};

/// One update at work.
pub struct Updater {
    goal: Arc<Plan>,
    config: Config,
    is_rollback: bool,
    queue: VecDeque<Slot>,
    workers: Vec<Worker>,
    dirty_slots: usize,
    /// The tasks that it made, and when each began to run, or ended.
    made: HashMap<String, Option<At>>,
    failed: BTreeSet<String>,
    /// Ends of tasks that it has not looked at yet.
    unseen: VecDeque<String>,
    phase: Phase,
    is_stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Slots are handed to workers, and failures are looked at.
    Handing,
    /// The last slot was handed out: failures wait until all workers are done.
    Draining,
    /// All tasks were replaced; failures count for one more monitor period.
    Monitoring,
}

#[derive(Clone, Debug)]
enum Worker {
    Idle,
    /// Until a new task runs or has ended. With `old`: start-first, these go when it runs.
    Waiting {
        task: String,
        old: Option<Vec<String>>,
    },
    /// Until a task that was there may start.
    Opening {
        task: String,
    },
    /// The delay between slots.
    Resting,
}

impl World {
    /// Starts an update, unless one is at work towards the same goal.
    pub(super) fn update_slots(&mut self, id: &str, slots: Vec<Slot>) {
        let service = self.service_mut(id);
        let plan = service.plan.clone();
        if service.updater.as_ref().is_some_and(|updater| updater.goal.is_same(&plan)) {
            return;
        }
        service.updater = None;
        service.generation += 1;
        let state = service.state().cloned();
        if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
            return;
        }
        let present = self.slots(id);
        let is_dirty = |slot: &Slot| match present.get(slot).map(Vec::as_slice) {
            Some([task]) => plan.is_dirty(&self.tasks[task]),
            Some([_, _, ..]) => true,
            _ => false,
        };
        // The real one takes them in any order. Those that wait for a node first is the worst of all.
        let waits = |slot: &Slot| present[slot].iter().all(|task| self.pending.contains(task));
        let mut queue: VecDeque<Slot> = slots.into_iter().filter(is_dirty).collect();
        queue.make_contiguous().sort_by_key(|slot| !waits(slot));
        if queue.is_empty() {
            if matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted)) {
                self.complete(id);
            }
            return;
        }
        if state.is_none() {
            self.set_status(id, UpdateState::Updating, "update in progress");
        }
        let is_rollback = state == Some(UpdateState::RollbackStarted);
        let config = if is_rollback { plan.rollback.clone() } else { plan.update.clone() };
        let parallelism = if config.parallelism == 0 { queue.len() } else { config.parallelism };
        self.service_mut(id).updater = Some(Updater {
            goal: plan,
            config,
            is_rollback,
            workers: vec![Worker::Idle; parallelism.min(queue.len())],
            dirty_slots: queue.len(),
            queue,
            made: HashMap::new(),
            failed: BTreeSet::new(),
            unseen: VecDeque::new(),
            phase: Phase::Handing,
            is_stopped: false,
        });
        self.drive(id);
    }

    /// Hands out slots, looks at failures and finishes, as far as it goes now.
    fn drive(&mut self, id: &str) {
        let Some(mut updater) = self.service_mut(id).updater.take() else { return };
        if updater.phase == Phase::Handing {
            self.look_at_failures(id, &mut updater);
            while !updater.is_stopped && !updater.queue.is_empty() {
                let Some(free) = updater.workers.iter().position(|worker| matches!(worker, Worker::Idle))
                else {
                    break;
                };
                if let Some(slot) = updater.queue.pop_front() {
                    updater.workers[free] = self.replace(id, &slot, &mut updater);
                    if matches!(updater.workers[free], Worker::Idle) {
                        updater.workers[free] = self.rest(id, &updater, free);
                    }
                }
            }
            if updater.is_stopped || updater.queue.is_empty() {
                updater.phase = Phase::Draining;
            }
        }
        if updater.phase == Phase::Draining
            && updater.workers.iter().all(|worker| matches!(worker, Worker::Idle))
        {
            if updater.is_stopped {
                return;
            }
            updater.phase = Phase::Monitoring;
            let generation = self.service_mut(id).generation;
            self.after(updater.config.monitor, Due::Monitored { service: id.to_owned(), generation });
        }
        if updater.phase == Phase::Monitoring {
            self.look_at_failures(id, &mut updater);
            if updater.is_stopped {
                return;
            }
        }
        self.service_mut(id).updater = Some(updater);
    }

    /// What a worker does with a slot.
    fn replace(&mut self, id: &str, slot: &Slot, updater: &mut Updater) -> Worker {
        let present: Vec<String> = self.slots(id).remove(slot).unwrap_or_default();
        let is_clean = |task: &&String| !updater.goal.is_dirty(&self.tasks[*task]);
        let is_started = |task: &&String| self.tasks[*task].desired == TaskState::Running;
        let clean: Vec<&String> = present.iter().filter(is_clean).collect();
        let existing = clean.iter().copied().find(is_started).or_else(|| clean.last().copied()).cloned();
        if let Some(existing) = existing {
            let old: Vec<String> = present.into_iter().filter(|task| *task != existing).collect();
            for task in &old {
                self.shut_down(task, TaskState::Shutdown);
            }
            if self.tasks[&existing].desired == TaskState::Running {
                return Worker::Idle;
            }
            self.hold(&existing, At::ZERO, old.last().cloned());
            return Worker::Opening { task: existing };
        }
        let task = self.add_task(id, slot.0, &slot.1, TaskState::Ready);
        updater.made.insert(task.clone(), None);
        if updater.config.start_first {
            self.hold(&task, At::ZERO, None);
            return Worker::Waiting { task, old: Some(present) };
        }
        for old in &present {
            self.shut_down(old, TaskState::Shutdown);
        }
        self.hold(&task, At::ZERO, present.last().cloned());
        Worker::Waiting { task, old: None }
    }

    /// Between two slots.
    fn rest(&mut self, id: &str, updater: &Updater, worker: usize) -> Worker {
        if updater.config.delay.is_zero() {
            return Worker::Idle;
        }
        let generation = self.service_mut(id).generation;
        let rested = Due::WorkerRested { service: id.to_owned(), generation, worker };
        self.after(updater.config.delay, rested);
        Worker::Resting
    }

    pub(super) fn worker_rested(&mut self, id: &str, generation: u64, worker: usize) {
        let Some(service) = self.services.get_mut(id).filter(|service| service.generation == generation)
        else {
            return;
        };
        if let Some(updater) = &mut service.updater {
            updater.workers[worker] = Worker::Idle;
            self.drive(id);
        }
    }

    /// A task of the service has changed.
    pub(super) fn updater_saw(&mut self, task: &FakeTask) {
        let id = &task.service;
        let Some(mut updater) = self.service_mut(id).updater.take() else { return };
        for worker in 0..updater.workers.len() {
            match updater.workers[worker].clone() {
                Worker::Waiting { task: awaited, old }
                    if awaited == task.id && task.state >= TaskState::Running =>
                {
                    updater.made.insert(awaited, Some(self.now));
                    for old in old.into_iter().flatten().filter(|_| task.state == TaskState::Running) {
                        self.shut_down(&old, TaskState::Shutdown);
                    }
                    updater.workers[worker] = self.rest(id, &updater, worker);
                }
                Worker::Opening { task: awaited }
                    if awaited == task.id && task.desired == TaskState::Running =>
                {
                    updater.workers[worker] = self.rest(id, &updater, worker);
                }
                _ => {}
            }
        }
        if task.is_final() && updater.config.action != FailureAction::Continue {
            updater.unseen.push_back(task.id.clone());
        }
        self.service_mut(id).updater = Some(updater);
        self.drive(id);
    }

    fn look_at_failures(&mut self, id: &str, updater: &mut Updater) {
        while let Some(task) = updater.unseen.pop_front() {
            let Some(began) = updater.made.get(&task).copied() else { continue };
            let is_monitored =
                began.is_none_or(|began| self.now.saturating_sub(began) <= updater.config.monitor);
            if updater.is_stopped || !is_monitored || !updater.failed.insert(task.clone()) {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "a handful of tasks")]
            let ratio = updater.failed.len() as f64 / updater.dirty_slots as f64;
            if ratio > updater.config.max_failure_ratio {
                updater.is_stopped = true;
                self.fail(id, updater, &task);
            }
        }
    }

    fn fail(&mut self, id: &str, updater: &Updater, task: &str) {
        let service = self.service_mut(id);
        let why = format!("due to failure or early termination of task {task}");
        if service.status.is_none() {
            return; // The service was changed since the update began.
        }
        let pauses = updater.config.action == FailureAction::Pause;
        if updater.is_rollback {
            // The words are those of any pause, unless the rollback was to be rolled back.
            let what = if pauses { "update" } else { "rollback" };
            self.set_status(id, UpdateState::RollbackPaused, &format!("{what} paused {why}"));
        } else if pauses {
            self.set_status(id, UpdateState::Paused, &format!("update paused {why}"));
        } else if let Some(previous) = service.previous.take() {
            let before = service.before();
            service.plan = previous;
            service.attempts.clear();
            if let Some(status) = &mut service.status {
                status.state = UpdateState::RollbackStarted;
                status.message = format!("update rolled back {why}");
            }
            self.service_changed(id, &before);
        }
    }

    pub(super) fn monitored(&mut self, id: &str, generation: u64) {
        let Some(service) = self.services.get_mut(id).filter(|service| service.generation == generation)
        else {
            return;
        };
        if service.updater.take().is_some() {
            self.complete(id);
        }
    }

    fn complete(&mut self, id: &str) {
        match self.services[id].state() {
            Some(UpdateState::RollbackStarted) => {
                self.set_status(id, UpdateState::RollbackCompleted, "rollback completed");
            }
            Some(_) => self.set_status(id, UpdateState::Completed, "update completed"),
            None => {}
        }
    }
}
