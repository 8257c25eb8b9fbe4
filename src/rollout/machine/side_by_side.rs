//! Failures that come of two tasks of a place side by side, and say nothing of the image. Pure.

use std::time::Duration;

use super::sent_update::{SentUpdate, ServiceView, SideBySide};
use super::view::View;
use super::watch::Watch;
use crate::model::cause::Cause;
use crate::model::order::{Obstacle, is_about_room, overlaps};
use crate::swarm::Task;

/// How long the scheduler may find no room for the new task while the old one is there. Another update may just end.
const NO_ROOM: Duration = Duration::from_secs(20);

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

pub(super) fn is_taken(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    TAKEN.iter().any(|taken| words.contains(taken))
}

impl SideBySide {
    pub(super) fn collision(&self, cause: &Cause) -> Cause {
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
    pub(super) fn by_order(self, sent_update: &SentUpdate, tried: &Task, seen: &ServiceView<'_>) -> Self {
        let Some(side_by_side) = &sent_update.side_by_side else { return self };
        let is_shared = !matches!(side_by_side.obstacle, None | Some(Obstacle::HostNetwork));
        let is_told = matches!(&self, Self::TaskFailed { error, .. } if is_taken(error));
        if (is_told || (is_shared && self.blames_image())) && overlaps(tried, seen.tasks) {
            return side_by_side.collision(&self);
        }
        self
    }
}

/// Whether the new tasks have waited long enough for the room that the old ones take.
pub(super) fn lacks_room(view: &View<'_>, watch: &Watch) -> bool {
    let reason = watch.waiting.reason.as_ref();
    view.sent_update.side_by_side.is_some()
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
