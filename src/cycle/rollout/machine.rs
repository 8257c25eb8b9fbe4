//! One service's update, from the moment it was sent to its outcome. Pure: what was seen and the time
//! come in, what to do comes out.
//!
//! ```text
//!            sent
//!             |
//!             v                 tasks run, monitored       +---------+
//!        +----------+ -----------------------------------> | Updated |
//!        | Updating | ---- somebody else's change -------> | Superseded, Removed
//!        +----------+ ---- nothing that could run -------> | Started
//!          |      |
//!   failed |      | the swarm rolls back by itself
//!   or too |      v
//!     late |  +-------------+    old tasks run, monitored   +------------+
//!          |  | RollingBack | ----------------------------> | RolledBack |
//!          |  +-------------+ ----------------------------> | RollbackFailed, Superseded, Removed
//!          |      ^
//!          v      | rollback sent
//!      may roll back? --- no ---> Failed (kept)
//! ```
//!
//! An update is never `Updated` after a rollback was seen, and is rolled back at most once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use self::ends::Ends;
pub(in crate::cycle) use self::patience::proof_time;
use self::patience::{settling_time, stall_limit, stalled};
use self::reason::{cause_by, task_cause, timed_out};
pub(super) use self::reason::{failed_task, unready_task};
pub use self::side_by_side::SideBySide;
use self::side_by_side::no_room;
use super::absences::Absences;
use super::cause::Cause;
use super::convergence::{Convergence, Waiting, judge};
use super::outcome::{By, Outcome};
use crate::swarm::{Facts, Nodes, Service, Task, UpdateState};

/// What the swarm showed of one service at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The service; `None`: it is gone.
    pub service: Option<&'a Service>,
    /// Its tasks, ended ones included.
    pub tasks: &'a [Task],
    /// All nodes.
    pub nodes: &'a Nodes,
}

/// What tells one specification's tasks from another's: every update of ours changes one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The image, as it stands in the specification.
    pub image: String,
    /// The forced-update counter.
    pub force_update: u64,
}

/// What was sent, and under which conditions it is watched.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the service was sent.
    pub sent: Mark,
    /// What it had before.
    pub replaced: Mark,
    /// When it was sent.
    pub sent_at: Instant,
    /// How long it may take; `None`: as long as it wants.
    pub timeout: Option<Duration>,
    /// Whether it is rolled back when it fails.
    pub may_roll_back: bool,
    /// What the new task finds where the old one of its place is still there; `None`: the old one goes first.
    pub side_by_side: Option<SideBySide>,
}

impl Mark {
    /// The mark of a specification.
    pub fn of(facts: &Facts) -> Self {
        Self { image: facts.image.clone().unwrap_or_default(), force_update: facts.force_update }
    }

    pub(in crate::cycle) fn is_on(&self, task: &Task) -> bool {
        task.image == self.image && task.force_update == self.force_update
    }
}

impl Terms {
    /// Whether a service still carries what it was sent. Forced once more by somebody, it does.
    pub fn is_sent(&self, facts: &Facts) -> bool {
        let mark = Mark::of(facts);
        mark.image == self.sent.image && mark.force_update >= self.sent.force_update
    }

    /// Whether a service carries what it had before.
    pub fn is_replaced(&self, facts: &Facts) -> bool {
        facts.image.as_deref() == Some(&self.replaced.image) && !self.is_sent(facts)
    }
}

/// What to do after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again later.
    Wait,
    /// Roll back now, then say so with [`Machine::rollback_sent`].
    RollBack,
    /// It is over.
    Finish(Outcome),
}

/// The state of one update.
#[derive(Clone, Debug)]
pub struct Machine {
    terms: Terms,
    state: State,
    absences: Absences,
}

#[derive(Clone, Debug)]
enum State {
    Updating(Watch),
    /// Found while it was being rolled back, with the swarm's words on it.
    FoundRollingBack {
        by: By,
        message: String,
    },
    /// Failed; a rollback was asked for and has not been sent yet.
    Failed(Cause),
    RollingBack {
        by: By,
        cause: Cause,
        since: Instant,
        watch: Watch,
    },
}

/// What is remembered from look to look while tasks are watched.
#[derive(Clone, Debug, Default)]
struct Watch {
    /// The tasks that run as wanted, and since when these very ones.
    steady: Option<(BTreeSet<String>, Instant)>,
    /// Since when the swarm is not at work on the service: it calls the update completed, or says nothing
    /// because somebody has changed a label meanwhile.
    idle: Option<Instant>,
    /// What was last waited for.
    waiting: Waiting,
    /// Since when it has been the same, with tasks that do not all run.
    still: Option<Instant>,
    /// Which ends of tasks count.
    ends: Ends,
}

/// What watching tasks has shown.
enum Watched {
    /// They run, and have done so for the monitor period.
    Steady,
    /// Nothing could run.
    Nothing(&'static str),
    /// Not yet.
    NotYet,
    /// The swarm has finished, but they do not stay up.
    Unsteady,
}

impl Machine {
    /// Starts to watch an update that was just sent.
    pub fn new(terms: Terms) -> Self {
        let (state, absences) = (State::Updating(Watch::default()), Absences::default());
        Self { terms, state, absences }
    }

    /// Starts to watch an update that an earlier run sent.
    pub fn found(terms: Terms) -> Self {
        Self { absences: Absences::since_later(), ..Self::new(terms) }
    }

    /// Starts to watch a rollback that is under way already.
    pub fn rolling_back(terms: Terms, by: By, message: String) -> Self {
        Self { state: State::FoundRollingBack { by, message }, ..Self::found(terms) }
    }

    /// What the update is waiting for, in words, and the swarm's reason if there is one.
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            State::Updating(watch) | State::RollingBack { watch, .. } => Some(&watch.waiting),
            State::FoundRollingBack { .. } | State::Failed(_) => None,
        }
    }

    /// Whether the service is being restored rather than updated.
    pub fn is_rolling_back(&self) -> bool {
        matches!(self.state, State::RollingBack { .. })
    }

    /// Takes note that the rollback asked for by [`Step::RollBack`] was sent.
    /// `by` is the swarm when it turns out to have been faster.
    pub fn rollback_sent(&mut self, by: By, now: Instant) {
        if let State::Failed(cause) = &self.state {
            let watch = Watch::default();
            self.state = State::RollingBack { by, cause: cause.clone(), since: now, watch };
        }
    }

    /// Takes note that a service which is back at what it had was given another account to pull with. What
    /// became of its tasks before does not count.
    pub fn account_renewed(&mut self, now: Instant) {
        if let State::RollingBack { since, watch, .. } = &mut self.state {
            (*since, *watch) = (now, Watch { ends: Ends::AfterNextLook, ..Watch::default() });
        }
    }

    /// Why the update failed, once it has.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.state {
            State::Updating(_) | State::FoundRollingBack { .. } => None,
            State::Failed(cause) | State::RollingBack { cause, .. } => Some(cause),
        }
    }

    /// Takes a look. Total: whatever is seen, there is something to do.
    pub fn step(&mut self, seen: &Seen<'_>, now: Instant) -> Step {
        let Some(service) = seen.service else {
            return Step::Finish(Outcome::Removed);
        };
        self.absences.look(seen.nodes);
        if let State::FoundRollingBack { by, message } = &self.state {
            let cause = cause_by(&self.terms.sent, service.spec.facts(), seen, message).with(&self.absences);
            self.state = State::RollingBack { by: *by, cause, since: now, watch: Watch::default() };
        }
        match &mut self.state {
            State::Updating(watch) => {
                let verdict = updating(&self.terms, watch, service, seen, now)
                    .with(|cause| cause.with(&self.absences).by_order(&self.terms, seen));
                self.follow(verdict, now)
            }
            State::FoundRollingBack { .. } => Step::Wait,
            State::Failed(_) => Step::RollBack,
            State::RollingBack { by, cause, since, watch } => {
                rolling_back(&self.terms, (*by, cause, *since), watch, service, seen, now)
            }
        }
    }

    /// Lets the time not count in which nobody could look: what happened then is not known, and to the swarm it may have
    /// been no time at all.
    pub fn forgive(&mut self, blind: Duration) {
        self.terms.sent_at += blind;
        match &mut self.state {
            State::Updating(watch) => watch.forgive(blind),
            State::RollingBack { since, watch, .. } => {
                *since += blind;
                watch.forgive(blind);
            }
            State::FoundRollingBack { .. } | State::Failed(_) => {}
        }
    }

    fn follow(&mut self, verdict: Verdict, now: Instant) -> Step {
        match verdict {
            Verdict::Wait => Step::Wait,
            Verdict::Over(outcome) => Step::Finish(outcome),
            Verdict::RolledBackBySwarm(cause) => {
                let watch = Watch::default();
                self.state = State::RollingBack { by: By::Swarm, cause, since: now, watch };
                Step::Wait
            }
            Verdict::Failed(cause) if self.terms.may_roll_back => {
                self.state = State::Failed(cause);
                Step::RollBack
            }
            Verdict::Failed(cause) => Step::Finish(Outcome::Failed { cause }),
        }
    }
}

enum Verdict {
    Wait,
    Over(Outcome),
    RolledBackBySwarm(Cause),
    Failed(Cause),
}

impl Verdict {
    /// The same with the true cause: a node whose power failed calls its tasks failed when it is back (tried on 20.10).
    fn with(self, truth: impl Fn(Cause) -> Cause) -> Self {
        match self {
            Self::Failed(cause) => Self::Failed(truth(cause)),
            Self::RolledBackBySwarm(cause) => Self::RolledBackBySwarm(truth(cause)),
            verdict => verdict,
        }
    }
}

fn updating(terms: &Terms, watch: &mut Watch, service: &Service, seen: &Seen<'_>, now: Instant) -> Verdict {
    let facts = service.spec.facts();
    if let Some(status) = service.rollback_by_swarm() {
        let cause = cause_by(&terms.sent, facts, seen, &status.message);
        // When somebody has changed a label in the middle of the update, it goes back to the same image.
        return if terms.is_sent(facts) { Verdict::Failed(cause) } else { Verdict::RolledBackBySwarm(cause) };
    }
    let status = service.update.as_ref();
    if !terms.is_sent(facts) {
        return Verdict::Over(match status {
            Some(status) if status.state.is_rollback() => {
                Outcome::Superseded("somebody rolled it back".to_owned())
            }
            _ => superseded(facts),
        });
    }
    if let Some(status) = status.filter(|status| status.state.is_paused()) {
        return Verdict::Failed(cause_by(&Mark::of(facts), facts, seen, &status.message));
    }
    match watch.look(service, seen, now) {
        _ if terms.lacks_room(watch, now) => Verdict::Failed(no_room(watch)),
        Watched::Steady => Verdict::Over(Outcome::Updated),
        Watched::Nothing(why) => Verdict::Over(Outcome::Started(why.to_owned())),
        Watched::Unsteady => {
            Verdict::Failed(task_cause(&Mark::of(facts), facts, seen).unwrap_or_else(|| watch.not_running()))
        }
        Watched::NotYet => match terms.timeout {
            Some(timeout) if now.duration_since(terms.sent_at) >= timeout => {
                if watch.has_held(facts, now) {
                    Verdict::Over(Outcome::Updated)
                } else if watch.is_monitored(facts, now.duration_since(terms.sent_at), timeout) {
                    Verdict::Wait
                } else {
                    Verdict::Failed(timed_out(terms, facts, watch, seen, timeout))
                }
            }
            None if watch.has_stalled(facts, now) => {
                Verdict::Failed(stalled(timed_out(terms, facts, watch, seen, stall_limit(facts))))
            }
            _ => Verdict::Wait,
        },
    }
}

fn rolling_back(
    terms: &Terms,
    (by, cause, since): (By, &Cause, Instant),
    watch: &mut Watch,
    service: &Service,
    seen: &Seen<'_>,
    now: Instant,
) -> Step {
    let facts = service.spec.facts();
    let rolled_back = || Step::Finish(Outcome::RolledBack { by, cause: cause.clone() });
    let failed = |why: Cause| Step::Finish(Outcome::RollbackFailed { cause: cause.clone(), why });
    if !terms.is_replaced(facts) {
        return match service.rollback_by_swarm() {
            // What was restored by an update of its own has failed as well, and the swarm has taken it back.
            Some(status) if terms.is_sent(facts) => {
                failed(cause_by(&terms.replaced, facts, seen, &status.message))
            }
            _ => Step::Finish(superseded(facts)),
        };
    }

    if let Some(status) = service.update.as_ref().filter(|status| status.state.is_paused()) {
        return failed(cause_by(&Mark::of(facts), facts, seen, &status.message));
    }
    match watch.look(service, seen, now) {
        Watched::Steady | Watched::Nothing(_) => rolled_back(),
        Watched::Unsteady => {
            failed(task_cause(&Mark::of(facts), facts, seen).unwrap_or_else(|| watch.not_running()))
        }
        Watched::NotYet => match terms.timeout {
            Some(timeout) if now.duration_since(since) >= timeout && watch.has_held(facts, now) => {
                rolled_back()
            }
            Some(timeout)
                if now.duration_since(since) >= timeout
                    && !watch.is_monitored(facts, now.duration_since(since), timeout) =>
            {
                let waiting = watch.waiting.activity.clone();
                failed(Cause::TimedOut { after: timeout, waiting, blames_image: false })
            }
            None if watch.has_stalled(facts, now) => {
                let waiting = watch.waiting.activity.clone();
                let cause = Cause::TimedOut { after: stall_limit(facts), waiting, blames_image: false };
                failed(stalled(cause))
            }
            _ => Step::Wait,
        },
    }
}

impl Watch {
    /// Lets this time not count for what waits. Tasks that ran before and after it did so all along.
    fn forgive(&mut self, blind: Duration) {
        for since in [&mut self.idle, &mut self.still].into_iter().flatten() {
            *since += blind;
        }
    }

    /// Looks at the tasks. They have to run through the monitor period: the swarm's word that the update is
    /// completed stands for that only when no task has failed, because with a failure action of `continue`
    /// it says so whatever happens.
    fn look(&mut self, service: &Service, seen: &Seen<'_>, now: Instant) -> Watched {
        let facts = service.spec.facts();
        let state = service.update.as_ref().map(|status| &status.state);
        let is_over = matches!(state, Some(UpdateState::Completed | UpdateState::RollbackCompleted));
        let is_under_way = matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
        let idle_since = if is_under_way { None } else { Some(self.idle.unwrap_or(now)) };
        self.idle = idle_since;
        self.ends.look(service, seen);

        match judge(service, seen.tasks, seen.nodes) {
            Convergence::Nothing(why) => Watched::Nothing(why),
            Convergence::Converged { tasks } => {
                let since = match &self.steady {
                    Some((same, since)) if *same == tasks => *since,
                    _ => now,
                };
                self.waiting = Waiting {
                    running: tasks.len() as u64,
                    desired: tasks.len() as u64,
                    activity: "all tasks run; monitored".to_owned(),
                    reason: None,
                    has_image: true,
                };
                self.steady = Some((tasks, since));
                self.still = None;
                let has_held = self.has_held(facts, now);
                let is_steady = if is_under_way {
                    // The swarm monitors as well and may still find fault. It does not wait for ever though: its
                    // updater never comes to an end when a node goes down that had just got a task.
                    self.has_held_for(facts.monitor() + settling_time(facts), now)
                } else {
                    has_held || (is_over && !self.ends.is_any(service, seen))
                };
                if is_steady { Watched::Steady } else { Watched::NotYet }
            }
            Convergence::Waiting(waiting) => {
                self.steady = None;
                self.still = self.still.filter(|_| self.waiting == waiting).or(Some(now));
                self.waiting = waiting;
                // Tasks that are merely away (a node was lost, an image is pulled elsewhere) are waited for.
                match idle_since {
                    Some(since)
                        if now.duration_since(since) >= settling_time(facts)
                            && self.ends.is_any(service, seen) =>
                    {
                        Watched::Unsteady
                    }
                    _ => Watched::NotYet,
                }
            }
        }
    }

    /// Whether all tasks run at the deadline, so that it is known in a moment whether they stay up. No later than when those
    /// have held that ran at the deadline.
    fn is_monitored(&self, facts: &Facts, elapsed: Duration, timeout: Duration) -> bool {
        self.steady.is_some() && elapsed < timeout + facts.monitor()
    }

    /// Whether nothing has moved for longer than any step takes.
    fn has_stalled(&self, facts: &Facts, now: Instant) -> bool {
        self.still.is_some_and(|since| now.duration_since(since) >= stall_limit(facts))
    }

    fn not_running(&self) -> Cause {
        Cause::NotRunning { running: self.waiting.running, desired: self.waiting.desired }
    }

    /// Whether the same tasks have run through the monitor period.
    fn has_held(&self, facts: &Facts, now: Instant) -> bool {
        self.has_held_for(facts.monitor(), now)
    }

    fn has_held_for(&self, period: Duration, now: Instant) -> bool {
        self.steady.as_ref().is_some_and(|(_, since)| now.duration_since(*since) >= period)
    }
}

fn superseded(facts: &Facts) -> Outcome {
    let image = facts.image.as_deref().unwrap_or("no image");
    Outcome::Superseded(format!("somebody changed it to {image}"))
}

mod ends;
mod patience;
mod reason;
mod side_by_side;

#[cfg(test)]
mod any_sequence;
#[cfg(test)]
mod any_story;
#[cfg(test)]
mod over_time;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
