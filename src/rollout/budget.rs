//! The engine's time: how many requests it has been asked, and from when on it may be asked more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time that one request uses up: in the long run looks and rollouts make 3.3 requests a second.
const PER_REQUEST: Duration = Duration::from_millis(300);

/// Time that is saved while nothing is asked: a look of three requests after a quiet while delays no rollout.
const SAVED: Duration = Duration::from_secs(1);

/// The time that requests to the engine have used up. Looks and rollouts share it.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Instant>);

impl Default for Budget {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(now.checked_sub(SAVED).unwrap_or(now)))
    }
}

impl Budget {
    /// Counts requests to the engine.
    pub(super) fn spend(&self, requests: u32) {
        let mut spent = self.lock();
        let now = Instant::now();
        *spent = now.checked_sub(SAVED).unwrap_or(now).max(*spent) + PER_REQUEST * requests;
    }

    /// Until when the requests so far have used up the time.
    pub(super) fn spent(&self) -> Instant {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
