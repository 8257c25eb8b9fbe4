//! How an update ended. Pure.

use std::fmt;

use super::cause::Cause;
use crate::model::attention::OtherHand;

/// Who rolled a service back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This program.
    Gantry,
    /// The swarm, because the service's own failure action says so.
    Swarm,
    /// A person or another program.
    Other,
}

/// How an update ended. Only what was seen counts: the service carries the image, and its tasks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tasks of the new image run, and ran through the monitor period.
    Updated,
    /// Updated, but for what Swarm does not do, or what the service's owner allows for; in words.
    UpdatedBut(String),
    /// There was nothing to do any more when the update was to be sent.
    Unchanged(String),
    /// It failed, and the previous image runs again.
    RolledBack {
        /// Who did it.
        by: By,
        /// Why the update failed.
        cause: Cause,
    },
    /// It failed, and the previous image does not run either.
    RollbackFailed {
        /// Why the update failed.
        cause: Cause,
        /// Why the rollback failed.
        why: Cause,
    },
    /// It failed and was left as it is, because it must not be rolled back.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// It failed, and then a user or another program changed the service; their change stands.
    Overtaken {
        /// Why the update failed.
        cause: Cause,
        /// What was changed, in words.
        how: String,
    },
    /// It was sent, and there is nothing to wait for.
    Started(String),
    /// A user or another program changed the service meanwhile; that change stands.
    Superseded(String),
    /// A person or another program took the service back to the digest that it had: a word on the new image.
    TakenBack(String),
    /// The service was removed meanwhile.
    Removed,
    /// Nothing was sent, because another party had begun something on the service by then.
    Postponed(OtherHand),
    /// This program was stopped; the swarm goes on by itself.
    Interrupted,
}

/// Why there is nothing to wait for where no node takes the tasks of a service.
pub(crate) const NO_NODE: &str = "no node takes its tasks, as before";

/// Why an update was not sent where the service had the image by then.
pub(crate) const ALREADY_THERE: &str = "it has the new image already";

/// Why an update was not sent where its owner had excluded the service by then.
pub(crate) const TAKEN_OUT: &str = "it was taken out meanwhile";

impl Outcome {
    /// Whether its tasks wait for a node, as those before did.
    pub fn is_without_node(&self) -> bool {
        matches!(self, Self::Started(why) if why == NO_NODE)
    }

    /// Whether the service still waits for the image that it should have, though nothing failed.
    pub fn is_left_behind(&self) -> bool {
        match self {
            Self::Unchanged(why) => why != ALREADY_THERE && why != TAKEN_OUT,
            Self::Postponed(_) => true,
            outcome => outcome.is_without_node(),
        }
    }

    /// Whether the service does not run the image that it should.
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. }
                | Self::RollbackFailed { .. }
                | Self::Failed { .. }
                | Self::Overtaken { .. }
        )
    }

    /// Whether the tasks of the new image run, all of them or as many as can.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Updated | Self::UpdatedBut(_))
    }

    /// Whether it is under way for all that is known: Gantry was stopped, or had a fault of its own.
    pub fn is_unjudged(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Failed { cause: Cause::Internal { .. } })
    }

    /// Why the update failed, if it did.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::RolledBack { cause, .. }
            | Self::RollbackFailed { cause, .. }
            | Self::Failed { cause }
            | Self::Overtaken { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// One word or two for it, as logs, notification and metrics use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Updated | Self::UpdatedBut(_) => "updated",
            Self::Unchanged(_) => "unchanged",
            Self::RolledBack { .. } => "rolled back",
            Self::RollbackFailed { .. } => "rollback failed",
            Self::Failed { .. } | Self::Overtaken { .. } => "failed",
            Self::Started(_) => "started",
            Self::Superseded(_) | Self::TakenBack(_) => "superseded",
            Self::Removed => "removed",
            Self::Postponed(_) => "postponed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Updated => f.write_str("updated"),
            Self::UpdatedBut(what) => write!(f, "updated: {what}"),
            Self::Unchanged(why) => write!(f, "unchanged: {why}"),
            Self::RolledBack { by: By::Gantry, cause } => write!(f, "rolled back: {cause}"),
            Self::RolledBack { by: By::Swarm, cause } => write!(f, "rolled back by Swarm: {cause}"),
            Self::RolledBack { by: By::Other, cause } => {
                write!(f, "rolled back by a person or another program: {cause}")
            }
            Self::RollbackFailed { cause, why } => {
                write!(f, "rollback failed: {why}; the update had failed because {cause}")
            }
            Self::Failed { cause } => write!(f, "failed, and kept as it is: {cause}"),
            Self::Overtaken { cause, how } => write!(f, "failed: {cause}; then {how}"),
            Self::Started(why) => write!(f, "started, nothing to wait for: {why}"),
            Self::Superseded(how) | Self::TakenBack(how) => write!(f, "superseded: {how}"),
            Self::Removed => f.write_str("removed meanwhile"),
            Self::Postponed(hand) => write!(f, "postponed: {hand}; the next cycle looks again"),
            Self::Interrupted => f.write_str("interrupted: Gantry stops watching, Swarm goes on by itself"),
        }
    }
}
