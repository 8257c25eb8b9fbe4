//! How fast each image spreads, and when it stops. Pure.
//!
//! An image is what a service is sent, digest included; all services that are sent the same make one
//! rollout. It has a *width*: how many of its updates may be under way.
//!
//! ```text
//!   initial width (1: a canary)
//!     |  each success: one wider, up to the number of workers, which doubles the width with each round
//!     |  each failure: half of it, at least one
//!     v
//!   all services have begun and ended                 -> done
//!   failed >= minimum and failed / finished >= ratio  -> stopped: nothing more begins,
//!                                                        what is under way is judged to its end
//! ```
//!
//! What holds for every sequence of outcomes (`pace/any_sequence.rs`):
//!
//! - Never more updates are under way than there are workers, unless an earlier run left more behind.
//! - Until an image has succeeded once, at most `max(minimum of failures, initial width)` of its services
//!   are exposed to it, failed and under way together. So many does a totally broken one get, then it stops.
//! - A rollout that stays under the ratio, or under the minimum, goes on to its end.
//! - Workers go to the image that has the fewest under way, so none starves behind another. An image has to
//!   wait for its own canary alone.
//! - With no failures, it all takes at most `log2(workers)` rounds more than with full width from the start.
//!
//! What earlier cycles have shown of an image counts like what this one does, but does not widen it: where
//! it was stopped or killed in the middle, it begins with a canary again.
//!
//! A service without a task to watch proves nothing. It is updated after the others, once one of them has proved the
//! image, takes its place in the width, and widens it when it was sent, because otherwise an image that only such
//! services have would crawl. It is not counted as exposed. One whose tasks no node takes, which will start unwatched when
//! a node does, gets no image that is not proved.
//!
//! A service that is taken back by hand is the strongest word on an image: nothing more of it begins. One that was called
//! updated and fails while the rollout lasts counts as a failure, and no longer as a success.
//!
//! A service whose tasks did not run before its update fails for its own reasons as likely as for the image's: once
//! the image is proved, that does not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::Config;
use crate::model::cause::Cause;
use crate::model::outcome::Outcome;
use crate::model::progress::Counts;
use crate::model::rank::Evidence;

/// The bounds of every rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How many updates run at once, of all images together; at least 1.
    pub workers: usize,
    /// The width at which an image's rollout begins; at least 1.
    pub initial: usize,
    /// A rollout stops when so many of its updates have failed, at least 1 ...
    pub min_failures: usize,
    /// ... and this part of the finished ones, from 0 to 1.
    pub max_failure_ratio: f64,
}

impl Limits {
    /// What Gantry was told.
    pub fn of(config: &Config) -> Self {
        Self {
            workers: config.updates.workers.max(1),
            initial: config.rollout.initial_workers.max(1),
            min_failures: config.rollout.min_failures.max(1),
            max_failure_ratio: config.rollout.max_failure_ratio,
        }
    }
}

/// What an ended update means for the others of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The image runs: go faster.
    Success,
    /// It does not: go slower, and maybe stop.
    Failure {
        /// Whether the image is to blame, as far as can be told.
        blames_image: bool,
    },
    /// It failed for a reason that says nothing of the next service: go slower, but do not stop for it.
    Setback,
    /// A person or another program took the service back: go slower, and begin no more.
    TakenBack,
    /// Sent, and nothing runs that could show anything.
    Sent,
    /// Nothing was learned.
    Nothing,
}

impl Effect {
    /// What this outcome means.
    pub fn of(outcome: &Outcome) -> Self {
        match (outcome, outcome.cause()) {
            (_, Some(cause)) => Self::of_cause(cause),
            (Outcome::Updated | Outcome::UpdatedBut(_), None) => Self::Success,
            (Outcome::Started(_), None) => Self::Sent,
            (Outcome::TakenBack(_), None) => Self::TakenBack,
            (_, None) => Self::Nothing,
        }
    }

    /// What an update that failed for this means.
    pub(super) fn of_cause(cause: &Cause) -> Self {
        match cause {
            // A collision gets here only where the order is not Gantry's to change: each further service would collide too.
            // Nothing was sent, the old image fails in the same way, or a node was lost, for which the cluster guard waits.
            Cause::Refused { .. }
            | Cause::Internal { .. }
            | Cause::Unfit { .. }
            | Cause::AsBefore { .. }
            | Cause::Order { .. }
            | Cause::NodeDown { .. }
            | Cause::NodeLost { .. } => Self::Setback,
            cause => Self::Failure { blames_image: cause.blames_image() },
        }
    }
}

/// The rollouts under way. Updates are known by numbers that the caller gives, images by the order in which they came.
#[derive(Clone, Debug)]
pub struct Pace {
    limits: Limits,
    images: BTreeMap<usize, Image>,
    /// The image of each update, and what the update proves about it.
    places: BTreeMap<usize, (usize, Evidence)>,
    next_image: usize,
    in_flight: usize,
    begins: u64,
}

/// One image's rollout.
#[derive(Clone, Debug, Default)]
struct Image {
    name: String,
    /// Updates that have not begun, with what they show.
    pending: VecDeque<(usize, Evidence)>,
    total: usize,
    /// Services of it that have, or had, tasks to watch.
    watchable: usize,
    begun: usize,
    width: usize,
    in_flight: usize,
    /// How many of the updates under way have tasks to watch.
    exposed: usize,
    /// Updates under way that an earlier run has begun, by number. What earlier cycles have shown is not the whole story
    /// before these have ended.
    found: BTreeSet<usize>,
    succeeded: usize,
    failed: usize,
    /// How many of the failures the image is to blame for.
    blamed: usize,
    is_stopped: bool,
    /// The update that was taken back, if one was.
    taken_back: Option<usize>,
    last_begin: u64,
}

/// A rollout that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The image, as services are sent it.
    pub image: String,
    /// How many services it was offered to.
    pub touched: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many there were to update.
    pub total: usize,
    /// Whether the failures that the image is to blame for were enough to stop it.
    pub blames_image: bool,
}

impl Pace {
    /// Nothing is rolled out yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            images: BTreeMap::new(),
            places: BTreeMap::new(),
            next_image: 0,
            in_flight: 0,
            begins: 0,
        }
    }

    /// Adds updates: for each a new number, the image that its service is sent, and what it shows of that. Within an image,
    /// they begin in this order, those that show less after those that show more. Returns, for each image that is
    /// new, one of its updates.
    pub fn add(&mut self, updates: impl IntoIterator<Item = (usize, String, Evidence)>) -> Vec<usize> {
        let mut indexes: BTreeMap<String, usize> =
            self.images.iter().map(|(index, image)| (image.name.clone(), *index)).collect();
        let mut new = Vec::new();
        let mut grown = BTreeSet::new();
        for (number, name, evidence) in updates {
            let index = *indexes.entry(name.clone()).or_insert_with(|| {
                let width = self.limits.initial.min(self.limits.workers);
                self.images.insert(self.next_image, Image { name, width, ..Image::default() });
                self.next_image += 1;
                new.push(number);
                self.next_image - 1
            });
            if let Some(image) = self.images.get_mut(&index) {
                image.pending.push_back((number, evidence));
                image.total += 1;
                image.watchable += usize::from(evidence.has_tasks());
            }
            self.places.insert(number, (index, evidence));
            grown.insert(index);
        }
        for index in grown {
            if let Some(image) = self.images.get_mut(&index) {
                image.pending.make_contiguous().sort_by_key(|(_, evidence)| *evidence);
            }
        }
        new
    }

    /// Takes back an update that waits.
    pub fn withdraw(&mut self, number: usize) {
        let Some((index, evidence)) = self.places.remove(&number) else { return };
        if let Some(image) = self.images.get_mut(&index) {
            image.pending.retain(|(pending, _)| *pending != number);
            image.total -= 1;
            image.watchable -= usize::from(evidence.has_tasks());
        }
        if self.places.values().all(|(other, _)| *other != index) {
            self.images.remove(&index);
        }
    }

    /// The rollouts in which nothing is under way and nothing can begin: for each its updates, by number.
    pub fn at_rest(&self) -> Vec<Vec<usize>> {
        let mut at_rest: BTreeMap<usize, Vec<usize>> = self
            .images
            .iter()
            .filter(|(_, image)| image.in_flight == 0 && !image.has_room(&self.limits))
            .map(|(index, _)| (*index, Vec::new()))
            .collect();
        for (number, (index, _)) in &self.places {
            if let Some(numbers) = at_rest.get_mut(index) {
                numbers.push(*number);
            }
        }
        at_rest.into_values().collect()
    }

    /// Forgets the rollout of this update, with all its updates.
    pub fn forget(&mut self, number: usize) {
        if let Some((index, _)) = self.places.get(&number).copied() {
            self.images.remove(&index);
            self.places.retain(|_, (other, _)| *other != index);
        }
    }

    /// The update that is to begin now; `None`: nothing before another one has ended. Those that `may` not begin yet let the
    /// next ones of their image be first.
    pub fn begin(&mut self, may: impl Fn(usize) -> bool) -> Option<usize> {
        if self.in_flight >= self.limits.workers {
            return None;
        }
        let limits = self.limits;
        let with_room =
            self.images.values_mut().filter_map(|image| Some((image.next(&limits, &may)?, image)));
        let (place, image) = with_room.min_by_key(|(_, image)| (image.in_flight, image.last_begin))?;
        let (number, _) = image.pending.remove(place)?;
        self.take_off(number);
        Some(number)
    }

    /// Takes note that this update is under way already, as an earlier run began it: it takes its place whether there
    /// is room or not. To be said before any [begins](Self::begin).
    pub fn found_begun(&mut self, number: usize) {
        let (image, _) = self.place(number);
        image.pending.retain(|(pending, _)| *pending != number);
        image.found.insert(number);
        self.take_off(number);
    }

    /// Takes note of what earlier cycles have shown of this update's image: so many services that it has broken, and so
    /// many that run it. To be said once of each image, after all that were [found](Self::found_begun) and before any
    /// [begins](Self::begin). Returns the stop of its rollout, if that is the consequence.
    pub fn found_history(&mut self, number: usize, failed: usize, succeeded: usize) -> Option<Stop> {
        let limits = self.limits;
        let (image, _) = self.place(number);
        image.begun += failed + succeeded;
        image.total += failed + succeeded;
        image.watchable += failed + succeeded;
        image.failed += failed;
        image.blamed += failed;
        image.succeeded += succeeded;
        image.stop_if_too_much(&limits)
    }

    /// The image of an update that was added and is not forgotten, and what the update proves about it.
    fn place(&mut self, number: usize) -> (&mut Image, Evidence) {
        let (index, evidence) = self.places[&number];
        (self.images.entry(index).or_default(), evidence)
    }

    fn image_of(&self, number: usize) -> Option<&Image> {
        self.images.get(&self.places.get(&number)?.0)
    }

    fn take_off(&mut self, number: usize) {
        self.begins += 1;
        self.in_flight += 1;
        let begin = self.begins;
        let (image, evidence) = self.place(number);
        image.last_begin = begin;
        image.begun += 1;
        image.in_flight += 1;
        image.exposed += usize::from(evidence.has_tasks());
    }

    /// Takes note of how an update ended. Returns the stop of its rollout, if that is the consequence.
    pub fn end(&mut self, number: usize, effect: Effect) -> Option<Stop> {
        self.in_flight -= 1;
        let limits = self.limits;
        let (image, evidence) = self.place(number);
        image.in_flight -= 1;
        image.exposed -= usize::from(evidence.has_tasks());
        image.found.remove(&number);
        if effect == Effect::TakenBack {
            image.taken_back.get_or_insert(number);
        }
        let is_own_trouble = evidence == Evidence::AilingTasks
            && image.is_proved()
            && matches!(effect, Effect::Failure { .. });
        image.follow(if is_own_trouble { Effect::Setback } else { effect }, &limits)
    }

    /// Takes note that an update which was called good has failed, or was taken back. Returns the stop of its rollout, if
    /// that is the consequence.
    pub fn turn_bad(&mut self, number: usize, effect: Effect) -> Option<Stop> {
        let limits = self.limits;
        let (image, _) = self.place(number);
        image.succeeded = image.succeeded.saturating_sub(1);
        if effect == Effect::TakenBack {
            image.taken_back.get_or_insert(number);
        }
        image.follow(effect, &limits)
    }

    /// The update that was taken back, for which this one's rollout is held.
    pub fn held_for(&self, number: usize) -> Option<usize> {
        self.image_of(number)?.taken_back
    }

    /// Whether this update's rollout was stopped.
    pub fn is_stopped(&self, number: usize) -> bool {
        self.image_of(number).is_some_and(|image| image.is_stopped)
    }

    /// How this update's rollout was stopped, as it stands now.
    pub fn stop(&self, number: usize) -> Option<Stop> {
        let image = self.image_of(number).filter(|image| image.is_stopped)?;
        Some(image.stop(&self.limits))
    }

    /// How far the rollout of this update's image is; `None`: there is no such rollout.
    pub fn counts(&self, number: usize) -> Option<Counts> {
        let image = self.image_of(number)?;
        Some(Counts {
            width: image.width,
            under_way: image.in_flight,
            touched: image.begun,
            succeeded: image.succeeded,
            failed: image.failed,
            total: image.total,
        })
    }

    /// How many services this update's image was offered to, and how many there were to be.
    pub fn reached(&self, number: usize) -> (usize, usize) {
        self.image_of(number).map_or((0, 0), |image| (image.begun, image.total))
    }
}

impl Image {
    /// Whether an update could begin, whatever else it waits for.
    fn has_room(&self, limits: &Limits) -> bool {
        self.next(limits, &|_| true).is_some()
    }

    /// The place of the update that is to begin next, of those that `may`.
    fn next(&self, limits: &Limits, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let is_shut = self.is_stopped
            || self.taken_back.is_some()
            || is_too_much(self.failed, self.succeeded, limits)
            || self.in_flight >= self.width;
        if is_shut {
            return None;
        }
        let is_full = self.exposed + self.failed >= limits.min_failures.max(limits.initial);
        self.pending.iter().position(|(number, evidence)| {
            let is_unproven = evidence.has_tasks() && !self.is_proved();
            self.may_prove(*evidence) && !(is_unproven && is_full) && may(*number)
        })
    }

    fn is_proved(&self) -> bool {
        self.succeeded > 0
    }

    /// Whether a service that shows this may get the image by now.
    fn may_prove(&self, evidence: Evidence) -> bool {
        match evidence {
            Evidence::Tasks | Evidence::AilingTasks => true,
            Evidence::Nothing => self.is_proved() || self.watchable == 0,
            Evidence::NothingYet => self.is_proved(),
        }
    }

    fn follow(&mut self, effect: Effect, limits: &Limits) -> Option<Stop> {
        match effect {
            Effect::Success => self.succeeded += 1,
            Effect::Failure { blames_image } => {
                self.failed += 1;
                self.blamed += usize::from(blames_image);
            }
            Effect::TakenBack => self.failed += 1,
            Effect::Setback | Effect::Sent | Effect::Nothing => {}
        }
        match effect {
            Effect::Success | Effect::Sent => self.width = (self.width + 1).min(limits.workers),
            Effect::Failure { .. } | Effect::Setback | Effect::TakenBack => {
                self.width = (self.width / 2).max(1);
            }
            Effect::Nothing => {}
        }
        self.stop_if_too_much(limits)
    }

    fn stop_if_too_much(&mut self, limits: &Limits) -> Option<Stop> {
        if self.is_stopped || !self.found.is_empty() || !is_too_much(self.failed, self.succeeded, limits) {
            return None;
        }
        self.is_stopped = true;
        Some(self.stop(limits))
    }

    fn stop(&self, limits: &Limits) -> Stop {
        Stop {
            image: self.name.clone(),
            touched: self.begun,
            failed: self.failed,
            total: self.total,
            blames_image: is_too_much(self.blamed, self.succeeded, limits),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer services than that")]
fn is_too_much(failed: usize, succeeded: usize, limits: &Limits) -> bool {
    failed >= limits.min_failures && failed as f64 / (failed + succeeded) as f64 >= limits.max_failure_ratio
}

#[cfg(test)]
mod any_sequence;
#[cfg(test)]
mod summary;
#[cfg(test)]
mod tests;
