//! Failures that come of two tasks of a place side by side, and say nothing of the image. Pure.

use std::time::Duration;

use super::reason::failed_task;
use super::view::View;
use super::watch::Watch;
use super::{Machine, Restoring, Seen, State, Terms};
use crate::cycle::order::{Obstacle, is_about_room, overlaps};
use crate::cycle::rollout::cause::Cause;
use crate::swarm::Task;

/// How long the scheduler may find no room for the new task while the old one is there. Another update may just end.
const NO_ROOM: Duration = Duration::from_secs(20);

/// What the new task finds where the old one of its place is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBySide {
    /// What the two cannot have at once, as far as the specification tells.
    pub obstacle: Option<Obstacle>,
    /// Whether Gantry has chosen to start first: the specification says nothing of an order.
    pub is_our_choice: bool,
}

/// Words of engines and programs for what the old task still has.
const TAKEN: [&str; 10] = [
    "address already in use",
    "address in use",
    "port is already allocated",
    "is already in use",
    "resource temporarily unavailable",
    "resource busy",
    // Locks of a database, a file server or a cluster, of which no specification tells.
    "another instance",
    "already running",
    "already locked",
    "could not obtain lock",
];

fn is_taken(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    TAKEN.iter().any(|taken| words.contains(taken))
}

impl SideBySide {
    fn collision(&self, cause: &Cause) -> Cause {
        let what = match &self.obstacle {
            Some(obstacle) => obstacle.to_string(),
            None => "both tasks need the same".to_owned(),
        };
        Cause::Collision { what, end: cause.to_string() }
    }
}

impl Cause {
    /// The same failure, or what is true instead when the old task was still there and may be the reason. Programs that find
    /// a port of the host taken say so in their log: their end alone is no sign of it.
    pub(super) fn by_order(self, terms: &Terms, tried: &Task, seen: &Seen<'_>) -> Self {
        let Some(side_by_side) = &terms.side_by_side else { return self };
        let is_shared = !matches!(side_by_side.obstacle, None | Some(Obstacle::HostNetwork));
        let is_told = matches!(&self, Self::TaskFailed { error, .. } if is_taken(error));
        if (is_told || (is_shared && self.blames_image())) && overlaps(tried, seen.tasks) {
            return side_by_side.collision(&self);
        }
        self
    }
}

impl Machine {
    /// Takes the log of the failed task into account. Whether that has changed why the update failed.
    pub fn take_log(&mut self, seen: &Seen<'_>, log: &[String]) -> bool {
        let Self { terms, state, ends, .. } = self;
        let (State::Failed(cause) | State::RollingBack(Restoring { cause, .. }, _)) = state else {
            return false;
        };
        let may_collide = |it: &&SideBySide| it.obstacle.is_some() || it.is_our_choice;
        let Some(side_by_side) = terms.side_by_side.as_ref().filter(may_collide) else {
            return false;
        };
        let had_company = failed_task(&terms.sent, ends, seen).is_some_and(|task| overlaps(task, seen.tasks));
        let is_told = log.iter().any(|line| is_taken(line));
        if !is_told || !had_company || !cause.blames_image() {
            return false;
        }
        *cause = side_by_side.collision(cause);
        true
    }
}

/// Whether the new tasks have waited long enough for the room that the old ones take.
pub(super) fn lacks_room(view: &View<'_>, watch: &Watch) -> bool {
    let reason = watch.waiting.reason.as_ref();
    view.terms.side_by_side.is_some()
        && matches!(reason, Some(Cause::NoSuitableNode { reason }) if is_about_room(reason))
        && watch.has_waited_for(NO_ROOM, view.now)
        && view.has_old_tasks()
        && !view.has_tasks_on_their_way()
}

/// What is to be said of that.
pub(super) fn no_room(watch: &Watch) -> Cause {
    let end = watch.waiting.reason.as_ref().map(ToString::to_string).unwrap_or_default();
    Cause::Collision { what: "there is no room for both tasks of a place".to_owned(), end }
}
