//! The updates of all runs that are under way, each with a number: those that wait, and how the others ended. Pure but for
//! the events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::conditions::{Conditions, OrderLimits};
use super::pace::{Effect, Limits, Pace, Stop};
use crate::config::ServicePolicy;
use crate::context::Events;
use crate::gate::{Gate, Refusal};
use crate::image::{Digest, ImageRef};
use crate::model::event::Event;
use crate::model::finished::{Finished, NotBegunReason, StoppedRollout, Superseded};
use crate::model::image_history::ImageHistory;
use crate::model::outcome::Outcome;
use crate::model::progress::Progress;
use crate::model::row::Row;
use crate::model::update::Update;
use crate::rollout::rolled_out::RolledOut;

/// So many services are told as canaries at most: with a great initial width, all at once are.
const MAX_CANARIES: usize = 8;

/// So many causes of a stop are told; the log and the list of services have them all.
const MAX_CAUSES: usize = 3;

/// The updates of all runs that are under way.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pace: Pace,
    conditions: Conditions,
    runs: BTreeMap<u64, Share>,
    /// The updates whose image's rollout is not over, by number.
    updates: BTreeMap<usize, QueuedUpdate>,
    next_number: usize,
    /// What there is to tell of each rollout, by image.
    rolling: BTreeMap<String, Rolling>,
}

/// What there is to tell of a rollout, apart from its pace.
#[derive(Clone, Debug)]
struct Rolling {
    from: ImageRef,
    canary: Vec<String>,
    step: u64,
    superseded_by: Option<Digest>,
}

/// A run's share in the rollouts.
#[derive(Clone, Debug)]
struct Share {
    events: Events,
    image_history: ImageHistory,
    /// How many of its updates are in rollouts that are not over.
    open: usize,
    rolled_out: RolledOut,
    /// Of how many rows the updates that do not begin are told.
    told: usize,
}

/// An update from its entry into the queue to the end of its image's rollout.
#[derive(Clone, Debug)]
struct QueuedUpdate {
    run: u64,
    /// The service's id.
    id: String,
    /// The service's name and settings.
    service: String,
    policy: Arc<ServicePolicy>,
    to: ImageRef,
    /// Not begun yet.
    waiting: Option<Update>,
    finished: Option<Finished>,
}

impl Queue {
    /// No run is under way.
    pub(super) fn new(limits: Limits, order_limits: OrderLimits) -> Self {
        Self {
            pace: Pace::new(limits),
            conditions: Conditions::new(order_limits),
            runs: BTreeMap::new(),
            updates: BTreeMap::new(),
            next_number: 0,
            rolling: BTreeMap::new(),
        }
    }

    /// Adds the updates of a run, the best canaries first. Says so where the history of an image stops its rollout.
    pub(super) fn join(
        &mut self,
        run: u64,
        events: Events,
        mut updates: Vec<Update>,
        image_history: ImageHistory,
    ) {
        updates.sort_by(|a, b| (a.rank, &a.service).cmp(&(b.rank, &b.service)));
        let first = self.next_number;
        self.next_number += updates.len();
        let places = updates.iter().zip(first..);
        let new = self
            .pace
            .add(places.map(|(update, number)| (number, update.to.to_string(), update.rank.evidence())));
        for (_, number) in updates.iter().zip(first..).filter(|(update, _)| update.begun.is_some()) {
            self.pace.found_begun(number);
        }
        for number in new {
            let to = &updates[number - first].to;
            if let Some(record) = image_history.of_image(to)
                && let Some(stop) = self.pace.found_history(number, record.failures(), record.succeeded)
            {
                tell_of_stop(&events, to, &stop);
            }
        }
        let open = updates.len();
        let mut images: BTreeMap<String, usize> = BTreeMap::new();
        for (update, number) in updates.into_iter().zip(first..) {
            let (id, to, image) = (update.id.clone(), update.to.clone(), update.to.to_string());
            let (from, canary) = (update.from.clone(), Vec::new());
            let new = Rolling { from, canary, step: 0, superseded_by: None };
            self.rolling.entry(image.clone()).or_insert(new).superseded_by = None;
            let (service, policy) = (update.service.clone(), update.policy.clone());
            self.conditions.joins(&update);
            let waiting = Some(update);
            let queued = QueuedUpdate { run, id, service, policy, to, waiting, finished: None };
            self.updates.insert(number, queued);
            images.entry(image).or_insert(number);
        }
        self.runs
            .insert(run, Share { events, image_history, open, rolled_out: RolledOut::default(), told: 0 });
        for number in images.into_values() {
            self.tell_of_progress(number);
        }
    }

    /// Tells how far the rollout of this update's image is.
    fn tell_of_progress(&mut self, number: usize) {
        let Some(queued) = self.updates.get(&number) else { return };
        let Some(share) = self.runs.get(&queued.run) else { return };
        let Some(rolling) = self.rolling.get_mut(&queued.to.to_string()) else { return };
        let Some(counts) = self.pace.counts(number) else { return };
        rolling.step += 1;
        let Rolling { from, canary, step, .. } = rolling.clone();
        share.events.emit(&Event::RolloutMoved(Progress {
            image: queued.to.clone(),
            from,
            canary,
            counts,
            step,
        }));
    }

    /// The updates that an earlier process has begun, each with its run and its number. They do not wait: they
    /// are under way, and a failed update must go back. They count in their image's rollout like all others.
    pub(super) fn under_way(&mut self) -> Vec<(u64, usize, Update)> {
        let begun = self.updates.iter_mut().filter_map(|(number, queued)| {
            let update = queued.waiting.take_if(|update| update.begun.is_some())?;
            self.conditions.begins(&queued.policy);
            Some((queued.run, *number, update))
        });
        begun.collect()
    }

    /// The update that is to begin now, with its run and its number.
    pub(super) fn begin(&mut self) -> Option<(u64, usize, Update)> {
        let (updates, conditions) = (&self.updates, &self.conditions);
        let number = self.pace.begin(|number| {
            let waiting = updates.get(&number).and_then(|queued| queued.waiting.as_ref());
            waiting.is_some_and(|update| conditions.may(update))
        })?;
        let queued = self.updates.get_mut(&number)?;
        self.conditions.begins(&queued.policy);
        let (run, update) = (queued.run, queued.waiting.take()?);
        let is_canary = self.pace.counts(number).is_some_and(|counts| counts.succeeded == 0);
        if let Some(rolling) = self.rolling.get_mut(&update.to.to_string())
            && is_canary
            && rolling.canary.len() < MAX_CANARIES
        {
            rolling.canary.push(update.service.clone());
        }
        self.tell_of_progress(number);
        Some((run, number, update))
    }

    /// Takes out the updates that wait and that a later look has found to be needed no more, or not to this image. `wanted`
    /// has the services that were looked at, by id, each with the image that it is to get.
    pub(super) fn take_out(&mut self, wanted: &BTreeMap<String, Option<ImageRef>>) {
        let waiting = self.updates.iter().filter(|(_, queued)| queued.waiting.is_some());
        let outdated = waiting.filter_map(|(number, queued)| {
            let newer = wanted.get(&queued.id)?;
            (newer.as_ref() != Some(&queued.to)).then(|| (*number, newer.clone()))
        });
        let outdated: Vec<(usize, Option<ImageRef>)> = outdated.collect();
        for (number, newer) in outdated {
            self.withdraw(number, newer.as_ref());
        }
        self.tell_of_held();
    }

    /// Tells each run which of its updates do not begin: the run itself may go on for long.
    fn tell_of_held(&mut self) {
        for share in self.runs.values_mut() {
            let new = share.rolled_out.rows[share.told..].iter();
            let held: Vec<Row> = new.filter(|row| row.why_held().is_some()).cloned().collect();
            share.told = share.rolled_out.rows.len();
            if !held.is_empty() {
                share.events.emit(&Event::NotBegun(held));
            }
        }
    }

    /// Takes out the updates that wait and that a gate refuses. `ask` is told the run of each. Returns the services, with
    /// the refusal.
    pub(super) fn hold(
        &mut self,
        mut ask: impl FnMut(u64, &Update) -> Option<Refusal>,
    ) -> Vec<(String, Refusal)> {
        let waiting = self.updates.iter().filter_map(|(number, queued)| {
            let update = queued.waiting.as_ref()?;
            Some((*number, update.service.clone(), ask(queued.run, update)?))
        });
        let refused: Vec<(usize, String, Refusal)> = waiting.collect();
        for (number, _, refusal) in &refused {
            self.take_away(*number, NotBegunReason::Gate(refusal.clone()));
        }
        self.tell_of_held();
        refused.into_iter().map(|(_, service, refusal)| (service, refusal)).collect()
    }

    /// Takes out the updates that wait and come after a service that has come to no good end, or whose group is stopped.
    /// Returns the services, with the refusal.
    pub(super) fn hold_out_of_order(&mut self) -> Vec<(String, Refusal)> {
        let mut held = Vec::new();
        // What is taken out holds those that come after it.
        while self.conditions.take_news() {
            let conditions = self.conditions.clone();
            held.extend(self.hold(|run, update| conditions.refusal(run, update)));
        }
        held
    }

    /// Takes out the updates that wait for one another, where nothing is under way and nothing else can begin: their labels
    /// were changed between two looks.
    pub(super) fn break_deadlock(&mut self) {
        let conditions = self.conditions.clone();
        let is_stuck = self.pace.at_rest().is_empty()
            && self
                .updates
                .values()
                .filter_map(|queued| queued.waiting.as_ref())
                .all(|it| !conditions.may(it));
        if is_stuck {
            self.hold(|_, update| {
                let names: Vec<&str> = conditions.open_before(update).collect();
                let why = format!("it and {} wait for one another", names.join(", "));
                Some(Refusal { gate: Gate::Order, why, until: None })
            });
        }
    }

    /// Puts the latest word in the place of updates that wait already. Returns the others, and those that waited.
    pub(super) fn refresh(&mut self, updates: Vec<Update>) -> (Vec<Update>, Vec<Row>) {
        let mut new: BTreeMap<String, Update> =
            updates.into_iter().map(|update| (update.id.clone(), update)).collect();
        let mut refreshed = Vec::new();
        for (number, queued) in self.updates.iter_mut().filter(|(_, queued)| queued.waiting.is_some()) {
            if new.get(&queued.id).is_some_and(|update| update.to == queued.to)
                && let Some(update) = new.remove(&queued.id)
            {
                // A user or another Gantry has sent the update meanwhile.
                if update.begun.is_some() {
                    self.pace.found_begun(*number);
                }
                refreshed.push(Row::held(update.clone(), NotBegunReason::UnderWay));
                queued.policy = update.policy.clone();
                queued.waiting = Some(update);
            }
        }
        (new.into_values().collect(), refreshed)
    }

    /// Takes out an update that waits and that its service needs no more.
    fn withdraw(&mut self, number: usize, newer: Option<&ImageRef>) {
        let (touched, total) = self.pace.reached(number);
        let Some(queued) = self.updates.get(&number) else { return };
        let image = queued.to.to_string();
        let Some(share) = self.runs.get_mut(&queued.run) else { return };
        if let Some(newer) = newer.filter(|newer| newer.tagged() == queued.to.tagged())
            && let Some(by) = newer.digest()
            && let Some(rolling) = self.rolling.get_mut(&image)
            && rolling.superseded_by.as_ref() != Some(by)
        {
            let (image, by) = (queued.to.clone(), by.clone());
            rolling.superseded_by = Some(by.clone());
            let superseded = Superseded { image, by, touched, total };
            share.events.emit(&Event::RolloutSuperseded(superseded.clone()));
            share.rolled_out.superseded.push(superseded);
        }
        self.take_away(number, NotBegunReason::Withdrawn);
    }

    /// Takes out an update that waits, for this reason.
    fn take_away(&mut self, number: usize, why: NotBegunReason) {
        let Some(mut queued) = self.updates.remove(&number) else { return };
        self.pace.withdraw(number);
        self.conditions.left(&queued.service, &why);
        let Some(share) = self.runs.get_mut(&queued.run) else { return };
        share.rolled_out.rows.extend(queued.waiting.take().map(|update| Row::held(update, why)));
        share.open -= 1;
        if let Some(other) =
            self.updates.iter().find(|(_, other)| other.to == queued.to).map(|(other, _)| *other)
        {
            self.tell_of_progress(other);
        } else {
            self.rolling.remove(&queued.to.to_string());
            share.events.emit(&Event::RolloutEnded { image: queued.to });
        }
    }

    /// Takes note of how an update ended, and says so when that stops or holds its image's rollout.
    pub(super) fn end(&mut self, number: usize, finished: Finished) {
        let effect = Effect::of(&finished.outcome);
        let name = finished.service.clone();
        let next_run = self.next_run();
        let Some(queued) = self.updates.get_mut(&number) else { return };
        self.conditions.ended(&name, &queued.policy, &finished.outcome, next_run);
        queued.finished = Some(finished);
        let stop = self.pace.end(number, effect);
        self.tell_of_progress(number);
        self.tell(number, &name, effect, stop.as_ref());
    }

    /// Takes note that an update which was called good has failed, or was taken back.
    pub(super) fn turn_bad(&mut self, number: usize, update: &Update, effect: Effect) {
        let next_run = self.next_run();
        self.conditions.fails_late(&update.service, &update.policy, next_run);
        let stop = self.pace.turn_bad(number, effect);
        self.tell_of_progress(number);
        self.tell(number, &update.service, effect, stop.as_ref());
    }

    /// Replaces how an update ended that was called good.
    pub(super) fn end_again(&mut self, number: usize, finished: Finished) {
        if let Some(queued) = self.updates.get_mut(&number) {
            queued.finished = Some(finished);
        }
    }

    /// A service that was called updated has been taken back by a person or another program.
    pub(super) fn taken_back(&mut self, number: usize) {
        let Some(queued) = self.updates.get_mut(&number) else { return };
        if let (Some(finished), Some(share)) = (&mut queued.finished, self.runs.get(&queued.run)) {
            let how = "a person or another program took it back to the image that it had before";
            finished.outcome = Outcome::TakenBack(how.to_owned());
            share.events.emit(&Event::UpdateEnded(finished.clone()));
        }
    }

    fn tell(&self, number: usize, service: &str, effect: Effect, stop: Option<&Stop>) {
        let Some(queued) = self.updates.get(&number) else { return };
        let Some(share) = self.runs.get(&queued.run) else { return };
        if let Some(stop) = stop {
            tell_of_stop(&share.events, &queued.to, stop);
        } else if effect == Effect::TakenBack && self.pace.held_for(number) == Some(number) {
            let (image, service) = (queued.to.clone(), service.to_owned());
            share.events.emit(&Event::RolloutHeld { image, service });
        }
    }

    /// The number that the next run will have, as far as the runs that are under way tell.
    fn next_run(&self) -> u64 {
        self.runs.keys().next_back().map_or(0, |last| last + 1)
    }

    /// The service of an update.
    pub(super) fn service_of(&self, number: usize) -> Option<String> {
        self.updates.get(&number).map(|queued| queued.service.clone())
    }

    /// The run of an update.
    pub(super) fn run_of(&self, number: usize) -> Option<u64> {
        self.updates.get(&number).map(|queued| queued.run)
    }

    /// The services of so many updates that come next, as far as that is known.
    pub(super) fn next_services(&self, count: usize) -> Vec<String> {
        let waiting = self
            .updates
            .iter()
            .filter(|(number, queued)| queued.waiting.is_some() && !self.pace.is_stopped(**number));
        waiting.map(|(_, queued)| queued.id.clone()).take(count).collect()
    }

    /// Whether there are updates that have not begun.
    pub(super) fn has_waiting(&self) -> bool {
        self.updates.values().any(|queued| queued.waiting.is_some())
    }

    /// The images that services which wait have and are to get.
    pub(super) fn needed(&self) -> impl Iterator<Item = &ImageRef> {
        let waiting = self.updates.values().filter_map(|queued| queued.waiting.as_ref());
        waiting.flat_map(|update| [&update.from, &update.to])
    }

    /// Whether no run is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The rollouts in which nothing is under way and nothing can begin: for each the image, and its updates by number.
    pub(super) fn at_rest(&self) -> Vec<(String, Vec<usize>)> {
        let at_rest = self.pace.at_rest().into_iter();
        let named = at_rest.filter_map(|numbers| {
            let image = self.updates.get(numbers.first()?)?.to.to_string();
            Some((image, numbers))
        });
        named.collect()
    }

    /// The runs that are over, with what became of their updates.
    pub(super) fn take_ended(&mut self) -> Vec<(u64, RolledOut)> {
        let (ended, open): (BTreeMap<u64, Share>, _) =
            std::mem::take(&mut self.runs).into_iter().partition(|(_, share)| share.open == 0);
        self.runs = open;
        ended.into_iter().map(|(run, share)| (run, share.rolled_out)).collect()
    }

    /// Ends all rollouts: nothing is under way, and nothing more begins. Returns those that were stopped.
    pub(super) fn close_all(&mut self, otherwise: &NotBegunReason) -> Vec<StoppedRollout> {
        let mut by_image: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, queued) in &self.updates {
            by_image.entry(queued.to.to_string()).or_default().push(*number);
        }
        by_image.values().filter_map(|numbers| self.close(numbers, otherwise.clone())).collect()
    }

    /// Ends one rollout, of these updates; `otherwise` is why those did not begin if it was not stopped. Returns its stop.
    pub(super) fn close(&mut self, numbers: &[usize], otherwise: NotBegunReason) -> Option<StoppedRollout> {
        let first = *numbers.first()?;
        let stopped = self.pace.stop(first).and_then(|stop| self.stopped(numbers, stop));
        let why = match self.pace.held_for(first) {
            _ if stopped.is_some() => NotBegunReason::RolloutStopped,
            Some(_) => NotBegunReason::TakenBack,
            None => otherwise,
        };
        let mut told: BTreeSet<u64> = BTreeSet::new();
        for number in numbers {
            let Some(queued) = self.updates.remove(number) else { continue };
            let Some(share) = self.runs.get_mut(&queued.run) else { continue };
            share.open -= 1;
            if queued.waiting.is_some() {
                self.conditions.left(&queued.service, &why);
            }
            share.rolled_out.rows.extend(queued.waiting.map(|update| Row::held(update, why.clone())));
            share.rolled_out.rows.extend(queued.finished.map(Row::from));
            let is_first = told.insert(queued.run);
            if is_first && self.rolling.remove(&queued.to.to_string()).is_some() {
                share.events.emit(&Event::RolloutEnded { image: queued.to });
            }
            if let Some(stopped) = stopped.as_ref().filter(|_| is_first) {
                share.rolled_out.stopped.push(stopped.clone());
            }
        }
        self.pace.forget(first);
        self.tell_of_held();
        stopped
    }

    fn stopped(&self, numbers: &[usize], stop: Stop) -> Option<StoppedRollout> {
        let Stop { image, touched, failed, total, blames_image } = stop;
        let image: ImageRef = image.parse().ok()?;
        let updates = || numbers.iter().filter_map(|number| self.updates.get(number));
        let finished = updates().filter_map(|queued| queued.finished.as_ref());
        let runs: BTreeSet<u64> = updates().map(|queued| queued.run).collect();
        let records = runs.iter().filter_map(|run| self.runs.get(run)?.image_history.of_image(&image));
        let causes_before = records.flat_map(|record| record.causes.clone());
        let causes = finished.filter_map(|finished| finished.outcome.cause()).map(ToString::to_string);
        let mut told: Vec<String> = Vec::new();
        for cause in causes.chain(causes_before).filter(|cause| !cause.is_empty()) {
            if told.len() < MAX_CAUSES && !told.contains(&cause) {
                told.push(cause);
            }
        }
        Some(StoppedRollout { image, touched, failed, total, causes: told, blames_image })
    }
}

/// Tells of a stopped rollout.
fn tell_of_stop(events: &Events, image: &ImageRef, stop: &Stop) {
    let Stop { touched, failed, total, .. } = *stop;
    events.emit(&Event::RolloutStopped { image: image.clone(), touched, failed, total });
}

#[cfg(test)]
pub(super) mod summary;
