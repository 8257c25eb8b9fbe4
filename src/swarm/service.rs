//! A service, as the engine describes it. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::spec::{Spec, SpecError};
use super::task::timestamp;

/// A service at one version.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its version: what an update must name to be accepted.
    pub version: u64,
    /// What it is to be.
    pub spec: Spec,
    /// What it was to be before its last change; a rollback by the swarm clears it.
    pub previous: Option<Spec>,
    /// How its last update goes; nothing for most of those that start no task.
    pub update: Option<UpdateStatus>,
    /// How many of its tasks run; only in listings.
    pub status: Option<ServiceStatus>,
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.facts().name
    }

    /// A copy of its specification, for what is kept longer than the text of the service of which it is a piece.
    pub(crate) fn copied_spec(&self) -> Spec {
        Spec::unread(Bytes::copy_from_slice(self.spec.json().as_bytes()))
    }

    /// What the swarm says of a rollback that it began by itself. That leaves no previous specification, while
    /// a rollback on request does.
    pub fn rollback_by_swarm(&self) -> Option<&UpdateStatus> {
        let is_asked_for = |status: &UpdateStatus| status.is_manual_rollback() || self.previous.is_some();
        self.update.as_ref().filter(|status| status.state.is_rollback() && !is_asked_for(status))
    }

    /// Reads one service from the engine's JSON.
    pub fn from_json(json: &str) -> Result<Self, SpecError> {
        Self::read(&Bytes::copy_from_slice(json.as_bytes()))
    }

    /// Reads one service. Its specifications stay pieces of the text.
    pub(super) fn read(text: &Bytes) -> Result<Self, SpecError> {
        let json: ServiceJson<'_> = serde_json::from_slice(text)?;
        let piece = |raw: &RawValue| text.slice_ref(raw.get().as_bytes());
        Ok(Self {
            id: json.id,
            version: json.version.index,
            spec: Spec::read(piece(json.spec))?,
            previous: json.previous_spec.map(|raw| Spec::unread(piece(raw))),
            update: json.update_status.filter(|status| !status.state.is_empty()).map(UpdateStatus::from),
            status: json
                .service_status
                .map(|status| ServiceStatus { running: status.running_tasks, desired: status.desired_tasks }),
        })
    }
}

/// How many tasks a service has, as the engine counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Tasks that run, on nodes that are up.
    pub running: u64,
    /// Tasks that should.
    pub desired: u64,
}

/// The engine's word on a service's last update. It is never the whole truth: `completed` may stand
/// there though nothing runs, and a rollback by the swarm ends in `rollback_completed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateStatus {
    /// Where the update is.
    pub state: UpdateState,
    /// Why, in the swarm's words; names the failed task when a rollback starts.
    pub message: String,
    /// When the update began, by the leader's clock. A rollback by the swarm keeps the time of its update.
    pub started: Option<Timestamp>,
}

impl UpdateStatus {
    /// Whether a person asked for this rollback. The swarm's own is worded `update rolled back due to
    /// failure or early termination of task ...` (swarmkit `updater.go`).
    pub fn is_manual_rollback(&self) -> bool {
        self.message.contains("manually requested")
    }
}

/// Where an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// It failed, and the service's failure action is to stop there.
    Paused,
    /// The swarm has replaced all tasks; whether they run is another question.
    Completed,
    /// The previous specification is being restored.
    RollbackStarted,
    /// Restoring failed as well.
    RollbackPaused,
    /// The previous specification is in place.
    RollbackCompleted,
    /// A word that this program does not know.
    Other(String),
}

impl UpdateState {
    /// Whether an update, or a rollback, has failed and the swarm has stopped there.
    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused | Self::RollbackPaused)
    }

    /// Whether it speaks of a rollback.
    pub fn is_rollback(&self) -> bool {
        matches!(self, Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted)
    }
}

impl From<&str> for UpdateState {
    fn from(name: &str) -> Self {
        match name {
            "updating" => Self::Updating,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "rollback_started" => Self::RollbackStarted,
            "rollback_paused" => Self::RollbackPaused,
            "rollback_completed" => Self::RollbackCompleted,
            other => Self::Other(other.to_owned()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    version: VersionJson,
    #[serde(borrow)]
    spec: &'a RawValue,
    #[serde(borrow, default)]
    previous_spec: Option<&'a RawValue>,
    #[serde(default)]
    update_status: Option<UpdateStatusJson>,
    #[serde(default)]
    service_status: Option<ServiceStatusJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionJson {
    index: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateStatusJson {
    state: String,
    message: String,
    started_at: Option<String>,
}

impl From<UpdateStatusJson> for UpdateStatus {
    fn from(json: UpdateStatusJson) -> Self {
        Self {
            state: UpdateState::from(json.state.as_str()),
            message: json.message,
            started: timestamp(json.started_at.as_deref()),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceStatusJson {
    running_tasks: u64,
    desired_tasks: u64,
}
