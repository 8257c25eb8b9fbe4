//! Nodes that go away and come back, and nodes that are drained.

use gantry::swarm::TaskState;

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

    /// The power of a node fails: what ran there is dead. The swarm misses it a while later.
    pub fn cut_power(&mut self, node: &str) {
        let node = self.node_mut(node);
        node.has_power = false;
        node.outages += 1;
        let (id, outages) = (node.node.id.clone(), node.outages);
        for task in self.tasks.values_mut().filter(|task| task.node == id) {
            task.is_dead = (TaskState::Starting..=TaskState::Running).contains(&task.state);
        }
        let miss = move |world: &mut Self| {
            let node = world.node(&id);
            if !node.has_power && node.outages == outages {
                world.set_ready(&id, false);
            }
        };
        self.after(self.timing.miss, Due::Script(Box::new(miss)));
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
        node.node.is_active = is_active;
        node.node.version += 1;
        let id = node.node.id.clone();
        self.node_changed(&id);
    }

    fn node_changed(&mut self, id: &str) {
        self.write();
        self.event("node", "update", id, serde_json::json!({"name": self.node(id).node.name}));
        let node = &self.node(id).node;
        let takes_tasks = node.is_ready && node.is_active;
        let mut on_it: Vec<String> = self
            .tasks
            .values()
            .filter(|task| task.node == id && task.is_wanted())
            .map(|t| t.id.clone())
            .collect();
        on_it.sort();
        for task in on_it {
            let shape = self.services[&self.tasks[&task].service].plan.shape;
            if !takes_tasks && !shape.is_global() {
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
