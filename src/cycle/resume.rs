//! What a cycle finds under way: updates and rollbacks that an earlier run began and did not see the end of. Pure.
//!
//! Nothing is written down about them. A service tells by itself: its previous specification, with our changes made
//! to it, is its present one. All of it is in the list of services that every cycle begins with.

use std::fmt;
use std::sync::Arc;

use super::discover::Candidate;
use super::plan::{Decision, Reason, Turn, Update};
use super::rollout::By;
use super::rollout::machine::Mark;
use crate::image::ImageRef;
use crate::swarm::spec::Edits;
use crate::swarm::{Mode, Service, Spec, Task, UpdateState};

/// A service whose last update or rollback has not come to a good end, as the list of services shows it.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The service.
    pub service: Service,
    /// What the swarm itself rolled back from. It forgets the specification, but not the task that failed.
    pub failed: Option<Mark>,
}

/// What was begun earlier and is watched to its end now.
#[derive(Clone, Debug)]
pub enum Begun {
    /// An update that the service was sent.
    Update {
        /// What the service had.
        replaced: Spec,
        /// What it was sent.
        spec: Spec,
    },
    /// A rollback.
    Rollback {
        /// Whose.
        by: By,
        /// What it goes back from.
        failed: Mark,
        /// What it goes back to.
        restored: Mark,
        /// The swarm's words on it.
        message: String,
    },
}

/// A service that has the newest image, or went back from it, and does not run as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Its update has failed and was kept, or is not ours to take back.
    Paused {
        /// The swarm's words.
        message: String,
    },
    /// Its rollback has failed.
    RollbackFailed {
        /// The swarm's words.
        message: String,
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
    /// Whether it will not get better by itself.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::NotRunning { .. })
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { message } => write!(f, "its update has failed and is paused: {message}"),
            Self::RollbackFailed { message } => write!(f, "its rollback has failed, look at it: {message}"),
            Self::NotRunning { running, desired } => {
                write!(f, "it has the newest image, but {running} of {desired} tasks run")
            }
        }
    }
}

impl Unfinished {
    /// Keeps a service if something is unfinished about it.
    pub fn of(service: &Service) -> Option<Self> {
        let is_unfinished = match service.update.as_ref().map(|status| &status.state) {
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => true,
            Some(state) => state.is_paused(),
            // The swarm takes a moment to begin, and never does where there is nothing to start.
            None => {
                service.status.is_some_and(|status| status.desired > 0)
                    && service
                        .previous
                        .as_ref()
                        .is_some_and(|previous| Mark::of(previous.facts()) != Mark::of(service.spec.facts()))
            }
        };
        (is_unfinished && service.spec.facts().mode != Mode::Job)
            .then(|| Self { service: service.clone(), failed: None })
    }

    /// Whether only its tasks can tell what it went back from.
    pub fn needs_tasks(&self) -> bool {
        self.service.rollback_by_swarm().is_some()
    }

    /// Takes from its tasks what it went back from.
    pub fn take_tasks(&mut self, tasks: &[Task]) {
        let present = Mark::of(self.service.spec.facts());
        let ended = tasks.iter().filter(|task| {
            let mark = Mark { image: task.image.clone(), force_update: task.force_update };
            task.service_id == self.service.id && mark != present && task.has_ended()
        });
        self.failed = ended
            .max_by_key(|task| (task.has_failed(), task.created_at))
            .map(|task| Mark { image: task.image.clone(), force_update: task.force_update });
    }
}

/// Decides on a service that has something unfinished. `None`: it is like any other.
///
/// `update` is what would be sent to it, or was; `is_current` tells whether an image has the digest that its tag
/// stands at.
pub(super) fn decide(
    candidate: &Candidate,
    update: &Update,
    is_current: impl Fn(&ImageRef) -> bool,
) -> Option<Decision> {
    let Unfinished { service, failed } = candidate.unfinished.as_deref()?;
    let (state, message) = match &service.update {
        Some(status) => (status.state.clone(), status.message.clone()),
        None => (UpdateState::Updating, String::new()),
    };
    let present = &update.from;
    let previous = service.previous.as_ref();
    let image_of = |spec: &Spec| spec.facts().image.as_deref()?.parse::<ImageRef>().ok();
    let replaced = previous.and_then(image_of);
    // The newest image is not what it has, but what it is leaving, or has left.
    let has_left_newest =
        |image: &ImageRef| !is_current(present) && image.is_same_tag_as(present) && is_current(image);

    match &state {
        UpdateState::Updating | UpdateState::Paused if is_current(present) => {
            let is_paused = state.is_paused();
            let ours = previous.zip(replaced).filter(|(previous, _)| made(update, previous, service));
            match ours {
                Some((previous, from)) if !is_paused || update.policy.rollback_on_failure => {
                    let (replaced, spec) = (previous.clone(), service.spec.clone());
                    Some(resume(update, from, present.clone(), Begun::Update { replaced, spec }))
                }
                _ if is_paused => Some(Decision::NeedsAttention(Attention::Paused { message })),
                // Somebody else's change, which has the newest image. It may take for ever.
                _ => None,
            }
        }
        UpdateState::Updating | UpdateState::Paused => {
            // The image alone was set back: a rollback that somebody else's change stood in the way of.
            let (previous, left) = previous.zip(replaced)?;
            if !(has_left_newest(&left) && is_same_but_for_image(previous, &service.spec)) {
                return None;
            }
            if state.is_paused() {
                return Some(Decision::NeedsAttention(Attention::RollbackFailed { message }));
            }
            Some(rollback(update, service, left, Mark::of(previous.facts()), By::Gantry))
        }
        UpdateState::RollbackStarted => {
            let by = if service.rollback_by_swarm().is_some() { By::Swarm } else { By::Gantry };
            let mark = previous.map(|previous| Mark::of(previous.facts())).or_else(|| failed.clone());
            let left = mark.as_ref().and_then(|mark| mark.image.parse::<ImageRef>().ok());
            match mark.zip(left) {
                Some((mark, left)) if left.is_same_tag_as(present) && left != *present => {
                    Some(rollback(update, service, left, mark, by))
                }
                // Whatever is being restored, this is not the moment for an update.
                _ => Some(Decision::LeftAlone(Reason::RollingBack)),
            }
        }
        UpdateState::RollbackPaused => {
            let failed = failed.as_ref().and_then(|mark| mark.image.parse::<ImageRef>().ok());
            let left = replaced.or(failed);
            // Once the tag has moved on, the newer image may be what helps.
            let is_stuck = is_current(present) || left.is_some_and(|left| has_left_newest(&left));
            is_stuck.then_some(Decision::NeedsAttention(Attention::RollbackFailed { message }))
        }
        _ => None,
    }
}

/// Whether this program made the service's present specification of its previous one.
fn made(update: &Update, previous: &Spec, service: &Service) -> bool {
    let Some(image) = previous.facts().image.as_deref().and_then(|image| image.parse().ok()) else {
        return false;
    };
    let before = Service { spec: previous.clone(), ..service.clone() };
    let sent = Update { from: image, to: update.from.clone(), platforms: None, ..update.clone() };
    let Turn::Send(edits) = sent.turn(&before) else { return false };
    // The platforms were those of the new image then; nobody remembers them now.
    let edits = Edits { platforms: Some(service.spec.platforms()), ..edits };
    previous.edited(&edits).is_ok_and(|spec| spec.is_same_as(&service.spec))
}

/// Whether two specifications differ in nothing but the image and what follows from it.
fn is_same_but_for_image(one: &Spec, other: &Spec) -> bool {
    let facts = other.facts();
    let edits = Edits {
        image: facts.image.clone(),
        platforms: Some(other.platforms()),
        force_update: (facts.force_update != one.facts().force_update).then_some(facts.force_update),
        ..Edits::default()
    };
    one.edited(&edits).is_ok_and(|spec| spec.is_same_as(other))
}

fn resume(update: &Update, from: ImageRef, to: ImageRef, begun: Begun) -> Decision {
    let begun = Some(Arc::new(begun));
    Decision::Update(Box::new(Update { from, to, begun, ..update.clone() }))
}

fn rollback(update: &Update, service: &Service, left: ImageRef, failed: Mark, by: By) -> Decision {
    let restored = Mark::of(service.spec.facts());
    let message = service.update.as_ref().map(|status| status.message.clone()).unwrap_or_default();
    resume(update, update.from.clone(), left, Begun::Rollback { by, failed, restored, message })
}

#[cfg(test)]
mod tests;
