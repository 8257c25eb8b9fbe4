//! Tasks: what the swarm runs for a service. Pure.

use jiff::Timestamp;
use serde::Deserialize;

use super::claims::{Resources, ResourcesJson};

/// How far a task has come, in the order in which tasks march. States that this program does not know
/// sort before [`TaskState::Running`], so they never count as running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "these are the engine's own words")]
pub enum TaskState {
    Unknown,
    New,
    Allocated,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Remove,
    Orphaned,
}

impl TaskState {
    /// The state of that name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "new" => Self::New,
            "allocated" => Self::Allocated,
            "pending" => Self::Pending,
            "assigned" => Self::Assigned,
            "accepted" => Self::Accepted,
            "preparing" => Self::Preparing,
            "ready" => Self::Ready,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" => Self::Complete,
            "shutdown" => Self::Shutdown,
            "failed" => Self::Failed,
            "rejected" => Self::Rejected,
            "remove" => Self::Remove,
            "orphaned" => Self::Orphaned,
            _ => Self::Unknown,
        }
    }

    /// The engine's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Allocated => "allocated",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A task, as far as a rollout looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The service that it belongs to.
    pub service_id: String,
    /// Its place within a replicated service; 0 in a global one.
    pub slot: u64,
    /// Where it was put; empty while it is pending.
    pub node_id: String,
    /// The image of its specification: whose update it belongs to.
    pub image: String,
    /// The forced-update counter of its specification.
    pub force_update: u64,
    /// Where the swarm wants it to be.
    pub desired: TaskState,
    /// Where it is.
    pub state: TaskState,
    /// Since when it is there, by the clock of its node.
    pub since: Option<Timestamp>,
    /// The swarm's words on where it is (`started`, `preparing`, ...).
    pub message: String,
    /// What went wrong, or why it is pending.
    pub error: String,
    /// Its container's exit code, where the container has ended.
    pub exit_code: Option<i64>,
    /// When it was made, by the clock of the leader.
    pub created_at: Option<Timestamp>,
    /// What the scheduler sets aside for it on its node.
    pub reserved: Resources,
}

impl Task {
    /// Whether it came to a bad end.
    pub fn has_failed(&self) -> bool {
        matches!(self.state, TaskState::Failed | TaskState::Rejected | TaskState::Orphaned)
    }

    /// Whether it came to an end by itself, good or bad. An unhealthy task may end as `complete` with an empty
    /// error, and no task of a service that runs on should end at all.
    pub fn has_ended(&self) -> bool {
        self.has_failed() || self.state == TaskState::Complete
    }

    /// Whether it was put on a node and is not over there: what it claims of the node is taken.
    pub fn has_place(&self) -> bool {
        !self.node_id.is_empty() && (TaskState::Assigned..=TaskState::Running).contains(&self.state)
    }

    /// Whether the swarm means it to run, whether or not it does yet.
    pub fn is_wanted(&self) -> bool {
        self.desired <= TaskState::Running
    }
}

/// Whether the scheduler finds no node for the platforms of a task's image, and for no other reason: several are parted by
/// semicolons (swarmkit, `manager/scheduler/pipeline.go`).
pub fn is_about_platforms(reason: &str) -> bool {
    reason.contains("unsupported platform") && !reason.contains(';')
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskJson {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    slot: u64,
    #[serde(rename = "NodeID", default)]
    node_id: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    spec: TaskSpecJson,
    #[serde(default)]
    status: TaskStatusJson,
    #[serde(default)]
    desired_state: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpecJson {
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    container_spec: TaskContainerJson,
    force_update: u64,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    resources: ResourcesJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskContainerJson {
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatusJson {
    timestamp: Option<String>,
    state: String,
    message: String,
    err: String,
    container_status: Option<ContainerStatusJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerStatusJson {
    #[serde(rename = "ContainerID")]
    container_id: String,
    exit_code: i64,
}

impl TaskJson {
    /// The service that it belongs to.
    pub(super) fn service_id(&self) -> &String {
        &self.service_id
    }
}

pub(super) fn timestamp(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

impl From<TaskJson> for Task {
    fn from(json: TaskJson) -> Self {
        let state = TaskState::from_name(&json.status.state);
        Self {
            id: json.id,
            service_id: json.service_id,
            slot: json.slot,
            node_id: json.node_id,
            image: json.spec.container_spec.image,
            force_update: json.spec.force_update,
            desired: TaskState::from_name(&json.desired_state),
            state,
            since: timestamp(json.status.timestamp.as_deref()),
            message: json.status.message,
            error: json.status.err,
            // A running container has an exit code too: zero.
            exit_code: json
                .status
                .container_status
                .filter(|container| state > TaskState::Running && !container.container_id.is_empty())
                .map(|container| container.exit_code),
            created_at: timestamp(json.created_at.as_deref()),
            reserved: json.spec.resources.reservations.into(),
        }
    }
}
