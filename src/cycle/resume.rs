//! What a cycle finds under way: updates and rollbacks that an earlier run began and did not see the end of. Pure.
//!
//! Nothing is written down about each. A service tells by itself: its previous specification, with our changes made
//! to it, is its present one. All of it is in the list of services that every cycle begins with. Only that somebody died
//! over them, or was stopped, is told by the ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::course::Course;
use super::discover::Candidate;
use super::plan::{Decision, Dispatch, Reason, Start, Update};
use super::quarantine::{HeldBack, Why};
use super::rollout::By;
use super::rollout::machine::{Mark, proof_time};
use crate::image::ImageRef;
use crate::ledger::LeftBehind;
use crate::options::Ids;
use crate::swarm::spec::Edits;
use crate::swarm::{Mode, Service, Spec, Task, TaskState, UpdateState};

/// A service whose last update or rollback has not come to a good end, as the list of services shows it.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The service.
    pub service: Service,
    /// What the failed task had that a rollback goes back from: the swarm forgets the specification then.
    pub failed: Option<Mark>,
    /// The ids of what the options for its updates name.
    pub ids: Ids,
    /// Whether somebody who died or was stopped may have changed it: nobody may have judged that.
    pub is_left_behind: bool,
    /// Whether its tasks show that the change was through long ago: what has happened to them since is no part of it.
    pub has_held: bool,
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
    /// Our update of it has failed, and must not be rolled back.
    Kept {
        /// The swarm's words.
        message: String,
    },
    /// Somebody else's change to it has failed, and is not ours to take back.
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
    /// Whether an update of ours, or what was done about it, has left it so: the cycle has failed for as long as that
    /// lasts. What others did to a service is theirs to judge.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Kept { .. } | Self::RollbackFailed { .. })
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { message } => write!(f, "its update has failed and was kept: {message}"),
            Self::Paused { message } => {
                write!(f, "somebody else's change to it has failed and is paused: {message}")
            }
            Self::RollbackFailed { message } => write!(f, "its rollback has failed, look at it: {message}"),
            Self::NotRunning { running, desired } => {
                write!(f, "it has the newest image, but {running} of {desired} tasks run")
            }
        }
    }
}

impl Unfinished {
    /// Keeps a service if something is unfinished about it.
    pub fn of(service: &Service, left_behind: &LeftBehind) -> Option<Self> {
        let is_left_behind = left_behind.has(service);
        let is_unfinished = match service.update.as_ref().map(|status| &status.state) {
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => true,
            // The swarm takes a moment to begin, and never does where there is nothing to start.
            None => service.status.is_some_and(|status| status.desired > 0) && has_other_tasks(service),
            // It calls an update completed whatever its tasks do, and one that crashes every few seconds may just run.
            Some(UpdateState::Completed) => {
                (lacks_tasks(service) || is_left_behind) && has_other_tasks(service)
            }
            Some(state) => state.is_paused(),
        };
        (is_unfinished && service.spec.facts().mode != Mode::Job).then(|| Self {
            service: service.clone(),
            failed: None,
            ids: Ids::new(),
            is_left_behind,
            has_held: false,
        })
    }

    /// Whether only its tasks can tell what it went back from, or that this was for a failure, or how long ago it was that
    /// somebody left it behind.
    pub fn needs_tasks(&self) -> bool {
        let state = self.service.update.as_ref().map(|status| &status.state);
        state.is_some_and(UpdateState::is_rollback)
            || (self.is_left_behind && state == Some(&UpdateState::Completed))
    }

    /// Takes from its tasks what it went back from, and whether its last change has held. `now` is the engine's clock.
    pub fn take_tasks(&mut self, tasks: &[Task], now: Timestamp) {
        self.has_held = has_held(&self.service, tasks, now);
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
/// stands at, `was_offered` whether we have offered it, and `held` why what the tag stands at is not offered to it.
pub(super) fn decide(
    candidate: &Candidate,
    update: &Update,
    is_current: impl Fn(&ImageRef) -> bool,
    was_offered: impl Fn(&ImageRef) -> bool,
    held: Option<&HeldBack>,
) -> Option<Decision> {
    let unfinished = candidate.unfinished.as_deref()?;
    let service = &unfinished.service;
    let state = service.update.as_ref().map_or(UpdateState::Updating, |status| status.state.clone());
    if update.start != Start::Replaced {
        // Sending it would be all: nothing of it is watched, now or later. It may stand `updating` for ever.
        return None;
    }
    if candidate.is_itself && state == UpdateState::Updating {
        // We run, which is what would be watched for, and the others need not wait until Swarm says so.
        return None;
    }
    let present = &update.from;
    let before = service.previous.as_ref().and_then(|previous| Some((previous, image_of(previous)?)));
    // The newest image is not what it has, but what it is leaving, or has left.
    let has_left_newest =
        |image: &ImageRef| !is_current(present) && image.is_same_tag_as(present) && is_current(image);

    match (&state, before) {
        (UpdateState::Updating | UpdateState::Paused, Some((previous, left))) if has_left_newest(&left) => {
            unfinished.set_back(update, previous, left, held)
        }
        // Where nothing newer is to take its place, it is brought to its end.
        (UpdateState::Updating | UpdateState::Paused, before)
            if is_current(present)
                || (held.is_some() && (unfinished.is_left_behind || was_offered(present))) =>
        {
            unfinished.sent(update, before, held)
        }
        // A digest that somebody else has chosen instead of the one that is held back.
        (UpdateState::Paused, _) if held.is_some() => {
            Some(unfinished.attention(|message| Attention::Paused { message }, held))
        }
        // Its failure was written down, its rollback not sent.
        (UpdateState::Completed, before)
            if is_current(present)
                && update.policy.rollback_on_failure
                && lacks_tasks(service)
                && held.is_some_and(|held| held.why == Why::BrokeService) =>
        {
            unfinished.sent(update, before, held)
        }
        // Nobody may have seen how it ended.
        (UpdateState::Completed, before)
            if is_current(present)
                && unfinished.is_left_behind
                && !unfinished.has_held
                && held.is_none_or(|held| held.why != Why::LeftByHand) =>
        {
            unfinished.sent(update, before, held)
        }
        (UpdateState::RollbackStarted, before) => unfinished.going_back(update, before, held),
        (UpdateState::RollbackPaused, before) => {
            let failed = unfinished.failed.as_ref().and_then(|mark| mark.image.parse::<ImageRef>().ok());
            let left = before.map(|(_, image)| image).or(failed);
            // Once the tag has moved on, the newer image may be what helps.
            let is_stuck =
                held.is_some() || is_current(present) || left.is_some_and(|left| has_left_newest(&left));
            is_stuck.then(|| unfinished.attention(|message| Attention::RollbackFailed { message }, held))
        }
        _ => None,
    }
}

impl Unfinished {
    /// An update to the image that it should have, or to the best that there is for it.
    fn sent(
        &self,
        update: &Update,
        before: Option<(&Spec, ImageRef)>,
        held: Option<&HeldBack>,
    ) -> Option<Decision> {
        let is_paused = self.service.update.as_ref().is_some_and(|status| status.state.is_paused());
        match before.filter(|(previous, from)| self.is_ours(update, previous, from)) {
            Some((previous, from)) if !is_paused || update.policy.rollback_on_failure => {
                let (replaced, spec) = (previous.clone(), self.service.spec.clone());
                Some(resume(update, from, update.from.clone(), Begun::Update { replaced, spec }))
            }
            Some(_) => Some(self.attention(|message| Attention::Kept { message }, held)),
            None if is_paused => Some(self.attention(|message| Attention::Paused { message }, held)),
            // Somebody else's change, which may take for ever.
            None => None,
        }
    }

    /// An update that takes the newest image back: a rollback that somebody else's change or an option stood in the
    /// way of, or a person's word.
    fn set_back(
        &self,
        update: &Update,
        previous: &Spec,
        left: ImageRef,
        held: Option<&HeldBack>,
    ) -> Option<Decision> {
        let is_by_hand = held.is_some_and(|held| held.why == Why::LeftByHand);
        let is_known = held.is_some_and(|held| held.why == Why::BrokeService);
        let is_rollback = !is_by_hand && (is_known || is_same_but_for_image(previous, &self.service.spec));
        let is_paused = self.service.update.as_ref().is_some_and(|status| status.state.is_paused());
        match (is_rollback, is_paused) {
            (true, true) => Some(self.attention(|message| Attention::RollbackFailed { message }, held)),
            (true, false) => Some(self.rollback(update, left, Mark::of(previous.facts()), By::Gantry)),
            // The newest image may be what helps, unless it is held back.
            (false, true) if held.is_some() => {
                Some(self.attention(|message| Attention::Paused { message }, held))
            }
            (false, _) => None,
        }
    }

    /// A rollback under way.
    fn going_back(
        &self,
        update: &Update,
        before: Option<(&Spec, ImageRef)>,
        held: Option<&HeldBack>,
    ) -> Option<Decision> {
        let by = if self.service.rollback_by_swarm().is_some() { By::Swarm } else { By::Gantry };
        let previous = before.map(|(previous, _)| Mark::of(previous.facts()));
        let has_failed = previous.as_ref().is_none_or(|previous| self.failed.as_ref() == Some(previous));
        let is_known = held.is_some_and(|held| held.why != Why::LeftByHand);
        if by == By::Gantry && !has_failed && !is_known {
            // Nothing tells of a failure: a person's word, as far as can be seen. It is left alone with that reason
            // where it is about what would be offered now, and for the moment in any case.
            return held.is_none().then_some(Decision::LeftAlone(Reason::RollingBack));
        }
        let mark = previous.or_else(|| self.failed.clone());
        let left = mark.as_ref().and_then(|mark| mark.image.parse::<ImageRef>().ok());
        match mark.zip(left) {
            Some((mark, left)) if left.is_same_tag_as(&update.from) && left != update.from => {
                Some(self.rollback(update, left, mark, by))
            }
            // Whatever is being restored, this is not the moment for an update.
            _ => Some(Decision::LeftAlone(Reason::RollingBack)),
        }
    }

    /// Whether this program made the present specification of the previous one, or whoever did changed nothing but
    /// the digest: our own settings may have been others then. Another tag is never our doing.
    fn is_ours(&self, update: &Update, previous: &Spec, from: &ImageRef) -> bool {
        from.is_same_tag_as(&update.from)
            && (self.is_made_by_us(update, previous, from)
                || (*from != update.from && is_same_but_for_image(previous, &self.service.spec)))
    }

    fn is_made_by_us(&self, update: &Update, previous: &Spec, from: &ImageRef) -> bool {
        let before = Service { spec: previous.clone(), ..self.service.clone() };
        let sent = Update { from: from.clone(), to: update.from.clone(), platforms: None, ..update.clone() };
        let Ok(optioned) = previous.with_options(&update.policy.update_options, &self.ids) else {
            return false;
        };
        let Dispatch::Send(edits) = sent.dispatch(&before, Course::RunsOn, optioned.facts()) else {
            return false;
        };
        // The platforms were those of the new image then; nobody remembers them now.
        let edits = Edits { platforms: Some(self.service.spec.platforms()), ..edits };
        optioned.edited(&edits).is_ok_and(|spec| spec.is_same_as(&self.service.spec))
    }

    fn rollback(&self, update: &Update, left: ImageRef, failed: Mark, by: By) -> Decision {
        let restored = Mark::of(self.service.spec.facts());
        let begun = Begun::Rollback { by, failed, restored, message: self.message() };
        resume(update, update.from.clone(), left, begun)
    }

    fn attention(&self, what: impl FnOnce(String) -> Attention, held: Option<&HeldBack>) -> Decision {
        let news = held.and_then(|held| held.news.clone());
        Decision::NeedsAttention { what: what(self.message()), news }
    }

    /// The swarm's words.
    fn message(&self) -> String {
        self.service.update.as_ref().map(|status| status.message.clone()).unwrap_or_default()
    }
}

/// Whether in each place of the service a task of its present specification has lived for so long that the update must have
/// been through.
fn has_held(service: &Service, tasks: &[Task], now: Timestamp) -> bool {
    let facts = service.spec.facts();
    let (present, proof) = (Mark::of(facts), proof_time(facts));
    let lived = |task: &Task| {
        let (begun, ended) = match task.state {
            TaskState::Running => (task.since?, now),
            _ => (task.created_at?, task.since?),
        };
        Duration::try_from(ended.duration_since(begun)).ok()
    };
    let mut places: BTreeMap<(u64, &str), bool> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.service_id == service.id && present.is_on(task)) {
        let node = if facts.mode == Mode::Global { task.node_id.as_str() } else { "" };
        let has_held = task.state >= TaskState::Running && lived(task).is_some_and(|lived| lived >= proof);
        *places.entry((task.slot, node)).or_default() |= has_held;
    }
    let desired = service.status.map_or(0, |status| status.desired);
    places.len() as u64 >= desired.max(1) && places.into_values().all(|has_held| has_held)
}

fn lacks_tasks(service: &Service) -> bool {
    service.status.is_some_and(|status| status.running < status.desired)
}

/// Whether its last change gave it other tasks.
fn has_other_tasks(service: &Service) -> bool {
    let mark = |spec: &Spec| Mark::of(spec.facts());
    service.previous.as_ref().is_some_and(|previous| mark(previous) != mark(&service.spec))
}

fn image_of(spec: &Spec) -> Option<ImageRef> {
    spec.facts().image.as_deref()?.parse().ok()
}

fn resume(update: &Update, from: ImageRef, to: ImageRef, begun: Begun) -> Decision {
    let begun = Some(Arc::new(begun));
    Decision::Update(Box::new(Update { from, to, begun, ..update.clone() }))
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

#[cfg(test)]
mod tests;
