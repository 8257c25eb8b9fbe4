//! A service's specification: JSON that keeps what it does not know, and the edits made to it. Pure.
//!
//! Typed models of the engine's API lose what they do not know (bollard's drop the container's health
//! check), and what is lost on the way back changes a running service. So a [`Spec`] is the engine's own
//! text. It is read through the small, tolerant [`Facts`], and changed through [`Edits`], which touch
//! nothing else: every other field survives, numbers to the last digit.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::claims::{Claims, EndpointSpecJson, MountJson, NetworkJson, Pieces, PlacementJson, ResourcesJson};
use crate::options::{Ids, OptionError, Options};

/// The label that makes the swarm's updater begin anew. It stays for half a second.
pub const GO_ON_LABEL: &str = "gantry.go-on";

/// A specification, as the engine wrote it or as edited. Cheap to clone; one out of a listing is a piece of the
/// engine's answer, not a copy of it.
#[derive(Clone)]
pub struct Spec {
    /// UTF-8, as checked when it was read.
    json: Bytes,
    facts: Arc<OnceLock<Facts>>,
}

/// What this program reads from a specification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The service's name.
    pub name: String,
    /// The service's labels (not those of its containers).
    pub labels: BTreeMap<String, String>,
    /// The image, as written; `None` for what is no container (plugins).
    pub image: Option<String>,
    /// The counter that a forced update raises.
    pub force_update: u64,
    /// How many tasks there are to be, and whether they are to end.
    pub mode: Mode,
    /// The service's update configuration, if it says anything.
    pub update: Option<UpdateConfig>,
    /// Which part of the tasks of an update may fail, from 0 to 1.
    pub max_failure_ratio: f64,
    /// The monitor period of its rollback configuration.
    pub rollback_monitor: Option<Duration>,
    /// Whether its placement lists platforms.
    pub has_platforms: bool,
    /// What each of its tasks claims of its node.
    pub claims: Claims,
    /// Which of its tasks the swarm starts again when they have ended.
    pub restart_condition: RestartCondition,
    /// How long the swarm waits before it starts a failed task again.
    pub restart_delay: Duration,
    /// The longest that a single step of an update takes by the service's own settings: the time that a task has to
    /// end, the pause between two, or the time in which it need not be healthy yet.
    pub longest_step: Duration,
    /// The memory limit in bytes; 0: none.
    pub memory_limit: u64,
    /// Whether it has a health check of its own, in addition to what its image may have.
    pub has_health_check: bool,
}

/// How many tasks a service is to have, and whether they are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// So many tasks.
    Replicated(u64),
    /// One task on every eligible node.
    Global,
    /// Tasks that end: an update runs them again.
    Job,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Replicated(1)
    }
}

/// Which tasks the swarm starts again when they have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartCondition {
    /// All: what a service means that does not say.
    #[default]
    Any,
    /// Those that have failed.
    OnFailure,
    /// No task at all.
    None,
}

/// What the swarm does with the old task of a slot while it starts the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOrder {
    /// The new one must run before the old one goes.
    StartFirst,
    /// The old one goes before the new one starts.
    StopFirst,
}

impl UpdateOrder {
    /// The engine's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}

/// A change of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderChange {
    /// To this one.
    To(UpdateOrder),
    /// To none, as it is before an order is written into a service that says nothing of its updates.
    ToDefault,
}

/// What the swarm does by itself when an update fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureAction {
    /// Stops where it is.
    #[default]
    Pause,
    /// Goes on with the next task.
    Continue,
    /// Restores the previous specification.
    Rollback,
}

/// A service's own update configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateConfig {
    /// The order, where one is set.
    pub order: Option<UpdateOrder>,
    /// What happens when it fails.
    pub failure_action: FailureAction,
    /// How long the swarm watches a task after it started to run.
    pub monitor: Duration,
}

/// How long the swarm watches a new task when the service does not say (swarmkit `defaults`).
pub const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// How long the swarm waits before it starts a failed task again when the service does not say.
pub const DEFAULT_RESTART_DELAY: Duration = Duration::from_secs(5);

/// A specification that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is not what a specification is.
    #[error("cannot read the specification: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// An option does not fit it.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// The changes an update makes. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// The new image.
    pub image: Option<String>,
    /// The new list of platforms, as (operating system, architecture), where the specification has one.
    pub platforms: Option<Vec<(String, String)>>,
    /// Another order to update in.
    pub order: Option<OrderChange>,
    /// The forced-update counter: another number replaces the tasks though nothing else has changed.
    pub force_update: Option<u64>,
    /// How many tasks there are to be, in a replicated service.
    pub replicas: Option<u64>,
}

impl Spec {
    /// Reads a specification.
    pub fn from_json(json: &str) -> Result<Self, SpecError> {
        Self::read(Bytes::copy_from_slice(json.as_bytes()))
    }

    /// Reads a specification out of an answer that it is a piece of.
    pub(super) fn read(json: Bytes) -> Result<Self, SpecError> {
        let facts: SpecJson = serde_json::from_slice(&json)?;
        Ok(Self { json, facts: Arc::new(OnceLock::from(Facts::from(facts))) })
    }

    /// Keeps a specification that few ask about. What cannot be read of it then reads as the defaults.
    pub(super) fn unread(json: Bytes) -> Self {
        Self { json, facts: Arc::default() }
    }

    /// What this program reads from it.
    pub fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| serde_json::from_slice::<SpecJson>(&self.json).unwrap_or_default().into())
    }

    /// The text to send to the engine.
    pub fn json(&self) -> &str {
        std::str::from_utf8(&self.json).unwrap_or_default()
    }

    /// The same specification with these changes and no other.
    pub fn edited(&self, edits: &Edits) -> Result<Self, SpecError> {
        let mut json: Value = serde_json::from_slice(&self.json)?;
        edits.apply(&mut json);
        Self::from_json(&json.to_string())
    }

    /// The same specification with these options applied.
    ///
    /// # Errors
    /// An option that does not fit this specification, or that names something without an id.
    pub fn with_options(&self, options: &Options, ids: &Ids) -> Result<Self, SpecError> {
        if options.is_empty() {
            return Ok(self.clone());
        }
        let mut json: Value = serde_json::from_slice(&self.json)?;
        options.apply(&mut json, ids)?;
        Self::from_json(&json.to_string())
    }

    /// Whether both mean the same, however they are written.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let parse = |json: &Bytes| serde_json::from_slice::<Value>(json).ok();
        self.json == other.json || parse(&self.json).is_some_and(|json| Some(json) == parse(&other.json))
    }
}

impl fmt::Debug for Spec {
    /// Names the service only: a specification holds the environment of its containers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("name", &self.facts().name)
            .field("image", &self.facts().image)
            .finish_non_exhaustive()
    }
}

impl Edits {
    fn apply(&self, spec: &mut Value) {
        // A Gantry that was killed between two writes has left it.
        if let Some(labels) = spec.get_mut("Labels").and_then(Value::as_object_mut) {
            labels.remove(GO_ON_LABEL);
        }
        // Looked up, never indexed: indexing would add what is missing.
        if let Some(image) = &self.image
            && let Some(present) = spec.pointer_mut("/TaskTemplate/ContainerSpec/Image")
        {
            *present = json!(image);
        }
        if let Some(platforms) = &self.platforms
            && let Some(present) = spec.pointer_mut("/TaskTemplate/Placement/Platforms")
            && present.as_array().is_some_and(|listed| !listed.is_empty())
        {
            *present = as_placement(platforms);
        }
        match self.order {
            Some(OrderChange::To(order)) => set_order(spec, order),
            Some(OrderChange::ToDefault) => unset_order(spec),
            None => {}
        }
        if let Some(counter) = self.force_update
            && let Some(template) = spec.pointer_mut("/TaskTemplate")
        {
            template["ForceUpdate"] = json!(counter);
        }
        if let Some(replicas) = self.replicas
            && let Some(replicated) = spec.pointer_mut("/Mode/Replicated")
        {
            replicated["Replicas"] = json!(replicas);
        }
    }
}

/// Platforms as Docker's own client writes them: `arm` without an architecture, because nodes report
/// variants of it (swarmkit issue 2294), and each once.
fn as_placement(platforms: &[(String, String)]) -> Value {
    let without_variants = |architecture| if architecture == "arm" { "" } else { architecture };
    let mut seen = HashSet::new();
    platforms
        .iter()
        .map(|(os, architecture)| (os, without_variants(architecture.as_str())))
        .filter(|platform| seen.insert(*platform))
        .map(|(os, architecture)| match architecture {
            "" => json!({ "OS": os }),
            architecture => json!({ "Architecture": architecture, "OS": os }),
        })
        .collect()
}

/// An update configuration that says what the engine does without one. A specification without any needs all of it:
/// the engine takes a lone order to mean a parallelism of 0, which is everything at once.
fn default_update() -> Value {
    json!({ "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64, "MaxFailureRatio": 0 })
}

fn set_order(spec: &mut Value, order: UpdateOrder) {
    let config = &mut spec["UpdateConfig"];
    if !config.is_object() {
        *config = default_update();
    }
    config["Order"] = json!(order.name());
}

/// Takes the order out again, and with it the configuration that was written for it alone. The engine reads no order
/// as stop-first.
fn unset_order(spec: &mut Value) {
    let Some(config) = spec.get_mut("UpdateConfig").and_then(Value::as_object_mut) else { return };
    config.remove("Order");
    if *config != default_update().as_object().cloned().unwrap_or_default() {
        config.insert("Order".to_owned(), json!(UpdateOrder::StopFirst.name()));
    } else if let Some(spec) = spec.as_object_mut() {
        spec.remove("UpdateConfig");
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SpecJson {
    name: String,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    task_template: TaskTemplateJson,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    mode: ModeJson,
    update_config: Option<UpdateConfigJson>,
    rollback_config: Option<UpdateConfigJson>,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    endpoint_spec: EndpointSpecJson,
    /// Where older clients have listed the networks.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    networks: Vec<NetworkJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskTemplateJson {
    container_spec: Option<ContainerSpecJson>,
    force_update: u64,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    placement: PlacementJson,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    restart_policy: RestartPolicyJson,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    resources: ResourcesJson,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    networks: Vec<NetworkJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpecJson {
    image: String,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    mounts: Vec<MountJson>,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    healthcheck: HealthcheckJson,
    stop_grace_period: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthcheckJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    test: Vec<String>,
    start_period: u64,
}

impl HealthcheckJson {
    /// No test inherits that of the image; `NONE` switches it off.
    fn is_one(&self) -> bool {
        self.test.first().is_some_and(|first| first != "NONE")
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicyJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    condition: String,
    delay: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ModeJson {
    replicated: Option<ReplicatedJson>,
    global: Option<serde::de::IgnoredAny>,
    replicated_job: Option<serde::de::IgnoredAny>,
    global_job: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ReplicatedJson {
    replicas: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateConfigJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    failure_action: String,
    monitor: Option<u64>,
    delay: u64,
    max_failure_ratio: f64,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    order: String,
}

impl UpdateConfigJson {
    /// A monitor of 0 is kept as the engine has it: it then watches for its default period.
    fn monitor(&self) -> Duration {
        self.monitor.filter(|&nanos| nanos > 0).map_or(DEFAULT_MONITOR, Duration::from_nanos)
    }
}

impl From<SpecJson> for Facts {
    fn from(json: SpecJson) -> Self {
        let mut template = json.task_template;
        let mounts = template.container_spec.as_mut().map(|it| std::mem::take(&mut it.mounts));
        let has_health_check =
            template.container_spec.as_ref().is_some_and(|container| container.healthcheck.is_one());
        let container = template.container_spec.as_ref();
        let longest_step = Duration::from_nanos(
            container
                .map(|container| container.stop_grace_period.unwrap_or_default())
                .max(container.map(|container| container.healthcheck.start_period))
                .max(json.update_config.as_ref().map(|config| config.delay))
                .unwrap_or_default(),
        );
        let mode = match json.mode {
            ModeJson { replicated_job: Some(_), .. } | ModeJson { global_job: Some(_), .. } => Mode::Job,
            ModeJson { global: Some(_), .. } => Mode::Global,
            ModeJson { replicated: Some(replicated), .. } => {
                Mode::Replicated(replicated.replicas.unwrap_or(1))
            }
            _ => Mode::default(),
        };
        Self {
            name: json.name,
            labels: json.labels,
            max_failure_ratio: json.update_config.as_ref().map_or(0.0, |config| config.max_failure_ratio),
            image: template.container_spec.map(|container| container.image),
            force_update: template.force_update,
            mode,
            update: json.update_config.map(|config| UpdateConfig {
                order: match config.order.as_str() {
                    "start-first" => Some(UpdateOrder::StartFirst),
                    "stop-first" => Some(UpdateOrder::StopFirst),
                    _ => None,
                },
                failure_action: match config.failure_action.as_str() {
                    "continue" => FailureAction::Continue,
                    "rollback" => FailureAction::Rollback,
                    _ => FailureAction::Pause,
                },
                monitor: config.monitor(),
            }),
            rollback_monitor: json.rollback_config.map(|config| config.monitor()),
            has_platforms: !template.placement.platforms.is_empty(),
            restart_condition: match template.restart_policy.condition.as_str() {
                "none" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                _ => RestartCondition::Any,
            },
            restart_delay: template.restart_policy.delay.map_or(DEFAULT_RESTART_DELAY, Duration::from_nanos),
            longest_step,
            memory_limit: template.resources.limits.memory_bytes,
            has_health_check,
            claims: Claims::from(Pieces {
                mounts: mounts.unwrap_or_default(),
                networks: template.networks.into_iter().chain(json.networks).collect(),
                endpoint: json.endpoint_spec,
                placement: template.placement,
                reserved: template.resources.reservations,
            }),
        }
    }
}

impl Facts {
    /// How long the swarm watches a new task of this service.
    pub fn monitor(&self) -> Duration {
        self.update.map_or(DEFAULT_MONITOR, |config| config.monitor)
    }
}

mod image;
mod label;
mod platforms;
#[cfg(test)]
mod tests;
