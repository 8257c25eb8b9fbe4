//! The updates of a rollout, each with its turn: those that wait, and how the others ended.

use super::pace::{Effect, Limits, Pace, Stop};
use super::{Finished, Held, NotBegun, RolledOut, StoppedRollout};
use crate::cycle::plan::Update;

/// So many causes of a stop are told; the log and the list of services have them all.
const MAX_CAUSES: usize = 3;

/// The updates of a rollout.
#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    /// By the number of their turn; `None`: begun.
    waiting: Vec<Option<Update>>,
    finished: Vec<Finished>,
}

impl Queue {
    /// These updates, the best canaries first.
    pub(super) fn new(limits: Limits, mut updates: Vec<Update>) -> Self {
        updates.sort_by(|a, b| (a.rank, &a.service).cmp(&(b.rank, &b.service)));
        let pace =
            Pace::new(limits, updates.iter().map(|update| (update.to.to_string(), update.rank.has_tasks())));
        Self { pace, waiting: updates.into_iter().map(Some).collect(), finished: Vec::new() }
    }

    /// Whether there is nothing to do at all.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The updates that an earlier run has begun, each with the number of its turn. They wait for nobody: they are
    /// under way, and one that has failed must go back. They count in their image's rollout like all others.
    pub(super) fn under_way(&mut self) -> Vec<(usize, Update)> {
        let mut begun = Vec::new();
        for (turn, waiting) in self.waiting.iter_mut().enumerate() {
            if let Some(update) = waiting.take_if(|update| update.begun.is_some()) {
                self.pace.found_begun(turn);
                begun.push((turn, update));
            }
        }
        begun
    }

    /// The update that is to begin now, and the number of its turn.
    pub(super) fn begin(&mut self) -> Option<(usize, Update)> {
        let turn = self.pace.begin()?;
        self.waiting[turn].take().map(|update| (turn, update))
    }

    /// Takes note of how an update ended, and says so when that stops its image's rollout.
    pub(super) fn end(&mut self, turn: usize, finished: Finished) {
        let effect = Effect::of(&finished.outcome);
        let image = finished.to.tagged();
        self.finished.push(finished);
        // Where all had their turn there is nothing to hold back, and nothing to tell.
        if let Some(Stop { touched, failed, total, .. }) = self.pace.end(turn, effect)
            && touched < total
        {
            tracing::error!(
                image,
                touched,
                failed,
                total,
                "too many updates to this image failed: its rollout is stopped"
            );
        }
    }

    /// Whether there are updates that have not begun.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(Option::is_some)
    }

    /// What became of all; `otherwise` is why those did not begin whose rollout was not stopped.
    pub(super) fn close(self, otherwise: Held) -> RolledOut {
        let stopped = self.pace.stops().filter_map(|stop| self.stopped(&stop)).collect();
        let held = |turn: usize| {
            if self.pace.is_stopped(turn) { Held::RolloutStopped } else { otherwise }
        };
        let waiting = self.waiting.into_iter().enumerate();
        let not_begun = waiting.filter_map(|(turn, update)| {
            let Update { service, from, to, .. } = update?;
            Some(NotBegun { service, from, to, why: held(turn) })
        });
        RolledOut { not_begun: not_begun.collect(), stopped, finished: self.finished, shut: None }
    }

    fn stopped(&self, stop: &Stop) -> Option<StoppedRollout> {
        let of_image = || self.finished.iter().filter(|finished| finished.to.to_string() == stop.image);
        let mut causes = Vec::new();
        for cause in of_image().filter_map(|finished| finished.outcome.cause()) {
            if causes.len() < MAX_CAUSES && !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
        let Stop { touched, failed, total, blames_image, .. } = *stop;
        let image = of_image().next()?.to.clone();
        Some(StoppedRollout { image, touched, failed, total, causes, blames_image })
    }
}
