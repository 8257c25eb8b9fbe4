//! The notices while an update waits: each reason once, and one when nothing changes for a while. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::convergence::Unconverged;

/// How long an update may do the same thing without a word. A large image takes minutes to pull, and an
/// update without a time limit must not be silent for ever.
const QUIET: Duration = Duration::from_secs(60);

/// At most so many different reasons are told of one update.
const MAX_SAID: usize = 20;

/// The last activity of one update, and the notices that were given of it.
#[derive(Debug)]
pub(super) struct WaitNotices {
    activity: String,
    since: Instant,
    said: BTreeSet<String>,
}

impl WaitNotices {
    /// Starts without any notice.
    pub(super) fn new(now: Instant) -> Self {
        Self { activity: String::new(), since: now, said: BTreeSet::new() }
    }

    /// The notice to give now; `None`: there is nothing new.
    pub(super) fn news(&mut self, waiting: &Unconverged, now: Instant) -> Option<String> {
        if waiting.activity != self.activity {
            self.activity.clone_from(&waiting.activity);
            self.since = now;
        }
        let still = now.duration_since(self.since);
        let news = match &waiting.reason {
            Some(reason) => reason.to_string(),
            None if still >= QUIET => format!("no progress for {} s: {}", QUIET.as_secs(), waiting.activity),
            None => return None,
        };
        (self.said.len() < MAX_SAID && self.said.insert(news.clone())).then_some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cause::Cause;

    fn waiting(activity: &str, reason: Option<&str>) -> Unconverged {
        let reason = reason.map(|reason| Cause::NoSuitableNode { reason: reason.to_owned() });
        Unconverged {
            running: 0,
            desired: 1,
            activity: activity.to_owned(),
            reason,
            ..Unconverged::default()
        }
    }

    #[test]
    fn each_reason_is_said_once() {
        let now = Instant::now();
        let mut progress = WaitNotices::new(now);
        let full = waiting("waiting for a node", Some("insufficient resources"));
        assert_eq!(progress.news(&full, now).unwrap(), "no suitable node: insufficient resources");
        assert_eq!(progress.news(&full, now + QUIET * 9), None);
        let other = waiting("waiting for a node", Some("constraints not satisfied"));
        assert!(progress.news(&other, now + QUIET * 9).unwrap().contains("constraints"));
        // Also when they take turns.
        assert_eq!(progress.news(&full, now + QUIET * 10), None);
        assert_eq!(progress.news(&other, now + QUIET * 11), None);
    }

    #[test]
    fn a_reason_that_never_is_the_same_is_not_said_for_ever() {
        let now = Instant::now();
        let mut progress = WaitNotices::new(now);
        let said = (0..100).filter(|n| {
            let reason = format!("insufficient resources on {n} nodes");
            progress.news(&waiting("waiting for a node", Some(&reason)), now).is_some()
        });
        assert_eq!(said.count(), MAX_SAID);
    }

    #[test]
    fn what_does_not_move_is_said_once_after_a_while_and_what_moves_is_not() {
        let now = Instant::now();
        let mut progress = WaitNotices::new(now);
        assert_eq!(progress.news(&waiting("pulling", None), now), None);
        assert_eq!(progress.news(&waiting("starting", None), now + QUIET), None);
        assert_eq!(
            progress.news(&waiting("starting", None), now + QUIET * 2).unwrap(),
            "no progress for 60 s: starting"
        );
        assert_eq!(progress.news(&waiting("starting", None), now + QUIET * 3), None);
    }
}
