//! What is remembered from look to look while tasks are watched. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::patience::stall_limit;
use super::view::View;
use crate::model::cause::Cause;
use crate::model::task_spec_id::present_tasks;
use crate::model::timing::settling_time;
use crate::rollout::convergence::{Convergence, Exception, Unconverged, judge, running};
use crate::swarm::{Facts, Task, TaskState, UpdateState};

/// What is remembered from look to look while tasks are watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The tasks that run as wanted, and since when these very ones.
    steady: Option<(BTreeSet<String>, Instant)>,
    /// Since when each task of the present specification runs.
    running: BTreeMap<String, Instant>,
    /// Since when the swarm is not at work on the service: it calls the update completed, or paused, or says nothing
    /// because a label was changed meanwhile.
    idle: Option<Instant>,
    /// Since when tasks have failed that the swarm starts again by itself, if at all.
    failing: Option<Instant>,
    /// What was last waited for.
    pub(super) waiting: Unconverged,
    /// Since when it has been the same, with tasks that do not all run.
    still: Option<Instant>,
    /// The largest number of tasks that ran at once, how far the slowest of the others was then, and since when.
    most: Option<((u64, TaskState), Instant)>,
    /// What was left out at the last look.
    but: Vec<Exception>,
}

/// What watching tasks has shown.
pub(super) enum Watched {
    /// They run, and have done so for the monitor period; but for these.
    Steady(Vec<Exception>),
    /// Nothing could run.
    Nothing(&'static str),
    /// Not yet.
    NotYet,
    /// The swarm has finished, but they do not stay up.
    Unsteady,
    /// The swarm waits for what it said that it cannot do, and leaves old tasks alone meanwhile: why.
    Stuck(Cause),
}

impl Watch {
    /// Lets this time not count for what waits. Tasks that ran before and after it did so all along.
    pub(super) fn forgive(&mut self, blind: Duration) {
        for since in [&mut self.idle, &mut self.still, &mut self.failing].into_iter().flatten() {
            *since += blind;
        }
        if let Some((_, since)) = &mut self.most {
            *since += blind;
        }
    }

    /// Looks at the tasks. They have to run through the monitor period: the swarm's word that the update is
    /// completed stands for that only when no task has failed, because with a failure action of `continue`
    /// it says so whatever happens.
    pub(super) fn look(&mut self, view: &View<'_>) -> Watched {
        let View { service, facts, seen, now, .. } = *view;
        let state = service.update.as_ref().map(|status| &status.state);
        let is_over = matches!(state, Some(UpdateState::Completed | UpdateState::RollbackCompleted));
        let is_under_way = matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
        self.idle = if is_under_way { None } else { Some(self.idle.unwrap_or(now)) };
        let has_failed = view.pause().is_some() || view.ignored_tasks.has_counted_end(service, seen);
        self.failing = self.idle.filter(|_| has_failed).map(|_| self.failing.unwrap_or(now));
        self.count(view);

        match judge(service, seen.tasks, seen.nodes, &view.sent_update.before) {
            Convergence::Nothing(why) => Watched::Nothing(why),
            Convergence::Converged { tasks, but } => {
                self.but.clone_from(&but);
                let is_steady = self.is_steady(tasks, view, (is_over, is_under_way));
                if is_steady { Watched::Steady(but) } else { Watched::NotYet }
            }
            Convergence::Waiting(waiting) => {
                self.steady = None;
                self.still = self.still.filter(|_| self.waiting == waiting).or(Some(now));
                self.waiting = waiting;
                // Tasks that are merely away (a node was lost, an image is pulled elsewhere) are waited for.
                match self.idle {
                    Some(since)
                        if now.duration_since(since) >= settling_time(facts)
                            && view.ignored_tasks.has_counted_end(service, seen) =>
                    {
                        Watched::Unsteady
                    }
                    _ => self.stuck(view).map_or(Watched::NotYet, Watched::Stuck),
                }
            }
        }
    }

    /// Records which tasks run.
    fn count(&mut self, view: &View<'_>) {
        let View { service, seen, now, .. } = *view;
        let mut before = std::mem::take(&mut self.running);
        self.running = running(service, seen.tasks, seen.nodes)
            .map(|task| (task.id.clone(), before.remove(&task.id).unwrap_or(now)))
            .collect();
        let is_unready = |task: &&Task| task.is_wanted() && task.state < TaskState::Running;
        let slowest = present_tasks(service, seen.tasks).filter(is_unready).map(|task| task.state).min();
        let progress = (self.running.len() as u64, slowest.unwrap_or(TaskState::Unknown));
        if self.most.is_none_or(|(most, _)| progress > most) {
            self.most = Some((progress, now));
        }
    }

    fn is_steady(
        &mut self,
        tasks: BTreeSet<String>,
        view: &View<'_>,
        (is_over, is_under_way): (bool, bool),
    ) -> bool {
        let View { service, facts, seen, now, .. } = *view;
        let since = match &self.steady {
            Some((same, since)) if *same == tasks => *since,
            _ => now,
        };
        self.waiting = Unconverged {
            running: tasks.len() as u64,
            desired: tasks.len() as u64,
            activity: "all tasks run; monitored".to_owned(),
            reason: None,
            has_image: true,
            is_excused: false,
        };
        self.steady = Some((tasks, since));
        self.still = None;
        if is_under_way {
            // The swarm monitors as well and may still find fault. It does not wait for ever though: its
            // updater never comes to an end when a node goes down that had just got a task.
            return self.has_held_for(facts.monitor() + settling_time(facts), now);
        }
        self.has_held(facts, now) || (is_over && !view.ignored_tasks.has_counted_end(service, seen))
    }

    /// Why the swarm's updater waits for ever, while tasks of another specification run on: it goes from slot to slot,
    /// and waits in each for a task that runs (tried on 20.10).
    fn stuck(&self, view: &View<'_>) -> Option<Cause> {
        let has_waited =
            self.still.is_some_and(|since| view.now.duration_since(since) >= settling_time(view.facts));
        let is_at_work = self.idle.is_none() || view.service.update.is_none();
        let reason = self.waiting.reason.as_ref()?;
        let is_given_up = match reason {
            Cause::NoSuitableNode { .. } => self.waiting.is_excused,
            Cause::NodeDown { .. } => true,
            _ => false,
        };
        (has_waited && is_at_work && is_given_up && view.has_old_tasks()).then(|| reason.clone())
    }

    /// Whether all tasks run at the deadline, so that it is known in a moment whether they stay up. No later than when
    /// those have held that ran at the deadline.
    pub(super) fn is_monitored(&self, facts: &Facts, elapsed: Duration, timeout: Duration) -> bool {
        self.steady.is_some() && elapsed < timeout + facts.monitor()
    }

    /// Whether it has waited for so long, all the time for the same.
    pub(super) fn has_waited_for(&self, period: Duration, now: Instant) -> bool {
        self.still.is_some_and(|since| now.duration_since(since) >= period)
    }

    /// Whether for longer than any step takes no more tasks have run than ever before, nor has the slowest of the others
    /// got further, and not all run now. A task that fails and is started again makes no progress.
    pub(super) fn has_stalled(&self, facts: &Facts, now: Instant) -> bool {
        self.steady.is_none()
            && self.most.is_some_and(|(_, since)| now.duration_since(since) >= stall_limit(facts))
    }

    /// Whether tasks have failed for so long, and not all run now.
    pub(super) fn has_failed_for(&self, period: Duration, now: Instant) -> bool {
        self.steady.is_none() && self.failing.is_some_and(|since| now.duration_since(since) >= period)
    }

    /// How many tasks have run through the monitor period, whatever the others do.
    pub(super) fn held(&self, facts: &Facts, now: Instant) -> u64 {
        self.running.values().filter(|since| now.duration_since(**since) >= facts.monitor()).count() as u64
    }

    /// What is left out, in the words for a rollback.
    pub(super) fn remark(&self) -> Option<String> {
        let words: Vec<String> = self.but.iter().map(Exception::after_rollback).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    pub(super) fn not_running(&self) -> Cause {
        Cause::NotRunning { running: self.waiting.running, desired: self.waiting.desired }
    }

    /// Whether the same tasks have run through the monitor period.
    pub(super) fn has_held(&self, facts: &Facts, now: Instant) -> bool {
        self.has_held_for(facts.monitor(), now)
    }

    fn has_held_for(&self, period: Duration, now: Instant) -> bool {
        self.steady.as_ref().is_some_and(|(_, since)| now.duration_since(*since) >= period)
    }
}
