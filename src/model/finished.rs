//! How updates ended, and why others did not begin. Pure.

use std::time::Duration;

use super::attention::OtherHand;
use super::outcome::Outcome;
use crate::gate::{Gate, Refusal};
use crate::image::{Digest, ImageRef};

/// An update that has come to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The service's name.
    pub service: String,
    /// The image that it had.
    pub from: ImageRef,
    /// The image that it was to get.
    pub to: ImageRef,
    /// How it ended.
    pub outcome: Outcome,
    /// The last lines of the failed task's output, where there is one.
    pub log: Vec<String>,
    /// The last output of its health check, where it can be known.
    pub health: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// An update that was not begun: its service was not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBegun {
    /// The image that it has.
    pub from: ImageRef,
    /// The image that it was to get.
    pub to: ImageRef,
    /// Why not.
    pub why: NotBegunReason,
}

impl NotBegun {
    /// The refusal of the gate that holds it, where one does.
    pub fn refusal(&self) -> Option<&Refusal> {
        if let NotBegunReason::Gate(refusal) = &self.why { Some(refusal) } else { None }
    }
}

/// The reason why an update was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBegunReason {
    /// The rollout of its image was stopped.
    RolloutStopped,
    /// Nothing would be seen of it, and nothing else has shown that its image works.
    Unproven,
    /// Gantry was stopped.
    Interrupted,
    /// Another Gantry is rolling out, or the cluster is not fit for it.
    Postponed,
    /// Another party is at work on the service.
    OtherHand(OtherHand),
    /// A person or another program took another service of its image back.
    TakenBack,
    /// A later look found that the service needs it no more: its tag has moved on, or the service was changed.
    Withdrawn,
    /// An earlier run has it in hand.
    UnderWay,
    /// A gate has shut, or has not opened, after the look.
    Gate(Refusal),
}

impl NotBegunReason {
    /// Whether the service is left with an older image than it should have. What a gate holds is as users want it.
    pub fn is_left_behind(&self) -> bool {
        !matches!(self, Self::Withdrawn | Self::UnderWay | Self::Gate(_))
    }

    /// The name under which summaries count it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RolloutStopped | Self::TakenBack | Self::Gate(Refusal { gate: Gate::Order, .. }) => {
                "held back"
            }
            Self::Unproven => "unproved",
            Self::Interrupted => "not begun",
            Self::Postponed | Self::OtherHand(_) => "postponed",
            Self::Withdrawn => "withdrawn",
            Self::UnderWay => "under way",
            Self::Gate(_) => "held",
        }
    }
}

/// An image whose rollout was stopped, because too many of its updates failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedRollout {
    /// The image, as services were sent it.
    pub image: ImageRef,
    /// How many services it was offered to.
    pub touched: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many there were to update.
    pub total: usize,
    /// The failures' causes in words, each once, at most a few.
    pub causes: Vec<String>,
    /// Whether the failures that the image is to blame for were enough to stop it.
    pub blames_image: bool,
}

/// An image whose rollout gave way to a newer digest of its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The image, as services were sent it.
    pub image: ImageRef,
    /// The digest at which its tag stands now.
    pub by: Digest,
    /// How many services the image was offered to.
    pub touched: usize,
    /// How many there were to update.
    pub total: usize,
}
