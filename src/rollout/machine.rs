//! One service's update, from the moment it was sent to its outcome. Pure: what was seen and the time
//! come in, what to do comes out.
//!
//! ```text
//!            sent
//!             |
//!             v                 tasks run, monitored       +---------+
//!        +----------+ -----------------------------------> | Updated |
//!        | Updating | ---- a user's change -------------> | Superseded, Removed
//!        +----------+ ---- nothing that could run -------> | Started
//!          |      |
//!   failed |      | the swarm rolls back by itself
//!   or too |      v
//!     late |  +-------------+    old tasks run, monitored   +------------+
//!          |  | RollingBack | ----------------------------> | RolledBack |
//!          |  +-------------+ ----------------------------> | RollbackFailed, Overtaken
//!          |      ^
//!          v      | rollback sent
//!      may roll back? --- no ---> Failed (kept)
//! ```
//!
//! An update is never `Updated` after a rollback was seen, and is rolled back at most once. What has failed stays failed:
//! a user's change afterwards makes it `Overtaken`. No state lasts for ever: each has a limit (`patience`).

use std::time::Duration;

use tokio::time::Instant;

pub use self::ignored_tasks::IgnoredTasks;
pub(super) use self::reason::{failed_task, unready_task};
use self::sent_update::Restoring;
pub use self::sent_update::{SentUpdate, ServiceView, SideBySide, Whole};
use self::side_by_side::is_taken;
use self::verdict::{Verdict, rolling_back, updating};
use self::view::View;
use self::watch::Watch;
use super::convergence::Unconverged;
use crate::model::cause::Cause;
use crate::model::down_nodes::DownNodes;
use crate::model::order::overlaps;
use crate::model::outcome::{By, Outcome};
use crate::swarm::Spec;

/// How often the swarm is told to go on with one update or rollback, beyond once for each of its tasks: its updater may
/// stop in the place of each.
const MAX_RESUMED: u64 = 10;

/// What to do after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again later.
    Wait,
    /// Roll back now, then say so with [`Machine::rollback_sent`].
    RollBack,
    /// Send the same specification again, as the swarm has paused for this reason, which is no failure. Then say so with
    /// [`Machine::resumed`].
    SendAgain(String),
    /// Make the swarm go on with the tasks that are left, as it waits for ever for this reason. Then say so with
    /// [`Machine::resumed`].
    GoOn(String),
    /// Give the service another account to pull with, then say so with [`Machine::account_renewed`].
    RenewAccount,
    /// It is over.
    Finish(Outcome),
}

/// The state of one update.
#[derive(Clone, Debug)]
pub struct Machine {
    sent_update: SentUpdate,
    phase: Phase,
    down_nodes: DownNodes,
    ignored_tasks: IgnoredTasks,
    /// What the engine made of the specification that was sent: it leaves out what is empty, and fills in defaults.
    kept: Option<Spec>,
    /// What a task of the update was seen to fail with, before anything else was changed.
    failed: Option<Cause>,
    /// How often the swarm was told to go on.
    resumed: u64,
    /// How many tasks there are to be.
    desired: u64,
    /// What is left out of a rollback, in words.
    remark: Option<String>,
    /// Since when the update is seen to have failed: some ends are doubted for a while.
    doubted: Option<Instant>,
}

/// What the update is doing.
#[derive(Clone, Debug)]
enum Phase {
    Updating(Watch),
    /// Found while it was being rolled back, with the swarm's words on it.
    FoundRollingBack {
        by: By,
        message: String,
    },
    /// Failed; a rollback was asked for and has not been sent yet.
    Failed(Cause),
    RollingBack(Restoring, Watch),
}

impl Machine {
    /// Starts to watch an update that was just sent.
    pub fn new(sent_update: SentUpdate) -> Self {
        let (phase, down_nodes) = (Phase::Updating(Watch::default()), DownNodes::default());
        let ignored_tasks = IgnoredTasks::of(sent_update.before.ended());
        Self {
            sent_update,
            phase,
            down_nodes,
            ignored_tasks,
            kept: None,
            failed: None,
            resumed: 0,
            desired: 0,
            remark: None,
            doubted: None,
        }
    }

    /// Starts to watch an update that an earlier run sent.
    pub fn found(sent_update: SentUpdate) -> Self {
        Self { down_nodes: DownNodes::since_later(), ..Self::new(sent_update) }
    }

    /// Starts to watch a rollback that is under way already, or was paused.
    pub fn rolling_back(sent_update: SentUpdate, by: By, message: String) -> Self {
        Self { phase: Phase::FoundRollingBack { by, message }, ..Self::found(sent_update) }
    }

    /// What the update is waiting for, in words, and the swarm's reason if there is one.
    pub fn waiting(&self) -> Option<&Unconverged> {
        match &self.phase {
            Phase::Updating(watch) | Phase::RollingBack(_, watch) => Some(&watch.waiting),
            Phase::FoundRollingBack { .. } | Phase::Failed(_) => None,
        }
    }

    /// Whether the service is being restored rather than updated.
    pub fn is_rolling_back(&self) -> bool {
        matches!(self.phase, Phase::RollingBack(..))
    }

    /// What is left out of a rollback that has ended, in words.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// The tasks whose end does not count.
    pub fn ignored_tasks(&self) -> &IgnoredTasks {
        &self.ignored_tasks
    }

    /// Takes note that the rollback asked for by [`Step::RollBack`] was sent.
    /// `by` is the swarm when it turns out to have been faster.
    pub fn rollback_sent(&mut self, by: By, now: Instant) {
        if let Phase::Failed(cause) = &self.phase {
            let restoring = Restoring::new(by, cause.clone(), now, &self.sent_update);
            self.phase = Phase::RollingBack(restoring, Watch::default());
        }
    }

    /// Takes note that the swarm was told to go on. What became of tasks before does not count any more.
    pub fn resumed(&mut self) {
        self.resumed += 1;
        self.down_nodes = DownNodes::default();
        self.ignored_tasks.ignore_next_look();
        if let Phase::Updating(watch) | Phase::RollingBack(_, watch) = &mut self.phase {
            *watch = Watch::default();
        }
    }

    /// Takes note that a service which is back at what it had was given another account to pull with, or why not. What
    /// became of its tasks before does not count then.
    pub fn account_renewed(&mut self, was_sent: bool, now: Instant) {
        if let Phase::RollingBack(restoring, watch) = &mut self.phase {
            restoring.may_renew = false;
            if was_sent {
                (restoring.since, *watch) = (now, Watch::default());
                self.ignored_tasks.ignore_next_look();
            }
        }
    }

    /// Why the update failed, once it has.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.phase {
            Phase::Updating(_) | Phase::FoundRollingBack { .. } => None,
            Phase::Failed(cause) => Some(cause),
            Phase::RollingBack(restoring, _) => Some(&restoring.cause),
        }
    }

    /// Takes a look. Total: whatever is seen, there is something to do.
    pub fn step(&mut self, seen: &ServiceView<'_>, now: Instant) -> Step {
        let Some(service) = seen.service else {
            return Step::Finish(self.overtaken(Outcome::Removed));
        };
        let facts = service.spec.facts();
        self.desired = service.status.map_or(0, |status| status.desired);
        self.down_nodes.look(seen.nodes);
        self.ignored_tasks.look(service, seen);
        if self.kept.is_none() {
            self.kept = self.sent_update.whole.as_ref().and_then(|whole| whole.kept_by(service));
        }
        let Self { sent_update, down_nodes, ignored_tasks, kept, .. } = &*self;
        let kept = kept.as_ref();
        let view = View { sent_update, down_nodes, ignored_tasks, kept, service, facts, seen, now };
        let (mut failed, mut remark) = (None, None);
        let mut phase = self.phase.clone();
        if let Phase::FoundRollingBack { by, message } = &phase {
            let cause = view.cause_by(&sent_update.sent, message);
            phase = Phase::RollingBack(Restoring::new(*by, cause, now, sent_update), Watch::default());
        }
        let verdict = match &mut phase {
            Phase::Updating(watch) => {
                let verdict = updating(&view, watch);
                failed = view.task_cause(&sent_update.sent).filter(Cause::blames_image);
                verdict
            }
            Phase::FoundRollingBack { .. } => Verdict::Wait,
            Phase::Failed(_) => return Step::RollBack,
            Phase::RollingBack(restoring, watch) => {
                restoring.spec.get_or_insert_with(|| service.copied_spec());
                let verdict = rolling_back(&view, restoring, watch);
                remark = watch.remark();
                verdict
            }
        };
        let verdict = match verdict {
            Verdict::Failed(cause) => {
                let since = *self.doubted.get_or_insert(now);
                // What Swarm rolls back has failed, whatever its tasks come to.
                let is_going_back = service.update.as_ref().is_some_and(|status| status.state.is_rollback());
                let is_sure = is_going_back || now.duration_since(since) >= cause.doubt();
                let sent_update = &self.sent_update;
                match sent_update.timeout.filter(|limit| now.duration_since(sent_update.sent_at) >= *limit) {
                    _ if is_sure => Verdict::Failed(cause),
                    // No time is left to find out whether the image is to blame.
                    Some(after) if matches!(phase, Phase::Updating(_)) => {
                        let waiting = cause.to_string();
                        Verdict::Failed(Cause::TimedOut { after, waiting, blames_image: false })
                    }
                    _ => Verdict::Wait,
                }
            }
            verdict => {
                self.doubted = None;
                verdict
            }
        };
        let is_ours =
            self.sent_update.is_sent(facts) && !matches!(verdict, Verdict::Over(Outcome::Superseded(_)));
        (self.phase, self.remark) = (phase, remark);
        if is_ours {
            self.failed = failed;
            self.ignore_old(seen);
        }
        self.follow(verdict, now)
    }

    /// What the old image's tasks come to before a rollback says nothing of the rollback.
    fn ignore_old(&mut self, seen: &ServiceView<'_>) {
        let replaced = &self.sent_update.replaced;
        self.ignored_tasks.ignore(seen.tasks.iter().filter(|task| replaced.is_on(task) && task.has_ended()));
    }

    /// Extends all deadlines by a period in which the engine could not be read. What happened then is not known.
    pub fn forgive(&mut self, blind: Duration) {
        self.sent_update.sent_at += blind;
        match &mut self.phase {
            Phase::Updating(watch) => watch.forgive(blind),
            Phase::RollingBack(restoring, watch) => {
                restoring.since += blind;
                watch.forgive(blind);
            }
            Phase::FoundRollingBack { .. } | Phase::Failed(_) => {}
        }
    }

    /// What has failed stays failed, whatever was changed afterwards.
    pub fn overtaken(&self, outcome: Outcome) -> Outcome {
        let how = match &outcome {
            Outcome::Superseded(how) => how.clone(),
            Outcome::Removed => "the service was removed".to_owned(),
            _ => return outcome,
        };
        match self.cause().or(self.failed.as_ref()) {
            Some(cause) => Outcome::Overtaken { cause: cause.clone(), how },
            None => outcome,
        }
    }

    fn follow(&mut self, verdict: Verdict, now: Instant) -> Step {
        let may_resume = self.resumed < MAX_RESUMED;
        let may_go_on = self.resumed < MAX_RESUMED.saturating_add(self.desired);
        match verdict {
            Verdict::Over(outcome) => Step::Finish(self.overtaken(outcome)),
            Verdict::RolledBackBySwarm(cause) => {
                let restoring = Restoring::new(By::Swarm, cause, now, &self.sent_update);
                self.phase = Phase::RollingBack(restoring, Watch::default());
                Step::Wait
            }
            Verdict::Failed(cause) if self.sent_update.may_roll_back => {
                self.phase = Phase::Failed(cause);
                Step::RollBack
            }
            Verdict::Failed(cause) => Step::Finish(Outcome::Failed { cause }),
            Verdict::SendAgain(why) if may_resume => Step::SendAgain(why),
            Verdict::SendAgain(why) => {
                let why = Cause::Stopped { message: why };
                match self.cause().cloned() {
                    Some(cause) => Step::Finish(Outcome::RollbackFailed { cause, why }),
                    None => self.follow(Verdict::Failed(why), now),
                }
            }
            Verdict::GoOn(why) if may_go_on => Step::GoOn(why),
            Verdict::GoOn(_) | Verdict::Wait => Step::Wait,
            Verdict::RenewAccount => Step::RenewAccount,
        }
    }
}

impl Machine {
    /// Takes the log of the failed task into account. Whether that has changed why the update failed.
    pub fn take_log(&mut self, seen: &ServiceView<'_>, log: &[String]) -> bool {
        let Self { sent_update, phase, ignored_tasks, .. } = self;
        let (Phase::Failed(cause) | Phase::RollingBack(Restoring { cause, .. }, _)) = phase else {
            return false;
        };
        let may_collide = |it: &&SideBySide| it.obstacle.is_some() || it.is_our_choice;
        let Some(side_by_side) = sent_update.side_by_side.as_ref().filter(may_collide) else {
            return false;
        };
        let had_company = failed_task(&sent_update.sent, ignored_tasks, seen)
            .is_some_and(|task| overlaps(task, seen.tasks));
        let is_told = log.iter().any(|line| is_taken(line));
        if !is_told || !had_company || !cause.blames_image() {
            return false;
        }
        *cause = side_by_side.collision(cause);
        true
    }
}

mod ignored_tasks;
mod late;
mod patience;
mod reason;
mod sent_update;
mod side_by_side;
mod verdict;
mod view;
mod watch;

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
