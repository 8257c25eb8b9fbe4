//! The swarm's orchestrators: as many tasks as the specification says, and again when one ends
//! (swarmkit `manager/orchestrator/{replicated,global,jobs,restart,taskreaper}`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry::swarm::TaskState;

use super::plan::Shape;
use super::world::{Due, FakeTask, Slot, World};

/// Tasks that are remembered per slot, the present one included.
const TASK_HISTORY: usize = 5;

impl World {
    /// Compares a service with its tasks.
    pub(super) fn orchestrate(&mut self, id: &str) {
        let Some(service) = self.services.get_mut(id) else { return };
        service.is_due = false;
        match service.plan.shape {
            Shape::Replicated(replicas) => self.replicated(id, replicas),
            Shape::Global => self.global(id),
            Shape::ReplicatedJob { at_once, total } => self.replicated_job(id, at_once, total),
            Shape::GlobalJob => self.global_job(id),
        }
    }

    /// Slots in which a task is meant to run, with those tasks.
    pub(super) fn slots(&self, id: &str) -> BTreeMap<Slot, Vec<String>> {
        let is_global = self.services.get(id).is_some_and(|service| service.plan.shape.is_global());
        let mut slots: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
        for task in self.tasks_of(id).filter(|task| task.desired <= TaskState::Running) {
            slots.entry(task.place(is_global)).or_default().push(task.id.clone());
        }
        slots
    }

    fn replicated(&mut self, id: &str, replicas: u64) {
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        let mut kept: Vec<(Slot, Vec<String>)> = self.slots(id).into_iter().collect();
        // Running ones are kept first.
        kept.sort_by_key(|(_, tasks)| !tasks.iter().any(|task| self.tasks[task].state == TaskState::Running));
        let surplus = if kept.len() > wanted { kept.split_off(wanted) } else { Vec::new() };
        let used: BTreeSet<u64> = kept.iter().map(|(slot, _)| slot.0).collect();
        let mut slots: Vec<Slot> = kept.into_iter().map(|(slot, _)| slot).collect();
        slots.sort();
        let missing = wanted - slots.len();
        self.update_slots(id, slots);
        for task in surplus.into_iter().flat_map(|(_, tasks)| tasks) {
            self.shut_down(&task, TaskState::Remove);
        }
        let free = (1..).filter(|number| !used.contains(number)).take(missing);
        for slot in free.collect::<Vec<_>>() {
            self.add_task(id, slot, "", TaskState::Running);
        }
    }

    fn global(&mut self, id: &str) {
        let slots = self.slots(id);
        let constraints = self.services[id].plan.constraints.clone();
        let (mut present, mut missing, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for node in &self.nodes {
            let slot = Slot(0, node.node.id.clone());
            let is_eligible = !node.node.is_down && node.node.is_active && node.fits(&constraints);
            match slots.contains_key(&slot) {
                // What runs there stays as it is, and is not updated.
                _ if node.is_paused && !node.node.is_down => kept.push(slot),
                true if is_eligible => present.push(slot),
                false if is_eligible => missing.push(node.node.id.clone()),
                _ => {}
            }
        }
        let away: Vec<String> = slots
            .into_iter()
            .filter(|(slot, _)| !present.contains(slot) && !kept.contains(slot))
            .flat_map(|(_, tasks)| tasks)
            .collect();
        for task in away {
            self.shut_down(&task, TaskState::Shutdown);
        }
        self.update_slots(id, present);
        for node in missing {
            self.add_task(id, 0, &node, TaskState::Running);
        }
    }

    fn end_earlier_runs(&mut self, id: &str) -> Vec<FakeTask> {
        let iteration = self.services[id].iteration;
        let (present, earlier): (Vec<FakeTask>, Vec<FakeTask>) =
            self.tasks_of(id).cloned().partition(|task| task.iteration == iteration);
        for task in earlier {
            self.shut_down(&task.id, TaskState::Remove);
        }
        present
    }

    fn replicated_job(&mut self, id: &str, at_once: u64, total: u64) {
        let present = self.end_earlier_runs(id);
        let is_done = |task: &&FakeTask| task.state == TaskState::Complete;
        let done: BTreeSet<u64> = present.iter().filter(is_done).map(|task| task.slot).collect();
        let busy: BTreeSet<u64> =
            present.iter().filter(|t| t.is_wanted() && !t.is_final()).map(|task| task.slot).collect();
        let free = (0..total).filter(|slot| !done.contains(slot) && !busy.contains(slot));
        let room = usize::try_from(at_once).unwrap_or(usize::MAX).saturating_sub(busy.len());
        for slot in free.take(room).collect::<Vec<_>>() {
            self.add_task(id, slot, "", TaskState::Complete);
        }
    }

    fn global_job(&mut self, id: &str) {
        let present = self.end_earlier_runs(id);
        let constraints = self.services[id].plan.constraints.clone();
        let missing: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| !node.node.is_down && node.node.is_active && node.fits(&constraints))
            .filter(|node| !present.iter().any(|task| task.node == node.node.id))
            .map(|node| node.node.id.clone())
            .collect();
        for node in missing {
            self.add_task(id, 0, &node, TaskState::Complete);
        }
    }

    /// Everything that has to look at a task whose state has changed.
    pub(super) fn task_changed(&mut self, id: &str) {
        let task = self.tasks[id].clone();
        if !self.services.contains_key(&task.service) {
            self.after(self.timing.reap, Due::Reap { service: task.service });
            return;
        }
        if !task.is_final() {
            return self.updater_saw(&task);
        }
        let waiting: Vec<String> = self
            .tasks_of(&task.service)
            .filter(|other| other.gate.as_ref().is_some_and(|gate| gate.after.as_deref() == Some(id)))
            .map(|other| other.id.clone())
            .collect();
        for other in waiting {
            self.try_gate(&other);
        }
        let is_job = self.services[&task.service].plan.shape.is_job();
        if is_job && task.state == TaskState::Complete {
            self.wake_orchestrator(&task.service);
        } else if task.is_wanted() {
            // Faster than the updater: what replaces a task that made an update fail is one more like it.
            self.restart(id);
        }
        self.updater_saw(&task);
        self.after(self.timing.reap, Due::Reap { service: task.service });
    }

    /// Replaces a task that has ended, or whose node is away, by one of the present specification.
    pub(super) fn restart(&mut self, id: &str) {
        let task = self.tasks[id].clone();
        let plan = self.services[&task.service].plan.clone();
        let (is_job, is_global) = (plan.shape.is_job(), plan.shape.is_global());
        self.shut_down(id, TaskState::Shutdown);
        let slot = task.place(is_global);
        let has_ended_well = task.state == TaskState::Complete;
        let attempts = self.service_mut(&task.service).attempts.entry(slot).or_default();
        let may_restart = match plan.restarts.condition.as_str() {
            "none" => false,
            "on-failure" => !has_ended_well,
            _ => !(is_job && has_ended_well),
        };
        if !may_restart || (plan.restarts.max_attempts > 0 && *attempts >= plan.restarts.max_attempts) {
            return;
        }
        *attempts += 1;
        let node = if is_global { task.node.as_str() } else { "" };
        let is_away = !task.node.is_empty() && !self.is_up(&task.node);
        let is_drained = !task.node.is_empty()
            && !self.node(&task.node).node.is_active
            && !self.node(&task.node).is_paused;
        let new = self.add_task(&task.service, task.slot, node, TaskState::Ready);
        let delay = if is_drained { Duration::ZERO } else { plan.restarts.delay };
        let waits_for = (!is_away && !task.is_final()).then(|| id.to_owned());
        self.hold(&new, delay, waits_for);
    }

    /// Forgets tasks: removed ones once they have ended, and the oldest of a slot.
    pub(super) fn reap(&mut self, id: &str) {
        let may_go =
            |task: &FakeTask| task.is_final() || (!task.is_wanted() && task.state < TaskState::Assigned);
        let Some(service) = self.services.get(id) else {
            let of_removed = self.tasks.values().filter(|task| task.service == id && may_go(task));
            for task in of_removed.map(|task| task.id.clone()).collect::<Vec<_>>() {
                self.forget(&task);
            }
            return;
        };
        let is_global = service.plan.shape.is_global();
        let mut gone: Vec<String> = self
            .tasks_of(id)
            .filter(|task| task.desired == TaskState::Remove && may_go(task))
            .map(|task| task.id.clone())
            .collect();
        let mut by_slot: BTreeMap<Slot, Vec<&FakeTask>> = BTreeMap::new();
        for task in self.tasks_of(id) {
            by_slot.entry(task.place(is_global)).or_default().push(task);
        }
        for tasks in by_slot.into_values() {
            let surplus = tasks.len().saturating_sub(TASK_HISTORY);
            gone.extend(tasks.iter().take(surplus).filter(|task| may_go(task)).map(|task| task.id.clone()));
        }
        for task in gone {
            self.forget(&task);
        }
    }

    /// A task disappears, and its container with it.
    pub(super) fn forget(&mut self, id: &str) {
        let Some(task) = self.tasks.remove(id) else { return };
        self.pending.remove(id);
        if let Some(service) = self.services.get_mut(&task.service) {
            service.tasks.retain(|known| known != id);
        }
        if !task.node.is_empty() {
            let node = self.node_mut(&task.node);
            if (TaskState::Assigned..=TaskState::Running).contains(&task.state) {
                node.load -= 1;
            }
            if let Some(container) = &task.container {
                node.containers.remove(container);
            }
        }
    }
}
