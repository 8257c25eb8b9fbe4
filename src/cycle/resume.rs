//! What a cycle finds under way: updates and rollbacks that an earlier run, a person or another program began. Pure.
//!
//! Gantry writes down nothing about a single update. It knows its own update by the service: the previous specification,
//! with Gantry's changes made to it, is the present one. Both are in the list of services that every cycle begins with.
//! The ledger says only that an earlier run died, or was stopped, over its updates.

use std::sync::Arc;

use crate::image::ImageRef;
use crate::model::candidate::Candidate;
use crate::model::change::change;
use crate::model::decision::{Decision, Reason};
use crate::model::held_back::{HeldBack, Why};
use crate::model::outcome::By;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::unfinished::{Unfinished, lacks_tasks};
use crate::model::update::{Begun, Start, Update};
use crate::swarm::{Service, Spec, UpdateState};

pub use crate::model::attention::{Attention, OtherHand};
use crate::model::ours::{image_of, is_made_by_us, is_ours, is_same_but_for_image};
pub use crate::model::task_history::TaskHistory;

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
    let is_going_back = matches!(state, UpdateState::RollbackStarted | UpdateState::RollbackPaused);
    if update.start == Start::WithoutNode && is_going_back {
        // No node takes its tasks, so that there is nothing to watch.
        return unfinished.hangs(held).or(Some(Decision::LeftAlone(Reason::RollingBack)));
    }
    let before = service.previous.as_ref().and_then(|previous| Some((previous, image_of(previous)?)));
    if update.start == Start::WithoutNode
        && state == UpdateState::Updating
        && before.as_ref().is_some_and(|(previous, _)| change(previous, &service.spec).is_some())
        && !is_current(&update.from)
    {
        // What finds no node may be what a person has just changed, and means to mend.
        let offered = was_offered(&update.from);
        return unfinished.in_other_hands(update, before, held, offered);
    }
    if update.start != Start::Replaced {
        // Gantry sends such an update and watches nothing, now or later. It may stand `updating` for ever.
        return None;
    }
    if candidate.is_itself && state == UpdateState::Updating {
        // This process runs, which is what an update of Gantry waits for. The other services need not wait for the swarm.
        return None;
    }
    if unfinished.is_over {
        return unfinished.failing(&update.from, &is_current);
    }
    let is_judged_by_tasks = state != UpdateState::Completed || unfinished.is_left_behind;
    if is_judged_by_tasks && unfinished.needs_tasks() && unfinished.tasks.is_none() {
        return Some(Decision::LeftAlone(Reason::TasksUnknown));
    }
    let present = &update.from;
    // The newest image is not what it has, but what it is leaving, or has left.
    let has_left_newest =
        |image: &ImageRef| !is_current(present) && update.may_come_from(image) && is_current(image);

    match (&state, before) {
        // The swarm waits out a delay, and all tasks run already.
        (UpdateState::Updating, _) if unfinished.is_through() => None,
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
        (UpdateState::Updating | UpdateState::Paused, before) => {
            unfinished.in_other_hands(update, before, held, was_offered(present))
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
        // Nothing may have seen how it ended.
        (UpdateState::Completed, before)
            if is_current(present)
                && unfinished.is_left_behind
                && !unfinished.tasks.as_ref().is_some_and(|tasks| tasks.has_held)
                && held.is_none_or(|held| held.why != Why::LeftByHand) =>
        {
            unfinished.sent(update, before, held)
        }
        (UpdateState::RollbackStarted, before) => unfinished.going_back(update, before, held),
        (UpdateState::RollbackPaused, before) => {
            // Once the tag has moved on, or a person has released the digest, the newer image may be what helps.
            let may_help = held.is_none() && !is_current(present);
            unfinished.paused_rollback(update, before, may_help, held)
        }
        (UpdateState::Completed, _) if unfinished.is_recent => unfinished.failing(present, &is_current),
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
            // Whatever failed once, all of it runs by now.
            Some(_) if self.runs() => None,
            Some(_) => Some(self.attention(|message| Attention::Kept { message }, held)),
            None if is_paused => Some(self.attention(|message| Attention::Paused { message }, held)),
            // A change by a user or another program, which may take for ever.
            None => None,
        }
    }

    /// An update that takes the newest image back: a rollback that another change or an option stood in the
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
            (true, true) if self.runs() => None,
            (true, true) => Some(self.attention(|message| Attention::RollbackFailed { message }, held)),
            (true, false) => Some(self.rollback(update, left, TaskSpecId::of(previous.facts()), By::Gantry)),
            (false, true) => Some(self.attention(|message| Attention::Paused { message }, held)),
            (false, false) if held.is_some() => None,
            (false, false) => Some(Decision::Later(Box::new(update.clone()), OtherHand::Updating)),
        }
    }

    /// A rollback under way.
    fn going_back(
        &self,
        update: &Update,
        before: Option<(&Spec, ImageRef)>,
        held: Option<&HeldBack>,
    ) -> Option<Decision> {
        let by = self.by();
        let has_failed = before.as_ref().is_none_or(|(previous, _)| self.has_failed(previous, held));
        let previous = before.map(|(previous, _)| TaskSpecId::of(previous.facts()));
        if by == By::Gantry && !has_failed {
            // Nothing tells of a failure: a person's word, as far as can be seen. It is left alone with that reason
            // where it is about what would be offered now, and for the moment in any case.
            return match self.hangs(held) {
                None if held.is_none() => Some(Decision::LeftAlone(Reason::RollingBack)),
                hangs => hangs,
            };
        }
        self.watched_rollback(update, previous, by)
            .or_else(|| self.hangs(held))
            // Whatever is being restored, this is not the moment for an update.
            .or(Some(Decision::LeftAlone(Reason::RollingBack)))
    }

    /// A rollback that the swarm has paused. It does so when one task of the restored specification fails once, and then
    /// goes on to restart that task: what runs counts, not the state.
    fn paused_rollback(
        &self,
        update: &Update,
        before: Option<(&Spec, ImageRef)>,
        may_help: bool,
        held: Option<&HeldBack>,
    ) -> Option<Decision> {
        let tasks = self.tasks.as_ref()?;
        if tasks.runs {
            return None;
        }
        let has_failed = before.as_ref().is_none_or(|(previous, _)| self.has_failed(previous, held));
        let is_of_image = match &before {
            Some((previous, left)) => {
                update.may_come_from(left)
                    && *left != update.from
                    && (self.is_taken_back(update, previous) || held.is_some())
            }
            // The swarm forgets the specification, and its tasks as well after a while.
            None => self.left(None).is_none_or(|left| left != update.from),
        };
        if is_of_image && may_help {
            return None;
        }
        let previous = before.map(|(previous, _)| TaskSpecId::of(previous.facts()));
        let watched = self
            .watched_rollback(update, previous, self.by())
            .filter(|_| is_of_image && has_failed && !tasks.is_spent);
        watched.or_else(|| Some(self.attention(|message| Attention::RollbackFailed { message }, held)))
    }

    /// Who asked for the rollback, as far as the service tells.
    fn by(&self) -> By {
        if self.service.rollback_by_swarm().is_some() { By::Swarm } else { By::Gantry }
    }

    /// Whether the specification that a rollback on request takes back has failed: otherwise it is a person's word.
    fn has_failed(&self, left: &Spec, held: Option<&HeldBack>) -> bool {
        let failed = self.tasks.as_ref().and_then(|tasks| tasks.failed.as_ref());
        failed == Some(&TaskSpecId::of(left.facts())) || held.is_some_and(|held| held.why != Why::LeftByHand)
    }

    /// A rollback to watch, where it is known which image of the same tag it goes back from.
    fn watched_rollback(&self, update: &Update, previous: Option<TaskSpecId>, by: By) -> Option<Decision> {
        let tasks = self.tasks.as_ref()?;
        let spec_id = previous.or_else(|| tasks.failed.clone()).or_else(|| tasks.replaced.clone())?;
        let left = spec_id.image.parse::<ImageRef>().ok()?;
        let is_of_image = update.may_come_from(&left) && left != update.from;
        is_of_image.then(|| self.rollback(update, left, spec_id, by))
    }

    /// The image that a rollback goes back from.
    fn left(&self, previous: Option<&ImageRef>) -> Option<ImageRef> {
        let tasks = self.tasks.as_ref();
        let shown = || tasks.and_then(|tasks| tasks.failed.as_ref().or(tasks.replaced.as_ref()));
        previous.cloned().or_else(|| shown()?.image.parse().ok())
    }

    /// Whether all of its tasks run, by the present specification.
    fn runs(&self) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.runs)
    }

    /// A rollback that nothing is known of has had its time, and its tasks do not run.
    fn hangs(&self, held: Option<&HeldBack>) -> Option<Decision> {
        let is_spent = self.tasks.as_ref().is_some_and(|tasks| tasks.is_spent);
        let status = self.service.status.filter(|_| is_spent && lacks_tasks(&self.service))?;
        let what = Attention::RollbackHangs { running: status.running, desired: status.desired };
        Some(self.attention(|_| what, held))
    }

    /// An update that has something newer to follow, or is held back: its own end comes first where Gantry did not send it.
    fn in_other_hands(
        &self,
        update: &Update,
        before: Option<(&Spec, ImageRef)>,
        held: Option<&HeldBack>,
        was_offered: bool,
    ) -> Option<Decision> {
        let is_ours = before.is_some_and(|(previous, from)| {
            // Sent again by Gantry, or given a label by a person, it follows upon itself.
            let is_sent_again = was_offered && change(previous, &self.service.spec).is_none();
            is_sent_again || self.is_ours(update, previous, &from)
        });
        let is_paused = self.service.update.as_ref().is_some_and(|status| status.state.is_paused());
        match (is_ours, is_paused) {
            // A digest that a user has chosen instead of the digest that is held back.
            (true, true) if held.is_some() => {
                Some(self.attention(|message| Attention::Paused { message }, held))
            }
            (true, _) => None,
            (false, true) => Some(self.attention(|message| Attention::Paused { message }, held)),
            (false, false) if held.is_some() => None,
            (false, false) => Some(Decision::Later(Box::new(update.clone()), OtherHand::Updating)),
        }
    }

    /// Whether an update that the swarm still calls under way has replaced all tasks, and those have run through the
    /// monitor period.
    fn is_through(&self) -> bool {
        let Some(tasks) = &self.tasks else { return false };
        !self.is_left_behind && tasks.runs && tasks.failure.is_none() && !lacks_tasks(&self.service)
    }

    /// A service that Gantry updated lately, and whose tasks fail.
    fn failing(&self, present: &ImageRef, is_current: &dyn Fn(&ImageRef) -> bool) -> Option<Decision> {
        let tasks = self.tasks.as_ref().filter(|_| is_current(present))?;
        let cause = tasks.failure.clone()?;
        Some(self.attention(|_| Attention::Failing { cause }, None))
    }

    /// Whether a rollback takes back what Gantry made of a specification, or as good as that.
    fn is_taken_back(&self, update: &Update, left: &Spec) -> bool {
        let Some(image) = image_of(left) else { return false };
        let sent = Service { spec: left.clone(), ..self.service.clone() };
        let update = Update { from: image, ..update.clone() };
        let restored = &self.service.spec;
        let is_made_by_us = |from| is_made_by_us(&sent, &self.ids, &update, restored, &from);
        is_same_but_for_image(restored, left) || image_of(restored).is_some_and(is_made_by_us)
    }

    fn is_ours(&self, update: &Update, previous: &Spec, from: &ImageRef) -> bool {
        is_ours(&self.service, &self.ids, update, previous, from)
    }

    fn rollback(&self, update: &Update, left: ImageRef, failed: TaskSpecId, by: By) -> Decision {
        let restored = TaskSpecId::of(self.service.spec.facts());
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

fn resume(update: &Update, from: ImageRef, to: ImageRef, begun: Begun) -> Decision {
    let begun = Some(Arc::new(begun));
    Decision::Update(Box::new(Update { from, to, begun, ..update.clone() }))
}

#[cfg(test)]
mod tests;
