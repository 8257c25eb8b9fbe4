//! The rules that decide whether a service gets an image. Pure.

use crate::gate::Gate;
use crate::model::attention::OtherHand;
use crate::model::decision::Reason;
use crate::model::finished::NotBegunReason;
use crate::model::row::{Row, State};

/// A rule that decides whether a service gets an image, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The filters, and what excludes a service.
    Selection,
    /// Its labels.
    Labels,
    /// What its image names.
    Image,
    /// What becomes of its tasks.
    Tasks,
    /// What its registry has.
    Registry,
    /// What others do to it.
    OtherChanges,
    /// What broke it or others before.
    Quarantine,
    /// Where its tag stood before.
    Tag,
    /// A gate that its settings put up.
    Gate(Gate),
    /// A user's pause.
    Pause,
    /// How its image fares with other services.
    Rollout,
    /// What its last update came to.
    Outcome,
}

impl Rule {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 19] = [
        Self::Selection,
        Self::Labels,
        Self::Image,
        Self::Tasks,
        Self::Registry,
        Self::OtherChanges,
        Self::Quarantine,
        Self::Tag,
        Self::Gate(Gate::Tags),
        Self::Gate(Gate::Age),
        Self::Gate(Gate::Approval),
        Self::Gate(Gate::Signature),
        Self::Gate(Gate::Platform),
        Self::Gate(Gate::Command),
        Self::Gate(Gate::Window),
        Self::Gate(Gate::Order),
        Self::Pause,
        Self::Rollout,
        Self::Outcome,
    ];

    /// The rule that made the state of a row; `None`: none speaks against the newest image.
    pub fn of_row(row: &Row) -> Option<Self> {
        Some(match &row.state {
            State::UpToDate | State::Updating => return None,
            State::Waits => Self::Rollout,
            State::LeftAlone(reason) => Self::of_reason(reason),
            State::NeedsAttention(_) | State::Ended(_) => Self::Outcome,
            State::Error(_) if row.details.as_ref().is_none_or(|details| details.policy.is_none()) => {
                Self::Labels
            }
            State::Error(_) => Self::Registry,
            State::Held(held) => match &held.why {
                NotBegunReason::Gate(refusal) => Self::Gate(refusal.gate),
                NotBegunReason::OtherHand(OtherHand::ByHand) => Self::Pause,
                NotBegunReason::OtherHand(_) => Self::OtherChanges,
                _ => Self::Rollout,
            },
        })
    }

    fn of_reason(reason: &Reason) -> Self {
        match reason {
            Reason::Excluded => Self::Selection,
            Reason::PinnedByDigest | Reason::PinnedByStackFile | Reason::NoContainer => Self::Image,
            Reason::Job | Reason::Ended | Reason::CronjobRuns => Self::Tasks,
            Reason::NotAsked => Self::Registry,
            Reason::RollingBack | Reason::TasksUnknown => Self::OtherChanges,
            Reason::HeldBack(_) | Reason::LedgerFull(_) => Self::Quarantine,
            Reason::GoneBack(_) => Self::Tag,
            Reason::Held(held) => Self::Gate(held.gate()),
        }
    }

    /// Its name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Selection => "selection",
            Self::Labels => "labels",
            Self::Image => "image",
            Self::Tasks => "tasks",
            Self::Registry => "registry",
            Self::OtherChanges => "other_changes",
            Self::Quarantine => "quarantine",
            Self::Tag => "tag",
            Self::Gate(gate) => gate.name(),
            Self::Pause => "pause",
            Self::Rollout => "rollout",
            Self::Outcome => "outcome",
        }
    }
}
