//! What nodes do with tasks: scheduling, pulling, starting, stopping.

use std::time::Duration;

use gantry::swarm::claims::Resources;
use gantry::swarm::{Container, TaskState};

use super::image::{Behaviour, Fate, Takes};
use super::node::FakeNode;
use super::plan::Plan;
use super::world::{Due, FakeTask, Gate, World};

impl World {
    /// Makes a task of a service's present specification. `desired` is what it may do for now.
    pub(super) fn add_task(&mut self, service: &str, slot: u64, node: &str, desired: TaskState) -> String {
        let id = self.new_id('t');
        let version = self.write();
        let owner = self.service_mut(service);
        owner.tasks.push(id.clone());
        let task = FakeTask {
            id: id.clone(),
            service: service.to_owned(),
            slot,
            node: node.to_owned(),
            template: owner.plan.template.clone(),
            iteration: owner.iteration,
            version,
            desired,
            state: TaskState::New,
            since: self.now,
            created: self.now,
            message: "created".to_owned(),
            error: String::new(),
            exit_code: None,
            container: None,
            log: Vec::new(),
            is_dead: false,
            behaviour: Behaviour::default(),
            gate: None,
            step: 0,
        };
        self.tasks.insert(id.clone(), task);
        self.march_after(&id, self.timing.schedule);
        self.after(self.timing.reap, Due::Reap { service: service.to_owned() });
        id
    }

    pub(super) fn march_after(&mut self, task: &str, wait: Duration) {
        let step = self.tasks.get_mut(task).map_or(0, |task| {
            task.step += 1;
            task.step
        });
        self.after(wait, Due::March { task: task.to_owned(), step });
    }

    /// The next step of a task's way.
    pub(super) fn march(&mut self, id: &str, step: u64) {
        let Some(task) = self.tasks.get(id).filter(|task| task.step == step) else { return };
        if !task.node.is_empty() && task.state >= TaskState::Assigned && !self.is_at_work(&task.node) {
            return; // Resumed when the node comes back.
        }
        if task.is_dead {
            return self.found_dead(id);
        }
        if !task.is_wanted() {
            return self.stopped(id);
        }
        match task.state {
            TaskState::New => {
                self.set_state(id, TaskState::Pending, "pending task scheduling");
                self.schedule(id);
            }
            TaskState::Assigned => self.prepare(id),
            TaskState::Preparing => self.prepared(id),
            TaskState::Starting => self.started(id),
            TaskState::Running => self.ended(id),
            _ => {}
        }
    }

    fn stopped(&mut self, id: &str) {
        let task = &self.tasks[id];
        if task.state < TaskState::Assigned || task.is_final() {
            return;
        }
        let exit_code = task.container.as_ref().map(|_| 0);
        self.end(id, TaskState::Shutdown, "shutdown", "", exit_code);
    }

    /// The engine of a node whose power failed finds the task's container when it starts.
    fn found_dead(&mut self, id: &str) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.is_dead = false;
        }
        self.end(id, TaskState::Failed, "started", "task: non-zero exit (255)", Some(255));
    }

    fn prepare(&mut self, id: &str) {
        let node = self.tasks[id].node.clone();
        let image = self.tasks[id].template.image.clone();
        let behaviour = self.images.behaviour(&image, Some(&self.node(&node).node.name.clone()), Takes::One);
        let mut pull = if self.node(&node).image(&image).is_some() { Duration::ZERO } else { behaviour.pull };
        if let Some(task) = self.tasks.get_mut(id) {
            task.behaviour = behaviour;
            if task.is_refused() {
                pull = Duration::ZERO;
            }
        }
        self.set_state(id, TaskState::Preparing, "preparing");
        self.march_after(id, self.timing.prepare + pull);
    }

    pub(super) fn prepared(&mut self, id: &str) {
        let task = &self.tasks[id];
        let (image, node) = (task.template.image.clone(), task.node.clone());
        if let (Some(error), None) = (task.pull_error(), self.node(&node).image(&image)) {
            return self.end(id, TaskState::Rejected, "preparing", &error, None);
        }
        let service = task.service.clone();
        let container = self.new_id('c');
        let name = self.services[&service].plan.name().to_owned();
        let labels = [
            ("com.docker.swarm.service.id", service.clone()),
            ("com.docker.swarm.service.name", name),
            ("com.docker.swarm.task.id", id.to_owned()),
            ("com.docker.swarm.node.id", node.clone()),
        ];
        let node = self.node_mut(&node);
        let image_id = node.pull(&image);
        let made = Container {
            id: container.clone(),
            state: "created".to_owned(),
            image_id: image_id.clone(),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        node.containers.insert(container.clone(), (made, image_id));
        if let Some(task) = self.tasks.get_mut(id) {
            task.container = Some(container);
        }
        self.set_state(id, TaskState::Ready, "prepared");
        self.start_if_allowed(id);
    }

    /// Starts a task that is prepared and wanted to run.
    pub(super) fn start_if_allowed(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let may_start = matches!(task.desired, TaskState::Running | TaskState::Complete);
        if task.state != TaskState::Ready || !may_start {
            return;
        }
        let start = self.timing.start + task.behaviour.start;
        let wait = match task.behaviour.fate {
            Fate::NeverHealthy => None,
            Fate::Unhealthy { after, .. } => Some(after),
            _ => Some(start),
        };
        self.set_state(id, TaskState::Starting, "starting");
        self.set_container(id, "running");
        if let Some(wait) = wait {
            self.march_after(id, wait);
        }
    }

    pub(super) fn started(&mut self, id: &str) {
        self.take_lock(id);
        let task = self.tasks.get_mut(id).expect("it marches");
        task.log.clone_from(&task.behaviour.log);
        match task.behaviour.fate.clone() {
            Fate::CannotStart { error } => {
                let error = format!("starting container failed: {error}");
                self.end(id, TaskState::Failed, "starting", &error, Some(127));
            }
            Fate::Unhealthy { as_complete: true, .. } => {
                self.end(id, TaskState::Complete, "finished", "", Some(0));
            }
            Fate::Unhealthy { .. } => {
                let error = "task: non-zero exit (137): dockerexec: unhealthy container";
                self.end(id, TaskState::Failed, "started", error, Some(137));
            }
            fate => {
                self.set_state(id, TaskState::Running, "started");
                let is_job = self.tasks[id].desired == TaskState::Complete;
                match fate {
                    Fate::Ends { after, .. } => self.march_after(id, after),
                    _ if is_job => self.march_after(id, self.timing.job),
                    _ => {}
                }
            }
        }
    }

    /// Decides what becomes of a task whose program takes a lock.
    fn take_lock(&mut self, id: &str) {
        let task = &self.tasks[id];
        let Fate::NeedsLock { exit_code } = task.behaviour.fate else { return };
        let is_other = |other: &&FakeTask| {
            let is_same_place = other.slot == task.slot && (task.slot > 0 || other.node == task.node);
            other.id != id && is_same_place && other.state == TaskState::Running
        };
        let is_taken = self.tasks_of(&task.service).any(|other| is_other(&other));
        let after = Duration::from_millis(100);
        let fate = if is_taken { Fate::Ends { after, exit_code } } else { Fate::Runs };
        if let Some(task) = self.tasks.get_mut(id) {
            task.behaviour.fate = fate;
        }
    }

    pub(super) fn ended(&mut self, id: &str) {
        let code = match self.tasks[id].behaviour.fate {
            Fate::Ends { exit_code, .. } => exit_code,
            _ => 0,
        };
        if code == 0 {
            self.end(id, TaskState::Complete, "finished", "", Some(0));
        } else {
            let error = format!("task: non-zero exit ({code})");
            self.end(id, TaskState::Failed, "started", &error, Some(code));
        }
    }

    fn end(&mut self, id: &str, state: TaskState, message: &str, error: &str, exit_code: Option<i64>) {
        if let Some(task) = self.tasks.get_mut(id) {
            error.clone_into(&mut task.error);
            task.exit_code = exit_code;
        }
        self.set_container(id, "exited");
        self.set_state(id, state, message);
    }

    pub(super) fn set_state(&mut self, id: &str, state: TaskState, message: &str) {
        let version = self.write();
        let now = self.now;
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.state < TaskState::Assigned && state >= TaskState::Assigned {
            task.error.clear();
        }
        let had_place = (TaskState::Assigned..=TaskState::Running).contains(&task.state);
        let keeps_place = (TaskState::Assigned..=TaskState::Running).contains(&state);
        (task.state, task.since, task.version) = (state, now, version);
        message.clone_into(&mut task.message);
        let node = task.node.clone();
        if let Some(node) = self.nodes.iter_mut().find(|known| known.node.id == node) {
            node.load = node.load + usize::from(keeps_place) - usize::from(had_place);
        }
        self.task_changed(id);
        if had_place && !keeps_place {
            self.retry_pending();
        }
    }

    fn set_container(&mut self, id: &str, state: &str) {
        let Some(FakeTask { node, container: Some(container), .. }) = self.tasks.get(id) else { return };
        let (node, container) = (node.clone(), container.clone());
        if let Some((container, _)) = self.node_mut(&node).containers.get_mut(&container) {
            state.clone_into(&mut container.state);
        }
    }

    /// Wants a task to end.
    pub(super) fn shut_down(&mut self, id: &str, desired: TaskState) {
        let stop = self.timing.stop;
        let version = self.write();
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.desired >= desired {
            return;
        }
        (task.desired, task.gate, task.version) = (desired, None, version);
        let wait = stop + task.behaviour.stop;
        self.pending.remove(id);
        if !self.tasks[id].is_final() {
            self.march_after(id, wait);
        }
    }

    /// Lets a task that is held back start, once its gate is open.
    pub(super) fn hold(&mut self, id: &str, wait: Duration, after: Option<String>) {
        /// How long the swarm waits for an old task to end (swarmkit `restart.go`).
        const OLD_TASK_TIMEOUT: Duration = Duration::from_secs(60);
        let not_before = self.now + wait;
        let after = after.filter(|old| self.tasks.get(old).is_some_and(|old| !old.is_final()));
        if let Some(task) = self.tasks.get_mut(id) {
            task.gate = Some(Gate { not_before, after });
        }
        self.at(not_before, Due::Gate { task: id.to_owned() });
        self.at(not_before + OLD_TASK_TIMEOUT, Due::Gate { task: id.to_owned() });
    }

    pub(super) fn try_gate(&mut self, id: &str) {
        let Some(Gate { not_before, after }) = self.tasks.get(id).and_then(|task| task.gate.clone()) else {
            return;
        };
        let is_waiting = after.and_then(|old| self.tasks.get(&old)).is_some_and(|old| {
            let runs = old.state >= TaskState::Assigned && !old.is_final() && self.is_up(&old.node);
            runs && self.now < not_before + Duration::from_secs(60)
        });
        if self.now < not_before || is_waiting {
            return;
        }
        let is_job = self.services[&self.tasks[id].service].plan.shape.is_job();
        if let Some(task) = self.tasks.get_mut(id) {
            task.gate = None;
            task.desired = if is_job { TaskState::Complete } else { TaskState::Running };
        }
        self.write();
        self.start_if_allowed(id);
    }

    /// Finds a node for a pending task.
    pub(super) fn schedule(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let (wanted_node, image) = (task.node.clone(), task.template.image.clone());
        let (service, plan) = (task.service.clone(), self.services[&task.service].plan.clone());
        let scripted = self.images.behaviour(&image, None, Takes::None).unschedulable;
        let found = scripted.map_or_else(|| self.choose(&service, &plan, &wanted_node), Err);
        match found {
            Ok(node) => {
                self.pending.remove(id);
                if let Some(task) = self.tasks.get_mut(id) {
                    task.node = node;
                }
                self.set_state(id, TaskState::Assigned, "scheduler assigned task to node");
                self.march_after(id, self.timing.dispatch);
            }
            Err(reason) => {
                self.pending.insert(id.to_owned());
                let error = format!("no suitable node ({reason})");
                let now = self.now;
                if let Some(task) = self.tasks.get_mut(id).filter(|task| task.error != error) {
                    (task.error, task.since) = (error, now);
                }
            }
        }
    }

    /// The emptiest node that fits, or why there is none.
    fn choose(&self, service: &str, plan: &Plan, wanted: &str) -> Result<String, String> {
        let (mut taken, mut full, mut unfit, mut away, mut poor) = (0, 0, 0, 0, 0);
        let mut best: Option<((usize, usize), &FakeNode)> = None;
        let host_ports = &plan.template.host_ports;
        let places =
            || self.tasks.values().filter(|t| (TaskState::Assigned..=TaskState::Running).contains(&t.state));
        for node in self.nodes.iter().filter(|node| wanted.is_empty() || node.node.id == wanted) {
            let own = self.tasks_of(service).filter(|task| {
                task.node == node.node.id
                    && task.is_wanted()
                    && task.state >= TaskState::Assigned
                    && !task.is_final()
            });
            let own = own.count();
            let has_port = !host_ports.is_empty()
                && places().any(|task| {
                    let theirs = &task.template.host_ports;
                    task.node == node.node.id && theirs.iter().any(|port| host_ports.contains(port))
                });
            if !node.node.is_ready || !node.node.is_active {
                away += 1;
            } else if !node.fits(&plan.constraints) {
                unfit += 1;
            } else if has_port {
                taken += 1;
            } else if plan.max_per_node > 0 && own as u64 >= plan.max_per_node {
                full += 1;
            } else if self.left_on(node).lacks(&plan.template.reserved).is_some() {
                poor += 1;
            } else if best.is_none_or(|(least, _)| (own, node.load) < least) {
                best = Some(((own, node.load), node));
            }
        }
        let nodes = |count: usize| if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        let reasons = [
            (away, format!("{} not available for new tasks", nodes(away))),
            (unfit, format!("scheduling constraints not satisfied on {}", nodes(unfit))),
            (taken, format!("host-mode port already in use on {}", nodes(taken))),
            (full, "max replicas per node limit exceed".to_owned()),
            (poor, format!("insufficient resources on {}", nodes(poor))),
        ];
        let reasons: Vec<String> =
            reasons.into_iter().filter(|(count, _)| *count > 0).map(|(_, reason)| reason).collect();
        best.map(|(_, node)| node.node.id.clone()).ok_or_else(|| reasons.join("; "))
    }

    /// What is not set aside for tasks.
    fn left_on(&self, node: &FakeNode) -> Resources {
        let mut left = node.node.traits.capacity.clone().unwrap_or_default();
        let has_place = |task: &&FakeTask| {
            task.node == node.node.id && (TaskState::Assigned..=TaskState::Running).contains(&task.state)
        };
        for task in self.tasks.values().filter(has_place) {
            left.take(&task.template.reserved);
        }
        left
    }

    pub(super) fn retry_pending(&mut self) {
        for task in self.pending.clone() {
            self.schedule(&task);
        }
    }

    pub fn node(&self, id: &str) -> &FakeNode {
        self.nodes
            .iter()
            .find(|node| node.node.id == id || node.node.name == id)
            .expect("a node of the swarm")
    }

    pub(super) fn node_mut(&mut self, id: &str) -> &mut FakeNode {
        let is_it = |node: &&mut FakeNode| node.node.id == id || node.node.name == id;
        self.nodes.iter_mut().find(is_it).expect("a node of the swarm")
    }

    /// Whether the swarm has not given the node up.
    pub(super) fn is_up(&self, node: &str) -> bool {
        !self.node(node).node.is_down
    }

    /// Whether the node does anything, and the swarm learns of it.
    fn is_at_work(&self, node: &str) -> bool {
        self.node(node).has_power && self.node(node).node.is_ready
    }
}

impl FakeTask {
    /// What keeps a node that does not have the image from getting it. The engine does not say that it is the account.
    fn pull_error(&self) -> Option<String> {
        let refused = self.is_refused().then(|| format!("No such image: {}", self.template.image));
        self.behaviour.pull_error.clone().or(refused)
    }

    /// Whether the account that came with its specification is not the one that its image needs.
    fn is_refused(&self) -> bool {
        self.behaviour.account.is_some() && self.behaviour.account != self.template.account
    }
}

impl FakeNode {
    /// Whether it satisfies constraints on host name and role; labels, it has none.
    pub(super) fn fits(&self, constraints: &[String]) -> bool {
        let role = if self.is_manager() { "manager" } else { "worker" };
        constraints.iter().all(|constraint| {
            let (key, value, wanted) = match (constraint.split_once("=="), constraint.split_once("!=")) {
                (Some((key, value)), _) => (key, value, true),
                (None, Some((key, value))) => (key, value, false),
                (None, None) => return false,
            };
            let is_so = match key.trim() {
                "node.hostname" => self.node.name == value.trim(),
                "node.id" => self.node.id == value.trim(),
                "node.role" => role == value.trim(),
                _ => false,
            };
            is_so == wanted
        })
    }
}
