//! What happens while a run works, as values. Pure.
//!
//! Stages and rollouts emit events and log nothing above DEBUG themselves. The log is one renderer of events.

use std::time::Duration;

use super::cause::Cause;
use super::finished::{Finished, Superseded};
use super::progress::Progress;
use super::row::Row;
use crate::image::ImageRef;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A run begins to look.
    RunBegan,
    /// What a look decides on services.
    Decided(Vec<Row>),
    /// Updates that do not begin in this run.
    NotBegun(Vec<Row>),
    /// The run is over.
    RunEnded,
    /// An update begins, or is found under way.
    UpdateBegan {
        /// The service's name.
        service: String,
        /// The image that it has.
        from: ImageRef,
        /// The image that it gets.
        to: ImageRef,
        /// What is found under way; `None`: Gantry sends the update.
        found: Option<UnderWay>,
    },
    /// An update or its rollback waits. The same reason is told once for each update.
    UpdateWaits {
        /// The service's name.
        service: String,
        /// Whether the service is being rolled back.
        is_rolling_back: bool,
        /// Why.
        reason: String,
    },
    /// Gantry did something for an update that a user should know of.
    UpdateHelped {
        /// The service's name.
        service: String,
        /// What Gantry did.
        how: Help,
    },
    /// An update has failed, and Gantry rolls it back.
    UpdateFailed {
        /// The service's name.
        service: String,
        /// Why.
        cause: Cause,
    },
    /// A service that was called updated has failed while the rollout of its image went on.
    UpdateFailedLate {
        /// The service's name.
        service: String,
        /// Why.
        cause: Cause,
    },
    /// An update has ended.
    UpdateEnded(Finished),
    /// The rollout of an image is further than before.
    RolloutMoved(Progress),
    /// Too many updates to an image failed: no more of them begin.
    RolloutStopped {
        /// The image.
        image: ImageRef,
        /// How many services got the image.
        touched: usize,
        /// How many of them failed.
        failed: usize,
        /// How many services there were to update.
        total: usize,
    },
    /// The tag of an image has moved on: services that wait do not get this digest any more.
    RolloutSuperseded(Superseded),
    /// A user or another program rolled a service back, so that no more updates to its image begin in this run.
    RolloutHeld {
        /// The image.
        image: ImageRef,
        /// The service's name.
        service: String,
    },
    /// The rollout of an image is over: each of its updates has ended, or does not begin.
    RolloutEnded {
        /// The image, as services were sent it.
        image: ImageRef,
    },
    /// The cluster is not fit for more updates.
    Paused {
        /// Why.
        why: String,
        /// The same in one word, as metrics have it: `node`, `quorum`, `engine` or `starting`.
        reason: &'static str,
        /// Whether this happens with every other update.
        is_routine: bool,
    },
    /// A reason to pause is over.
    Resumed {
        /// The reason that is over.
        was: String,
        /// How long the pause lasted.
        after: Duration,
        /// Whether this happens with every other update.
        is_routine: bool,
    },
    /// Something that a service's labels, a tag or the engine tells, and that a user should know.
    Notice {
        /// The services, as a field of the log line; empty: none.
        services: Vec<String>,
        /// The image; empty: none.
        image: String,
        /// What a user should know.
        words: String,
    },
    /// What gates make of a digest, where that is news.
    GateNews {
        /// The image.
        image: String,
        /// What there is to tell.
        words: String,
    },
    /// A request failed. The run goes on without its answer, or tries again.
    Trouble {
        /// What Gantry cannot do, in words.
        what: String,
        /// The service's name; empty: none.
        service: String,
        /// The error and its causes.
        error: String,
    },
    /// The run ends before its time, as the engine serves it no longer.
    EngineLost(String),
    /// What Docker Hub allows before the run.
    Pulls(String),
    /// A node has removed an image.
    ImageRemoved {
        /// The node.
        node: String,
        /// The image.
        image: String,
    },
    /// A node keeps an image.
    ImageKept {
        /// The node.
        node: String,
        /// The image.
        image: String,
        /// Why.
        why: String,
    },
    /// A node could not remove an image.
    ImageNotRemoved {
        /// The node.
        node: String,
        /// The image.
        image: String,
        /// Why.
        why: String,
    },
    /// An image remover of an earlier run is gone.
    RemoverRemoved {
        /// The remover's service.
        service: String,
    },
}

/// The names of all events.
pub const NAMES: [&str; 26] = [
    "run_began",
    "decided",
    "not_begun",
    "run_ended",
    "update_began",
    "update_waits",
    "update_helped",
    "update_failed",
    "update_failed_late",
    "update_ended",
    "rollout_moved",
    "rollout_stopped",
    "rollout_superseded",
    "rollout_held",
    "rollout_ended",
    "paused",
    "resumed",
    "notice",
    "gate_news",
    "trouble",
    "engine_lost",
    "pulls",
    "image_removed",
    "image_kept",
    "image_not_removed",
    "remover_removed",
];

impl Event {
    /// Its name, as the JSON log has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunBegan => "run_began",
            Self::Decided(_) => "decided",
            Self::NotBegun(_) => "not_begun",
            Self::RunEnded => "run_ended",
            Self::UpdateBegan { .. } => "update_began",
            Self::UpdateWaits { .. } => "update_waits",
            Self::UpdateHelped { .. } => "update_helped",
            Self::UpdateFailed { .. } => "update_failed",
            Self::UpdateFailedLate { .. } => "update_failed_late",
            Self::UpdateEnded(_) => "update_ended",
            Self::RolloutMoved(_) => "rollout_moved",
            Self::RolloutStopped { .. } => "rollout_stopped",
            Self::RolloutSuperseded(_) => "rollout_superseded",
            Self::RolloutHeld { .. } => "rollout_held",
            Self::RolloutEnded { .. } => "rollout_ended",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Notice { .. } => "notice",
            Self::GateNews { .. } => "gate_news",
            Self::Trouble { .. } => "trouble",
            Self::EngineLost(_) => "engine_lost",
            Self::Pulls(_) => "pulls",
            Self::ImageRemoved { .. } => "image_removed",
            Self::ImageKept { .. } => "image_kept",
            Self::ImageNotRemoved { .. } => "image_not_removed",
            Self::RemoverRemoved { .. } => "remover_removed",
        }
    }
}

/// What a run found under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderWay {
    /// An update.
    Update,
    /// A rollback.
    Rollback,
}

/// What Gantry did for an update.
#[derive(Clone, Debug)]
pub enum Help {
    /// It sent the same specification again, as Swarm had paused for this reason, which is no failure.
    SentAgain(String),
    /// It had Swarm go on with the other tasks, as Swarm would have waited for ever for this reason.
    WentOn(String),
    /// It updated once more, stop-first, as the old and the new task had run into each other in this way.
    StopFirst(String),
    /// It gave the service the account of the update, as a node could not get the old image with the old account.
    RenewedAccount,
    /// In words.
    Told(String),
}
