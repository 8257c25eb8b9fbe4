//! The wait for the next cycle: for its time, for a gate that opens, or for whatever else starts it.

use std::future::pending;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::board::{LiveBoard, WokenBy};
use super::steering::Requests;
use super::timing::{jitter, worth_a_note};
use super::trigger::Trigger;
use crate::config::Config;
use crate::gate::window::{distance, time_words};
use crate::ledger::Ledger;
use crate::ledger::book::LedgerChange;
use crate::rollout::Rollouts;
use crate::rollout::openings::Openings;
use crate::swarm::{Role, Swarm, SwarmError};

/// How often the ledger is asked at the start, and how long after an error it is asked again.
const TRIES: u32 = 6;
const TRY_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    By(WokenBy),
    Stopped,
}

/// What the wait works with.
pub(super) struct WaitContext<'a, S> {
    pub(super) config: &'a Config,
    pub(super) swarm: &'a S,
    pub(super) ledger: &'a Ledger,
    pub(super) board: &'a LiveBoard,
    pub(super) requests: &'a Requests,
    pub(super) stop: &'a CancellationToken,
}

/// What cycles have been, as far as it tells when the next one is due.
pub(super) struct Timing {
    /// From when the interval counts: when the latest cycle of all services began, or was due.
    from: Instant,
    /// From when the schedule counts: when the latest cycle of all services began. `None`: there is no schedule.
    scheduled: Option<Timestamp>,
    interval: Option<Duration>,
}

impl Timing {
    /// Before the first cycle. With a schedule, the ledger may know when the latest one of an earlier process began.
    pub(super) async fn begin<S: Swarm>(daemon: &WaitContext<'_, S>) -> Self {
        let (from, interval) = (Instant::now(), daemon.config.interval);
        if daemon.config.schedule.is_none() {
            return Self { from, scheduled: None, interval };
        }
        first_look(daemon).await;
        let now = daemon.ledger.now();
        Self { from, scheduled: Some(daemon.ledger.book().scheduled.map_or(now, |at| at.min(now))), interval }
    }

    /// Whether the first cycle waits for its time.
    pub(super) fn waits_first(&self) -> bool {
        self.scheduled.is_some()
    }

    /// Whether there is a time for the next cycle.
    pub(super) fn is_set(&self) -> bool {
        self.interval.is_some() || self.scheduled.is_some()
    }

    /// A cycle of all services begins.
    pub(super) fn begins<S>(&mut self, daemon: &WaitContext<'_, S>, begun: Instant, woken_by: WokenBy) {
        let jitter = daemon.config.jitter;
        let due = self.interval.map(|interval| self.from + interval);
        // A delay by jitter does not put off the cycles that follow.
        let is_delayed =
            |due: &Instant| woken_by == WokenBy::Interval && *due <= begun && begun <= *due + jitter;
        self.from = due.filter(|due| !jitter.is_zero() && is_delayed(due)).unwrap_or(begun);
        let (Some(schedule), Some(scheduled)) = (&daemon.config.schedule, &mut self.scheduled) else {
            return;
        };
        let now = daemon.ledger.now();
        if let Some(missed) = schedule.next(*scheduled).filter(|missed| worth_a_note(*missed, now, jitter)) {
            tracing::info!(missed = %format!("{missed:.0}"), "a cycle of the schedule was missed: it begins now");
        }
        *scheduled = now;
        if schedule.next(now).is_some_and(|next| worth_a_note(now, next, Duration::ZERO)) {
            // The run writes it.
            daemon.ledger.note(LedgerChange::Scheduled(now));
        }
    }

    /// When the next timed cycle begins; `None`: never.
    fn due<S>(&self, daemon: &WaitContext<'_, S>) -> Option<Instant> {
        let (swarm, most) = (daemon.ledger.swarm_id(), daemon.config.jitter);
        if let (Some(schedule), Some(scheduled)) = (&daemon.config.schedule, self.scheduled) {
            let next = schedule.next(scheduled)?;
            return Some(instant(daemon.ledger, next)? + jitter(&swarm, next, most));
        }
        let due = self.from + self.interval?;
        let left = SignedDuration::try_from(due.duration_since(Instant::now())).unwrap_or_default();
        let time = daemon.ledger.now().saturating_add(left).unwrap_or(Timestamp::MAX);
        Some(due + jitter(&swarm, time, most))
    }
}

/// Reads the ledger, again for a minute where the engine does not answer: it knows when the latest cycle of the schedule began.
async fn first_look<S: Swarm>(daemon: &WaitContext<'_, S>) {
    let read = async || -> Result<(), SwarmError> {
        let engine = daemon.swarm.engine().await?;
        if engine.role != Role::Manager {
            tracing::error!(
                "{} is no manager of a swarm: nothing can be updated through it",
                daemon.config.engine
            );
        }
        daemon.ledger.read(daemon.swarm, &engine).await
    };
    for _ in 0..TRIES {
        let Err(error) = read().await else { return };
        tracing::warn!(%error, "cannot read the ledger: whether a cycle of the schedule was missed is not known");
        if daemon.stop.run_until_cancelled(sleep(TRY_AGAIN)).await.is_none() {
            return;
        }
    }
}

/// When the engine's clock shows this time; now, where that is past. `None`: so late that no clock shows it.
fn instant(ledger: &Ledger, time: Timestamp) -> Option<Instant> {
    let left = time.duration_since(ledger.now()).max(SignedDuration::ZERO);
    Instant::now().checked_add(Duration::try_from(left).ok()?)
}

impl<S: Swarm> WaitContext<'_, S> {
    /// Waits for the next cycle. One that is late already begins at once.
    pub(super) async fn wait<R>(
        &self,
        timing: &Timing,
        trigger: Option<&mut Trigger>,
        rollouts: &Rollouts<S, R>,
    ) -> Woken {
        if self.stop.is_cancelled() {
            return Woken::Stopped;
        }
        // With the end of a user's pause begins what it held.
        let resumed = self.ledger.pause().and_then(|pause| instant(self.ledger, pause.until));
        let due = [timing.due(self), resumed].into_iter().flatten().min();
        let path = trigger.as_ref().map(|trigger| trigger.path().to_owned());
        self.tell_of_wait(due, path.as_deref(), &rollouts.openings);
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let changed = async {
            match trigger {
                Some(trigger) => trigger.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Woken::Stopped,
            () = due => Woken::By(WokenBy::Interval),
            by = self.requests.asked() => Woken::By(by),
            () = self.opened(&rollouts.openings) => Woken::By(WokenBy::Interval),
            () = rollouts.look_pays() => {
                tracing::debug!("a service that was under way can get a newer digest");
                Woken::By(WokenBy::Interval)
            }
            () = changed => {
                tracing::info!("{} has changed", path.unwrap_or_default().display());
                Woken::By(WokenBy::Path)
            }
        }
    }

    /// Shows when the next cycle begins, and logs it.
    fn tell_of_wait(&self, due: Option<Instant>, path: Option<&std::path::Path>, openings: &Openings) {
        if let Some((at, services)) = openings.news() {
            let (now, zone) = (self.ledger.now(), &self.config.updates.times.zone);
            let is_dated = at.duration_since(now) > SignedDuration::from_hours(6 * 24);
            let (time, left) = (time_words(&at.to_zoned(zone.clone()), is_dated), distance(now, at));
            let (noun, verb, whose) =
                if services == 1 { ("service", "waits", "its") } else { ("services", "wait", "their") };
            tracing::info!("{services} {noun} {verb} for {whose} window ({time}, in {left})");
        }
        let opens = openings.next().and_then(|(at, _)| instant(self.ledger, at));
        let due = [due, opens].into_iter().flatten().min();
        let seconds = due.map(|due| due.duration_since(Instant::now()).as_secs());
        self.board.change(|board, now| {
            let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
            board.wait_until(
                seconds.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok()),
            );
        });
        match (seconds, path) {
            (Some(seconds), None) if seconds > 0 => tracing::info!(seconds, "waiting for the next cycle"),
            (seconds, Some(path)) => {
                tracing::info!(seconds, "waiting for the next cycle, or for a change of {}", path.display());
            }
            _ => {}
        }
    }

    /// Returns when a gate opens that holds services. It wakes once: where the look fails, the next cycle looks again.
    async fn opened(&self, openings: &Openings) {
        loop {
            let Some((at, services)) = openings.next() else {
                openings.changed().await;
                continue;
            };
            let Some(opens) = instant(self.ledger, at) else { return pending().await };
            tokio::select! {
                () = sleep_until(opens) => {
                    openings.pass(self.ledger.now().max(at));
                    tracing::debug!(services, "a gate opens");
                    return;
                }
                () = openings.changed() => {}
            }
        }
    }
}
