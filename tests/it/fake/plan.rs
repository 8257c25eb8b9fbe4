//! A specification as the orchestrator reads it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry::swarm::claims::Resources;
use gantry::swarm::{FailureAction, Spec, TaskState};
use serde_json::{Value, json};

use super::world::FakeTask;

/// How long new tasks are monitored where the specification does not say. The engine's own default, written down here
/// once more: what the program takes for it must not agree with itself.
const MONITOR: Duration = Duration::from_secs(5);

/// The wait before a task is started again where the specification does not say; the engine's own default, too.
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// How many tasks, and which ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Replicated(u64),
    Global,
    ReplicatedJob { at_once: u64, total: u64 },
    GlobalJob,
}

impl Shape {
    pub fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }

    pub fn is_global(self) -> bool {
        matches!(self, Self::Global | Self::GlobalJob)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Replicated(_) => "replicated",
            Self::Global => "global",
            Self::ReplicatedJob { .. } => "replicated-job",
            Self::GlobalJob => "global-job",
        }
    }
}

/// `UpdateConfig` or `RollbackConfig`.
#[derive(Clone, Debug)]
pub struct Config {
    /// 0: all at once.
    pub parallelism: usize,
    pub delay: Duration,
    pub monitor: Duration,
    pub max_failure_ratio: f64,
    pub action: FailureAction,
    pub start_first: bool,
}

/// What a task is made of: the part of a specification whose change replaces tasks.
#[derive(Debug)]
pub struct Template {
    pub json: Value,
    pub endpoint: Value,
    pub image: String,
    pub force_update: u64,
    /// What nodes get the image with (`X-Registry-Auth`). The engine keeps it here, and shows it to nobody.
    pub account: Option<String>,
    pub host_ports: Vec<u64>,
    /// What the scheduler sets aside for it.
    pub reserved: Resources,
    text: OnceLock<String>,
}

impl Template {
    /// As the engine writes it.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| self.json.to_string())
    }
}

impl PartialEq for Template {
    /// But for the account.
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json && self.endpoint == other.endpoint
    }
}

/// A specification, its text kept as it was sent.
#[derive(Debug)]
pub struct Plan {
    pub spec: Spec,
    pub value: Value,
    pub shape: Shape,
    pub update: Config,
    pub rollback: Config,
    pub template: Arc<Template>,
    pub restarts: Restarts,
    pub constraints: Vec<String>,
    pub max_per_node: u64,
}

/// `RestartPolicy`.
#[derive(Clone, Debug)]
pub struct Restarts {
    pub condition: String,
    pub delay: Duration,
    /// 0: no limit.
    pub max_attempts: u64,
}

impl Plan {
    pub fn of(spec: &Spec, account: Option<String>) -> Arc<Self> {
        let value: Value = serde_json::from_str(spec.json()).expect("a Spec is JSON");
        let template = value.get("TaskTemplate").cloned().unwrap_or_else(|| json!({}));
        let endpoint = value.get("EndpointSpec").cloned().unwrap_or(Value::Null);
        let facts = spec.facts();
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let list = |pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned();
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
        Arc::new(Self {
            shape: shape(&value),
            update: config(value.get("UpdateConfig")),
            rollback: config(value.get("RollbackConfig")),
            restarts: Restarts {
                condition: text("/TaskTemplate/RestartPolicy/Condition").unwrap_or("any").to_owned(),
                delay: number("/TaskTemplate/RestartPolicy/Delay")
                    .map_or(RESTART_DELAY, Duration::from_nanos),
                max_attempts: number("/TaskTemplate/RestartPolicy/MaxAttempts").unwrap_or(0),
            },
            constraints: list("/TaskTemplate/Placement/Constraints")
                .unwrap_or_default()
                .iter()
                .filter_map(|constraint| constraint.as_str().map(str::to_owned))
                .collect(),
            max_per_node: number("/TaskTemplate/Placement/MaxReplicas").unwrap_or(0),
            template: Arc::new(Template {
                image: facts.image.clone().unwrap_or_default(),
                force_update: facts.force_update,
                account,
                host_ports: list("/EndpointSpec/Ports")
                    .unwrap_or_default()
                    .iter()
                    .filter(|port| port["PublishMode"] == "host")
                    // Without a number the engine finds a free one.
                    .filter_map(|port| port["PublishedPort"].as_u64())
                    .collect(),
                reserved: reserved(template.pointer("/Resources/Reservations")),
                json: template,
                endpoint,
                text: OnceLock::new(),
            }),
            spec: spec.clone(),
            value,
        })
    }

    pub fn name(&self) -> &str {
        &self.spec.facts().name
    }

    pub fn mode(&self) -> &'static str {
        self.shape.name()
    }

    /// Whether both are the same specification, as the updater compares them.
    pub fn is_same(&self, other: &Self) -> bool {
        self.account() == other.account()
            && (self.spec.json() == other.spec.json() || self.value == other.value)
    }

    /// The account that goes with it.
    pub fn account(&self) -> Option<&str> {
        self.template.account.as_deref()
    }

    /// Whether the updater would replace this task. Another account alone is no reason where the task has its image.
    pub fn is_dirty(&self, task: &FakeTask) -> bool {
        if Arc::ptr_eq(&self.template, &task.template) {
            return false;
        }
        let has_image = task.desired <= TaskState::Running
            && (TaskState::Ready..=TaskState::Running).contains(&task.state);
        self.template != task.template || !(has_image || self.account() == task.template.account.as_deref())
    }
}

/// Read here once more, for the same reason as [`MONITOR`].
fn reserved(value: Option<&Value>) -> Resources {
    let value = value.unwrap_or(&Value::Null);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let generic = value["GenericResources"].as_array().into_iter().flatten();
    let generic = generic.filter_map(|one| {
        let one = &one["DiscreteResourceSpec"];
        Some((one["Kind"].as_str()?.to_owned(), number(&one["Value"])))
    });
    Resources {
        nano_cpus: number(&value["NanoCPUs"]),
        memory: number(&value["MemoryBytes"]),
        generic: generic.collect(),
    }
}

fn shape(value: &Value) -> Shape {
    let mode = value.get("Mode").cloned().unwrap_or(Value::Null);
    if let Some(job) = mode.get("ReplicatedJob") {
        let total = job["TotalCompletions"].as_u64().unwrap_or(1);
        return Shape::ReplicatedJob { at_once: job["MaxConcurrent"].as_u64().unwrap_or(1), total };
    }
    if mode.get("GlobalJob").is_some() {
        Shape::GlobalJob
    } else if mode.get("Global").is_some() {
        Shape::Global
    } else {
        Shape::Replicated(mode.pointer("/Replicated/Replicas").and_then(Value::as_u64).unwrap_or(1))
    }
}

fn config(value: Option<&Value>) -> Config {
    let none = json!({"Parallelism": 1});
    let value = value.filter(|value| value.is_object()).unwrap_or(&none);
    let nanos = |key: &str| value[key].as_u64().filter(|&nanos| nanos > 0).map(Duration::from_nanos);
    Config {
        parallelism: value["Parallelism"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        delay: nanos("Delay").unwrap_or_default(),
        monitor: nanos("Monitor").unwrap_or(MONITOR),
        max_failure_ratio: value["MaxFailureRatio"].as_f64().unwrap_or(0.0),
        action: match value["FailureAction"].as_str() {
            Some("continue") => FailureAction::Continue,
            Some("rollback") => FailureAction::Rollback,
            _ => FailureAction::Pause,
        },
        start_first: value["Order"] == "start-first",
    }
}
