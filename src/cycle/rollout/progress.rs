//! What is said while an update waits: each reason once, and a word when nothing moves at all. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::convergence::Waiting;

/// How long an update may do the same thing without a word. A large image takes minutes to pull, and an
/// update without a time limit must not be silent for ever.
const QUIET: Duration = Duration::from_secs(300);

/// What was last seen and said of one update.
#[derive(Debug)]
pub(super) struct Progress {
    activity: String,
    since: Instant,
    said: Option<String>,
}

impl Progress {
    /// Nothing is seen yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { activity: String::new(), since: now, said: None }
    }

    /// What there is to say now; `None` when nothing is new.
    pub(super) fn news(&mut self, waiting: &Waiting, now: Instant) -> Option<String> {
        if waiting.activity != self.activity {
            self.activity.clone_from(&waiting.activity);
            self.since = now;
        }
        let still = now.duration_since(self.since);
        let news = match &waiting.reason {
            Some(reason) => reason.to_string(),
            None if still >= QUIET => format!("no progress: {}", waiting.activity),
            None => return None,
        };
        if self.said.as_ref() == Some(&news) {
            return None;
        }
        self.said = Some(news.clone());
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cause::Cause;
    use super::*;

    fn waiting(activity: &str, reason: Option<&str>) -> Waiting {
        let reason = reason.map(|reason| Cause::NoSuitableNode { reason: reason.to_owned() });
        Waiting { running: 0, desired: 1, activity: activity.to_owned(), reason, has_image: false }
    }

    #[test]
    fn each_reason_is_said_once() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        let full = waiting("waiting for a node", Some("insufficient resources"));
        assert_eq!(progress.news(&full, now).unwrap(), "no suitable node: insufficient resources");
        assert_eq!(progress.news(&full, now + QUIET * 9), None);
        let other = waiting("waiting for a node", Some("constraints not satisfied"));
        assert!(progress.news(&other, now + QUIET * 9).unwrap().contains("constraints"));
    }

    #[test]
    fn what_does_not_move_is_said_once_after_a_while_and_what_moves_is_not() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        assert_eq!(progress.news(&waiting("pulling", None), now), None);
        assert_eq!(progress.news(&waiting("starting", None), now + QUIET), None);
        assert_eq!(
            progress.news(&waiting("starting", None), now + QUIET * 2).unwrap(),
            "no progress: starting"
        );
        assert_eq!(progress.news(&waiting("starting", None), now + QUIET * 3), None);
    }
}
