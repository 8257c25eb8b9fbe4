//! What is to happen to a service: exactly one decision for each. Pure.

use std::fmt;
use std::sync::Arc;

use super::attention::{Attention, OtherHand};
use super::held::Held;
use super::held_back::{Doubt, HeldBack};
use super::update::Update;
use crate::config::ServicePolicy;
use crate::image::Digest;
use crate::ledger::entry::Entry;
use crate::swarm::ServiceStatus;

/// What is to happen to one service.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The service's name.
    pub service: String,
    /// Its image, as people call it; empty where there is none.
    pub image: String,
    /// What is to happen.
    pub decision: Decision,
    /// Whether its last change may be an update that an earlier run began and did not judge.
    pub is_left_behind: bool,
    /// What else the look showed of it.
    pub details: Details,
}

/// What a look showed of a service, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The digest in its specification.
    pub digest: Option<Digest>,
    /// The digest that the registry has under its tag.
    pub newest: Option<Digest>,
    /// How many of its tasks run and should run.
    pub tasks: Option<ServiceStatus>,
    /// Its settings; `None`: its labels cannot be read.
    pub policy: Option<Arc<ServicePolicy>>,
    /// The account for its registry, by name and source, without its secret; `None`: none, or none was looked for.
    pub account: Option<String>,
    /// What there is to tell of the tags that it accepts.
    pub tags: Option<String>,
}

/// What is to happen to a service.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It gets another image.
    Update(Box<Update>),
    /// It gets another image in a later cycle, because another party is at work on it.
    Later(Box<Update>, OtherHand),
    /// It has what the registry has.
    UpToDate,
    /// It does not run as it should, and there is nothing to be sent to it.
    NeedsAttention {
        /// What is the matter.
        what: Attention,
        /// To be remembered, where only the service itself shows so far which digest it went back from.
        news: Option<Box<Entry>>,
    },
    /// It is not ours to update.
    LeftAlone(Reason),
    /// Whether it needs an update cannot be told; the cause in words.
    Error(String),
}

/// Why a service is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is excluded by name, filter or label.
    Excluded,
    /// Its image is given by digest alone: there is no tag that could move.
    PinnedByDigest,
    /// Its stack file names a digest.
    PinnedByStackFile,
    /// It is a job, and jobs are not to be updated.
    Job,
    /// Its tasks have ended, and are not to be run again.
    Ended,
    /// swarm-cronjob has started it, and it has not ended yet.
    CronjobRuns,
    /// It runs no container.
    NoContainer,
    /// Gantry was stopped before its registry was asked.
    NotAsked,
    /// What its tag stands at has broken it or others, or a person has moved it away from that.
    HeldBack(Box<HeldBack>),
    /// Its tag has gone back to a digest that services had before, and may not stay there.
    GoneBack(Doubt),
    /// Something is being restored at the moment, and no task tells what failed.
    RollingBack,
    /// The ledger has no room to remember it if the image breaks the service; why, in words.
    LedgerFull(String),
    /// Its last change has not ended, and the engine did not list its tasks.
    TasksUnknown,
    /// A gate does not let the newest image pass yet.
    Held(Box<Held>),
}

impl Reason {
    /// The names of all that are no gates.
    pub const NAMES: [&str; 13] = [
        "excluded",
        "pinned_by_digest",
        "pinned_by_stack_file",
        "job",
        "ended",
        "cronjob_runs",
        "no_container",
        "not_asked",
        "held_back",
        "gone_back",
        "rolling_back",
        "ledger_full",
        "tasks_unknown",
    ];

    /// Its name, as metrics have it; that of the gate where one holds the image.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::PinnedByDigest => "pinned_by_digest",
            Self::PinnedByStackFile => "pinned_by_stack_file",
            Self::Job => "job",
            Self::Ended => "ended",
            Self::CronjobRuns => "cronjob_runs",
            Self::NoContainer => "no_container",
            Self::NotAsked => "not_asked",
            Self::HeldBack(_) => "held_back",
            Self::GoneBack(_) => "gone_back",
            Self::RollingBack => "rolling_back",
            Self::LedgerFull(_) => "ledger_full",
            Self::TasksUnknown => "tasks_unknown",
            Self::Held(held) => held.gate().name(),
        }
    }

    /// Whether the service is left alone for this moment only, so that an update it may need is still to come.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::RollingBack | Self::NotAsked | Self::LedgerFull(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeldBack(held) => return held.fmt(f),
            Self::Held(held) => return held.fmt(f),
            Self::GoneBack(doubt) => return doubt.fmt(f),
            Self::LedgerFull(why) => {
                return write!(f, "not offered: {why}; `gantry quarantine` lists them, `gantry release` makes room");
            }
            Self::Excluded => "excluded",
            Self::PinnedByDigest => "pinned by digest without a tag, so there is nothing newer to look for",
            Self::PinnedByStackFile => "pinned by digest in its stack file",
            Self::Job => "a job, and updating a job runs it (GANTRY_UPDATE_JOBS=true allows it)",
            Self::Ended => {
                "its tasks have ended, and an update would run them again (gantry.update.jobs=true allows it)"
            }
            Self::CronjobRuns => "swarm-cronjob has started it; it is looked at again when it has ended",
            Self::NoContainer => "runs no container",
            Self::NotAsked => "Gantry was stopped before its registry was asked",
            Self::RollingBack => "it is being rolled back; the next cycle looks at it again",
            Self::TasksUnknown => {
                "its last change has not ended, and the engine did not list its tasks; the next cycle asks again"
            }
        })
    }
}
