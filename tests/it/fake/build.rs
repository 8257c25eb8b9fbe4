//! Making services, in words.

use serde_json::{Value, json};

use gantry::swarm::{Spec, TaskState};

use super::handle::FakeSwarm;
use super::image::Takes;
use super::world::World;

/// A service that is about to be made.
pub struct ServiceBuilder {
    swarm: FakeSwarm,
    spec: Value,
    auth: Option<String>,
}

impl FakeSwarm {
    /// A replicated service with one task of `registry.test/app:1@..`.
    pub fn new_service(&self, name: &str) -> ServiceBuilder {
        let spec = json!({
            "Name": name,
            "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": {"Image": super::pinned("registry.test/app:1", "old"), "Isolation": "default"},
                "ForceUpdate": 0,
                "Runtime": "container",
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "vip"},
        });
        ServiceBuilder { swarm: self.clone(), spec, auth: None }
    }
}

impl ServiceBuilder {
    fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.spec;
        for key in pointer.split('/') {
            place = &mut place[key];
        }
        *place = value.into();
        self
    }

    pub fn image(self, image: &str) -> Self {
        self.set("TaskTemplate/ContainerSpec/Image", image)
    }

    pub fn label(self, name: &str, value: &str) -> Self {
        self.edit(|spec| spec["Labels"][name] = value.into())
    }

    pub fn replicas(self, replicas: u64) -> Self {
        self.set("Mode", json!({"Replicated": {"Replicas": replicas}}))
    }

    pub fn global(self) -> Self {
        self.set("Mode", json!({"Global": {}}))
    }

    pub fn replicated_job(self, at_once: u64, total: u64) -> Self {
        self.set("Mode", json!({"ReplicatedJob": {"MaxConcurrent": at_once, "TotalCompletions": total}}))
    }

    pub fn global_job(self) -> Self {
        self.set("Mode", json!({"GlobalJob": {}}))
    }

    /// One setting of an update or rollback configuration; the others get the docker CLI's defaults.
    fn config(self, which: &str, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|spec| {
            if !spec[which].is_object() {
                spec[which] = json!({
                    "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64,
                    "MaxFailureRatio": 0, "Order": "stop-first",
                });
            }
            spec[which][key] = value;
        })
    }

    /// `--update-order`.
    pub fn order(self, order: &str) -> Self {
        self.config("UpdateConfig", "Order", order)
    }

    /// `--update-failure-action`.
    pub fn failure_action(self, action: &str) -> Self {
        self.config("UpdateConfig", "FailureAction", action)
    }

    /// `--update-parallelism`; 0: all at once.
    pub fn parallelism(self, tasks: u64) -> Self {
        self.config("UpdateConfig", "Parallelism", tasks)
    }

    /// `--update-delay`.
    pub fn delay(self, delay: std::time::Duration) -> Self {
        self.config("UpdateConfig", "Delay", nanos(delay))
    }

    /// `--update-monitor`.
    pub fn monitor(self, monitor: std::time::Duration) -> Self {
        self.config("UpdateConfig", "Monitor", nanos(monitor))
    }

    /// `--update-max-failure-ratio`.
    pub fn max_failure_ratio(self, ratio: f64) -> Self {
        self.config("UpdateConfig", "MaxFailureRatio", ratio)
    }

    /// `--rollback-order`.
    pub fn rollback_order(self, order: &str) -> Self {
        self.config("RollbackConfig", "Order", order)
    }

    /// `--rollback-monitor`.
    pub fn rollback_monitor(self, monitor: std::time::Duration) -> Self {
        self.config("RollbackConfig", "Monitor", nanos(monitor))
    }

    /// `--restart-delay`.
    pub fn restart_delay(self, delay: std::time::Duration) -> Self {
        self.set("TaskTemplate/RestartPolicy/Delay", nanos(delay))
    }

    /// `--restart-condition`.
    pub fn restart_condition(self, condition: &str) -> Self {
        self.set("TaskTemplate/RestartPolicy/Condition", condition)
    }

    /// `--constraint`: on `node.hostname`, `node.id` and `node.role`.
    pub fn constraint(self, constraint: &str) -> Self {
        self.set("TaskTemplate/Placement/Constraints", json!([constraint]))
    }

    /// `--replicas-max-per-node`.
    pub fn max_per_node(self, tasks: u64) -> Self {
        self.set("TaskTemplate/Placement/MaxReplicas", tasks)
    }

    /// `--publish mode=host,..`.
    pub fn host_port(self, port: u64) -> Self {
        let port =
            json!({"Protocol": "tcp", "TargetPort": port, "PublishedPort": port, "PublishMode": "host"});
        self.set("EndpointSpec/Ports", json!([port]))
    }

    /// Anything else.
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.spec);
        self
    }

    /// `X-Registry-Auth`, as it is made with it.
    pub fn auth(mut self, auth: &str) -> Self {
        self.auth = Some(auth.to_owned());
        self
    }

    /// The specification so far.
    pub fn spec(&self) -> Spec {
        Spec::from_json(&self.spec.to_string()).expect("a specification")
    }

    /// It is there, and its tasks have run for long. Returns its id.
    pub fn create(self) -> String {
        let spec = self.spec();
        self.swarm.tell(|world| {
            let id = world.add_service(&spec, self.auth);
            world.settle(&id);
            id
        })
    }

    /// It is made now, and its tasks start as the swarm and the image's script have it. Returns its id.
    pub fn deploy(self) -> String {
        let spec = self.spec();
        self.swarm.tell(|world| world.create(&spec, self.auth).expect("a service that the engine accepts"))
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("less than 500 years")
}

impl World {
    /// Puts all tasks of a new service where they belong, running. Takes no time.
    fn settle(&mut self, id: &str) {
        let due = std::mem::take(&mut self.due);
        self.orchestrate(id);
        let tasks: Vec<String> = self.tasks_of(id).map(|task| task.id.clone()).collect();
        for task in &tasks {
            self.settle_task(task);
        }
        self.due = due;
    }

    fn settle_task(&mut self, id: &str) {
        self.set_state(id, TaskState::Pending, "pending task scheduling");
        self.schedule(id);
        let task = &self.tasks[id];
        if task.state != TaskState::Assigned {
            return;
        }
        let (image, node) = (task.template.image.clone(), self.node(&task.node).node.name.clone());
        let mut behaviour = self.images.behaviour(&image, Some(&node), Takes::None);
        behaviour.fate = super::image::Fate::Runs;
        behaviour.pull_error = None;
        behaviour.account = None;
        if let Some(task) = self.tasks.get_mut(id) {
            task.behaviour = behaviour;
        }
        self.prepared(id);
        self.started(id);
        if self.services[&self.tasks[id].service].plan.shape.is_job() {
            self.ended(id);
        }
    }
}
