//! The updates of a rollout, each with its turn: those that wait, and how the others ended.

use std::collections::HashSet;

use super::pace::{Effect, Limits, Pace, Stop};
use crate::context::Events;
use crate::image::ImageRef;
use crate::model::earlier::Earlier;
use crate::model::event::Event;
use crate::model::finished::{Finished, Held, StoppedRollout};
use crate::model::outcome::Outcome;
use crate::model::row::Row;
use crate::model::update::Update;
use crate::rollout::rolled_out::RolledOut;

/// So many causes of a stop are told; the log and the list of services have them all.
const MAX_CAUSES: usize = 3;

/// The updates of a rollout.
#[derive(Debug)]
pub(super) struct Queue {
    events: Events,
    pace: Pace,
    /// By the number of their turn; `None`: begun.
    waiting: Vec<Option<Update>>,
    /// With their turns.
    finished: Vec<(usize, Finished)>,
    earlier: Earlier,
}

impl Queue {
    /// These updates, the best canaries first. Says so where what is known from earlier stops an image's rollout.
    pub(super) fn new(events: Events, limits: Limits, mut updates: Vec<Update>, earlier: Earlier) -> Self {
        updates.sort_by(|a, b| (a.rank, &a.service).cmp(&(b.rank, &b.service)));
        let places = updates.iter().map(|update| (update.to.to_string(), update.rank.shows()));
        let mut pace = Pace::new(limits, places);
        for (turn, _) in updates.iter().enumerate().filter(|(_, update)| update.begun.is_some()) {
            pace.found_begun(turn);
        }
        let mut images = HashSet::new();
        for (turn, Update { to, .. }) in updates.iter().enumerate() {
            if images.insert(to.to_string())
                && let Some(shown) = earlier.of_image(to)
                && let Some(stop) = pace.found_earlier(turn, shown.failures(), shown.succeeded)
            {
                tell_of_stop(&events, to, &stop);
            }
        }
        let waiting = updates.into_iter().map(Some).collect();
        Self { events, pace, waiting, finished: Vec::new(), earlier }
    }

    /// The updates that an earlier run has begun, each with the number of its turn. They do not wait: they are
    /// under way, and a failed update must go back. They count in their image's rollout like all others.
    pub(super) fn under_way(&mut self) -> Vec<(usize, Update)> {
        let waiting = self.waiting.iter_mut().enumerate();
        let begun =
            waiting.filter_map(|(turn, waiting)| Some((turn, waiting.take_if(|it| it.begun.is_some())?)));
        begun.collect()
    }

    /// The update that is to begin now, and the number of its turn.
    pub(super) fn begin(&mut self) -> Option<(usize, Update)> {
        let turn = self.pace.begin()?;
        self.waiting[turn].take().map(|update| (turn, update))
    }

    /// Takes note of how an update ended, and says so when that stops or holds its image's rollout.
    pub(super) fn end(&mut self, turn: usize, finished: Finished) {
        let effect = Effect::of(&finished.outcome);
        let (image, name) = (finished.to.clone(), finished.service.clone());
        self.finished.push((turn, finished));
        let stop = self.pace.end(turn, effect);
        self.tell(turn, &image, &name, effect, stop.as_ref());
    }

    /// Takes note that an update which was called good has failed, or was taken back.
    pub(super) fn turn_bad(&mut self, turn: usize, update: &Update, effect: Effect) {
        let stop = self.pace.turn_bad(turn, effect);
        self.tell(turn, &update.to, &update.service, effect, stop.as_ref());
    }

    /// Replaces how an update ended that was called good.
    pub(super) fn end_again(&mut self, turn: usize, finished: Finished) {
        if let Some((_, known)) = self.finished.iter_mut().find(|(known, _)| *known == turn) {
            *known = finished;
        }
    }

    /// A service that was called updated has been taken back by a person or another program.
    pub(super) fn taken_back(&mut self, turn: usize) {
        if let Some((_, known)) = self.finished.iter_mut().find(|(known, _)| *known == turn) {
            let how = "a person or another program took it back to the image that it had before";
            known.outcome = Outcome::TakenBack(how.to_owned());
            self.events.emit(&Event::UpdateEnded(known.clone()));
        }
    }

    fn tell(&self, turn: usize, image: &ImageRef, service: &str, effect: Effect, stop: Option<&Stop>) {
        if let Some(stop) = stop {
            tell_of_stop(&self.events, image, stop);
        } else if effect == Effect::TakenBack && self.pace.held_for(turn) == Some(turn) {
            let (image, service) = (image.clone(), service.to_owned());
            self.events.emit(&Event::RolloutHeld { image, service });
        }
    }

    /// The services of so many updates that come next, as far as that is known.
    pub(super) fn next_services(&self, count: usize) -> Vec<String> {
        let waiting = self.waiting.iter().enumerate().filter(|(turn, _)| !self.pace.is_stopped(*turn));
        waiting.filter_map(|(_, update)| Some(update.as_ref()?.id.clone())).take(count).collect()
    }

    /// Whether there are updates that have not begun.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(Option::is_some)
    }

    /// What became of all; `otherwise` is why those did not begin whose rollout was not stopped.
    pub(super) fn close(self, otherwise: Held) -> RolledOut {
        let stopped = self.pace.stops().filter_map(|stop| self.stopped(stop)).collect();
        let held = |turn: usize| match self.pace.held_for(turn) {
            _ if self.pace.is_stopped(turn) => Held::RolloutStopped,
            Some(_) => Held::TakenBack,
            None => otherwise,
        };
        let finished = self.finished.into_iter().map(|(_, finished)| finished.into());
        let waiting = self.waiting.into_iter().enumerate();
        let waiting = waiting.filter_map(|(turn, update)| Some(Row::held(update?, held(turn))));
        RolledOut { rows: finished.chain(waiting).collect(), stopped, shut: None }
    }

    fn stopped(&self, stop: Stop) -> Option<StoppedRollout> {
        let Stop { image, touched, failed, total, blames_image } = stop;
        let finished = self.finished.iter().map(|(_, finished)| finished);
        let finished = finished.filter(|finished| finished.to.to_string() == image);
        let image: ImageRef = image.parse().ok()?;
        let earlier = self.earlier.of_image(&image).into_iter().flat_map(|shown| shown.causes.clone());
        let causes = finished.filter_map(|finished| finished.outcome.cause()).map(ToString::to_string);
        let mut told: Vec<String> = Vec::new();
        for cause in causes.chain(earlier).filter(|cause| !cause.is_empty()) {
            if told.len() < MAX_CAUSES && !told.contains(&cause) {
                told.push(cause);
            }
        }
        Some(StoppedRollout { image, touched, failed, total, causes: told, blames_image })
    }
}

/// Where all had their turn there is nothing to hold back, and nothing to tell.
fn tell_of_stop(events: &Events, image: &ImageRef, stop: &Stop) {
    let Stop { touched, failed, total, .. } = *stop;
    if touched < total {
        events.emit(&Event::RolloutStopped { image: image.clone(), touched, failed, total });
    }
}
