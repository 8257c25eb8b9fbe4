//! Stage 3: exactly one decision for each service. Pure.

use std::fmt;
use std::sync::Arc;

use crate::config::{LookupMethod, Selection, ServicePolicy};
use crate::image::{Digest, ImageRef};
use crate::registry::{Credentials, Platform};
use crate::swarm::spec::{Edits, OrderChange};
use crate::swarm::{Mode, Service};

use super::course::Course;
use super::discover::Candidate;
use super::gone_back::Doubt;
use super::inspect::{Answer, Inspected};
use super::quarantine::{HeldBack, Quarantine};
use super::rank::Rank;
use super::resume::{self, Attention, Begun, OtherHand};
use crate::ledger::entry::Entry;

/// What is to happen to one service.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The service's name.
    pub service: String,
    /// Its image, as people call it; empty where there is none.
    pub image: String,
    /// What is to happen.
    pub decision: Decision,
    /// Whether its last change may be one that somebody began and nobody has judged.
    pub is_left_behind: bool,
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
}

/// One update, with nothing left to choose.
#[derive(Clone, Debug)]
pub struct Update {
    /// The service's id.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// The version of the service that the decision was made on.
    pub version: u64,
    /// The image that it has, as it stands in its specification.
    pub from: ImageRef,
    /// The image that it gets.
    pub to: ImageRef,
    /// The platforms of the new image, where they are known.
    pub platforms: Option<Vec<Platform>>,
    /// Replace the tasks though the image reads the same.
    pub force: bool,
    /// What the nodes pull with.
    pub credentials: Option<Arc<Credentials>>,
    /// What it starts.
    pub start: Start,
    /// How early its turn comes within its image's rollout.
    pub rank: Rank,
    /// How it is done.
    pub policy: ServicePolicy,
    /// What makes it ours to update.
    pub selection: Arc<Selection>,
    /// It is under way already: it is watched, and nothing is sent.
    pub begun: Option<Arc<Begun>>,
    /// How the old and the new task ran into each other when it was tried start-first: it is not tried so again.
    pub collision: Option<String>,
}

/// What an update starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// New tasks in place of those that run.
    Replaced,
    /// Tasks for which there is no node, as there was none for those before: there is nothing to wait for. Looked at again
    /// before it is sent.
    WithoutNode,
    /// Tasks that had ended, once more: that is allowed, and there is nothing to wait for.
    Again,
    /// Nothing: the service gets no replicas, and swarm-cronjob gives it some when its time comes.
    LeftToCronjob {
        /// The version of the service that had ended. At another one it may have been started.
        version: u64,
    },
}

/// Decides on all services that were looked at.
pub fn plan(inspected: &[Inspected], selection: &Arc<Selection>, quarantine: &Quarantine) -> Vec<Planned> {
    inspected
        .iter()
        .map(|Inspected { candidate, answer, account }| Planned {
            service: candidate.name.clone(),
            image: candidate.image_name(),
            decision: decide(candidate, answer.as_ref(), account.as_ref(), selection, quarantine),
            is_left_behind: candidate.unfinished.as_ref().is_some_and(|unfinished| unfinished.is_left_behind),
        })
        .collect()
}

/// Decides on one service. `answer` is missing when its registry was not asked; the nodes pull with `account` then.
fn decide(
    candidate: &Candidate,
    answer: Option<&Result<Answer, String>>,
    account: Option<&Arc<Credentials>>,
    selection: &Arc<Selection>,
    quarantine: &Quarantine,
) -> Decision {
    if candidate.is_excluded {
        return Decision::LeftAlone(Reason::Excluded);
    }
    let policy = match &candidate.policy {
        Ok(policy) if policy.excluded => return Decision::LeftAlone(Reason::Excluded),
        Ok(policy) if policy.stack_pin => return Decision::LeftAlone(Reason::PinnedByStackFile),
        Ok(policy) => policy,
        Err(mistakes) => return Decision::Error(mistakes.to_string()),
    };
    let Some(written) = &candidate.image else {
        return Decision::LeftAlone(Reason::NoContainer);
    };
    let start = match start(candidate, policy) {
        Ok(start) => start,
        Err(reason) => return Decision::LeftAlone(reason),
    };
    let from = match written.parse::<ImageRef>() {
        Ok(image) if image.tag().is_none() => return Decision::LeftAlone(Reason::PinnedByDigest),
        Ok(image) => image,
        Err(error) => return Decision::Error(error.to_string()),
    };
    let mut held = None;
    let (to, platforms, force, credentials) = match answer {
        None if asks_registry(candidate, policy) => return Decision::LeftAlone(Reason::NotAsked),
        None => (from.unpinned(), None, true, account.cloned()),
        Some(Err(cause)) => return Decision::Error(cause.clone()),
        Some(Ok(Answer { digest, manifest, credentials, .. })) => {
            held = quarantine.holds_back(candidate, &from, digest);
            let platforms = manifest.as_ref().map(|manifest| manifest.platforms.clone());
            let platforms = platforms.filter(|platforms| !platforms.is_empty());
            (from.pinned(digest), platforms, false, credentials.clone())
        }
    };
    // Without an answer there is no other digest than the one that a node finds.
    let is_newest = |image: &ImageRef| match answer {
        Some(Ok(answer)) => is_current(image.digest(), answer),
        _ => true,
    };
    let is_up_to_date = !force && is_newest(&from);
    let update = Update {
        id: candidate.id.clone(),
        service: candidate.name.clone(),
        version: candidate.version,
        from,
        to,
        platforms,
        force,
        credentials,
        start,
        rank: candidate.rank,
        policy: policy.clone(),
        selection: selection.clone(),
        begun: None,
        collision: None,
    };
    // Without its tasks, a failed image would look like a new one, or a failure like a person's word.
    if candidate.history.is_untold {
        return Decision::LeftAlone(Reason::TasksUnknown);
    }
    let was_offered = |image: &ImageRef| quarantine.was_offered(image);
    if let Some(decision) = resume::decide(candidate, &update, is_newest, was_offered, held.as_ref()) {
        return decision;
    }
    if let Some(held) = held {
        return Decision::LeftAlone(Reason::HeldBack(Box::new(held)));
    }
    match candidate.tasks {
        // Tasks that have ended are not missing.
        Some(tasks)
            if is_up_to_date
                && tasks.running < tasks.desired
                && matches!(start, Start::Replaced | Start::WithoutNode) =>
        {
            let (running, desired) = (tasks.running, tasks.desired);
            Decision::NeedsAttention { what: Attention::NotRunning { running, desired }, news: None }
        }
        _ if is_up_to_date => Decision::UpToDate,
        _ => Decision::Update(Box::new(update)),
    }
}

/// What an update of this service would start, or why it must not be updated.
fn start(candidate: &Candidate, policy: &ServicePolicy) -> Result<Start, Reason> {
    let is_replicated = matches!(candidate.mode, Mode::Replicated(_));
    match candidate.course {
        _ if candidate.mode == Mode::Job && !policy.update_jobs => Err(Reason::Job),
        Course::UnderWay | Course::WithoutNode if policy.cronjob => Err(Reason::CronjobRuns),
        Course::RunsOn | Course::UnderWay => Ok(Start::Replaced),
        Course::WithoutNode => Ok(Start::WithoutNode),
        Course::Ended if policy.cronjob && is_replicated => {
            Ok(Start::LeftToCronjob { version: candidate.version })
        }
        Course::Ended if candidate.mode == Mode::Replicated(0) => Ok(Start::Replaced),
        Course::Ended if policy.update_jobs => Ok(Start::Again),
        Course::Ended => Err(Reason::Ended),
    }
}

/// A digest is current when it is the tag's, or one of the platforms that the tag's index still lists.
fn is_current(recorded: Option<&Digest>, answer: &Answer) -> bool {
    recorded.is_some_and(|recorded| {
        *recorded == answer.digest
            || answer.manifest.as_deref().is_some_and(|manifest| manifest.children.contains(recorded))
    })
}

/// Whether a registry has to be asked before this service can be decided on.
pub fn needs_answer(candidate: &Candidate) -> bool {
    may_be_updated(candidate)
        && candidate.policy.as_ref().is_ok_and(|policy| asks_registry(candidate, policy))
}

/// Whether this service gets a new image, if there is one.
pub fn may_be_updated(candidate: &Candidate) -> bool {
    let image = candidate.image.as_deref().and_then(|written| written.parse::<ImageRef>().ok());
    !candidate.is_excluded
        && image.is_some_and(|image| image.tag().is_some())
        && candidate
            .policy
            .as_ref()
            .is_ok_and(|policy| !policy.excluded && !policy.stack_pin && start(candidate, policy).is_ok())
}

/// Whether this service's registry is asked. Ours always is: a forced update of ourselves would never end.
fn asks_registry(candidate: &Candidate, policy: &ServicePolicy) -> bool {
    policy.lookup == LookupMethod::Registry || candidate.is_itself
}

/// What is sent to a service, now that its turn has come and it was read again.
#[derive(Clone, Debug, PartialEq)]
pub enum Dispatch {
    /// These changes, to what the options make of its specification.
    Send(Edits),
    /// It has the new image by now.
    AlreadyThere,
    /// Its image is another one than the plan was made for.
    ChangedTo(String),
    /// It does not match the filters any more, or its labels exclude it.
    NotOurs,
    /// Something would be started that was not meant to be, or be stopped; why, in words.
    NotNow(&'static str),
}

impl Update {
    /// Whether new tasks take the place of old ones.
    pub fn replaces_tasks(&self) -> bool {
        matches!(self.start, Start::Replaced | Start::WithoutNode)
    }

    /// Decides again on what is there now. `course` is what becomes of its tasks, and `order` how its order changes.
    pub fn dispatch(&self, service: &Service, course: Course, order: Option<OrderChange>) -> Dispatch {
        let facts = service.spec.facts();
        if !self.selection.still_selects(&facts.labels) {
            return Dispatch::NotOurs;
        }
        let present = facts.image.clone().unwrap_or_default();
        if present == self.to.to_string() && !self.force {
            return Dispatch::AlreadyThere;
        }
        if present != self.from.to_string() && present != self.written_from() {
            return Dispatch::ChangedTo(present);
        }
        if let Some(why) = self.not_now(service, course) {
            return Dispatch::NotNow(why);
        }
        Dispatch::Send(Edits {
            image: Some(self.to.to_string()),
            platforms: self
                .platforms
                .as_ref()
                .map(|platforms| platforms.iter().map(|p| (p.os.clone(), p.architecture.clone())).collect()),
            order,
            force_update: self.force.then(|| facts.force_update + 1),
            replicas: matches!(self.start, Start::LeftToCronjob { .. }).then_some(0),
        })
    }

    /// Why this would now start or stop what it was not planned to.
    fn not_now(&self, service: &Service, course: Course) -> Option<&'static str> {
        match (self.start, course) {
            (Start::LeftToCronjob { version }, _) if service.version != version => {
                Some("it was started or changed meanwhile")
            }
            (Start::Replaced | Start::WithoutNode, Course::Ended)
                if service.spec.facts().mode != Mode::Replicated(0) =>
            {
                Some("its tasks have ended meanwhile, and an update would run them again")
            }
            (Start::Again, Course::UnderWay | Course::WithoutNode) => Some("it was started meanwhile"),
            _ => None,
        }
    }

    /// `name` alone means `name:latest`, and may stand so in a specification.
    fn written_from(&self) -> String {
        match (self.from.tag(), self.from.digest()) {
            (Some("latest"), None) => self.from.name().to_owned(),
            _ => self.from.to_string(),
        }
    }
}

impl Reason {
    /// Whether the service is left alone for this moment only, so that an update it may need is still to come.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::RollingBack | Self::NotAsked | Self::LedgerFull(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeldBack(held) => return held.fmt(f),
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

#[cfg(test)]
mod tests;
