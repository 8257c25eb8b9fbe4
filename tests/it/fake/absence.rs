//! Nodes that go away and come back, nodes after a change of leader, and nodes that are drained or paused.

use gantry::swarm::{ManagerStatus, TaskState};

use super::world::{Due, FakeTask, World};

impl World {
    /// The swarm loses a node, or hears from it again.
    pub fn set_ready(&mut self, node: &str, is_ready: bool) {
        let node = self.node_mut(node);
        node.node.is_ready = is_ready;
        node.node.is_down = !is_ready;
        node.node.version += 1;
        let id = node.node.id.clone();
        self.node_changed(&id);
        if is_ready {
            self.resume(&id);
        }
    }

    /// The swarm does not know of a node whether it is there: neither ready nor down. Its tasks stay, and it gets no new ones.
    pub fn set_unknown(&mut self, node: &str) {
        let node = self.node_mut(node);
        (node.node.is_ready, node.node.is_down) = (false, false);
        node.node.version += 1;
        let id = node.node.id.clone();
        self.node_changed(&id);
    }

    /// The managers elect a leader, which knows of no node whether it is there, but for its own. What was down stays
    /// down. The others report a while later; a node without power is missed then.
    pub fn elect(&mut self) {
        let known: Vec<(String, bool)> = self
            .nodes
            .iter()
            .filter(|node| !node.node.is_down)
            .map(|node| (node.node.id.clone(), node.node.manager.is_some_and(|manager| manager.is_leader)))
            .collect();
        for (id, is_leader) in known {
            self.set_unknown(&id);
            let report = move |world: &mut Self| {
                let node = world.node(&id);
                if node.has_power && !node.node.is_ready && !node.node.is_down {
                    world.set_ready(&id, true);
                }
            };
            let wait = if is_leader { self.timing.dispatch } else { self.timing.report };
            self.after(wait, Due::Script(Box::new(report)));
        }
        let unheard: Vec<String> =
            self.nodes.iter().filter(|node| !node.has_power).map(|node| node.node.id.clone()).collect();
        for id in unheard {
            self.miss(&id);
        }
    }

    /// A while after a node's last word the swarm calls it down.
    fn miss(&mut self, node: &str) {
        let node = self.node(node);
        let (id, outages) = (node.node.id.clone(), node.outages);
        let miss = move |world: &mut Self| {
            let node = world.node(&id);
            if !node.has_power && node.outages == outages && !node.node.is_down {
                world.set_ready(&id, false);
            }
        };
        self.after(self.timing.miss, Due::Script(Box::new(miss)));
    }

    /// A node is demoted or promoted.
    pub fn set_manager(&mut self, node: &str, is_manager: bool) {
        let found = self.node_mut(node);
        found.node.manager = is_manager.then_some(ManagerStatus { is_leader: true, is_reachable: true });
        found.node.version += 1;
    }

    /// The power of a node fails: what ran there is dead. The swarm misses it a while later.
    pub fn cut_power(&mut self, node: &str) {
        let node = self.node_mut(node);
        node.has_power = false;
        node.outages += 1;
        let id = node.node.id.clone();
        for task in self.tasks.values_mut().filter(|task| task.node == id) {
            task.is_dead = (TaskState::Starting..=TaskState::Running).contains(&task.state);
        }
        self.miss(&id);
    }

    /// A node has power again.
    pub fn restore_power(&mut self, node: &str) {
        let node = self.node_mut(node);
        node.has_power = true;
        let id = node.node.id.clone();
        self.set_ready(&id, true);
    }

    /// The tasks of a node that is back go on, or are stopped.
    fn resume(&mut self, node: &str) {
        let is_still = |task: &&FakeTask| {
            let goes_on = task.state != TaskState::Running || !task.is_wanted() || task.is_dead;
            task.node == node && !task.is_final() && goes_on
        };
        let mut resumed: Vec<String> = self.tasks.values().filter(is_still).map(|t| t.id.clone()).collect();
        resumed.sort();
        for task in resumed {
            self.march_after(&task, self.timing.stop);
        }
    }

    /// A node takes tasks, or is drained.
    pub fn set_active(&mut self, node: &str, is_active: bool) {
        let node = self.node_mut(node);
        node.is_paused &= !is_active;
        node.node.is_active = is_active;
        node.node.version += 1;
        let id = node.node.id.clone();
        self.node_changed(&id);
    }

    /// A node is paused: it keeps its tasks and gets no more; or it takes tasks again.
    pub fn set_paused(&mut self, node: &str, is_paused: bool) {
        self.node_mut(node).is_paused = is_paused;
        self.set_active(node, !is_paused);
    }

    fn node_changed(&mut self, id: &str) {
        self.write();
        self.event("node", "update", id, serde_json::json!({"name": self.node(id).node.name}));
        let node = &self.node(id).node;
        let keeps_tasks = !node.is_down && (node.is_active || self.node(id).is_paused);
        let mut on_it: Vec<String> = self
            .tasks
            .values()
            .filter(|task| task.node == id && task.is_wanted())
            .map(|t| t.id.clone())
            .collect();
        on_it.sort();
        for task in on_it {
            let shape = self.services[&self.tasks[&task].service].plan.shape;
            if !keeps_tasks && !shape.is_global() {
                self.restart(&task);
            }
        }
        let everyone: Vec<String> = self.services.keys().cloned().collect();
        for service in everyone {
            self.wake_orchestrator(&service);
        }
        self.retry_pending();
    }
}
