//! Failures that come of two tasks of a place side by side, and say nothing of the image. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::reason::{failed_task, unready_task};
use super::{Machine, Seen, State, Terms, Watch};
use crate::cycle::order::{Obstacle, is_about_room, overlaps};
use crate::cycle::rollout::cause::Cause;

/// How long the scheduler may find no room for the new task while the old one is there. Another update may just end.
const NO_ROOM: Duration = Duration::from_secs(20);

/// What the new task finds where the old one of its place is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBySide {
    /// What the two cannot have at once, as far as the specification tells.
    pub obstacle: Option<Obstacle>,
}

/// Words of engines and programs for what the old task still has.
const TAKEN: [&str; 6] = [
    "address already in use",
    "address in use",
    "port is already allocated",
    "is already in use",
    "resource temporarily unavailable",
    "resource busy",
];

fn is_taken(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    TAKEN.iter().any(|taken| words.contains(taken))
}

/// Whether the old task of its place was still there when the new one failed, or does not get ready.
fn had_company(terms: &Terms, seen: &Seen<'_>) -> bool {
    let tried = failed_task(&terms.sent, seen).or_else(|| unready_task(&terms.sent, seen));
    tried.is_some_and(|task| overlaps(task, seen.tasks))
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
    pub(super) fn by_order(self, terms: &Terms, seen: &Seen<'_>) -> Self {
        let Some(side_by_side) = &terms.side_by_side else { return self };
        let is_shared = !matches!(side_by_side.obstacle, None | Some(Obstacle::HostNetwork));
        let is_told = matches!(&self, Self::TaskFailed { error, .. } if is_taken(error));
        if (is_told || (is_shared && self.blames_image())) && had_company(terms, seen) {
            return side_by_side.collision(&self);
        }
        self
    }
}

impl Machine {
    /// Takes the log of the failed task into account. Whether that has changed why the update failed.
    pub fn take_log(&mut self, seen: &Seen<'_>, log: &[String]) -> bool {
        let (State::Failed(cause) | State::RollingBack { cause, .. }) = &mut self.state else { return false };
        let Some(side_by_side) = self.terms.side_by_side.as_ref().filter(|it| it.obstacle.is_some()) else {
            return false;
        };
        let is_told = log.iter().any(|line| is_taken(line));
        if !is_told || !cause.blames_image() || !had_company(&self.terms, seen) {
            return false;
        }
        *cause = side_by_side.collision(cause);
        true
    }
}

impl Terms {
    /// Whether the new tasks have waited long enough for the room that the old ones take.
    pub(super) fn lacks_room(&self, watch: &Watch, now: Instant) -> bool {
        let reason = watch.waiting.reason.as_ref();
        let is_room = matches!(reason, Some(Cause::NoSuitableNode { reason }) if is_about_room(reason));
        let has_waited = watch.still.is_some_and(|since| now.duration_since(since) >= NO_ROOM);
        self.side_by_side.is_some() && is_room && has_waited
    }
}

/// What is to be said of that.
pub(super) fn no_room(watch: &Watch) -> Cause {
    let end = watch.waiting.reason.as_ref().map(ToString::to_string).unwrap_or_default();
    Cause::Collision { what: "there is no room for both tasks of a place".to_owned(), end }
}
