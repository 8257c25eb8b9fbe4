//! A service of a test, as the engine shows it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::PROBE_INTERVAL;
use super::{Image, Stage, wait};

/// Longest wait for tasks to run. They take a second; the machine may be busy.
const START_SECONDS: u64 = 60;

/// The states of an update that has not ended.
const UNDER_WAY: [&str; 2] = ["updating", "rollback_started"];

/// A service of a stage.
#[derive(Clone)]
pub(crate) struct Service<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) name: String,
    pub(crate) id: String,
}

impl Service<'_> {
    /// The engine's words on it; null when it is gone.
    pub(crate) fn inspect(&self) -> Value {
        let answer = self.stage.lab.engine(1, "GET", &format!("/services/{}", self.id)).unwrap();
        if answer.status == 404 { Value::Null } else { answer.good().json() }
    }

    /// Its specification.
    pub(crate) fn spec(&self) -> Value {
        self.inspect()["Spec"].clone()
    }

    /// Its image, as it stands in its specification.
    pub(crate) fn image(&self) -> String {
        self.spec()["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default().to_owned()
    }

    /// What changes with every change of the service.
    pub(crate) fn version(&self) -> Value {
        self.inspect()["Version"]["Index"].clone()
    }

    /// The state of its last update; empty when there is none.
    pub(crate) fn state(&self) -> String {
        self.inspect()["UpdateStatus"]["State"].as_str().unwrap_or_default().to_owned()
    }

    /// All its tasks, ended ones included.
    pub(crate) fn tasks(&self) -> Vec<Value> {
        listed("tasks", "service", std::slice::from_ref(self))
    }

    /// The images of the tasks that run, sorted.
    pub(crate) fn running_images(&self) -> Vec<String> {
        let tasks = self.tasks();
        let running = tasks.iter().filter(|task| is_running(task));
        let image =
            |task: &Value| task["Spec"]["ContainerSpec"]["Image"].as_str().unwrap_or_default().to_owned();
        let mut images: Vec<String> = running.map(image).collect();
        images.sort();
        images
    }

    /// Waits until it runs nothing but this image and Swarm says that no update is under way: a new task may run
    /// seconds before that, and Gantry leaves a service alone until then.
    ///
    /// The number of tasks does not count. Where a task fails while an update begins, Swarm's updater and its restarts may each
    /// start a task in the same slot, and both stay (seen with 20.10).
    #[track_caller]
    pub(crate) fn settles_on(&self, image: &Image) {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        let is_alone =
            |images: Vec<String>| !images.is_empty() && images.iter().all(|it| *it == image.pinned());
        while !is_alone(self.running_images()) || UNDER_WAY.contains(&&*self.state()) {
            assert!(
                Instant::now() < deadline,
                "after {START_SECONDS} s {} does not run {} and nothing else; its update: {}; its tasks:\n{:#}",
                self.name,
                image.pinned(),
                self.inspect()["UpdateStatus"],
                self.tasks().iter().map(in_short).collect::<Value>(),
            );
            sleep(PROBE_INTERVAL);
        }
    }

    /// The ids of the tasks that run.
    pub(crate) fn running_tasks(&self) -> Vec<String> {
        let tasks = self.tasks();
        let running = tasks.iter().filter(|task| is_running(task));
        running.map(|task| task["ID"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until as many tasks run as should.
    #[track_caller]
    pub(crate) fn running(self) -> Self {
        wait(&format!("running {}", self.name), START_SECONDS, || {
            let filter = format!("%7B%22id%22%3A%5B%22{}%22%5D%7D", self.id);
            let listed = self.stage.lab.get_json(&format!("/services?status=true&filters={filter}"));
            let status = &listed[0]["ServiceStatus"];
            (status["RunningTasks"] == status["DesiredTasks"] && !status.is_null()).then_some(())
        });
        self
    }

    /// Waits until its specification has this image.
    #[track_caller]
    pub(crate) fn wait_for(&self, image: &Image, seconds: u64) {
        let pinned = image.pinned();
        wait(&format!("{pinned} on {}", self.name), seconds, || (self.image() == pinned).then_some(()));
    }

    /// Changes it as a person would: `docker service update`.
    #[track_caller]
    pub(crate) fn update(&self, options: &[&str]) {
        self.command("update", options);
    }

    /// Takes its last change back as a person would: `docker service rollback`.
    #[track_caller]
    pub(crate) fn roll_back(&self) {
        self.command("rollback", &[]);
    }

    /// The orchestrator writes to services as well, and the CLI does not try again.
    #[track_caller]
    fn command(&self, name: &str, options: &[&str]) {
        let arguments = [&["service", name, "--quiet", "--detach"], options, &[&self.name]].concat();
        wait(
            &format!("answer but \"out of sequence\" to docker {}", arguments.join(" ")),
            START_SECONDS,
            || {
                let output = self.stage.lab.docker_command(1).args(&arguments).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    output.status.success() || said.contains("update out of sequence"),
                    "{arguments:?}: {said}"
                );
                output.status.success().then_some(())
            },
        );
    }

    /// Removes it.
    pub(crate) fn remove(&self) {
        self.stage.lab.docker(&["service", "rm", &self.name]);
    }

    /// Checks that it carries this image, and that all that runs is made of it.
    #[track_caller]
    pub(crate) fn runs(&self, image: &Image, tasks: usize) {
        assert_eq!(self.image(), image.pinned(), "the specification of {}", self.name);
        assert_eq!(self.running_images(), vec![image.pinned(); tasks], "the tasks of {}", self.name);
    }
}

/// What one answer of the engine says of these services, at one moment: of themselves, or of their tasks.
pub(crate) fn listed(what: &str, key: &str, services: &[Service<'_>]) -> Vec<Value> {
    let Some(first) = services.first() else { return Vec::new() };
    let ids: Vec<&str> = services.iter().map(|service| service.id.as_str()).collect();
    let filters = format!("%7B%22{key}%22%3A%5B%22{}%22%5D%7D", ids.join("%22%2C%22"));
    let answer = first.stage.lab.engine(1, "GET", &format!("/{what}?filters={filters}")).unwrap();
    answer.json().as_array().cloned().unwrap_or_default()
}

fn is_running(task: &Value) -> bool {
    task["Status"]["State"] == "running" && task["DesiredState"] == "running"
}

/// What a task is doing, without what all tasks of a service share.
fn in_short(task: &Value) -> Value {
    let (status, desired) = (&task["Status"], &task["DesiredState"]);
    json!({
        "ID": task["ID"], "Slot": task["Slot"], "NodeID": task["NodeID"], "CreatedAt": task["CreatedAt"],
        "Image": task["Spec"]["ContainerSpec"]["Image"], "DesiredState": desired, "Status": status,
    })
}
