//! A sign of life. The work beats, so that the health check can tell a loop that works or waits from a dead one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts time since the last sign of life. Cheap to clone; clones beat the same heart.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    born: Instant,
    last_millis: Arc<AtomicU64>,
    illness: Arc<Mutex<Option<String>>>,
    has_seen_engine: Arc<AtomicBool>,
}

impl Heartbeat {
    /// A heart that has just beaten.
    pub fn new(now: Instant) -> Self {
        let last_millis = Arc::new(AtomicU64::new(0));
        Self { born: now, last_millis, illness: Arc::default(), has_seen_engine: Arc::default() }
    }

    /// Notes that the engine has answered.
    pub fn see_engine(&self) {
        self.has_seen_engine.store(true, Ordering::Relaxed);
    }

    /// Whether the engine has ever answered.
    pub fn has_seen_engine(&self) -> bool {
        self.has_seen_engine.load(Ordering::Relaxed)
    }

    /// Gives a sign of life.
    pub fn beat(&self, now: Instant) {
        let millis = u64::try_from(now.duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        self.last_millis.fetch_max(millis, Ordering::Relaxed);
    }

    /// Says why the program cannot do its work, though it lives; `None`: it can.
    pub fn diagnose(&self, illness: Option<String>) {
        *self.illness.lock().unwrap_or_else(PoisonError::into_inner) = illness;
    }

    /// Why the program cannot do its work, if so.
    pub fn illness(&self) -> Option<String> {
        self.illness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago the last sign of life was.
    pub fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        now.duration_since(self.born).saturating_sub(last)
    }
}
