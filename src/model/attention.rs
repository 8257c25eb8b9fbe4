//! What a cycle says of a service that it leaves as it is. Pure.

use std::fmt;

/// A service that does not run as it should, and to which Gantry sends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attention {
    /// An update by Gantry has failed, and must not be rolled back.
    Kept {
        /// The swarm's words.
        message: String,
    },
    /// A change by a person or another program has failed. Gantry must not take it back, nor go on with it.
    Paused {
        /// The swarm's words.
        message: String,
    },
    /// Its rollback has failed.
    RollbackFailed {
        /// The swarm's words.
        message: String,
    },
    /// Its rollback does not come to an end.
    RollbackHangs {
        /// Tasks that run.
        running: u64,
        /// Tasks that should.
        desired: u64,
    },
    /// Gantry updated it in the last hours, and its tasks fail.
    Failing {
        /// Why.
        cause: String,
    },
    /// Not all of its tasks run.
    NotRunning {
        /// Tasks that run.
        running: u64,
        /// Tasks that should.
        desired: u64,
    },
}

impl Attention {
    /// Whether the cycle has failed for as long as this lasts: an update by Gantry, or a rollback, has led to it.
    /// What other programs and people did to a service is theirs to judge.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Paused { .. } | Self::NotRunning { .. })
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { message } => write!(f, "its update has failed and was kept: {message}"),
            Self::Paused { message } => write!(
                f,
                "a change by a user or another program has failed and is paused; Gantry sends nothing until that change is mended \
                 or taken back: {message}"
            ),
            Self::RollbackFailed { message } => write!(f, "its rollback has failed, look at it: {message}"),
            Self::RollbackHangs { running, desired } => {
                write!(f, "its rollback does not end, look at it: {running} of {desired} tasks run")
            }
            Self::Failing { cause } => {
                write!(f, "Gantry updated it in the last 24 hours, and its tasks fail: {cause}")
            }
            Self::NotRunning { running, desired } => {
                write!(f, "it has the newest image, but {running} of {desired} tasks run")
            }
        }
    }
}

/// What another party does to a service, so that Gantry must not update it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherHand {
    /// An update that was not sent by Gantry is under way.
    Updating,
    /// An update that was not sent by Gantry has failed, and the swarm has stopped it.
    Paused,
    /// The service is being rolled back, or a rollback of it is paused.
    RollingBack,
    /// A user has told Gantry that no update begins.
    ByHand,
}

impl fmt::Display for OtherHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Updating => "an update by a person or another program is under way",
            Self::Paused => "an update by a person or another program has failed and is paused",
            Self::RollingBack => "it is being rolled back",
            Self::ByHand => "a user has paused all updates (`gantry resume` ends the pause)",
        })
    }
}
